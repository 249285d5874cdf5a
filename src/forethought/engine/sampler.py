"""llama.cpp's sampler chains: one per sequence to draw with, and one that only filters."""

from __future__ import annotations

import hashlib
from typing import Any

from forethought.config import SamplingParams
from forethought.engine.bindings import llama


class Sampler:
    """Draws tokens for one sequence; the `index`-th of its batch draws from its own stream."""

    def __init__(self, params: SamplingParams, index: int) -> None:
        self._chain = drawing_chain(params, index)

    def sample(self, context: Any, row: int) -> int:
        """The next token after batch row `row` of the context's last decode."""
        return int(llama().llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain; safe to call twice."""
        if self._chain:
            llama().llama_sampler_free(self._chain)
            self._chain = None


def drawing_chain(params: SamplingParams, index: int) -> Any:
    """Filters and the draw of stream `index`; its owner frees it."""
    library = llama()
    if params.temperature == 0:
        return _chain([library.llama_sampler_init_greedy()])
    chain = filtering_chain(params)
    draw = library.llama_sampler_init_dist(stream_seed(params.seed, index))
    library.llama_sampler_chain_add(chain, draw)
    return chain


def filtering_chain(params: SamplingParams) -> Any:
    """A chain in llama.cpp's own order, filters, then temperature, without the draw; its owner
    frees it. Temperature 0 is the greedy sampler's, not a filter's."""
    assert params.temperature > 0, params
    library = llama()
    links = []
    if params.top_k > 0:
        links.append(library.llama_sampler_init_top_k(params.top_k))
    if params.top_p < 1:
        links.append(library.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        links.append(library.llama_sampler_init_min_p(params.min_p, 1))
    links.append(library.llama_sampler_init_temp(params.temperature))
    return _chain(links)


def _chain(links: list[Any]) -> Any:
    library = llama()
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    for link in links:
        library.llama_sampler_chain_add(chain, link)
    return chain


def stream_seed(seed: int, index: int) -> int:
    """A 32-bit seed for stream `index` of `seed`; llama.cpp reads 0xFFFFFFFF as "random"."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 0xFFFFFFFF
