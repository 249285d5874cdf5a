"""The target's turns in a chain of thought, one node per rule by which it gets one (Speculative
Thinking, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from forethought.model import Model
from forethought.nodes.chain import (
    ChainRuntime,
    ChainState,
    appended,
    chain_of,
    chain_settings,
    decided,
)
from forethought.nodes.paragraphs import has_cue, stance_in
from forethought.nodes.state import tell
from forethought.nodes.turns import Pen, Turn
from forethought.sentences import HINT, contradicts
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class Begin:
    """The target opens the chain with `begin_tokens`."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        num_tokens = chain_settings(runtime).begin_tokens
        turn = _turn(self, state, runtime, num_tokens)
        return _taken(turn, state, runtime) | {"owes_beginning": False}


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Rule 1: the target writes the sentence that the draft has tried, and one of both is adopted;
    which says whether reflection is counted and verification is due."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config, probe = chain_settings(runtime), state["probe"]
        assert probe is not None
        if not config.take_over:
            return {"probe": None} | _adopted(probe, [probe], runtime, state)
        opening, num_tokens = config.probe_opening, config.takeover_tokens
        turn = _turn(self, state, runtime, num_tokens, opening=opening)
        own, update = turn.thought, turn.update | {"probe": None}
        if own is None or not (own.text or own.is_terminal):
            return update | decided(state, runtime, [probe.marked("rejected")])
        stances = stance_in(probe, config), stance_in(own, config)
        takes_own = config.choose_target or contradicts(*stances)
        return update | _adopted(own if takes_own else probe, [probe, own], runtime, state)


@dataclass(frozen=True, slots=True)
class Verify:
    """Rule 2: the target goes on where a sentence calls for verification."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        num_tokens = chain_settings(runtime).verification_tokens
        turn = _turn(self, state, runtime, num_tokens)
        return _taken(turn, state, runtime) | {"has_cue": False}


@dataclass(frozen=True, slots=True)
class Recheck:
    """Rule 3: where reflection is excessive the target looks for wrong steps; the next time comes
    later and lasts longer."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config, num_tokens = chain_settings(runtime), state["recheck_tokens"]
        turn = _turn(self, state, runtime, num_tokens, opening=config.hint or HINT)
        limit = state["reflection_limit"] + config.limit_growth
        return _taken(turn, state, runtime) | {
            "num_reflections": 0,
            "recheck_tokens": min(num_tokens + config.recheck_growth, config.max_recheck_tokens),
            "reflection_limit": min(limit, config.max_reflection_limit),
            "at_delimiter": False,
        }


_RULES: Final = {Begin: "begin", TakeOver: "take_over", Verify: "verify", Recheck: "recheck"}


def _turn(
    node: Begin | TakeOver | Verify | Recheck,
    state: ChainState,
    runtime: ChainRuntime,
    num_tokens: int,
    *,
    opening: str = "",
) -> Turn:
    """The target's turn by a node's rule, told to whoever listens."""
    depth = len(chain_of(state)) + 1
    tell(runtime, "revising", depth=depth, count=1, rule=_RULES[type(node)])
    return Pen(node.model, "target").turn(state, runtime, num_tokens, opening=opening)


def _taken(turn: Turn, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
    """The update that adds what the target wrote, if anything."""
    added = appended(turn.thought) if turn.thought else {}
    return turn.update | added | decided(state, runtime, added.get("thoughts", []))


def _adopted(
    adopted: Thought, tried: list[Thought], runtime: ChainRuntime, state: ChainState
) -> dict[str, Any]:
    """The update that adds one of the sentences that were `tried`, the draft's first, and says what
    follows from it."""
    config, added = chain_settings(runtime), appended(adopted)
    left = [one.marked("rejected") for one in tried if one is not adopted]
    decisive = [adopted] if config.counted == "adopted" else tried
    cued = [adopted] if config.cues == "adopted" else [adopted, tried[0]]
    reflects = any(stance_in(sentence, config) == "reflection" for sentence in decisive)
    thoughts = [*left, *added.pop("thoughts", [])]
    return (
        added
        | decided(state, runtime, thoughts)
        | {
            "num_reflections": state["num_reflections"] + (config.recheck and reflects),
            "has_cue": config.verify and any(has_cue(sentence, config) for sentence in cued),
        }
    )
