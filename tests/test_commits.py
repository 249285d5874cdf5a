"""Text that is committed is never taken back, and all of it is the answer's text."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_cot import choosing, run_cot, stated, writing
from scripted_search import Call, Pair, Run, step
from scripted_thinking import think

from forethought.model import Scope

Events = list[dict[str, Any]]


def committed(events: Events) -> str:
    """The text that was committed; each event must go on where the one before ended."""
    text = ""
    for event in events:
        if event["event"] == "committed":
            assert event["offset"] == len(text)
            assert event["text"]
            text += event["text"]
    return text


def at_random(seed: int, *, ends: int, blank: float = 0.1) -> Callable[[Call], str]:
    """Thoughts with scores, ends and white space drawn from the place where they are written."""

    def script(call: Call) -> str:
        if call.is_closing:
            return "5}"
        dice = random.Random(f"{seed} {call.path} {call.name} {call.index}")
        if dice.random() < blank:
            return "\n\n"
        is_last = dice.random() < call.depth / ends
        lead = dice.choice(["", " ", "\n"])
        return lead + step(call, round(dice.random(), 2), answer="5" if is_last else None)

    return script


def search(seed: int, scope: Scope | None = None, **settings: Any) -> Run:
    script = at_random(seed, ends=settings.pop("ends", 8))
    return Pair(script, script).run(scope=scope, **settings)


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["beam", "mcts"]),
    widths=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    early=st.integers(0, 2),
    limits=st.tuples(st.integers(1, 7), st.sampled_from([60, 200, 16384])),
    answer_by=st.sampled_from(["best", "vote"]),
)
def test_the_committed_pieces_of_a_search_are_its_answer(
    seed: int,
    kind: str,
    widths: tuple[int, int],
    early: int,
    limits: tuple[int, int],
    answer_by: str,
) -> None:
    run = search(
        seed,
        search=kind,
        tree_width=widths[0],
        beam_width=widths[1],
        early_commits=early,
        max_depth=limits[0],
        max_tokens=limits[1],
        answer_by=answer_by,
    )
    assert committed(run.events) == run.solution.answer.text


class Counted:
    """A cancel event that is set by the `left`-th look at it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0

    def set(self) -> None:
        self.left = 0


def stopping(left: int) -> Scope:
    """A scope that is cancelled in the middle of a run."""
    return Scope(cancel=Counted(left))  # type: ignore[arg-type]


@given(seed=st.integers(0, 1000), left=st.integers(0, 30), kind=st.sampled_from(["beam", "mcts"]))
def test_a_search_that_is_cancelled_anywhere_has_committed_its_answer(
    seed: int, left: int, kind: str
) -> None:
    run = search(seed, scope=stopping(left), search=kind, tree_width=3, beam_width=2)
    assert committed(run.events) == run.solution.answer.text


SENTENCES = st.lists(
    st.sampled_from(
        [
            "So 2.\n\n",
            "Wait…",
            " Let me check…",
            "\n\n",
            "  ",
            "Yes…",
            "Two.\n\n ",
            "\\boxed{2}",
            "",
        ]
    ),
    max_size=12,
)


@given(draft=SENTENCES, target=SENTENCES, left=st.integers(0, 40), reuse=st.booleans())
def test_the_committed_pieces_of_a_chain_in_turns_are_its_answer(
    draft: list[str], target: list[str], left: int, reuse: bool
) -> None:
    settings = {"max_tokens": 900, "chunk_tokens": 40, "reuse_statement_probe": reuse}
    run = think(draft, target, scope=stopping(left), **settings)
    assert committed(run.events) == run.solution.answer.text


@given(
    shares=st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
    own=st.sampled_from(["Own.\n\n\\boxed{9}", " Own. ", ""]),
    left=st.integers(0, 12),
)
def test_the_committed_pieces_of_a_chosen_chain_are_its_answer(
    shares: list[float], own: str, left: int
) -> None:
    draft = writing(stated(1, "1"), " " + stated(2, "2"), "Nothing.")
    run = run_cot(draft, choosing(shares, own=own), scope=stopping(left), num_chains=3)
    assert committed(run.events) == run.answer.text


def test_what_a_beam_shares_is_committed_while_the_search_goes_on() -> None:
    run = search(3, tree_width=4, beam_width=2, max_depth=7)
    names = [e["event"] for e in run.events]
    assert names.index("committed") < len(names) - 1 - names[::-1].index("selected")


def first_commit(run: Run) -> float:
    """The part of all thoughts that were written before anything was committed."""
    written = [len(e["thoughts"]) if e["event"] == "proposed" else 0 for e in run.events]
    place = [e["event"] for e in run.events].index("committed")
    return sum(written[:place]) / sum(written)


@pytest.mark.parametrize(("early", "least", "most"), [(0, 0.25, 0.9), (1, 0.0, 0.25)])
def test_the_first_commit_comes_in_the_first_quarter_where_that_is_wanted(
    early: int, least: float, most: float
) -> None:
    runs = [
        search(seed, tree_width=4, beam_width=2, max_depth=12, ends=12, early_commits=early)
        for seed in range(40)
    ]
    assert least < median(first_commit(run) for run in runs) <= most


def test_an_early_step_keeps_one_thought_and_the_others_are_pruned() -> None:
    run = search(1, tree_width=4, beam_width=3, early_commits=1, max_depth=5)
    assert sum(t.status in ("accepted", "revised", "final") for t in run.thoughts(depth=1)) == 1
    second = {t.parent for t in run.thoughts(depth=2)}
    assert len(second) == 1


def test_an_early_step_of_the_targets_is_as_wide_as_it_is_told_to_be() -> None:
    run = search(1, tree_width=4, beam_width=2, early_commits=1, early_width=2, max_depth=5)
    assert len(run.thoughts(depth=1)) == 2
    assert len(run.thoughts(depth=2)) >= 4
    late = search(1, tree_width=4, beam_width=2, early_width=2, max_depth=5)
    assert len(late.thoughts(depth=1)) == 4


def test_every_event_says_by_which_schema_it_is_written() -> None:
    assert {event["schema"] for event in search(1).events} == {1}
