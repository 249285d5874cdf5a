"""The benchmarks: their arithmetic, and one small real run of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted_search import scripted_engine

from forethought import SearchConfig
from forethought.bench.engine import as_record, bench_search, bench_speed
from forethought.bench.search import Method, Run, compare, summarise
from forethought.chains import Problem
from forethought.config import EngineConfig
from forethought.evaluators import Equations, Judge
from forethought.prompts import MATH


def test_a_summary_is_over_the_runs_of_its_method() -> None:
    def done(is_right: bool, seconds: float, accepted: int) -> Run:
        return Run("spec-search", is_right, seconds, 0.1 * seconds, 4, accepted, {"scored": 10})

    other = Run("target-alone", True, 99.0, 0.0, 0, 0, {"scored": 1})
    runs = [done(True, 1.0, 4), other, done(False, 3.0, 2), done(True, 2.0, 3)]
    own, baseline = (summarise(runs, method) for method in ("spec-search", "target-alone"))
    assert (own.num_problems, own.accuracy, own.median_seconds) == (3, pytest.approx(2 / 3), 2.0)
    assert (own.total_seconds, own.acceptance, own.tokens) == (6.0, 0.75, {"scored": 30})
    assert own.outside_share == pytest.approx(0.1)
    assert (baseline.accuracy, baseline.acceptance) == (1.0, None)


def test_all_methods_meet_every_problem_in_alternating_order() -> None:
    answer = "The answer is \\boxed{4}."
    draft, target = scripted_engine(answer, "draft"), scripted_engine(answer, "target")
    judge = Judge(target, MATH)
    methods = [Method(judge), Method(Equations()), Method(judge, is_alone=True)]
    problems = [Problem("a", "2 + 2?", "4"), Problem("b", "3 + 1?", "5")]
    config = SearchConfig(tree_width=1)
    runs = list(compare(problems, draft, target, config=config, methods=methods))
    names = ["spec-search judge:target", "spec-search equations", "target-alone judge:target"]
    assert [run.method for run in runs] == [*names, *names[::-1]]
    assert [run.is_right for run in runs] == [True] * 3 + [False] * 3
    assert [run.num_drafts > 0 for run in runs] == [False] * 6


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
