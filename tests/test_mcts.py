"""MCTS: the walk's worth of a child, what is backed up, and whole searches on scripted models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted_search import Call, Pair, Script, never, scores, step

from forethought.config import SearchConfig
from forethought.errors import ConfigError
from forethought.nodes.mcts import Tree, priors, puct, walk
from forethought.thoughts import ROOT, Thought

WALKS = SearchConfig(search="mcts", num_paths=3, max_depth=3)


def thought(number: int, parent: int = ROOT, **known: Any) -> Thought:
    """A thought whose depth is told by its number's digits: 12 is the second child of 1."""
    fields: dict[str, Any] = {
        "depth": len(str(number)),
        "text": f"t{number}\n\n",
        "tokens": [number],
        "vocabulary": "v",
        "source": "target",
        "is_terminal": False,
        "score": 0.5,
        "status": "revised",
    }
    return Thought(id=number, parent=parent, **(fields | known))


def test_the_worked_value_of_puct() -> None:
    assert puct(0.6, 0.25, num_parent=4, num_child=1) == pytest.approx(0.912564, abs=1e-6)


def test_an_unvisited_parents_children_are_told_apart_by_value_alone() -> None:
    assert puct(0.6, 0.9, num_parent=0, num_child=0) == 0.6


def test_priors_are_exp_of_the_mean_log_probability_over_siblings() -> None:
    siblings = [thought(1, logprob=-0.5), thought(2, logprob=-1.5)]
    assert priors(siblings) == pytest.approx([0.731059, 0.268941], abs=1e-6)


def test_siblings_are_equal_where_one_has_no_log_probability() -> None:
    assert priors([thought(1, logprob=-0.5), thought(2)]) == [0.5, 0.5]


def test_the_first_walk_goes_to_the_best_scored_child() -> None:
    tree = [thought(1, score=0.3), thought(2, score=0.8), thought(3, score=0.8)]
    assert Tree(tree, [], WALKS).descend() == 2


def test_rejected_thoughts_are_no_part_of_the_tree() -> None:
    tree = [thought(1, score=0.3), thought(2, score=0.8, status="rejected")]
    assert Tree(tree, [], WALKS).descend() == 1


def test_a_visited_childs_worth_is_its_mean_backed_up_value_and_exploration() -> None:
    tree = [thought(1, score=0.9), thought(2, score=0.5)]
    ends = [thought(11, 1, score=0.0, is_terminal=True)]
    # child 1: 0 + 1.25 * 1 / 2 * 0.5; child 2: 0.5 + 1.25 * 1 / 1 * 0.5
    assert Tree([*tree, *ends], [11], WALKS).descend() == 2


def test_a_walk_stops_at_the_leaf_to_be_expanded() -> None:
    tree = [thought(1, score=0.3), thought(2, score=0.8)]
    assert walk(tree, [], tried=[ROOT], config=WALKS) == ([2], [])


def test_ends_are_backed_up_until_all_paths_are_walked() -> None:
    tree = [thought(1, is_terminal=True, score=0.9), thought(2, is_terminal=True, score=0.1)]
    frontier, ends = walk(tree, [], tried=[ROOT], config=WALKS)
    assert frontier == []
    # 1: 0.9, then 0.9 + 1.25 * sqrt(1) / 2 * .5 = 1.21 against 0.1 + .625; then sqrt(2), 1 / 3
    assert ends == [1, 1, 1]


def test_exploration_comes_to_a_worse_child_in_time() -> None:
    tree = [thought(1, is_terminal=True, score=0.6), thought(2, is_terminal=True, score=0.5)]
    assert walk(tree, [], tried=[ROOT], config=WALKS)[1] == [1, 2, 1]


def test_a_path_at_the_greatest_depth_ends_with_its_score() -> None:
    deep = [thought(1), thought(11, 1), thought(111, 11, score=0.7)]
    assert walk(deep, [], tried=[11], config=WALKS) == ([], [111, 111, 111])


def test_a_leaf_after_which_nothing_came_is_worth_nothing() -> None:
    tree = [thought(1, score=0.6), thought(2, score=0.5)]
    # 1 was expanded in vain: backed up as 0, so that 2 is better then
    assert walk(tree, [], tried=[1], config=WALKS) == ([2], [1])


def answering(ends: int, best: int = 0) -> Script:
    """Thoughts of which draw `best` scores 0.9 and the others 0.4; those of depth `ends` answer."""

    def script(call: Call) -> str:
        if call.is_closing:
            return "7} and more"
        score = 0.9 if call.index == best else 0.4
        answer = f"{call.name}{call.index}" if call.depth == ends else None
        return step(call, score, answer=answer)

    return script


def search(draft: Script, target: Script, **settings: Any) -> Any:
    return Pair(draft, target).run(**({"search": "mcts", "num_paths": 2} | settings))


def test_a_search_walks_as_many_paths_as_asked_and_answers_by_the_best() -> None:
    run = search(never, answering(2), policy="never", tree_width=3, num_paths=4)
    assert run.solution.answer.answer == "target0"
    assert run.solution.answer.finish_reason == "answer"
    # the root once, its best child at the first walk; later walks come to other leaves
    assert len(run.target.at(1)) == 3
    assert len(run.target.at(2)) >= 3


def test_every_expansion_drafts_for_one_path() -> None:
    run = search(answering(3), answering(3))
    assert all(len({t.parent for t in event["thoughts"]}) == 1 for event in run.of("proposed"))
    assert all(plan.num_drafts in (0, 2) for plan in run.solution.answer.ledger.plans)


def test_nothing_accepted_is_pruned() -> None:
    run = search(answering(3), answering(3))
    assert run.thoughts(status="pruned") == []


def test_a_threshold_is_kept_per_depth_and_moves_when_the_depth_is_come_to_again() -> None:
    table = {1: [0.9, 0.8], 2: [0.6, 0.5], 3: [0.5, 0.4]}
    run = search(scores({2: [0.0], 3: [0.0]}), scores(table, ends=3), num_paths=6)
    betas = run.solution.thresholds
    assert betas[2] == pytest.approx(0.85)
    second = [t for t in run.thoughts(depth=2, source="target") if t.score is not None]
    assert len({t.parent for t in second}) == 2, "the walks came to both children of the root"
    once = 0.9 * 0.85 + 0.1 * 0.55
    assert betas[3] == pytest.approx(0.9 * once + 0.1 * 0.55)


def test_a_search_that_runs_out_of_tokens_closes_its_best_path() -> None:
    run = search(never, answering(9), policy="never", max_tokens=60)
    assert run.solution.answer.finish_reason == "limit"
    assert run.solution.answer.answer == "7"


def test_log_probabilities_are_asked_for_only_by_mcts() -> None:
    assert search(answering(2), answering(2)).solution.thoughts[0].logprob is not None
    beam = search(answering(2), answering(2), search="beam")
    assert beam.solution.thoughts[0].logprob is None


def test_one_path_of_mcts_is_greedy_descent() -> None:
    run = search(never, answering(3, best=1), policy="never", num_paths=1)
    assert [t.text.split()[0] for t in run.solution.answer.path] == [
        "target1.1",
        "target2.1",
        "target3.1",
    ]


def test_the_settings_of_mcts_are_checked() -> None:
    with pytest.raises(ConfigError, match="num_paths must be at least 1, not 0"):
        replace(WALKS, num_paths=0)
