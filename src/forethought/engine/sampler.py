"""llama.cpp's sampler chains, one per sequence."""

from __future__ import annotations

import hashlib
from typing import Any

from forethought.config import SamplingParams
from forethought.engine.bindings import llama


class Sampler:
    """Draws tokens for one sequence; the `index`-th of its batch draws from its own stream."""

    def __init__(self, params: SamplingParams, index: int) -> None:
        library = llama()
        self._chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        for link in _links(params, index):
            library.llama_sampler_chain_add(self._chain, link)

    def sample(self, context: Any, row: int) -> int:
        """The next token after batch row `row` of the context's last decode."""
        return int(llama().llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain; safe to call twice."""
        if self._chain:
            llama().llama_sampler_free(self._chain)
            self._chain = None


def _links(params: SamplingParams, index: int) -> list[Any]:
    """The chain in llama.cpp's own order: filters, then temperature, then the draw."""
    library = llama()
    if params.temperature == 0:
        return [library.llama_sampler_init_greedy()]
    links = []
    if params.top_k > 0:
        links.append(library.llama_sampler_init_top_k(params.top_k))
    if params.top_p < 1:
        links.append(library.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        links.append(library.llama_sampler_init_min_p(params.min_p, 1))
    links.append(library.llama_sampler_init_temp(params.temperature))
    links.append(library.llama_sampler_init_dist(stream_seed(params.seed, index)))
    return links


def stream_seed(seed: int, index: int) -> int:
    """A 32-bit seed for stream `index` of `seed`; llama.cpp reads 0xFFFFFFFF as "random"."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 0xFFFFFFFF
