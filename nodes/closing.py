"""The forced end of a path that has none of its own: the target states the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from langgraph.runtime import Runtime

from forethought.config import SamplingParams
from forethought.errors import RemoteError
from forethought.evaluators import path_tokens
from forethought.model import Model
from forethought.nodes.state import Limited, RunState, entries_of, lost, node_scope
from forethought.prompts import Task
from forethought.thoughts import ROOT, EndReason, LedgerEntry, Thought

_ANSWER_TOKENS: Final = 64
_CODE_TOKENS: Final = 512


def answer_tokens(task: Task) -> int:
    """The most tokens of an answer behind the task's cue."""
    return _CODE_TOKENS if "```" in task.answer_close else _ANSWER_TOKENS


@dataclass(frozen=True, slots=True)
class ForcedEnd:
    """What a path was given for an end (nothing where there was no room), why it needed one, and
    what it cost."""

    added: list[Thought]
    reason: EndReason
    entries: list[LedgerEntry]


def forced_end(
    state: RunState,
    runtime: Runtime[Any],
    config: Limited,
    path: list[Thought],
    write: Callable[[], Thought | None],
) -> ForcedEnd:
    """The end that `write` gives `path`, in the time that is left to answer. Raises RemoteError
    where the model is lost and there is no path."""
    stop = state["stop"]
    with node_scope(state, config, answering=True) as scope:
        try:
            ending = write()
        except RemoteError as error:
            ending, stop = None, lost(path, runtime, error)
    reason = scope.stop_reason() or stop or "limit"
    return ForcedEnd([ending] if ending else [], reason, entries_of(scope, "answered"))


@dataclass(frozen=True, slots=True)
class Closing:
    """How `model` ends paths of `task`: greedily, behind the task's answer cue."""

    model: Model
    task: Task

    def end(
        self, opening: list[int], path: list[Thought], number: int, *, bridge: str = ""
    ) -> Thought | None:
        """The end of `path`, under the id `number`; None where the run may not write any more.

        Args:
            opening: the prompt's tokens before the path.
            bridge: text between path and cue, e.g. what closes a think block.
        """
        most, stop = answer_tokens(self.task), (self.task.answer_close,)
        params = SamplingParams(temperature=0.0, max_tokens=most, stop=stop, keep_stop=True)
        lead = bridge + self.task.answer_cue
        ending = self.written(opening, path, number, lead=lead, params=params)
        return ending and replace(ending, is_terminal=True)

    def written(
        self,
        opening: list[int],
        path: list[Thought],
        number: int,
        *,
        lead: str,
        params: SamplingParams,
    ) -> Thought | None:
        """What the model writes behind `path` and `lead`, text of our own, as far as `params` and
        the context allow; None as for `end`."""
        tokens = self.model.encode(lead, special=True)
        prompt = opening + path_tokens(self.model, path) + tokens
        limit = min(params.max_tokens, self.model.context_size - len(prompt) - 1)
        if limit < 1:
            return None
        (completion,) = self.model.generate([prompt], replace(params, max_tokens=limit))
        if not completion.text.strip():
            return None
        return Thought(
            id=number,
            parent=path[-1].id if path else ROOT,
            depth=len(path) + 1,
            text=lead + completion.text,
            tokens=tokens + completion.tokens,
            vocabulary=self.model.vocabulary,
            source="target",
            is_terminal=completion.finish_reason == "eos",
            usage=completion.usage,
            status="final",
        )
