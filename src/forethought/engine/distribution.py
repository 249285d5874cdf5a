"""The distribution that a token is drawn from: logits after llama.cpp's own filters."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams
from forethought.engine.bindings import llama
from forethought.engine.sampler import filtering_chain

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Probabilities of the next token, of those tokens only that can be drawn.

    `ids` are ascending token ids, `probs` their probabilities in (0, 1]; same shape, sum 1.
    """

    ids: NDArray[np.int32]
    probs: NDArray[np.float64]

    def of(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """The probability of each of `ids`: 0 for those that cannot be drawn."""
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        probs: NDArray[np.float64] = np.where(self.ids[places] == ids, self.probs[places], 0.0)
        return probs

    def draw(self, chance: float) -> int:
        """The token at `chance`, a uniform number in [0, 1), of the cumulated probabilities."""
        cumulated = np.cumsum(self.probs)
        return int(self.ids[np.searchsorted(cumulated, chance * cumulated[-1], side="right")])

    def beyond(self, other: Distribution) -> Distribution:
        """norm(max(0, p - q)): what this one, p, gives more than the `other`, q.

        Where it never gives more, the two are equal, and it is this one.
        """
        excess = self.probs - other.of(self.ids)
        is_more = excess > 0
        if not is_more.any():
            return self
        return Distribution(self.ids[is_more], excess[is_more] / excess[is_more].sum())


def distribution_of(logits: NDArray[np.float32], params: SamplingParams) -> Distribution:
    """What `Sampler` draws from, given logits [vocabulary]: the same chain without its draw."""
    if params.temperature == 0:
        return Distribution(np.array([logits.argmax()], np.int32), np.ones(1))
    candidates = candidates_of(logits)
    array = pointed(candidates)
    chain = filtering_chain(params)
    llama().llama_sampler_apply(chain, ctypes.byref(array))
    llama().llama_sampler_free(chain)
    kept = candidates[: array.size]
    if array.sorted:  # by logit; otherwise the ids are in order still
        kept = np.sort(kept, order="id")
    scaled = kept["logit"].astype(np.float64)
    weights = np.exp(scaled - scaled.max())
    is_possible = weights > 0
    return Distribution(kept["id"][is_possible], weights[is_possible] / weights.sum())


def candidates_of(logits: NDArray[np.float32]) -> NDArray[np.void]:
    """Every token with its logit, as llama.cpp's samplers take them."""
    candidates = np.zeros(len(logits), CANDIDATE)
    candidates["id"] = np.arange(len(logits), dtype=np.int32)
    candidates["logit"] = logits
    return candidates


def pointed(candidates: NDArray[np.void]) -> Any:
    """A `llama_token_data_array` over `candidates`, which samplers change in place."""
    library = llama()
    pointer = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(library.llama_token_data))
    return library.llama_token_data_array(pointer, len(candidates), -1, False)
