"""`forethought bench engine`: the engine against a bare loop and against one sequence at a time.

Methods are interleaved round by round, so that a machine that drifts hurts all alike; figures are
medians over the rounds, and ratios are medians of per-round ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

from forethought.bench.baselines import BareLoop, SingleSequence
from forethought.bench.recompute import Recorder
from forethought.config import EngineConfig, SamplingParams, SearchConfig
from forethought.engine import Engine
from forethought.evaluators import Judge
from forethought.graphs import spec_search
from forethought.prompts import MATH
from forethought.solve import solve

QUESTION = (
    "A school orders 14 boxes of 12 pencils and 9 boxes of 10 pens. It gives 35 pencils and 20 "
    "pens to the first class and splits what is left evenly between 7 other classes. How many "
    "writing tools does each of these classes get?"
)
_COUNTS = (8, 16)


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """Decode speeds in tokens/s at one batch size; ratios are the engine's over the other's."""

    model: str
    num_sequences: int
    engine: float
    bare_loop: float
    single_sequence: float
    vs_bare_loop: float
    vs_single_sequence: float


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One search: share of prompt tokens computed twice, share of wall time outside the engines."""

    draft: str
    target: str
    prompt_tokens: int
    computed_twice: float
    wall_seconds: float
    outside_engine: float


def engine_speed(engine: Engine, prompt: list[int], num: int, params: SamplingParams) -> float:
    """Tokens per second of `num` continuations of a cached prompt, by the caller's clock."""
    engine.generate([prompt], SamplingParams(max_tokens=1))
    started = time.perf_counter()
    completions = engine.generate([prompt] * num, params)
    seconds = time.perf_counter() - started
    return sum(c.usage.generated_tokens for c in completions) / seconds


def bench_speed(
    path: Path, *, config: EngineConfig, num_tokens: int = 32, rounds: int = 5
) -> Iterator[SpeedRow]:
    """Decode throughput at 8 and 16 sequences, sampling at temperature 0.7 included."""
    params = SamplingParams(temperature=0.7, max_tokens=num_tokens)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(path, config=config))
        bare = stack.enter_context(closing(BareLoop(path, config)))
        single = stack.enter_context(closing(SingleSequence(path, config)))
        prompt = engine.chat(MATH.messages(QUESTION))
        for count in _COUNTS:
            engine_speed(engine, prompt, count, params)
            bare.decode_speed(prompt, count, params)
            measured = [
                (
                    engine_speed(engine, prompt, count, params),
                    bare.decode_speed(prompt, count, params),
                    # one after another is as fast at any count; fewer save time
                    single.decode_speed(prompt, 2, params),
                )
                for _ in range(rounds)
            ]
            ours, bares, singles = (list(column) for column in zip(*measured, strict=True))
            yield SpeedRow(
                model=engine.name,
                num_sequences=count,
                engine=statistics.median(ours),
                bare_loop=statistics.median(bares),
                single_sequence=statistics.median(singles),
                vs_bare_loop=_median_ratio(ours, bares),
                vs_single_sequence=_median_ratio(ours, singles),
            )


def bench_search(draft: Path, target: Path, *, config: EngineConfig) -> SearchRow:
    """One SpecSearch run with every prompt token accounted for."""
    with Engine(draft, config=config) as small, Engine(target, config=config) as large:
        models = Recorder(small), Recorder(large)
        graph = spec_search(draft=models[0], target=models[1], evaluator=Judge(models[1], MATH))
        ledger = solve(QUESTION, graph, config=SearchConfig()).answer.ledger
    computed = sum(model.num_computed for model in models)
    new = sum(model.num_new for model in models)
    return SearchRow(
        draft=small.name,
        target=large.name,
        prompt_tokens=computed,
        computed_twice=(computed - new) / max(1, computed),
        wall_seconds=ledger.wall_seconds,
        outside_engine=ledger.outside_seconds / ledger.wall_seconds,
    )


def as_record(row: SpeedRow | SearchRow) -> dict[str, object]:
    """A row as JSON-able data, rounded."""
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(row).items()}


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
