"""The gauge: whether the draft agrees with itself, when it is asked, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_search import QUESTION, Call, Pair, Stated, everywhere, scores, step

from forethought.config import ConfigError, SearchConfig
from forethought.engine import ScriptedModel
from forethought.graphs import spec_search
from forethought.nodes import Controller, Rules
from forethought.nodes.trust import Trust, agreement
from forethought.prompts import TASKS
from forethought.solve import Solution, solve


@pytest.mark.parametrize(
    ("answers", "share"),
    [
        (["4", "4", "4"], 1.0),
        (["4", "4.0", "5"], 1 / 3),
        (["4", "5", "6"], 0.0),
        (["4", None, None], 0.0),
        (["1/2", r"\frac{1}{2}"], 1.0),
        (["4"], 0.0),
        ([], 0.0),
    ],
)
def test_agreement_is_the_share_of_equal_pairs(answers: list[str | None], share: float) -> None:
    assert agreement(answers) == pytest.approx(share)


def test_the_first_runs_are_gauged_and_then_one_in_eight() -> None:
    trust = Trust()
    assert gauged(trust, share=1.0, runs=20) == [0, 1, 9, 17]


def test_a_draft_that_is_not_trusted_is_gauged_less_often() -> None:
    assert gauged(Trust(), share=0.1, runs=40) == [0, 1, 17, 33]


def test_a_draft_that_got_better_is_trusted_again() -> None:
    trust = Trust()
    for share in (0.0, 0.0, 1.0, 1.0):
        trust.observe("math", share)
    mean = trust.mean("math")
    assert mean == pytest.approx((1.0 + 0.8) / (1 + 0.8 + 0.64 + 0.512))


def test_tasks_are_trusted_apart() -> None:
    trust = Trust()
    trust.observe("math", 1.0)
    assert (trust.mean("math"), trust.mean("general")) == (1.0, None)
    assert trust.is_due("general", 0.35)


def gauged(trust: Trust, *, share: float, runs: int) -> list[int]:
    """The runs that were gauged, each with the same result."""
    found = []
    for number in range(runs):
        if trust.is_due("math", 0.35):
            found.append(number)
            trust.observe("math", share)
    return found


# in the graph


def confident(call: Call) -> str:
    """A draft that always comes to the same answer."""
    return step(call, 0.9, answer="7")


def unsure(call: Call) -> str:
    """A draft whose answers are all different."""
    return step(call, 0.9, answer=str(call.index))


def searched(script: Any, *, shared: Controller | None = None, **settings: Any) -> Solution:
    """Three depths, after thresholds that let every draft pass."""
    pair = Pair(script, scores(everywhere(0.5, depths=3), ends=3), rules=shared and Rules(shared))
    options: dict[str, Any] = {"controller": "on"} | settings
    return pair.run(**options).solution


def sources(solution: Solution) -> set[str]:
    return {thought.source for thought in solution.thoughts}


def test_a_draft_that_agrees_with_itself_drafts() -> None:
    solution = searched(confident)
    assert sources(solution) == {"draft", "target"}
    assert {plan.agreement for plan in solution.answer.ledger.plans} <= {1.0, None}


def test_a_draft_that_does_not_leaves_all_to_the_target() -> None:
    solution = searched(unsure)
    assert sources(solution) == {"target"}
    assert all(plan.num_drafts == 0 for plan in solution.answer.ledger.plans)
    assert solution.answer.ledger.tokens_by("drafted") > 0, "the gauge is paid for"


def test_what_the_target_writes_is_what_it_writes_alone() -> None:
    alone = searched(unsure, policy="never")
    gauged = searched(unsure)
    assert [t.text for t in gauged.thoughts] == [t.text for t in alone.thoughts]
    assert alone.answer.ledger.tokens_by("drafted") == 0


@pytest.mark.parametrize(
    "settings", [{"controller": "off"}, {"min_agreement": 0.0}, {"policy": "never"}]
)
def test_nothing_is_gauged_where_nothing_depends_on_it(settings: dict[str, Any]) -> None:
    controller = Controller()
    searched(unsure, shared=controller, **settings)
    assert controller.trust.mean("math") is None


def test_programs_are_not_gauged_because_texts_do_not_tell_them_apart() -> None:
    assert {one.name for one in TASKS.values() if not one.answers_compare} == {"code", "complete"}
    config = SearchConfig(task="code", controller="on")
    assert not Controller().wants_gauge(config)
    assert Controller().wants_gauge(SearchConfig(controller="on"))


def test_later_runs_of_one_graph_know_what_the_first_have_shown() -> None:
    controller = Controller()
    *_, solution = [searched(unsure, shared=controller) for _ in range(3)]
    assert solution.answer.ledger.tokens_by("drafted") == 0
    assert sources(solution) == {"target"}


def test_a_run_that_ran_out_of_time_says_nothing_of_the_draft() -> None:
    controller = Controller()
    slow = ScriptedModel(lambda *_: "\\boxed{1}", name="small")
    graph = spec_search(draft=slow, target=slow, evaluator=Stated(), rules=Rules(controller))
    config = SearchConfig(controller="on", deadline=1e-9)
    assert solve(QUESTION, graph, config=config).answer.finish_reason == "deadline"
    assert controller.trust.mean("math") is None


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_an_agreement_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"min_agreement must lie in 0.0..1.0, not {share}"):
        SearchConfig(min_agreement=share)
