"""The engine's benchmarks: one small real run of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forethought.bench.engine import as_record, bench_search, bench_speed
from forethought.bench.recompute import Recorder
from forethought.config import EngineConfig, SamplingParams
from forethought.engine import ScriptedModel


@pytest.mark.weights
def test_the_engine_benchmark_measures_all_three_ways(smollm_path: Path) -> None:
    config = EngineConfig(context_size=2048)
    rows = list(bench_speed(smollm_path, config=config, num_tokens=6, rounds=1))
    assert [row.num_sequences for row in rows] == [8, 16]
    for row in rows:
        assert min(row.engine, row.bare_loop, row.single_sequence) > 0
        assert row.vs_bare_loop == pytest.approx(row.engine / row.bare_loop)
    json.dumps([as_record(row) for row in rows])


@pytest.mark.weights
def test_the_search_benchmark_accounts_for_every_prompt_token(smollm_path: Path) -> None:
    row = bench_search(smollm_path, smollm_path, config=EngineConfig(context_size=4096))
    assert 0 <= row.computed_twice <= 0.1
    assert 0 < row.outside_engine < 0.5
    assert row.prompt_tokens > 0


@pytest.mark.parametrize(("stop", "num_known"), [((), 3), (("c",), 2)])
def test_what_was_sampled_counts_as_computed_but_for_a_last_token(
    stop: tuple[str, ...], num_known: int
) -> None:
    engine: Any = ScriptedModel(lambda *_: "abc")
    recorder = Recorder(engine)
    prompt = engine.encode("Say:")
    params = SamplingParams(stop=stop, keep_stop=True)
    (done,) = recorder.generate([prompt], params)
    assert done.text == "abc"
    recorder.probs([[*prompt, *done.tokens, *engine.encode("!")]], [[1]])
    assert recorder.num_new == len(prompt) + 3 - num_known + 1
