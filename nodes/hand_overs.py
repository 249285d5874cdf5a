"""The target's turns in a chain of thought, one node per rule by which it gets one (Speculative
Thinking, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Begin:
    """The target opens the chain with `begin_tokens`."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        num_tokens = chain_settings(runtime).begin_tokens
        pen = _pen(self.model, state, runtime, "begin")
        turn = pen.turn(state, runtime, num_tokens)
        return _taken(turn, state, runtime) | {"owes_beginning": False}


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Rule 1: the target writes the sentence that the draft has tried, and one of both is adopted;
    which says whether reflection is counted and verification is due."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config, probe = chain_settings(runtime), state["probe"]
        assert probe is not None
        opening, num_tokens = config.probe_opening, config.takeover_tokens
        pen = _pen(self.model, state, runtime, "take_over")
        turn = pen.turn(state, runtime, num_tokens, opening=opening)
        own, update = turn.thought, turn.update | {"probe": None}
        if own is None or not (own.text or own.is_terminal):
            return update | decided(state, runtime, [probe.marked("rejected")])
        stances = stance_in(probe, config), stance_in(own, config)
        adopted, left = own, probe
        if not (config.choose_target or contradicts(*stances)):
            adopted, left = probe, own
        decisive = [adopted] if config.counted == "adopted" else [own, probe]
        reflects = any(stance_in(sentence, config) == "reflection" for sentence in decisive)
        cued = [adopted] if config.cues == "adopted" else [adopted, probe]
        added = appended(adopted)
        thoughts = [left.marked("rejected"), *added.pop("thoughts", [])]
        return (
            update
            | added
            | decided(state, runtime, thoughts)
            | {
                "num_reflections": state["num_reflections"] + reflects,
                "has_cue": any(has_cue(sentence, config) for sentence in cued),
            }
        )


@dataclass(frozen=True, slots=True)
class Verify:
    """Rule 2: the target goes on where a sentence calls for verification."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        num_tokens = chain_settings(runtime).verification_tokens
        pen = _pen(self.model, state, runtime, "verify")
        turn = pen.turn(state, runtime, num_tokens)
        return _taken(turn, state, runtime) | {"has_cue": False}


@dataclass(frozen=True, slots=True)
class Recheck:
    """Rule 3: where reflection is excessive the target looks for wrong steps; the next time comes
    later and lasts longer."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config, num_tokens = chain_settings(runtime), state["recheck_tokens"]
        hint = config.hint or HINT
        pen = _pen(self.model, state, runtime, "recheck")
        turn = pen.turn(state, runtime, num_tokens, opening=hint)
        limit = state["reflection_limit"] + config.limit_growth
        return _taken(turn, state, runtime) | {
            "num_reflections": 0,
            "recheck_tokens": min(num_tokens + config.recheck_growth, config.max_recheck_tokens),
            "reflection_limit": min(limit, config.max_reflection_limit),
            "at_delimiter": False,
        }


def _pen(model: Model, state: ChainState, runtime: ChainRuntime, rule: str) -> Pen:
    tell(runtime, "revising", depth=len(chain_of(state)) + 1, count=1, rule=rule)
    return Pen(model, "target")


def _taken(turn: Turn, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
    added = appended(turn.thought) if turn.thought else {}
    return turn.update | added | decided(state, runtime, added.get("thoughts", []))
