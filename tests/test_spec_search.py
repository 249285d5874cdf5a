"""SpecSearch with beam search, on scripted models: who writes, what is kept, when it ends."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from scripted_search import (
    CUE,
    QUESTION,
    Call,
    Pair,
    Run,
    Stated,
    everywhere,
    never,
    scores,
    stated_score,
    step,
)

from forethought.config import SearchConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError, EvaluatorError, PromptTooLong, SearchError
from forethought.evaluators import path_tokens
from forethought.graphs import spec_search
from forethought.model import RunStopped, Scope, Usage, current_scope
from forethought.nodes.state import SearchState, node_scope
from forethought.prompts import MATH
from forethought.solve import solve
from forethought.stores import ThresholdKey, ThresholdStore
from forethought.thoughts import Answer, Thought, path_to

DOCS = Path(__file__).parent.parent / "docs"
KEY = ThresholdKey(draft="small", target="large", evaluator="stated", task="math")


def search(draft: Any, target: Any, **settings: Any) -> Run:
    return Pair(draft, target).run(**settings)


def learned(thresholds: Mapping[int, float], **names: str) -> ThresholdStore:
    store = ThresholdStore()
    store.observe(replace(KEY, **names), thresholds=thresholds, observation_id="an earlier run")
    return store


# The root, and the first threshold


def test_the_target_writes_all_root_thoughts() -> None:
    run = search(scores({2: [0.9]}, ends=2), scores({1: [0.5]}), tree_width=3)
    assert run.names(depth=1) == ["target1.0", "target1.1", "target1.2"]
    assert not run.draft.at(1)


def test_root_thoughts_set_the_first_threshold() -> None:
    run = search(
        scores({2: [0.9]}, ends=2),
        scores({1: [0.2, 0.6]}),
        theta_estimator="mean",
        init_estimator="max",
    )
    assert run.solution.thresholds[2] == 0.6
    assert 1 not in run.solution.thresholds


# Drafts and the threshold


def test_a_draft_is_rejected_if_and_only_if_it_scores_below_beta() -> None:
    run = search(
        scores({2: [0.49, 0.5, 0.51, 0.0]}, ends=2), scores({1: [0.5], 2: [0.1]}), tree_width=4
    )
    assert run.solution.thresholds[2] == 0.5
    assert run.names(source="draft", status="rejected") == ["draft2.0", "draft2.3"]
    (decided,) = [e for e in run.of("decided") if e["thoughts"][0].source == "draft"]
    accepted = [t.text.split()[0] for t in decided["thoughts"] if t.status == "accepted"]
    assert sorted(accepted) == ["draft2.1", "draft2.2"]


def test_target_thoughts_are_not_tested() -> None:
    run = search(scores({2: [0.1]}), scores({1: [0.5], 2: [0.2, 0.0]}, ends=2))
    assert run.names(depth=2, source="target") == ["target2.0", "target2.1"]
    assert not run.thoughts(source="target", status="rejected")
    assert run.solution.answer.answer == "target0"


def test_at_most_n_drafts_per_parent_are_kept_and_they_are_the_best() -> None:
    run = search(
        scores({2: [0.6, 0.9, 0.7, 0.8]}, ends=2),
        scores({1: [0.5]}),
        tree_width=2,
        draft_multiplier=2,
    )
    assert run.names(source="draft", status="rejected") == ["draft2.0", "draft2.2"]
    assert len(run.thoughts(source="draft")) == 4
    assert not run.target.at(2)


def test_each_parent_keeps_its_own_best_n() -> None:
    def draft(call: Call) -> str:
        high = call.path.startswith("target1.0")
        return step(call, (0.8 if high else 0.6) + call.index / 100, answer=str(call.index))

    run = search(draft, scores({1: [0.5, 0.4]}), beam_width=2, tree_width=2, draft_multiplier=2)
    rejected = {t.parent for t in run.thoughts(status="rejected")}
    assert rejected == {1, 2}
    for parent in rejected:
        drafts = [t for t in run.thoughts(source="draft") if t.parent == parent]
        best = sorted(drafts, key=lambda t: t.score or 0.0)[-2:]
        assert {t.id for t in drafts if t.status != "rejected"} == {t.id for t in best}


@pytest.mark.parametrize(("multiplier", "count"), [(1, 3), (2, 6)])
def test_the_draft_writes_m_times_n_thoughts_per_parent(multiplier: int, count: int) -> None:
    run = search(
        scores({2: [0.9]}, ends=2),
        scores({1: [0.5]}),
        tree_width=3,
        beam_width=2,
        draft_multiplier=multiplier,
    )
    assert len(run.draft.at(2)) == 2 * count
    assert [e["count"] for e in run.of("drafting")] == [2 * count]


@pytest.mark.parametrize(
    ("extra", "accepted", "written"),
    [(0, 2, 0), (1, 2, 1), (2, 2, 2), (0, 1, 1), (1, 1, 2), (2, 1, 3), (0, 0, 2), (1, 0, 3)],
)
def test_the_target_writes_what_is_missing_and_the_extra_ones(
    extra: int, accepted: int, written: int
) -> None:
    row = [0.9] * accepted + [0.1] * (2 - accepted)
    run = search(
        scores({2: row}, ends=2), scores({1: [0.5], 2: [0.3]}, ends=2), extra_large_thoughts=extra
    )
    assert len(run.target.at(2)) == written
    assert len(run.thoughts(depth=2, source="target")) == written


def test_every_parent_is_owed_its_own_thoughts() -> None:
    def draft(call: Call) -> str:
        return step(call, 0.9 if call.path.startswith("target1.0") else 0.1, answer=str(call.index))

    run = search(draft, scores({1: [0.5, 0.4], 2: [0.3]}, ends=2), beam_width=2)
    assert [call.path.split()[0] for call in run.target.at(2)] == ["target1.1", "target1.1"]
    assert {t.parent for t in run.thoughts(depth=2, source="target")} == {2}


def test_the_target_writes_from_the_parent_and_never_sees_what_was_rejected() -> None:
    run = search(scores({2: [0.1, 0.9], 3: [0.1]}), scores({1: [0.5], 2: [0.95], 3: [0.9]}, ends=3))
    rejected = run.thoughts(status="rejected")
    assert len(rejected) == 3
    for call in run.target.calls:
        assert not any(thought.text in call.prompt for thought in rejected)
    chosen = [t.text for t in run.solution.answer.path]
    assert {call.path for call in run.target.at(2)} == {chosen[0]}
    assert {call.path for call in run.target.at(3)} == {chosen[0] + chosen[1]}


def test_the_judge_of_a_thought_sees_its_whole_path() -> None:
    pair = Pair(scores({2: [0.9]}, ends=2), scores({1: [0.5]}))
    pair.run()
    assert isinstance(pair.evaluator, Stated)
    roots, drafts = pair.evaluator.batches
    assert [text.split()[0] for text in roots] == ["target1.0", "target1.1"]
    assert all(text.startswith(roots[0]) and "draft2." in text for text in drafts)


# The moving average


def test_beta_across_depths_equals_a_computation_by_hand() -> None:
    run = search(
        scores({2: [0.9, 0.5], 3: [0.69, 0.6], 4: [0.2]}),
        scores({1: [0.8, 0.6], 2: [0.6], 3: [0.5], 4: [0.4, 0.3]}, ends=4),
        theta=0.9,
        theta_estimator="mean",
        estimator_pool="large_only",
    )
    beta2 = (0.8 + 0.6) / 2
    beta3 = 0.9 * beta2 + 0.1 * 0.6
    beta4 = 0.9 * beta3 + 0.1 * 0.5
    beta5 = 0.9 * beta4 + 0.1 * (0.4 + 0.3) / 2
    assert run.solution.thresholds == pytest.approx({2: beta2, 3: beta3, 4: beta4, 5: beta5})
    assert [e["beta"] for e in run.of("threshold")] == list(run.solution.thresholds.values())


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("large_only", 0.6), ("large_plus_accepted", (0.6 + 0.9) / 2)],
)
def test_the_pool_may_take_in_accepted_drafts(pool: str, expected: float) -> None:
    run = search(
        scores({2: [0.9, 0.1]}, ends=2),
        scores({1: [0.5], 2: [0.6]}, ends=2),
        theta=0.0,
        estimator_pool=pool,
    )
    assert run.solution.thresholds[3] == pytest.approx(expected)


def test_beta_stays_where_the_target_wrote_nothing() -> None:
    run = search(scores({2: [0.9], 3: [0.9]}, ends=3), scores({1: [0.5]}))
    assert run.solution.thresholds == {2: 0.5, 3: 0.5, 4: 0.5}


def test_an_extra_thought_of_the_target_moves_beta_when_all_drafts_are_accepted() -> None:
    run = search(
        scores({2: [0.9]}, ends=2), scores({1: [0.5], 2: [0.3]}), extra_large_thoughts=1, theta=0.9
    )
    assert run.solution.thresholds[3] == pytest.approx(0.9 * 0.5 + 0.1 * 0.3)


# Policies and starts


def test_policy_never_lets_the_target_write_everything_untested() -> None:
    run = search(never, scores({1: [0.9, 0.1], 2: [0.2, 0.1], 3: [0.0]}, ends=3), policy="never")
    assert run.solution.answer.finish_reason == "answer"
    assert [len(run.target.at(depth)) for depth in (1, 2, 3)] == [2, 2, 2]
    assert not run.thoughts(status="rejected")
    assert not run.of("drafting")


def test_policy_never_asks_no_draft_even_where_the_store_knows_a_threshold() -> None:
    pair = Pair(never, scores({1: [0.5]}, ends=1), thresholds=learned({1: 0.2, 2: 0.2}))
    assert pair.run(policy="never", init="store").solution.answer.answer == "target0"


def test_a_start_from_the_store_lets_the_draft_begin() -> None:
    store = learned({1: 0.4, 2: 0.45})
    pair = Pair(scores({1: [0.9, 0.3], 2: [0.9]}, ends=2), scores({1: [0.6]}), thresholds=store)
    run = pair.run(init="store", theta=0.9)
    assert run.names(depth=1) == ["draft1.0", "draft1.1", "target1.0"]
    assert run.names(depth=1, status="rejected") == ["draft1.1"]
    assert run.solution.thresholds[1] == 0.4
    assert run.solution.thresholds[2] == pytest.approx(0.9 * 0.4 + 0.1 * 0.6)


def test_a_start_from_the_store_goes_on_with_its_values_where_the_target_wrote_nothing() -> None:
    store = learned({1: 0.4, 2: 0.45, 3: 0.5})
    pair = Pair(scores({1: [0.9], 2: [0.9]}, ends=2), never, thresholds=store)
    assert pair.run(init="store").solution.thresholds == {1: 0.4, 2: 0.45, 3: 0.5}


def test_beta_is_carried_beyond_the_depths_that_the_store_knows() -> None:
    pair = Pair(scores({1: [0.9], 2: [0.9], 3: [0.9]}, ends=3), never, thresholds=learned({1: 0.4}))
    run = pair.run(init="store")
    assert run.solution.thresholds == {1: 0.4, 2: 0.4, 3: 0.4, 4: 0.4}
    assert run.solution.answer.finish_reason == "answer"


@pytest.mark.parametrize(
    "store",
    [None, ThresholdStore(), learned({1: 0.1}, task="code"), learned({1: 0.1}, draft="other")],
)
def test_a_start_from_a_store_that_does_not_know_falls_back_to_the_target(
    store: ThresholdStore | None,
) -> None:
    pair = Pair(scores({2: [0.9]}, ends=2), scores({1: [0.5]}), thresholds=store)
    run = pair.run(init="store")
    assert run.names(depth=1) == ["target1.0", "target1.1"]
    assert run.solution.thresholds[2] == 0.5


def test_the_store_is_not_read_unless_it_is_asked_for() -> None:
    pair = Pair(
        scores({2: [0.9]}, ends=2), scores({1: [0.5]}), thresholds=learned({1: 0.1, 2: 0.1})
    )
    assert pair.run(init="target").names(depth=1, source="draft") == []


class CountingStore(ThresholdStore):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.observed: list[tuple[ThresholdKey, dict[int, float], str]] = []

    def observe(
        self, key: ThresholdKey, *, thresholds: Mapping[int, float], observation_id: str
    ) -> int:
        self.observed.append((key, dict(thresholds), observation_id))
        return super().observe(key, thresholds=thresholds, observation_id=observation_id)


def test_a_run_tells_the_store_once_what_target_scores_have_set() -> None:
    store = CountingStore()
    pair = Pair(
        scores({2: [0.9, 0.1], 3: [0.9]}, ends=3), scores({1: [0.8], 2: [0.6]}), thresholds=store
    )
    run = pair.run(theta=0.5)
    ((key, thresholds, _),) = store.observed
    assert key == KEY
    # beta of depth 4 was only carried on from depth 3
    assert thresholds == pytest.approx({1: 0.8, 2: 0.8, 3: 0.7})
    assert run.solution.thresholds[4] == pytest.approx(0.7)
    assert store.warm_start(KEY) == pytest.approx(thresholds)


def test_every_run_is_an_observation_of_its_own_under_its_own_task() -> None:
    store = CountingStore()
    pair = Pair(never, scores({1: [0.8], 2: [0.8]}), thresholds=store)
    for task in ("math", "general", "general"):
        pair.run(task=task, policy="never", max_depth=1)
    assert [key.task for key, _, _ in store.observed] == ["math", "general", "general"]
    assert len({name for _, _, name in store.observed}) == 3
    assert {row.key.task: row.count for row in store.show() if row.depth == 1} == {
        "math": 1,
        "general": 2,
    }


def test_a_run_without_target_scores_tells_the_store_nothing() -> None:
    store = CountingStore()
    Pair(never, lambda _: "", thresholds=store).run(policy="never")
    assert not store.observed


# Draws that are no thoughts, and draws that are the same


def test_equal_draws_are_one_thought_and_count_as_accepted_draws() -> None:
    def draft(call: Call) -> str:
        return ("same" if call.index < 2 else "other") + " V=0.9 \\boxed{1}\n\nand on"

    run = search(draft, scores({1: [0.5]}), tree_width=3)
    same, other = run.thoughts(source="draft")
    assert (same.num_draws, other.num_draws) == (2, 1)
    assert same.usage.generated_tokens == 2 * len(same.text)
    assert not run.target.at(2)


def test_white_space_around_a_thought_does_not_make_it_another() -> None:
    def target(call: Call) -> str:
        return ("one \\boxed{1} V=0.5", "\none \\boxed{1} V=0.5\n\nand on")[call.index]

    (thought,) = search(never, target, policy="never").thoughts()
    assert thought.num_draws == 2


def test_what_the_target_writes_again_beside_an_accepted_draft_is_no_new_thought() -> None:
    def draft(call: Call) -> str:
        return ("good V=0.9" if call.index else "bad V=0.1") + " \\boxed{1}\n\n"

    def target(call: Call) -> str:
        return step(call, 0.5) if call.depth == 1 else "good V=0.9 \\boxed{1}\n\n"

    run = search(draft, target)
    assert [t.source for t in run.thoughts(depth=2)] == ["draft", "draft"]


def test_a_target_that_agrees_with_a_rejected_draft_keeps_its_thought() -> None:
    def draft(call: Call) -> str:
        return "so be it V=0.1 \\boxed{1}\n\n"

    def target(call: Call) -> str:
        return step(call, 0.5) if call.depth == 1 else draft(call)

    run = search(draft, target)
    assert run.solution.answer.finish_reason == "answer"
    assert run.solution.answer.path[-1].source == "target"
    assert len(run.target.at(2)) == 2


def test_blank_draws_and_draws_that_were_cut_off_are_dropped() -> None:
    def target(call: Call) -> str:
        return ("", " \n\n \n", "endless " * 20, step(call, 0.5, answer="7"))[call.index]

    run = search(never, target, policy="never", tree_width=4, thought_tokens=40)
    assert run.names() == ["target1.3"]
    assert run.solution.answer.answer == "7"


@pytest.mark.parametrize("nothing", ["", "\n\n", "endless " * 20])
def test_a_target_that_writes_nothing_is_given_up_after_three_tries(nothing: str) -> None:
    run = search(never, lambda call: "7}" if call.is_closing else nothing, thought_tokens=40)
    assert len(run.target.at(1)) == 3 * 2
    assert run.solution.answer.finish_reason == "limit"
    assert run.solution.answer.text == CUE + "7}"
    assert run.solution.answer.answer == "7"


def test_each_try_has_a_seed_of_its_own() -> None:
    run = search(never, lambda call: "7}" if call.is_closing else "")
    assert len({call.seed for call in run.target.at(1)}) == 3


def test_a_try_that_succeeds_is_the_last() -> None:
    seeds: set[int] = set()

    def target(call: Call) -> str:
        seeds.add(call.seed)
        return step(call, 0.5, answer="7") if len(seeds) > 1 else ""

    run = search(never, target)
    assert len(run.target.at(1)) == 2 * 2
    assert run.solution.answer.finish_reason == "answer"


def test_a_beam_that_dies_out_later_ends_in_the_best_path_so_far() -> None:
    def target(call: Call) -> str:
        return "9}" if call.is_closing else step(call, 0.5) if call.depth == 1 else ""

    run = search(scores({2: [0.1]}), target)
    answer = run.solution.answer
    assert answer.finish_reason == "limit"
    assert [t.text.split()[0] for t in answer.path] == ["target1.0", "The"]
    assert answer.answer == "9"
    assert len(run.target.at(2)) == 3 * 2


def test_only_a_model_that_writes_nothing_at_all_leaves_the_answer_empty() -> None:
    answer = search(never, lambda _: "").solution.answer
    assert (answer.text, answer.answer, answer.path, answer.finish_reason) == ("", "", [], "limit")


def test_only_parents_that_were_left_with_nothing_are_tried_again() -> None:
    def target(call: Call) -> str:
        if call.depth == 2 and call.path.startswith("target1.1"):
            return ""
        return step(call, 0.5 - call.index / 100, answer="7" if call.depth == 2 else None)

    run = search(scores({2: [0.1]}), target, beam_width=2)
    paths = [call.path.split()[0] for call in run.target.at(2)]
    assert paths.count("target1.0") == 2
    assert paths.count("target1.1") == 3 * 2


# The beam


def test_the_beam_keeps_the_b_best_of_all_parents() -> None:
    run = search(
        scores({2: [0.6, 0.9, 0.95, 0.5]}),
        scores({1: [0.1, 0.4, 0.3, 0.2]}),
        tree_width=4,
        beam_width=2,
        max_depth=2,
    )
    assert run.names(depth=1, status="revised") == ["target1.1", "target1.2"]
    assert run.names(depth=1, status="pruned") == ["target1.0", "target1.3"]
    last = [t for t in run.thoughts(depth=2) if t.status == "accepted"]
    assert [t.score for t in last] == [0.95, 0.95]
    assert {t.parent for t in last} == {2, 3}


def test_of_equal_thoughts_the_older_ones_stay() -> None:
    run = search(scores({2: [0.9]}, ends=2), scores({1: [0.5]}), tree_width=4, beam_width=2)
    assert run.names(depth=1, status="revised") == ["target1.0", "target1.1"]


def test_a_finished_path_takes_its_place_in_the_beam() -> None:
    def target(call: Call) -> str:
        return step(call, 0.9 - call.index / 10, answer="early" if call.index == 0 else None)

    run = search(scores({2: [0.95, 0.9, 0.85]}, ends=2), target, tree_width=3, beam_width=2)
    assert len(run.draft.at(2)) == 3
    assert {call.path.split()[0] for call in run.draft.at(2)} == {"target1.1"}
    assert run.names(status="final") == ["target1.0", "draft2.0"]


def test_a_terminal_thought_outside_the_beam_is_pruned_and_finishes_nothing() -> None:
    def target(call: Call) -> str:
        return step(call, 0.1 if call.index else 0.9, answer="bad" if call.index else None)

    run = search(scores({2: [0.95]}, ends=2), target)
    assert run.names(depth=1, status="pruned") == ["target1.1"]
    assert run.solution.answer.answer == "draft0"


def test_the_search_stops_when_b_paths_have_finished() -> None:
    run = search(never, scores({1: [0.9, 0.8, 0.7]}, ends=1), tree_width=3, beam_width=2)
    assert run.names(status="final") == ["target1.0", "target1.1"]
    assert run.names(status="pruned") == ["target1.2"]
    assert run.solution.answer.finish_reason == "answer"


def test_nothing_is_replaced_where_a_draft_ends_with_a_score_of_one() -> None:
    draft = scores({1: [0.1, 1.0]}, ends=1)
    pair = Pair(draft, never, thresholds=learned({1: 0.5}))
    run = pair.run(init="store", tree_width=4, beam_width=2)
    assert run.solution.answer.answer == "draft1"
    assert run.names(status="rejected") == ["draft1.0", "draft1.2"]


@pytest.mark.parametrize("policy", ["ema", "never"])
def test_a_path_that_cannot_be_bettered_ends_the_search(policy: str) -> None:
    def target(call: Call) -> str:
        return step(call, 1.0, answer="42" if call.index == 1 else None)

    run = search(never, target, tree_width=3, beam_width=2, policy=policy)
    assert run.solution.answer.answer == "42"
    assert run.names(status="final") == ["target1.1"]
    assert run.solution.answer.finish_reason == "answer"


def test_a_rejected_draft_ends_nothing_however_it_scores() -> None:
    target = scores({1: [0.7], 2: [0.6]}, ends=2)
    draft = scores(everywhere(1.0, depths=2), ends=1)
    run = search(draft, target, policy="random", draft_share=0.0)
    assert run.solution.answer.answer == "target0"


def test_a_vote_hears_all_paths_also_beside_one_that_cannot_be_bettered() -> None:
    def target(call: Call) -> str:
        return step(call, 1.0, answer="42" if call.index == 1 or call.depth == 2 else None)

    run = search(never, target, tree_width=3, beam_width=2, policy="never", answer_by="vote")
    assert len(run.names(status="final")) == 2


def test_end_of_text_ends_a_path() -> None:
    run = search(never, lambda call: f"So, no box. V=0.5 {call.index}", policy="never")
    assert run.solution.answer.finish_reason == "answer"
    assert run.solution.answer.answer == "So, no box. V=0.5 0"


# The answer


def answers(call: Call) -> str:
    score, answer = [(0.6, "5"), (0.5, "5"), (0.9, "7")][call.index]
    return step(call, score, answer=answer)


@pytest.mark.parametrize(
    ("answer_by", "answer", "name"), [("best", "7", "target1.2"), ("vote", "5", "target1.0")]
)
def test_the_answer_is_that_of_the_best_path_or_the_vote(
    answer_by: str, answer: str, name: str
) -> None:
    run = search(never, answers, tree_width=3, beam_width=3, answer_by=answer_by)
    assert run.solution.answer.answer == answer
    assert run.solution.answer.text.startswith(name)


def test_a_vote_weighs_scores_and_not_heads() -> None:
    def target(call: Call) -> str:
        score, answer = [(0.2, "5"), (0.3, "5"), (0.9, "7")][call.index]
        return step(call, score, answer=answer)

    run = search(never, target, tree_width=3, beam_width=3, answer_by="vote")
    assert run.solution.answer.answer == "7"


def test_a_finished_path_is_answered_without_another_call() -> None:
    run = search(never, scores({1: [0.9]}, ends=1))
    assert not any(call.is_closing for call in run.target.calls)
    assert "answered" not in {entry.role for entry in run.solution.answer.ledger.entries}


def test_at_the_depth_limit_the_target_closes_the_best_path() -> None:
    run = search(scores({2: [0.9, 0.95]}), scores({1: [0.5]}), max_depth=2)
    answer = run.solution.answer
    assert answer.finish_reason == "limit"
    assert answer.answer == "7"
    assert [t.text.split()[0] for t in answer.path] == ["target1.0", "draft2.1", "The"]
    assert answer.text.endswith(CUE + "7}")
    (closing,) = [call for call in run.target.calls if call.is_closing]
    assert closing.path == "".join(t.text for t in answer.path[:-1]) + CUE
    assert run.solution.thoughts[-1] == answer.path[-1]
    assert (answer.path[-1].status, answer.path[-1].is_terminal) == ("final", True)


@pytest.mark.parametrize("max_depth", [1, 12, 16, 40])
def test_a_search_reaches_its_depth_limit_however_many_steps_that_takes(max_depth: int) -> None:
    draft, target = everywhere(0.0, depths=max_depth), everywhere(0.5, depths=max_depth)
    run = search(scores(draft), scores(target), max_depth=max_depth)
    assert run.solution.answer.finish_reason == "limit"
    assert len(run.solution.answer.path) == max_depth + 1


def test_at_the_token_limit_the_target_closes_the_best_path() -> None:
    run = search(scores({2: [0.9]}), scores({1: [0.5]}), max_tokens=10)
    assert run.solution.answer.finish_reason == "limit"
    assert run.solution.answer.answer == "7"
    assert not run.draft.calls


def test_a_finished_path_is_the_answer_also_where_a_limit_ends_the_search() -> None:
    def target(call: Call) -> str:
        return step(call, 0.9 - call.index / 10, answer=None if call.index else "early")

    run = search(never, target, beam_width=2, max_depth=1)
    assert (run.solution.answer.finish_reason, run.solution.answer.answer) == ("answer", "early")


def test_a_path_that_fills_the_context_is_returned_as_it_stands() -> None:
    pair = Pair(scores({2: [0.9]}), scores({1: [0.5]}))
    opening = len(ScriptedModel(pair.target).chat(MATH.messages(QUESTION)))
    small = ScriptedModel(pair.draft, name="small")
    # room for the root's thoughts, not for the cue after one of them
    large = ScriptedModel(pair.target, name="large", context_size=opening + 10)
    graph = spec_search(draft=small, target=large, evaluator=Stated())
    config = SearchConfig(tree_width=2, beam_width=1, max_depth=1)
    answer = solve(QUESTION, graph, config=config).answer
    assert (answer.finish_reason, answer.answer) == ("limit", "target1.0 V=0.5")


def test_a_question_that_does_not_fit_the_context_is_refused() -> None:
    model = ScriptedModel(Pair(never, never).target, context_size=50)
    graph = spec_search(draft=model, target=model, evaluator=Stated())
    with pytest.raises(PromptTooLong, match="does not fit 50"):
        solve(QUESTION, graph)


# Time and cancellation


def slowly(script: Any, seconds: float = 0.05) -> Any:
    def reply(call: Call) -> str:
        time.sleep(seconds)
        return script(call)

    return reply


def test_at_the_deadline_the_best_path_so_far_is_the_answer() -> None:
    table = everywhere(0.5, depths=9)
    slow = slowly(scores(table), 0.2)
    run = search(slow, slow, deadline=1.0, max_depth=9)
    answer = run.solution.answer
    assert answer.finish_reason == "deadline"
    assert answer.text.startswith("target1.0")
    assert answer.answer


def test_time_is_kept_back_to_close_the_answer() -> None:
    state = cast("SearchState", {"seconds": 0.0})
    config = SearchConfig(deadline=100.0)
    now = time.monotonic()
    with node_scope(state, config) as searching:
        assert searching.deadline == pytest.approx(now + 85, abs=5)
    with node_scope(state, config, answering=True) as answering:
        assert answering.deadline == pytest.approx(now + 100, abs=5)


def test_a_run_that_is_late_before_it_begins_still_ends_well() -> None:
    run = Pair(never, never).run(scope=Scope(deadline=time.monotonic() - 1))
    assert run.solution.answer.finish_reason == "deadline"
    assert run.solution.answer.text == ""


def test_the_callers_deadline_holds_where_it_is_earlier() -> None:
    scope = Scope(deadline=time.monotonic() + 0.5)
    table = everywhere(0.5, depths=9)
    pair = Pair(slowly(scores(table), 0.3), slowly(scores(table), 0.3))
    answer = pair.run(scope=scope, deadline=100.0, max_depth=9).solution.answer
    assert (answer.finish_reason, bool(answer.text)) == ("deadline", True)


def cancelling(script: Any, cancel: threading.Event, depth: int) -> Any:
    def reply(call: Call) -> str:
        if call.depth == depth:
            cancel.set()
        return script(call)

    return reply


def test_a_cancelled_run_returns_the_best_path_so_far() -> None:
    scope = Scope()
    draft = cancelling(scores({2: [0.9], 3: [0.9]}), scope.cancel, depth=3)
    run = Pair(draft, scores({1: [0.5]})).run(scope=scope)
    answer = run.solution.answer
    assert answer.finish_reason == "cancelled"
    assert [t.text.split()[0] for t in answer.path] == ["target1.0", "draft2.0"]
    assert not any(call.is_closing for call in run.target.calls)


def test_a_run_that_is_cancelled_in_its_first_step_returns_what_was_written() -> None:
    scope = Scope()
    run = Pair(never, cancelling(scores({1: [0.5]}), scope.cancel, depth=1)).run(scope=scope)
    answer = run.solution.answer
    assert (answer.finish_reason, answer.text) == ("cancelled", "target1.0 V=0.5")
    assert answer.path[0] in run.solution.thoughts


def test_a_run_that_is_cancelled_while_it_is_scored_ends_in_order() -> None:
    class Interrupted(Stated):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            scope = current_scope()
            assert scope is not None
            if len(self.batches) == 1:
                scope.cancel.set()
                raise RunStopped("cancelled")
            return super().score(question, paths)

    pair = Pair(scores({2: [0.9]}), scores({1: [0.5]}), Interrupted())
    answer = pair.run().solution.answer
    assert answer.finish_reason == "cancelled"
    assert [t.text.split()[0] for t in answer.path] == ["target1.0"]


def test_a_path_that_has_ended_is_not_closed_again() -> None:
    table = {1: [0.5], 2: [0.4]}

    class Late(Stated):
        """Has no time left for the target's thoughts of depth 2."""

        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            if len(self.batches) == 2:
                raise RunStopped("deadline")
            return super().score(question, paths)

    pair = Pair(scores({2: [0.9, 0.1]}, ends=2), scores(table), Late())
    run = pair.run()
    assert run.solution.answer.answer == "draft0"
    assert not any(call.is_closing for call in run.target.calls)


# Evaluators that fail


class Constant:
    name = "constant"

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return self.values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((float("nan"), 0.5), "score nan"),
        ((0.5, float("inf")), "score inf"),
        ((0.5, 1.2), r"score 1\.2"),
        ((-0.1, 0.5), r"score -0\.1"),
        ((0.5,), "1 scores for 2"),
        ((0.5, 0.5, 0.5), "3 scores for 2"),
        ((), "0 scores for 2"),
    ],
)
def test_what_is_no_score_is_refused_with_the_evaluators_name(
    values: tuple[float, ...], words: str
) -> None:
    pair = Pair(never, scores({1: [0.5]}), Constant(*values))
    with pytest.raises(EvaluatorError, match=f"constant gave .*{words}"):
        pair.run()


def test_the_bounds_themselves_are_scores() -> None:
    pair = Pair(never, scores({1: [0.5]}, ends=1), Constant(0.0, 1.0))
    assert pair.run().solution.answer.answer == "target1"


def test_an_evaluators_own_exception_reaches_the_caller() -> None:
    class Broken(Stated):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        Pair(never, scores({1: [0.5]}), Broken()).run()


def test_a_models_own_exception_reaches_the_caller() -> None:
    def target(call: Call) -> str:
        raise OSError("the model's")

    with pytest.raises(OSError, match="the model's"):
        search(never, target)


# Two vocabularies


class Shifted(ScriptedModel):
    """Token ids are code points plus one: another model's ids decode to something else."""

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return [token + 1 for token in super().encode(text)]

    def decode(self, tokens: list[int]) -> str:
        return super().decode([token - 1 for token in tokens])


def test_models_of_different_vocabularies_read_each_others_thoughts_as_text() -> None:
    pair = Pair(scores({2: [0.9], 3: [0.1]}), scores({1: [0.5], 3: [0.6]}, ends=3))
    graph = spec_search(
        draft=Shifted(pair.draft, name="small", vocabulary="code points + 1"),
        target=ScriptedModel(pair.target, name="large"),
        evaluator=Stated(),
    )
    solution = solve(QUESTION, graph, config=SearchConfig(tree_width=2, beam_width=1))
    path = solution.answer.path
    assert [t.source for t in path] == ["target", "draft", "target"]
    assert {t.vocabulary for t in path} == {"code points", "code points + 1"}
    assert {call.path for call in pair.draft.at(3)} == {path[0].text + path[1].text}
    assert {call.path for call in pair.target.at(3)} == {path[0].text + path[1].text}


def test_models_of_one_vocabulary_pass_on_the_sampled_ids() -> None:
    class Unwilling(ScriptedModel):
        """Cannot tokenise anything."""

        def encode(self, text: str, *, special: bool = False) -> list[int]:
            raise AssertionError(f"tokenised {text!r} again")

    path = search(scores({2: [0.9]}, ends=2), scores({1: [0.5]})).solution.answer.path
    model = Unwilling(lambda *_: "")
    assert model.decode(path_tokens(model, path)) == "".join(t.text for t in path)


# What is counted


def mixed_run(scope: Scope | None = None, **settings: Any) -> Run:
    """Drafts kept and rejected, pruned and duplicate; ends at the depth limit."""
    pair = Pair(
        scores({2: [0.9, 0.1, 0.8], 3: [0.6, 0.2, 0.1]}),
        scores({1: [0.5, 0.7, 0.6], 2: [0.65], 3: [0.3, 0.2]}),
    )
    defaults: dict[str, Any] = {"tree_width": 3, "beam_width": 2, "max_depth": 3}
    return pair.run(scope=scope, **(defaults | settings))


def test_the_ledger_adds_up_to_the_meter_of_the_callers_scope() -> None:
    scope = Scope()
    ledger = mixed_run(scope).solution.answer.ledger
    by_model: dict[str, Usage] = {}
    for entry in ledger.entries:
        by_model[entry.model] = by_model.get(entry.model, Usage()) + entry.usage
    assert by_model == scope.meter.totals()
    assert ledger.total == sum(scope.meter.totals().values(), Usage())
    roles = [(entry.model, entry.role) for entry in ledger.entries]
    assert sorted(roles) == [("large", "answered"), ("large", "revised"), ("small", "drafted")]


def test_an_evaluators_calls_are_in_the_ledger() -> None:
    scope = Scope()
    target = ScriptedModel(Pair(never, scores({1: [0.5]}, ends=1)).target, name="large")

    class Probing(Stated):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            target.probs([[1, 2, 3]], [[1]])
            return super().score(question, paths)

    graph = spec_search(draft=target, target=target, evaluator=Probing())
    ledger = solve(QUESTION, graph, config=SearchConfig(beam_width=1), scope=scope).answer.ledger
    (scored,) = [entry for entry in ledger.entries if entry.role == "scored"]
    assert scored.usage == Usage(prompt_tokens=3)
    assert ledger.total == scope.meter.totals()["large"]


def test_kept_and_rejected_add_up_to_what_was_drafted() -> None:
    run = mixed_run(draft_multiplier=2)
    ledger = run.solution.answer.ledger
    (drafted,) = [entry.usage for entry in ledger.entries if entry.role == "drafted"]
    assert ledger.kept + ledger.rejected == drafted
    kept = [t.usage for t in run.thoughts(source="draft") if t.status != "rejected"]
    assert ledger.kept == sum(kept, Usage())
    assert ledger.kept.generated_tokens > 0
    assert ledger.rejected.generated_tokens > 0


def test_drafts_that_never_became_thoughts_count_as_rejected() -> None:
    run = search(lambda _: "endless " * 20, scores({1: [0.5], 2: [0.5]}, ends=2), thought_tokens=40)
    ledger = run.solution.answer.ledger
    assert ledger.kept == Usage()
    assert ledger.rejected.generated_tokens == 2 * 40


def test_drafts_that_were_never_decided_on_count_as_rejected() -> None:
    scope = Scope()
    draft = cancelling(scores({2: [0.9]}), scope.cancel, depth=2)
    ledger = Pair(draft, scores({1: [0.5]})).run(scope=scope).solution.answer.ledger
    assert ledger.kept == Usage()
    assert ledger.rejected.generated_tokens > 0


def test_the_ledger_has_the_runs_wall_time() -> None:
    run = search(never, slowly(scores({1: [0.5]}, ends=1), 0.02))
    ledger = run.solution.answer.ledger
    assert ledger.wall_seconds >= 0.04
    assert ledger.outside_seconds == ledger.wall_seconds


# The tree


@pytest.mark.parametrize("settings", [{}, {"extra_large_thoughts": 1}, {"draft_multiplier": 2}])
def test_thoughts_are_written_once_and_every_path_is_connected(settings: dict[str, Any]) -> None:
    run = mixed_run(**settings)
    ids = [t.id for t in run.solution.thoughts]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids
    for thought in run.solution.thoughts:
        path = path_to(thought.id, run.solution.thoughts)
        assert [t.depth for t in path] == list(range(1, thought.depth + 1))
        assert all(t.status in ("accepted", "revised") for t in path[:-1])
    assert run.solution.answer.path == path_to(
        run.solution.answer.path[-1].id, run.solution.thoughts
    )


def test_no_thought_is_left_undecided() -> None:
    statuses = {t.status for t in mixed_run().solution.thoughts}
    assert statuses == {"accepted", "rejected", "revised", "pruned", "final"}


def test_events_tell_every_thought_that_ends_up_in_the_tree() -> None:
    run = mixed_run()
    told = {t.id for event in run.events for t in event.get("thoughts", ())}
    closing = run.solution.answer.path[-1]
    assert told | {closing.id} == {t.id for t in run.solution.thoughts}
    assert [e["answer"].text for e in run.of("answered")] == [run.solution.answer.text]


# Seeds


def random_steps(call: Call) -> str:
    chance = random.Random(f"{call.name} {call.seed} {call.index} {call.path}")
    score = round(chance.random(), 3)
    return step(call, score, answer=str(chance.randrange(9)) if score > 0.8 else None)


def outcome(seed: int) -> list[tuple[str, str, float | None]]:
    thoughts = search(random_steps, random_steps, seed=seed, max_depth=5, tree_width=3)
    return [(t.text, t.status, t.score) for t in thoughts.solution.thoughts]


def test_the_same_seed_gives_the_same_tree_and_another_one_another() -> None:
    assert outcome(1) == outcome(1)
    assert outcome(1) != outcome(2)


def test_no_two_batches_of_a_run_share_a_seed() -> None:
    run = mixed_run()
    batches = [{call.seed for call in w.at(d)} for w in (run.draft, run.target) for d in (1, 2, 3)]
    seeds = [seed for batch in batches for seed in batch]
    assert len(set(seeds)) == len(seeds)
    assert len(seeds) == 5


def test_runs_of_neighbouring_seeds_share_none() -> None:
    one, two = mixed_run(seed=1), mixed_run(seed=2)
    seeds = [{call.seed for w in (r.draft, r.target) for call in w.calls} for r in (one, two)]
    # the forced answer is greedy, its seed means nothing
    assert seeds[0] & seeds[1] <= {0}


# The way in


@pytest.mark.parametrize("question", ["", "  \n\t "])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(SearchError, match="the question is empty"):
        solve(question, Pair(never, never).graph())


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="task must be one of math, code, complete, general, not 'poetry'"
    ):
        search(never, never, task="poetry")


def test_models_draw_with_the_settings_of_the_run() -> None:
    seen = []

    class Noting(ScriptedModel):
        def generate(self, prompts: Any, params: Any) -> Any:
            seen.append(params)
            return super().generate(prompts, params)

    model = Noting(Pair(never, scores({1: [0.5]}, ends=1)).target)
    config = SearchConfig(temperature=0.3, top_p=0.8, top_k=7, min_p=0.1, thought_tokens=99)
    solve(QUESTION, spec_search(draft=model, target=model, evaluator=Stated()), config=config)
    (params,) = seen
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.3, 0.8, 7, 0.1)
    assert (params.max_tokens, params.stop, params.keep_stop) == (99, ("\n\n",), True)


def test_searches_in_threads_do_not_meet() -> None:
    scopes = [Scope() for _ in range(4)]
    runs: dict[int, Run] = {}
    threads = [
        threading.Thread(target=lambda i=i: runs.update({i: mixed_run(scopes[i], seed=i)}))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, scope in enumerate(scopes):
        ledger = runs[number].solution.answer.ledger
        assert ledger.total == sum(scope.meter.totals().values(), Usage())
        assert ledger.total == runs[0].solution.answer.ledger.total


# As a LangGraph graph


def test_the_state_survives_the_strict_serialiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langgraph._internal._serde.STRICT_MSGPACK_ENABLED", True)
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    pair = Pair(scores({2: [0.9, 0.1]}), scores({1: [0.5], 2: [0.4]}))
    graph = pair.graph().compile(checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": 1000}
    settings = SearchConfig(tree_width=2, beam_width=1, max_depth=2, refill="width")
    events: list[Any] = []
    unregister = register_serde_event_listener(events.append)
    try:
        final = graph.invoke({"question": QUESTION}, thread, context=settings)
        saved = graph.get_state(thread).values
        history = [snapshot.values for snapshot in graph.get_state_history(thread)]
    finally:
        unregister()
    assert events == []
    assert saved == final
    assert isinstance(saved["answer"], Answer)
    assert isinstance(saved["answer"].ledger.entries[0].usage, Usage)
    assert all(isinstance(t, Thought) for state in history for t in state.get("thoughts", []))
    assert saved["thresholds"] == {2: 0.5, 3: pytest.approx(0.9 * 0.5 + 0.1 * 0.4)}


def test_a_run_that_was_interrupted_goes_on_from_its_checkpoint() -> None:
    store = CountingStore()
    pair = Pair(scores({2: [0.9, 0.1]}, ends=2), scores({1: [0.5], 2: [0.4]}), thresholds=store)
    nodes = ["draft", "evaluate", "accept", "revise", "select", "answer"]
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    whole = pair.graph().compile().invoke({"question": QUESTION}, context=CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("langgraph._internal._serde.STRICT_MSGPACK_ENABLED", True)
        graph = pair.graph().compile(checkpointer=saver, interrupt_before=nodes)
    thread: Any = {"configurable": {"thread_id": "1"}}
    state = graph.invoke({"question": QUESTION}, thread, context=CONFIG)
    stops = 0
    while graph.get_state(thread).next:
        state, stops = graph.invoke(None, thread, context=CONFIG), stops + 1
    assert stops > len(nodes)
    assert state["answer"].text == whole["answer"].text
    assert state["thoughts"] == whole["thoughts"]
    assert len(store.observed) == 2


CONFIG = SearchConfig(tree_width=2, beam_width=1)


def test_scores_of_numpy_types_are_cast_before_they_reach_the_state() -> None:
    class Numpy(Stated):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            found: Any = [np.float32(stated_score(path[-1].text)) for path in paths]
            return found

    pair = Pair(never, scores({1: [0.5]}, ends=1), Numpy())
    graph = pair.graph().compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    state = graph.invoke({"question": QUESTION}, thread, context=CONFIG)
    assert [type(t.score) for t in state["thoughts"]] == [float, float]
    assert {type(beta) for beta in state["thresholds"].values()} == {float}


def test_a_search_works_inside_a_runnable_whose_recursion_limit_is_25() -> None:
    draft, target = everywhere(0.1, depths=8), everywhere(0.5, depths=8)
    pair = Pair(scores(draft), scores(target, ends=8))

    def answer(question: str) -> str:
        return solve(question, pair.graph(), config=CONFIG).answer.text

    text = RunnableLambda(answer).invoke(QUESTION)
    assert text.count("\n\n") == 7
    assert text.endswith("\\boxed{target0}")


def test_a_compiled_graph_works_in_a_batch() -> None:
    draft, target = everywhere(0.1, depths=8), everywhere(0.5, depths=8)
    pair = Pair(scores(draft), scores(target, ends=8))
    states = (
        pair.graph()
        .compile()
        .batch([{"question": QUESTION}] * 3, config={"recursion_limit": 1000}, context=CONFIG)
    )
    assert [len(state["answer"].path) for state in states] == [8, 8, 8]
    totals = [sum((e.usage for e in s["ledger"]), Usage()).generated_tokens for s in states]
    assert totals[0] == statistics.fmean(totals)


def test_the_graph_looks_as_it_is_drawn_in_the_documents() -> None:
    drawn = Pair(never, never).graph().compile().get_graph().draw_mermaid()
    assert drawn.strip() == (DOCS / "spec_search.mmd").read_text(encoding="utf-8").strip()


def test_by_default_replacements_fill_the_beams_open_places_only() -> None:
    assert SearchConfig().refill == "beam"
    for refill, num_revised in (("beam", 0), ("width", 2)):
        run = search(
            scores({2: [0.9, 0.1, 0.1]}, ends=2),
            scores({1: [0.5] * 3, 2: [0.6] * 3}, ends=2),
            refill=refill,
            tree_width=3,
            beam_width=1,
            max_depth=2,
        )
        assert len(run.thoughts(depth=2, source="target")) == num_revised


def test_a_path_that_outgrows_the_draft_ends_the_search_at_a_limit() -> None:
    draft = ScriptedModel(lambda *_: "more V=0.9\n\n", name="small", context_size=700)
    target = ScriptedModel(lambda p, s, i: f"step {len(p)}.{i} V=0.5\n\n", name="large")

    class Half:
        name = "half"

        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            return [0.5] * len(paths)

    graph = spec_search(draft=draft, target=target, evaluator=Half())
    solution = solve("q" * 20, graph, config=SearchConfig(max_depth=40, tree_width=2))
    assert solution.answer.finish_reason == "limit"
    assert solution.answer.text
    with pytest.raises(PromptTooLong):
        solve("q" * 2_000_000, graph)


def test_a_graph_without_a_context_runs_with_the_default_settings() -> None:
    target = ScriptedModel(lambda *_: "The answer is \\boxed{4}.", name="large")

    class One:
        name = "one"

        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            return [1.0] * len(paths)

    graph = spec_search(draft=target, target=target, evaluator=One()).compile()
    state = graph.invoke({"question": "2 + 2?"}, {"recursion_limit": 200})
    assert state["answer"].answer == "4"
