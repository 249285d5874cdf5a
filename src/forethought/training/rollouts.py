"""Roll-outs: every step of a chain gone on from several times, for labels that know the step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from forethought.bench.scoring import Progress
from forethought.chains import Chain, read_chains
from forethought.config import require_at_least
from forethought.models.disk import write_whole
from forethought.training.samples import ChainSampler

_SAVE_EVERY = 8


def add_rollouts(
    sampler: ChainSampler, path: Path, *, num_rollouts: int, progress: Progress | None = None
) -> None:
    """Give the steps of the sampler's own chains in the file their `value`, in place.

    Chains whose steps have values are passed over; the file is replaced as a whole now and then, so
    that a kill loses little and never a chain.

    Raises:
        ConfigError: `num_rollouts` is below 1, or the file holds something else.
        RunStopped, EngineError: as `sample_chains`.
    """
    require_at_least("num_rollouts", num_rollouts, 1)
    chains = read_chains(path)
    todo = [number for number, chain in enumerate(chains) if _is_missing(chain, sampler)]
    for done, number in enumerate(todo, 1):
        values = sampler.values(chains[number], num_rollouts)
        steps = [
            replace(step, value=value)
            for step, value in zip(chains[number].steps, values, strict=True)
        ]
        chains[number] = replace(chains[number], steps=steps)
        if done % _SAVE_EVERY == 0 or done == len(todo):
            _write(path, chains)
        if progress:
            progress(done, len(todo))


def _is_missing(chain: Chain, sampler: ChainSampler) -> bool:
    return chain.source == sampler.source and any(step.value is None for step in chain.steps)


def _write(path: Path, chains: list[Chain]) -> None:
    lines = (json.dumps(chain.document(), ensure_ascii=False) + "\n" for chain in chains)
    write_whole(path, "".join(lines))
