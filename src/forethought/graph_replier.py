"""Conversations answered by a graph: what it thinks is the reasoning, what it ends with the answer.

Reasoning streams thought by thought, as thoughts are committed. Where the answer is to be a call or
JSON, or its tokens' probabilities are asked for, another replier, the `speaker`, writes it behind
what was thought.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from pydantic_core import to_jsonable_python

from forethought.config import SamplingParams, require
from forethought.graphs import RunConfig
from forethought.graphs.registry import AnyGraph
from forethought.model import Message, Model, Scope, current_scope
from forethought.prompts import CONVERSATION, SPEAK, TOOLS
from forethought.replies import (
    Ask,
    Ended,
    Event,
    Noted,
    Piece,
    Replier,
    ReplyEnd,
    ReplyUsage,
    Turn,
)
from forethought.solve import Solution, run, within
from forethought.thoughts import EndReason

# of the time allowed, this share is the graph's where a speaker comes after it
_GRAPH_SHARE: Final = 0.8
_ENDS: Final[dict[EndReason, ReplyEnd]] = {
    "answer": "stop",
    "limit": "length",
    "lost": "length",
    "deadline": "deadline",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class GraphReplier:
    """Implements `forethought.replies.Replier` over a graph, e.g. from `spec_search`.

    `name` is what clients call it. `target` is the graph's large model, by whose tokens a
    conversation and an answer are counted. `config` are the settings of every reply; an ask's seed
    and deadline take their place. `speaker` writes calls, JSON and log-probabilities, e.g. a plain
    replier over the target; without one such asks are refused.

    A conversation of several turns is put to the graph as one text.
    """

    name: str
    graph: AnyGraph
    target: Model
    config: RunConfig | None = None
    speaker: Replier | None = None

    def reply(self, ask: Ask) -> Iterator[Event]:
        """See `Replier.reply`."""
        speaks = needs_speaker(ask)
        require(
            not speaks or self.speaker is not None,
            f"{self.name} was given no speaker: it cannot call tools, fill in a schema or tell "
            "log-probabilities",
        )
        scope = (current_scope() or Scope()).within(ask.deadline)
        with closing(within(scope, self._events(ask, scope))) as events:
            yield from events

    def _events(self, ask: Ask, scope: Scope) -> Generator[Event, None, None]:
        solution = yield from self._think(ask, scope)
        ended = self._ended(ask, solution)
        if ended.finish_reason == "cancelled":
            yield ended
        elif needs_speaker(ask):
            yield from self._speak(ask, solution, ended)
        else:
            text, end = self._cut(solution.answer.answer, ask.params)
            if text:
                yield Piece("text", text)
            num_tokens = ended.usage.reasoning_tokens + len(self.target.encode(text))
            usage = replace(ended.usage, output_tokens=num_tokens)
            yield replace(ended, usage=usage, finish_reason=end or ended.finish_reason)

    def _think(self, ask: Ask, scope: Scope) -> Generator[Event, None, Solution]:
        events = run(question_of(ask), self.graph, config=self._settings(ask), scope=scope)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                solution: Solution = end.value
                return solution
            if event["event"] == "committed":
                yield Piece("reasoning", event["text"])
            else:
                yield Noted(to_jsonable_python(event))

    def _settings(self, ask: Ask) -> RunConfig:
        kind: Any = self.graph.context_schema
        config: RunConfig = self.config or kind()
        share = _GRAPH_SHARE if needs_speaker(ask) else 1.0
        deadline = config.deadline if ask.deadline is None else ask.deadline * share
        return replace(config, seed=ask.params.seed, deadline=deadline)

    def _speak(self, ask: Ask, solution: Solution, ended: Ended) -> Iterator[Event]:
        """What the speaker makes of the thoughts; its usage is added to theirs."""
        assert self.speaker is not None
        thought = Turn("assistant", solution.answer.text)
        left = ask.deadline and max(0.001, ask.deadline - solution.answer.ledger.wall_seconds)
        turns = (*ask.turns, thought, Turn("user", SPEAK))
        started = time.perf_counter()
        for event in self.speaker.reply(replace(ask, turns=turns, deadline=left)):
            if isinstance(event, Ended):
                seconds = ended.details["seconds"] + time.perf_counter() - started
                usage = added(ended.usage, event.usage)
                yield Ended(event.finish_reason, usage, ended.details | {"seconds": seconds})
            else:
                yield event

    def _ended(self, ask: Ask, solution: Solution) -> Ended:
        answer, ledger = solution.answer, solution.answer.ledger
        sampled = {entry.role: entry.usage.generated_tokens for entry in ledger.entries}
        num_reasoning = sum(len(thought.tokens) for thought in answer.path)
        messages: list[Message] = [{"role": "user", "content": question_of(ask)}]
        num_input = len(self.target.chat(messages))
        usage = ReplyUsage(
            input_tokens=num_input,
            output_tokens=num_reasoning,
            reasoning_tokens=num_reasoning,
            draft_tokens=sampled.get("drafted", 0),
            target_tokens=sampled.get("revised", 0) + sampled.get("answered", 0),
            scored_tokens=ledger.tokens_by("scored"),
            cached_tokens=min(num_input, ledger.total.cached_tokens),
        )
        details = {
            "acceptance_rate": acceptance_rate(solution),
            "cached_tokens": ledger.total.cached_tokens,
            "finish_reason": answer.finish_reason,
            "seconds": ledger.wall_seconds,
            "thresholds": {str(depth): beta for depth, beta in solution.thresholds.items()},
        }
        return Ended(_ENDS[answer.finish_reason], usage, details)

    def _cut(self, text: str, params: SamplingParams) -> tuple[str, ReplyEnd | None]:
        """As much of an answer as was asked for, and the end where that is not all of it."""
        for stop in params.stop:
            text = text.partition(stop)[0]
        tokens = self.target.encode(text)
        if len(tokens) <= params.max_tokens:
            return text, None
        return self.target.decode(tokens[: params.max_tokens]), "length"


def needs_speaker(ask: Ask) -> bool:
    """Whether the answer has a form that no graph writes."""
    may_call = bool(ask.tools) and ask.tool_choice != "none"
    return may_call or ask.schema is not None or ask.top_logprobs is not None


def question_of(ask: Ask) -> str:
    """A conversation as one text: its last turn, behind what was said before it, if anything, and
    before what may be called."""
    *earlier, last = ask.turns
    question = last.content
    if earlier:
        said = "\n\n".join(f"{turn.role}: {_said(turn)}" for turn in earlier)
        question = CONVERSATION.format(earlier=said, last=_said(last))
    if ask.tools and ask.tool_choice != "none":
        tools = "\n".join(f"- {tool.name}: {tool.description}" for tool in ask.tools)
        question = TOOLS.format(question=question, tools=tools)
    return question


def _said(turn: Turn) -> str:
    calls = [f"{call.name}({call.arguments})" for call in turn.tool_calls]
    return "\n".join(part for part in (turn.content, *calls) if part)


def acceptance_rate(solution: Solution) -> float | None:
    """The part of the drafts that was accepted, in [0, 1], by draws; None where none was decided
    on."""
    drafts = [t for t in solution.thoughts if t.source == "draft" and t.status != "proposed"]
    num_drawn = sum(draft.num_draws for draft in drafts)
    kept = sum(draft.num_draws for draft in drafts if draft.status != "rejected")
    return kept / num_drawn if num_drawn else None


def added(one: ReplyUsage, other: ReplyUsage) -> ReplyUsage:
    """What both took; the conversation is counted once."""
    sums = {f.name: getattr(one, f.name) + getattr(other, f.name) for f in fields(ReplyUsage)}
    alone = {name: getattr(one, name) for name in ("input_tokens", "cached_tokens")}
    return ReplyUsage(**sums | alone)
