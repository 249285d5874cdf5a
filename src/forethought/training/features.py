"""Hidden states of a model at the ends of all steps of all chains, kept in a file.

Reading them is the slow part of training a probe, so they are written as they come, question by
question, and a run that was cut off goes on behind the last whole question.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forethought.bench.scoring import Progress, by_question
from forethought.chains import Chain
from forethought.config import require
from forethought.engine import Engine
from forethought.evaluators.evaluator import closed_tokens
from forethought.prompts import Task


@dataclass(frozen=True, slots=True, eq=False)
class StepStates:
    """`states` [steps, layers, width] as float16, of the `chains`' steps one after another; layer 0
    is the final norm."""

    chains: list[Chain]
    layers: list[int]
    states: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class StateReader:
    """Reads the states behind `layers` (0: the final norm) on prompts of `task`."""

    engine: Engine
    task: Task
    layers: list[int]


def read_states(
    reader: StateReader, chains: list[Chain], *, path: Path, progress: Progress | None = None
) -> StepStates:
    """The states at the end of every step, as a probe reads them; what stands in the file at
    `path` already is not read again.

    Raises:
        ConfigError: a layer is not one of the model's, or the file belongs to other chains.
        EngineError, RunStopped: see `forethought.errors`.
    """
    engine, layers = reader.engine, reader.layers
    require(bool(chains) and bool(layers), "give chains and layers to read")
    groups = list(by_question(chains).values())
    ordered = [chain for group in groups for chain in group]
    head = _heading(reader, ordered)
    _check_heading(path, head)
    num_known = _num_vectors(path, len(head), len(layers) * engine.width)
    for number, group in enumerate(groups, 1):
        num_steps = sum(len(chain.steps) for chain in group)
        if num_known >= num_steps:
            num_known -= num_steps
        else:
            states = _read_question(reader, group)
            with path.open("r+b") as file:
                file.seek(0, 2)
                # a cut-off question is read again: drop what stands of it
                file.seek(-num_known * len(layers) * engine.width * 2, 2)
                file.truncate()
                file.write(states.astype(np.float16).tobytes())
            num_known = 0
        if progress:
            progress(number, len(groups))
    data = np.fromfile(path, np.float16, offset=len(head))
    return StepStates(ordered, layers, data.reshape(-1, len(layers), engine.width))


def _read_question(reader: StateReader, chains: list[Chain]) -> NDArray[np.float32]:
    """[steps, layers, width] of one question's chains, prefixes shared."""
    engine, task = reader.engine, reader.task
    opening = task.opening(engine, chains[0].question)
    paths = [chain.path() for chain in chains]
    prompts = [
        opening + closed_tokens(engine, path[:length], task.delimiter)
        for path in paths
        for length in range(1, len(path) + 1)
    ]
    columns = [np.stack(engine.hidden(prompts, layer=layer or None)) for layer in reader.layers]
    return np.stack(columns, axis=1)


def _heading(reader: StateReader, chains: list[Chain]) -> bytes:
    """The file's first line: what its numbers are of."""
    digest = hashlib.sha256(json.dumps([chain.document() for chain in chains]).encode())
    facts = {
        "model": reader.engine.name,
        "task": reader.task.name,
        "layers": reader.layers,
        "chains": digest.hexdigest(),
    }
    return json.dumps(facts).encode() + b"\n"


def _check_heading(path: Path, heading: bytes) -> None:
    if not path.exists():
        path.write_bytes(heading)
    with path.open("rb") as file:
        found = file.readline()
    require(
        found == heading,
        f"{path} holds states of other chains, layers or another model: remove it, or name another "
        "file",
    )


def _num_vectors(path: Path, start: int, size: int) -> int:
    """Whole steps in the file; a torn one at its end is cut off."""
    num_bytes = path.stat().st_size - start
    num_whole = num_bytes // (2 * size)
    if num_bytes != num_whole * 2 * size:
        with path.open("r+b") as file:
            file.truncate(start + num_whole * 2 * size)
    return num_whole
