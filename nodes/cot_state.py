"""The state of Speculative Chain-of-Thought, and what its nodes share."""

from __future__ import annotations

from langgraph.runtime import Runtime

from forethought.config_cot import CotConfig
from forethought.nodes.state import RunState
from forethought.thoughts import Thought


class CotState(RunState):
    """What the nodes of one run share.

    `chains` are those in work, at depth 1: the draft's, numbered from 1 in the order in which they
    are offered, then the target's own, if it had to think again; the last node writes them and the
    answer, at depth 2, to `thoughts`. `choice` is the number that the selector gave, or None before
    it did: that of a chain, or the one behind the last, which says that all are wrong. `shares`, in
    [0, 1], are the parts of the selector's probability that fell to each number; empty where no
    model was asked.
    """

    chains: list[Thought]
    choice: int | None
    shares: list[float]


CotRuntime = Runtime[CotConfig]


def cot_settings(runtime: CotRuntime) -> CotConfig:
    """The run's settings; the defaults where the caller gave no context."""
    return runtime.context or CotConfig()


def drafts_of(state: CotState) -> list[Thought]:
    """The chains that the draft wrote, in the order of their numbers."""
    return [thought for thought in state["chains"] if thought.source == "draft"]


def is_all_wrong(state: CotState) -> bool:
    """Whether the selector has picked none of the chains."""
    return state["choice"] == len(drafts_of(state)) + 1


def chain_to_answer(state: CotState) -> Thought | None:
    """The chain that the answer is written from: the target's own, else the one picked, else, where
    the run was stopped before that, the best that there is: by its share, then one that came to its
    own end, then the first. None where nothing was written."""
    own = [thought for thought in state["chains"] if thought.source == "target"]
    if own:
        return own[-1]
    drafts = drafts_of(state)
    if state["choice"] is not None and not is_all_wrong(state):
        return drafts[state["choice"] - 1]
    return max(drafts, key=lambda t: (t.score or 0.0, t.is_terminal), default=None)
