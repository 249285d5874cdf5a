"""The draft's turns in a chain of thought: a paragraph, and a glance at the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.config_thinking import ThinkingConfig
from forethought.model import Model
from forethought.nodes.chain import (
    ChainRuntime,
    ChainState,
    appended,
    chain_of,
    chain_settings,
    decided,
)
from forethought.nodes.state import tell
from forethought.nodes.turns import Pen, up_to
from forethought.prompts import task_named
from forethought.sentences import Stance, asks_to_verify, stance_of
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class WriteParagraph:
    """The draft writes up to its next delimiter, found on decoded text (Speculative Thinking,
    section 3)."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config = chain_settings(runtime)
        delimiter = task_named(config.task).delimiter
        tell(runtime, "drafting", depth=len(chain_of(state)) + 1, count=1)
        turn = Pen(self.model, "draft").turn(state, runtime, config.chunk_tokens, until=delimiter)
        thought = turn.thought
        if thought is None:
            return turn.update
        update = appended(thought)
        if not update:
            # not even one whole character fits any more
            return turn.update | {"stop": turn.update["stop"] or "limit"}
        update |= decided(state, runtime, update["thoughts"])
        return turn.update | update | {"at_delimiter": delimiter in thought.text}


@dataclass(frozen=True, slots=True)
class Probe:
    """The draft's next sentence is classified before it counts: the target is to replace it where
    it affirms or reflects, else it is thrown away, or kept with `reuse_statement_probe`."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config = chain_settings(runtime)
        tell(runtime, "probing", depth=len(chain_of(state)) + 1, count=1)
        opening = config.probe_opening
        turn = Pen(self.model, "draft").turn(
            state, runtime, config.takeover_tokens, opening=opening
        )
        probe, update = turn.thought, turn.update | {"at_delimiter": False}
        if probe is None:
            return update
        stance = stance_in(probe, config)
        tell(runtime, "proposed", thoughts=[probe], stance=stance)
        if not turn.is_cut_short and (config.not_reasoning or stance != "statement"):
            return update | {"probe": probe}
        joined: dict[str, Any] = {"thoughts": [probe.marked("rejected")]}
        if config.reuse_statement_probe:
            delimiter = task_named(config.task).delimiter
            probe = up_to(self.model, probe, delimiter)
            joined = appended(probe) | {"at_delimiter": delimiter in probe.text}
        return update | joined | decided(state, runtime, joined.get("thoughts", []))


def stance_in(thought: Thought, config: ThinkingConfig) -> Stance:
    """What the model's own words in a sentence do, whatever was put before them."""
    words = thought.text.removeprefix(config.probe_opening)
    return stance_of(words, word_boundary=config.word_boundary)


def has_cue(thought: Thought, config: ThinkingConfig) -> bool:
    """Whether the model's own words in a sentence call for verification."""
    words = thought.text.removeprefix(config.probe_opening)
    return asks_to_verify(words, word_boundary=config.word_boundary)
