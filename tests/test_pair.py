"""The main job on the default pair: real questions, real weights, an answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from conftest import variant

from forethought import (
    TASKS,
    Engine,
    Judge,
    Scope,
    SearchConfig,
    ThresholdStore,
    solve,
    spec_search,
)
from forethought.bench.recompute import Recorder
from forethought.cli.main import run
from forethought.model import Usage
from forethought.report import SolutionDocument
from forethought.thoughts import path_to

pytestmark = pytest.mark.pair

QUESTION = "A shelf holds 4 rows of 9 jars. 7 jars break. How many jars are left?"
SMALL = SearchConfig(tree_width=2, beam_width=1, max_depth=8)


def used(pair: tuple[Engine, Engine]) -> Usage:
    return sum((engine.stats().usage for engine in pair), Usage())


def test_a_word_problem_is_solved_by_both_models_together(pair: tuple[Engine, Engine]) -> None:
    draft, target = pair
    before = used(pair)
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))
    solution = solve(QUESTION, graph, config=SMALL)
    assert solution.answer.finish_reason == "answer"
    assert solution.answer.answer == "29"
    assert {t.source for t in solution.thoughts} >= {"target"}
    for thought in solution.thoughts:
        assert thought.score is not None
        assert 0.0 <= thought.score <= 1.0
        beta = solution.thresholds.get(thought.depth)
        if thought.status == "rejected":
            assert beta is not None
            assert thought.score < beta
        path_to(thought.id, solution.thoughts)
    total, after = solution.answer.ledger.total, used(pair)
    assert total.prompt_tokens == after.prompt_tokens - before.prompt_tokens
    assert total.cached_tokens == after.cached_tokens - before.cached_tokens
    assert total.generated_tokens == after.generated_tokens - before.generated_tokens
    assert total.seconds == pytest.approx(after.seconds - before.seconds)


def test_the_pair_shares_a_vocabulary_and_smollm_does_not(
    pair: tuple[Engine, Engine], smollm: Engine
) -> None:
    draft, target = pair
    assert draft.vocabulary == target.vocabulary != smollm.vocabulary


def test_smollm_drafts_for_qwen_through_text(smollm: Engine, pair: tuple[Engine, Engine]) -> None:
    target = pair[1]
    graph = spec_search(draft=smollm, target=target, evaluator=Judge(target, TASKS["math"]))
    solution = solve(QUESTION, graph, config=SMALL)
    assert solution.answer.text
    assert any(t.source == "draft" for t in solution.thoughts)


def test_a_warm_start_lets_the_draft_write_the_first_thoughts(pair: tuple[Engine, Engine]) -> None:
    draft, target = pair
    store = ThresholdStore()
    judge = Judge(target, TASKS["math"])
    graph = spec_search(draft=draft, target=target, evaluator=judge, thresholds=store)
    solve(QUESTION, graph, config=SMALL)
    assert store.show()
    warm = SearchConfig(tree_width=2, beam_width=1, max_depth=8, init="store", seed=1)
    solution = solve(QUESTION, graph, config=warm)
    assert "draft" in {t.source for t in solution.thoughts if t.depth == 1}


def test_almost_no_prompt_token_is_computed_twice(pair: tuple[Engine, Engine]) -> None:
    draft, target = (Recorder(engine) for engine in pair)
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))
    question = "Ann has 5 boxes of 6 eggs and uses 13 eggs. How many eggs has she left?"
    solve(question, graph, config=SearchConfig(max_depth=8))
    computed = draft.num_computed + target.num_computed
    assert computed - draft.num_new - target.num_new <= 0.05 * computed


def test_the_judge_prefers_right_steps(pair: tuple[Engine, Engine]) -> None:
    from forethought.thoughts import Thought  # noqa: PLC0415

    target = pair[1]

    def thought(text: str) -> Thought:
        return Thought(1, 0, 1, text, target.encode(text), target.vocabulary, "draft", False)

    right = thought("4 rows of 9 jars are 4 * 9 = 36 jars.\n\n")
    wrong = thought("4 rows of 9 jars are 4 + 9 = 13 jars.\n\n")
    high, low = Judge(target, TASKS["math"]).score(QUESTION, [[right], [wrong]])
    assert high > low


def test_a_deadline_is_kept_and_something_is_answered(pair: tuple[Engine, Engine]) -> None:
    draft, target = pair
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))
    started = time.monotonic()
    solution = solve(QUESTION, graph, config=SearchConfig(deadline=4.0, tree_width=6))
    assert time.monotonic() - started < 12  # a step of this machine may run past it
    assert solution.answer.finish_reason in ("answer", "deadline")


def test_a_cancelled_run_returns_at_once(pair: tuple[Engine, Engine]) -> None:
    draft, target = pair
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))
    scope = Scope()

    def cancel(event: dict[str, object]) -> None:
        if event["event"] == "drafting":
            scope.cancel.set()

    solution = solve(QUESTION, graph, config=SearchConfig(), scope=scope, listen=cancel)
    assert solution.answer.finish_reason == "cancelled"
    assert solution.answer.text


def test_the_command_line_solves_and_prints_one_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    paths = [str(variant(f"qwen2.5-coder-{size}", "q4_0")) for size in ("0.5b", "1.5b")]
    models = ["--draft", paths[0], "--target", paths[1], "--quant", "original"]
    settings = ["--tree-width", "2", "--beam-width", "1"]
    code = run(["solve", QUESTION, "--json", *models, *settings])
    shown = json.loads(capsys.readouterr().out)
    assert code == 0
    assert SolutionDocument.model_validate(shown).answer == "29"
    assert shown["ledger"]["outside_seconds"] <= 0.1 * shown["ledger"]["wall_seconds"]


def test_a_question_of_100_kilobytes_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    (tmp_path / "long.txt").write_text("How many? " * 10_000)
    paths = [str(variant(f"qwen2.5-coder-{size}", "q4_0")) for size in ("0.5b", "1.5b")]
    models = ["--draft", paths[0], "--target", paths[1]]
    assert run(["solve", "--file", str(tmp_path / "long.txt"), *models]) == 2
    error = capsys.readouterr().err
    assert "does not fit the context" in error
    assert error.count("\n") == 1
