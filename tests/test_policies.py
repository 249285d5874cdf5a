"""Acceptance policies: which drafts stand, who writes first, and how many each model writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from scripted_search import QUESTION, Pair, Run, Stated, everywhere, never, scores

from forethought.config import PolicyName, SearchConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError
from forethought.graphs import spec_search
from forethought.nodes import Rules
from forethought.nodes.policies import AcceptancePolicy, policy_of
from forethought.presets import PRESETS, preset_named
from forethought.solve import solve
from forethought.thoughts import Thought

HIGH = scores(everywhere(0.9, depths=4), ends=3)
LOW = scores(everywhere(0.2, depths=4), ends=3)


def draft(score: float, number: int = 1) -> Thought:
    return Thought(
        id=number,
        parent=0,
        depth=1,
        text="t\n\n",
        tokens=[1],
        vocabulary="v",
        source="draft",
        is_terminal=False,
        score=score,
    )


def search(policy: PolicyName, **settings: Any) -> Run:
    return Pair(LOW, HIGH).run(policy=policy, **settings)


def accepts(policy: PolicyName, score: float, beta: float | None = None, **settings: Any) -> bool:
    config = SearchConfig(policy=policy, **settings)
    return policy_of(config).accepts(draft(score), beta, config)


def test_every_policy_that_can_be_set_exists() -> None:
    for name in get_args(PolicyName):
        assert policy_of(SearchConfig(policy=name)) is not None


@pytest.mark.parametrize(("score", "stands"), [(0.79, False), (0.8, True), (0.81, True)])
def test_the_moving_average_accepts_from_beta_on(score: float, stands: bool) -> None:
    assert accepts("ema", score, 0.8) is stands


def test_the_moving_average_refuses_to_decide_without_beta() -> None:
    with pytest.raises(ValueError, match="before beta was set"):
        accepts("ema", 0.9)


@pytest.mark.parametrize(("score", "stands"), [(0.69, False), (0.7, True)])
def test_a_fixed_threshold_ignores_beta(score: float, stands: bool) -> None:
    assert accepts("fixed", score, 0.1) is stands
    assert accepts("fixed", score, 0.99) is stands


def test_a_fixed_threshold_drafts_from_the_root_on() -> None:
    run = Pair(HIGH, never).run(policy="fixed", tree_width=1)
    assert run.names(depth=1, source="draft") == ["draft1.0"]
    assert run.solution.answer.answer == "draft0"


def test_what_a_fixed_threshold_rejects_the_target_writes() -> None:
    run = search("fixed", tree_width=1)
    assert {t.status for t in run.thoughts(source="draft")} == {"rejected"}
    assert run.solution.answer.answer == "target0"


def test_random_acceptance_keeps_its_share_and_is_fixed_by_the_seed() -> None:
    config = SearchConfig(policy="random", draft_share=0.3)
    policy = policy_of(config)
    stands = [policy.accepts(draft(0.0, number), None, config) for number in range(4000)]
    assert 0.27 < sum(stands) / 4000 < 0.33
    again = [policy.accepts(draft(1.0, number), 0.5, config) for number in range(4000)]
    assert again == stands, "neither score nor beta matters"
    other = replace(config, seed=1)
    assert [policy.accepts(draft(0.0, n), None, other) for n in range(4000)] != stands


def test_always_leaves_everything_to_the_draft() -> None:
    run = Pair(LOW, never).run(policy="always")
    assert run.solution.answer.answer.startswith("draft")
    assert run.thoughts(source="target") == []


def test_never_leaves_everything_to_the_target() -> None:
    run = Pair(never, HIGH).run(policy="never")
    assert run.thoughts(source="draft") == []
    assert [plan.num_drafts for plan in run.solution.answer.ledger.plans] == [0, 0, 0]


@pytest.mark.parametrize(("share", "num_drafts"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_a_fixed_share_of_the_thoughts_is_drafted_untested(share: float, num_drafts: int) -> None:
    run = search("share", draft_share=share, tree_width=4, refill="beam", max_depth=1)
    assert len(run.draft.at(1)) == num_drafts
    assert len(run.target.at(1)) == 4 - num_drafts
    assert run.thoughts(status="rejected") == []


def test_a_draft_that_writes_nothing_is_stood_in_for_by_the_target() -> None:
    run = Pair(lambda _: "", HIGH).run(policy="always")
    assert run.solution.answer.answer == "target0"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_of_the_search(name: str) -> None:
    config = preset_named(name).applied(SearchConfig(seed=3))
    assert config.seed == 3
    for setting, value in preset_named(name).settings.items():
        assert getattr(config, setting) == value


def test_rsd_follows_one_path_and_accepts_from_0_7_on() -> None:
    config = preset_named("rsd").applied(SearchConfig(max_depth=4))
    assert (config.tree_width, config.beam_width, config.temperature) == (1, 1, 0.0)
    assert config.policy == "fixed"
    assert config.threshold == 0.7


def test_spec_reason_accepts_a_seven_of_nine() -> None:
    config = preset_named("spec-reason").applied(SearchConfig())
    policy = policy_of(config)
    assert policy.accepts(draft(7 / 9), None, config)
    assert not policy.accepts(draft(6 / 9), None, config)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"preset must be one of spec-search, .*, not 'magic'"):
        preset_named("magic")


class Stubborn(AcceptancePolicy):
    """Accepts what a score of one digit does, and drafts one thought less than wanted."""

    def num_drafts(self, config: SearchConfig) -> int:
        return config.tree_width - 1

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        return len(str(draft.score)) == 3


def test_a_graph_takes_a_policy_of_its_own_in_place_of_the_named_one() -> None:
    pair = Pair(scores({1: [0.1, 0.95], 2: [0.1, 0.2]}, ends=2), scores({1: [0.9], 2: [0.9]}))
    graph = spec_search(
        draft=ScriptedModel(pair.draft, name="small"),
        target=ScriptedModel(pair.target, name="large"),
        evaluator=Stated(),
        rules=Rules(own_policy=Stubborn()),
    )
    config = SearchConfig(tree_width=3, beam_width=1, max_depth=2, policy="never", refill="width")
    thoughts = solve(QUESTION, graph, config=config).thoughts
    by_draft = [t.status for t in thoughts if t.source == "draft" and t.depth == 1]
    assert sorted(by_draft) == ["pruned", "rejected"]
