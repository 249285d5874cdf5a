"""Conversations that a graph answers: its thoughts stream as reasoning, its answer as text."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from killed_run import slow_graph
from scripted_cot import choosing, stated, writing
from scripted_search import QUESTION, Pair, Stated, everywhere, scores

from forethought import Scope, ScriptedModel, SearchConfig, ThinkingConfig, spec_search
from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.errors import ConfigError
from forethought.evaluators import Judge
from forethought.graph_replier import GraphReplier, question_of
from forethought.graphs import speculative_cot
from forethought.model import Completion, current_scope, run_scope
from forethought.prompts import SPEAK, TASKS
from forethought.replies import (
    Ask,
    Called,
    Ended,
    Event,
    Noted,
    Piece,
    ReplyUsage,
    Tool,
    ToolCall,
    Turn,
)
from forethought.thoughts import Thought

SMALL = SearchConfig(tree_width=2, beam_width=1, max_depth=4, refill="width")
LARGE = ScriptedModel(lambda *_: "", name="large")


def asked(*turns: Turn, **options: Any) -> Ask:
    return Ask(turns or (Turn("user", QUESTION),), SamplingParams(), **options)


class Told(Stated):
    """Scores whatever the question has become."""

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        assert QUESTION in question
        return super().score(QUESTION, paths)


def search(depths: int = 3) -> Pair:
    draft = scores({1: [0.9], **{depth: [0.6, 0.3] for depth in range(2, 9)}}, ends=depths)
    table = scores(everywhere(0.5, depths=depths), ends=depths)
    return Pair(draft, table, evaluator=Told())


def replier(pair: Pair, **options: Any) -> GraphReplier:
    return GraphReplier("pair", pair.graph(), LARGE, options.pop("config", SMALL), **options)


def text_of(events: list[Event], kind: str) -> str:
    return "".join(e.text for e in events if isinstance(e, Piece) and e.kind == kind)


def ended(events: list[Event]) -> Ended:
    *before, last = events
    assert isinstance(last, Ended)
    assert not any(isinstance(event, Ended) for event in before)
    return last


@dataclass
class Teller:
    """Speaks its lines, and notes what it was asked."""

    lines: list[Event]
    asks: list[Ask] = field(default_factory=list)
    name: str = "teller"

    def reply(self, ask: Ask) -> Iterator[Event]:
        self.asks.append(ask)
        yield from self.lines


def test_thoughts_are_the_reasoning_and_the_answer_is_the_text() -> None:
    pair = search()
    events = list(replier(pair).reply(asked()))
    solution = pair.run().solution
    assert text_of(events, "reasoning") == solution.answer.text
    assert text_of(events, "text") == solution.answer.answer
    kinds = [event.kind for event in events if isinstance(event, Piece)]
    assert kinds == sorted(kinds)
    assert ended(events).finish_reason == "stop"


def test_reasoning_comes_before_the_run_has_ended() -> None:
    events = list(replier(search(4)).reply(asked()))
    first = next(n for n, event in enumerate(events) if isinstance(event, Piece))
    later = [event.data["event"] for event in events[first:] if isinstance(event, Noted)]
    assert "drafting" in later


def test_notes_are_plain_data_and_tell_of_rejected_drafts() -> None:
    events = list(replier(search()).reply(asked()))
    notes = [event.data for event in events if isinstance(event, Noted)]
    json.dumps(notes)
    statuses = {t["status"] for note in notes for t in note.get("thoughts", [])}
    assert {"proposed", "accepted", "rejected", "revised"} <= statuses
    assert all(note["event"] != "committed" for note in notes)


def test_the_usage_is_the_ledgers() -> None:
    pair = search()
    end = ended(list(replier(pair).reply(asked())))
    solution = pair.run().solution
    sampled = {e.role: e.usage.generated_tokens for e in solution.answer.ledger.entries}
    path = sum(len(t.tokens) for t in solution.answer.path)
    assert end.usage == ReplyUsage(
        input_tokens=len(LARGE.chat([{"role": "user", "content": QUESTION}])),
        output_tokens=path + len(solution.answer.answer),
        reasoning_tokens=path,
        draft_tokens=sampled["drafted"],
        target_tokens=sampled["revised"],
        scored_tokens=0,
        cached_tokens=0,
    )
    details = end.details
    assert details["thresholds"] == {str(k): v for k, v in solution.thresholds.items()}
    drafts = [t for t in solution.thoughts if t.source == "draft"]
    kept = sum(t.num_draws for t in drafts if t.status != "rejected")
    assert details["acceptance_rate"] == kept / sum(t.num_draws for t in drafts)
    assert details["finish_reason"] == "answer"
    assert details["seconds"] > 0


def test_what_scoring_computed_is_counted() -> None:
    def judged(prompt: str) -> list[float]:
        return [0.9, 0.1]

    pair = search()
    large = ScriptedModel(pair.target, judge=judged, name="large")
    small = ScriptedModel(pair.draft, name="small")
    graph = spec_search(draft=small, target=large, evaluator=Judge(large, TASKS["math"]))
    end = ended(list(GraphReplier("pair", graph, large, SMALL).reply(asked())))
    assert end.usage.scored_tokens > 0


@pytest.mark.parametrize("kind", ["chains", "turns"])
def test_other_graphs_reply_too(kind: str) -> None:
    if kind == "chains":
        draft, target = writing(stated(1, "1"), stated(2, "2")), choosing([0.1, 0.8, 0.1])
        graph: Any = speculative_cot(draft=draft, target=target)
        config: Any = CotConfig(num_chains=2)
    else:
        graph, config = slow_graph("thinking", pause=0.0), ThinkingConfig(max_tokens=900)
    events = list(GraphReplier("pair", graph, LARGE, config).reply(asked()))
    (answered,) = [e.data["answer"] for e in events if isinstance(e, Noted) and "answer" in e.data]
    assert text_of(events, "reasoning") == answered["text"] != ""
    assert text_of(events, "text") == answered["answer"]


def test_a_limit_is_told_as_length() -> None:
    config = replace(SMALL, max_depth=1)
    end = ended(list(replier(search(9), config=config).reply(asked())))
    assert end.finish_reason == "length"
    assert end.details["finish_reason"] == "limit"


def test_stop_strings_and_limits_cut_the_answer_and_not_the_reasoning() -> None:
    whole = list(replier(search()).reply(asked()))
    answer = text_of(whole, "text")
    cut = list(replier(search()).reply(replace(asked(), params=SamplingParams(max_tokens=1))))
    assert text_of(cut, "text") == answer[:1]
    assert ended(cut).finish_reason == ("length" if len(answer) > 1 else "stop")
    stopped = list(replier(search()).reply(replace(asked(), params=SamplingParams(stop=(answer,)))))
    assert text_of(stopped, "text") == ""
    assert text_of(cut, "reasoning") == text_of(stopped, "reasoning") == text_of(whole, "reasoning")


def test_the_asks_seed_and_deadline_are_the_runs() -> None:
    pair = search()
    ask = replace(asked(), params=SamplingParams(seed=77), deadline=1e-9)
    end = ended(list(replier(pair).reply(ask)))
    assert end.finish_reason == "deadline"
    pair = search()
    list(replier(pair).reply(replace(ask, deadline=None)))
    assert {call.seed >> 24 for call in pair.draft.calls} == {77}


# What the speaker writes

TOOL = Tool("weigh", "Weighs fruit.", {"type": "object"})
CALL = Called(ToolCall("1", "weigh", "{}"))
SPOKEN: list[Event] = [
    Piece("text", "{"),
    CALL,
    Ended("tool_calls", ReplyUsage(input_tokens=900, output_tokens=5, target_tokens=5)),
]


@pytest.mark.parametrize("form", [{"tools": (TOOL,)}, {"schema": {}}, {"top_logprobs": 2}])
def test_calls_and_json_are_the_speakers_behind_the_thoughts(form: dict[str, Any]) -> None:
    teller = Teller(SPOKEN)
    alone = ended(list(replier(search()).reply(asked())))
    events = list(replier(search(), speaker=teller).reply(asked(**form)))
    (ask,) = teller.asks
    assert [turn.role for turn in ask.turns] == ["user", "assistant", "user"]
    assert ask.turns[1].content == text_of(events, "reasoning") != ""
    assert ask.turns[2].content == SPEAK
    assert text_of(events, "text") == "{"
    assert CALL in events
    end = ended(events)
    assert end.finish_reason == "tool_calls"
    assert end.usage.target_tokens == alone.usage.target_tokens + 5
    assert end.usage.output_tokens == alone.usage.reasoning_tokens + 5
    assert end.usage.input_tokens < 900
    assert end.details["acceptance_rate"] == alone.details["acceptance_rate"]


def test_what_only_a_speaker_writes_is_refused_without_one() -> None:
    with pytest.raises(ConfigError, match="no speaker"):
        list(replier(search()).reply(asked(tools=(TOOL,))))
    assert ended(list(replier(search()).reply(asked(tools=(TOOL,), tool_choice="none"))))


def test_the_speaker_gets_the_time_that_is_left() -> None:
    teller = Teller(SPOKEN)
    list(replier(search(), speaker=teller).reply(asked(schema={}, deadline=50.0)))
    left = teller.asks[0].deadline
    assert left is not None
    assert 0 < left < 50.0


# Conversations


def test_one_turn_is_the_question_as_it_is() -> None:
    assert question_of(asked(Turn("user", " Why? "))) == " Why? "


def test_a_conversation_is_put_as_one_text() -> None:
    text = question_of(
        asked(
            Turn("system", "Be brief."),
            Turn("user", "How heavy is it?"),
            Turn("assistant", "", (ToolCall("1", "weigh", '{"what": "pear"}'),)),
            Turn("tool", "2 kg", tool_call_id="1"),
            tools=(TOOL,),
        )
    )
    parts = ["Be brief.", "How heavy is it?", 'weigh({"what": "pear"})', "2 kg", "Weighs fruit."]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


# Stopping


class Patient(ScriptedModel):
    """Writes until its run is stopped."""

    def __init__(self) -> None:
        super().__init__(lambda *_: "x", name="patient")
        self.writing, self.ended = threading.Event(), threading.Event()

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        scope = current_scope()
        assert scope is not None
        self.writing.set()
        while not scope.stop_reason():
            time.sleep(0.001)
        self.ended.set()
        return super().generate(prompts, params)


def patient() -> tuple[GraphReplier, Patient]:
    model = Patient()
    evaluator = Judge(model, TASKS["math"])
    graph = spec_search(draft=model, target=model, evaluator=evaluator)
    return GraphReplier("pair", graph, model), model


def test_closing_a_reply_frees_the_models_and_leaves_the_callers_scope_alone() -> None:
    one, model = patient()
    scope = Scope()
    with run_scope(scope):
        events = one.reply(asked())
        assert isinstance(next(events), Noted)
        assert current_scope() is scope
        model.writing.wait(5)
        events.close()  # type: ignore[attr-defined]
    assert model.ended.is_set()
    assert not scope.cancel.is_set()


def test_a_cancelled_scope_ends_the_reply() -> None:
    one, model = patient()
    scope = Scope()
    threading.Timer(0.05, scope.cancel.set).start()
    with run_scope(scope):
        events = list(one.reply(asked()))
    assert ended(events).finish_reason == "cancelled"
    assert model.ended.is_set()
