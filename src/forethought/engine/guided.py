"""Draws that keep to a grammar: llama.cpp's grammar sampler before its filters.

A token is first drawn from all, and drawn anew from those that fit where it does not: looking at
every token of the vocabulary takes as long as a small model's decode, and most draws fit.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams
from forethought.engine.bindings import as_sentence, error_log, llama
from forethought.engine.distribution import CANDIDATE, candidates_of, pointed
from forethought.engine.sampler import drawing_chain
from forethought.errors import ConfigError, DecodeError


class GuidedSampler:
    """As `Sampler`, for the `grammar` of `params`, over llama.cpp's `vocab`.

    Raises:
        ConfigError: the grammar cannot be read.
    """

    def __init__(self, params: SamplingParams, index: int, vocab: Any) -> None:
        assert params.grammar is not None
        self._size = int(llama().llama_vocab_n_tokens(vocab))
        self._grammar = _parsed(params.grammar, vocab)
        self._chain = drawing_chain(params, index)

    def sample(self, context: Any, row: int) -> int:
        """The next token after batch row `row` of the context's last decode.

        Raises:
            DecodeError: no token of the vocabulary goes on with the grammar.
        """
        pointer = llama().llama_get_logits_ith(context, row)
        logits = np.ctypeslib.as_array(pointer, (self._size,))
        token = self._drawn(candidates_of(logits))
        if not len(self._fitting(np.array([(token, 0.0, 0.0)], CANDIDATE))):
            fitting = self._fitting(candidates_of(logits))
            if not len(fitting):
                raise DecodeError("no token of the model's vocabulary goes on with the grammar")
            token = self._drawn(fitting)
        llama().llama_sampler_accept(self._grammar, token)
        return token

    def close(self) -> None:
        """Free grammar and chain; safe to call twice."""
        if self._chain:
            llama().llama_sampler_free(self._grammar)
            llama().llama_sampler_free(self._chain)
            self._chain = None

    def _drawn(self, candidates: NDArray[Any]) -> int:
        array = pointed(candidates)
        llama().llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _fitting(self, candidates: NDArray[Any]) -> NDArray[Any]:
        array = pointed(candidates)
        llama().llama_sampler_apply(self._grammar, ctypes.byref(array))
        fitting: NDArray[Any] = candidates[np.isfinite(candidates["logit"])]
        return fitting


def check_grammar(grammar: str, vocab: Any) -> None:
    """Refuse what llama.cpp cannot read, before a request waits for it. Raises ConfigError."""
    llama().llama_sampler_free(_parsed(grammar, vocab))


def _parsed(grammar: str, vocab: Any) -> Any:
    if "\0" in grammar:
        raise ConfigError("the grammar cannot be read: it holds a null character")
    with error_log() as errors:
        sampler = llama().llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    if not sampler:
        raise ConfigError(f"the grammar cannot be read: {as_sentence(errors)}")
    return sampler
