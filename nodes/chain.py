"""The state of a chain of thought that two models write in turns, and how it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from forethought.config_thinking import ThinkingConfig
from forethought.nodes.commits import commit
from forethought.nodes.state import RunState, SearchInput, begun, tell
from forethought.prompts import task_named
from forethought.thoughts import ROOT, Status, Thought, path_to


class ChainState(RunState):
    """What the nodes of one run share.

    `end` is the id of the chain's last thought, 0 before there is one; `is_ended` says that a model
    has ended its text there, `at_delimiter` that a paragraph of the draft has. `thoughts` has the
    sentences that were not adopted, too. `probe` is the draft's sentence while the target writes in
    its place; `has_cue` says that the sentence before calls for verification. `num_reflections`
    counts up to `reflection_limit`, where the target writes `recheck_tokens`. `owes_beginning`: the
    target is to open the chain.
    """

    end: int
    is_ended: bool
    at_delimiter: bool
    probe: Thought | None
    has_cue: bool
    num_reflections: int
    reflection_limit: int
    recheck_tokens: int
    owes_beginning: bool


ChainRuntime = Runtime[ThinkingConfig]


def chain_settings(runtime: ChainRuntime) -> ThinkingConfig:
    """The run's settings; the defaults where the caller gave no context."""
    # a graph's context is None at run time when its caller passes none, whatever its type says
    return runtime.context or ThinkingConfig()


def chain_of(state: ChainState) -> list[Thought]:
    """The chain so far."""
    return path_to(state["end"], state["thoughts"])


def appended(thought: Thought) -> dict[str, Any]:
    """The update that adds `thought` to the chain; nothing where it says nothing."""
    if not thought.text and not thought.is_terminal:
        return {}
    written: Status = "accepted" if thought.source == "draft" else "revised"
    added = thought.marked("final" if thought.is_terminal else written)
    return {"thoughts": [added], "end": added.id, "is_ended": added.is_terminal}


def decided(state: ChainState, runtime: ChainRuntime, thoughts: list[Thought]) -> dict[str, Any]:
    """Tell what became of `thoughts`; the update that keeps them, and commits those that join the
    chain."""
    tell(runtime, "decided", thoughts=thoughts)
    joined = [thought for thought in thoughts if thought.status != "rejected"]
    return {"thoughts": thoughts, **commit(state, runtime, [*chain_of(state), *joined])}


@dataclass(frozen=True, slots=True)
class OpenChain:
    """Begins an empty chain."""

    def __call__(self, state: SearchInput, runtime: ChainRuntime) -> dict[str, Any]:
        config = chain_settings(runtime)
        task_named(config.task)
        return begun(state, config) | {
            "end": ROOT,
            "is_ended": False,
            "at_delimiter": False,
            "probe": None,
            "has_cue": False,
            "num_reflections": 0,
            "reflection_limit": config.reflection_limit,
            "recheck_tokens": config.recheck_tokens,
            "owes_beginning": config.begin,
        }
