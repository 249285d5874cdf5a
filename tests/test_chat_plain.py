"""Replies of one model: reasoning apart, calls recognised, conversations in every shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from forethought.chat import PlainReplier
from forethought.chat.calls import CallParser, before_bare_call, calls_grammar
from forethought.chat.conversation import merged, prompt_of
from forethought.config import SamplingParams
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError
from forethought.model import Completion, Delta, Message, Scope, Usage, run_scope
from forethought.replies import (
    Ask,
    Called,
    Ended,
    Event,
    Piece,
    Tool,
    ToolCall,
    Turn,
)

ADD = Tool(
    "add",
    "Adds two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
PING = Tool("ping", "Says hello.")


def ask(text: str = "Hello.", **settings: Any) -> Ask:
    params = settings.pop("params", SamplingParams(temperature=0))
    return Ask((Turn("user", text),), params, **settings)


def replies(*texts: str, thinks: bool = False) -> tuple[PlainReplier, list[str]]:
    """A replier whose model writes these texts one call after another, and the prompts it got."""
    prompts: list[str] = []
    left: Iterator[str] = iter(texts)

    def reply(prompt: str, seed: int, index: int) -> str:
        prompts.append(prompt)
        return next(left)

    model = ScriptedModel(reply)
    return PlainReplier(model, reasoning="on" if thinks else "off"), prompts


def text_of(events: list[Event], kind: str = "text") -> str:
    return "".join(e.text for e in events if isinstance(e, Piece) and e.kind == kind)


def end_of(events: list[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    assert not any(isinstance(event, Ended) for event in events[:-1])
    return events[-1]


def test_an_answer_streams_and_its_usage_is_exact() -> None:
    replier, prompts = replies("Good day.")
    events = list(replier.reply(ask()))
    assert text_of(events) == "Good day."
    end = end_of(events)
    assert end.finish_reason == "stop"
    assert end.usage.input_tokens == len(prompts[0])
    assert (end.usage.output_tokens, end.usage.target_tokens, end.usage.draft_tokens) == (9, 9, 0)


def test_reasoning_comes_apart_and_stop_strings_pass_over_it() -> None:
    replier, prompts = replies("I add.</think>", "It is END 4.", thinks=True)
    events = list(replier.reply(ask(params=SamplingParams(stop=("END", "add")))))
    assert text_of(events, "reasoning") == "I add."
    assert text_of(events) == "It is "
    assert prompts[0].endswith("<think>\n")
    assert prompts[1] == prompts[0] + "I add.</think>\n\n"
    assert end_of(events).usage.reasoning_tokens == len("I add.</think>") - len("</think>")


def test_reasoning_that_reaches_the_limit_ends_the_reply() -> None:
    replier, prompts = replies("I think on and on.", thinks=True)
    events = list(replier.reply(ask(params=SamplingParams(max_tokens=5))))
    assert (text_of(events, "reasoning"), len(prompts)) == ("I thi", 1)
    assert end_of(events).finish_reason == "length"


CALL = '{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


@pytest.mark.parametrize(
    "opening",
    ["<tool_call>", '{"name": "add"', '```json\n{\n  "name": "add"', '{{"name"', '  ```\n{"name"'],
)
def test_a_call_is_recognised_however_the_model_begins_it(opening: str) -> None:
    replier, prompts = replies(opening, CALL)
    events = list(replier.reply(ask(tools=(ADD,))))
    (called,) = [event for event in events if isinstance(event, Called)]
    assert (called.call.name, json.loads(called.call.arguments)) == ("add", {"a": 1, "b": 2})
    assert end_of(events).finish_reason == "tool_calls"
    assert text_of(events) == ""
    assert prompts[1] == prompts[0] + "<tool_call>\n"


def test_text_before_a_call_is_part_of_the_reply() -> None:
    replier, prompts = replies("I look it up. <tool_call>", CALL)
    events = list(replier.reply(ask(tools=(ADD,))))
    assert text_of(events) == "I look it up. "
    assert prompts[1] == prompts[0] + "I look it up. <tool_call>\n"


@pytest.mark.parametrize("text", ["{", "```json\n[1]\n```", '{"nam', "A < b <tool", '{"n": 1}'])
def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    replier, prompts = replies(text)
    events = list(replier.reply(ask(tools=(ADD,))))
    assert (text_of(events), len(prompts)) == (text, 1)
    assert end_of(events).finish_reason == "stop"


def test_a_forced_call_is_opened_for_the_model() -> None:
    for choice in ("required", "add"):
        replier, prompts = replies(CALL)
        events = list(replier.reply(ask(tools=(ADD, PING), tool_choice=choice)))
        assert prompts[0].endswith("assistant: <tool_call>\n")
        assert end_of(events).finish_reason == "tool_calls"


def test_no_tools_are_told_of_where_none_may_be_called() -> None:
    replier, prompts = replies("<tool_call>")
    events = list(replier.reply(ask(tools=(ADD,), tool_choice="none")))
    assert text_of(events) == "<tool_call>"
    assert "Adds two" not in prompts[0]


def test_several_calls_come_one_by_one() -> None:
    parser = CallParser()
    text = f"{CALL}\n<tool_call>\n{CALL}"
    found = [call for letter in text for call in parser.add(letter)]
    assert [call.name for call in found] == ["add", "add"]
    assert found[0].id != found[1].id


def test_a_grammar_of_calls_names_each_tool() -> None:
    grammar = calls_grammar([ADD, PING])
    assert r'"{\"name\": \"ping\", \"arguments\": " r' in grammar
    with pytest.raises(ConfigError, match="pattern"):
        calls_grammar([Tool("odd", parameters={"properties": {"a": {"pattern": "^a$"}}})])


def test_held_back_text_comes_out_in_the_end() -> None:
    done = Completion("{", [1], "eos", Usage())
    deltas = [Delta("{"), Delta("", completion=done)]
    assert list(before_bare_call(iter(deltas))) == deltas


def test_turns_are_merged_as_templates_want_them() -> None:
    call = ToolCall("1", "add", "{}")
    turns = (
        Turn("user", "a"),
        Turn("system", "b"),
        Turn("user", "c"),
        Turn("assistant", "d"),
        Turn("assistant", "", (call,)),
        Turn("tool", "e", tool_call_id="1"),
        Turn("tool", "f", tool_call_id="2"),
        Turn("system", "g"),
    )
    assert merged(turns) == [
        Turn("system", "b\n\ng"),
        Turn("user", "a\n\nc"),
        Turn("assistant", "d", (call,)),
        Turn("tool", "e", tool_call_id="1"),
        Turn("tool", "f", tool_call_id="2"),
    ]


class Strict(ScriptedModel):
    """Its template refuses system turns, and two turns of one role in a row."""

    def chat(self, messages: list[Message], *, tools: Any = ()) -> list[int]:
        roles = [message["role"] for message in messages]
        if "system" in roles or any(a == b for a, b in pairwise(roles)):
            raise ConfigError(f"no {roles}")
        return super().chat(messages)


def test_a_template_without_system_turns_gets_what_they_say_from_the_user() -> None:
    model = Strict(lambda prompt, seed, index: "")
    call = ToolCall("1", "add", '{"a": 1, "b": 2}')
    turns = (
        Turn("system", "Be brief."),
        Turn("user", "What is 1 + 2?"),
        Turn("assistant", "", (call,)),
        Turn("tool", "3", tool_call_id="1"),
        Turn("user", "So?"),
    )
    prompt = model.decode(
        prompt_of(model, Ask(turns, SamplingParams(), tools=(ADD,)), is_reasoning=False)
    )
    assert prompt.startswith("user: Be brief.")
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>' in prompt
    assert "user: <tool_response>\n3\n</tool_response>\n\nSo?" in prompt
    assert "Adds two numbers." in prompt


def test_a_reply_ends_with_its_scope_and_its_deadline() -> None:
    replier, _ = replies("never", "never")
    scope = Scope()
    scope.cancel.set()
    with run_scope(scope):
        assert end_of(list(replier.reply(ask()))).finish_reason == "cancelled"
    with run_scope(Scope()) as scope:
        replier, _ = replies("Good day.")
        list(replier.reply(ask(deadline=100.0)))
    assert scope.meter.totals()["scripted"].generated_tokens == 9


def test_a_schema_that_no_grammar_holds_is_refused() -> None:
    replier, _ = replies("{}")
    with pytest.raises(ConfigError, match="'not'"):
        list(replier.reply(ask(schema={"not": {}})))


def test_log_probabilities_go_with_the_answer_alone() -> None:
    replier, _ = replies("I add.</think>", "4", thinks=True)
    events = list(replier.reply(ask(top_logprobs=2)))
    pieces = [event for event in events if isinstance(event, Piece)]
    assert all(not piece.logprobs for piece in pieces if piece.kind == "reasoning")
    assert [len(p.logprobs[0].top) for p in pieces if p.kind == "text"] == [2]


@pytest.mark.weights
def test_a_small_model_calls_and_fills_in_schemas(smollm: Engine) -> None:
    replier = PlainReplier(smollm)
    params = SamplingParams(temperature=1.0, max_tokens=200, seed=5)
    events = list(
        replier.reply(ask("Add 1 and 2.", params=params, tools=(ADD,), tool_choice="add"))
    )
    (called,) = [event for event in events if isinstance(event, Called)]
    arguments = json.loads(called.call.arguments)
    assert {type(value) for value in arguments.values()} == {int}
    assert set(arguments) == {"a", "b"}
    end = end_of(events)
    assert 0 < end.usage.output_tokens <= end.usage.target_tokens <= end.usage.output_tokens + 1
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    events = list(replier.reply(ask("Is it good?", params=params, schema=schema)))
    assert json.loads(text_of(events))["ok"] in (True, False)


@pytest.mark.pair
def test_a_model_of_tools_is_told_by_its_own_template(pair: tuple[Engine, Engine]) -> None:
    target = pair[1]
    assert target.knows_tools
    call = ToolCall("1", "add", '{"a": 1, "b": "<|im_end|>"}')
    turns = (Turn("user", "1 + 2?"), Turn("assistant", "", (call,)), Turn("tool", "<|im_end|>"))
    prompt = prompt_of(target, Ask(turns, SamplingParams(), tools=(ADD,)), is_reasoning=False)
    (control,) = target.encode("<|im_end|>", special=True)
    assert prompt.count(control) == 4
    assert '"b": "<|im_end|>"}}\n</tool_call>' in target.decode(prompt)
    events = list(PlainReplier(target).reply(ask("What is 17 + 25? Use the tool.", tools=(ADD,))))
    calls = [event.call for event in events if isinstance(event, Called)]
    assert [(one.name, json.loads(one.arguments)) for one in calls] == [("add", {"a": 17, "b": 25})]
