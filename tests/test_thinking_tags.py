"""Prompts of reasoning models, under the templates that they are published with."""

from __future__ import annotations

import pytest
from think_templates import BOS, TEMPLATES, TaggedModel

from forethought import thinking_tags as tags
from forethought.config import SamplingParams
from forethought.engine import ScriptedModel
from forethought.model import Message
from forethought.prompts import MATH


def asked(question: str) -> list[Message]:
    return [{"role": "user", "content": question}]


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def tagged(template: str) -> TaggedModel:
    return TaggedModel(template, lambda *_: "")


ENDS = {
    "r1-distill, first": "<|User|>Why?<|Assistant|><think>\n",
    "r1-distill": "<|User|>Why?<|Assistant|><think>\n",
    "qwq": "<|im_end|>\n<|im_start|>assistant\n<think>\n",
    "qwen3": "<|im_end|>\n<|im_start|>assistant\n<think>\n",
    "thinking switched off": "<|im_end|>\n<|im_start|>assistant\n<think>\n",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_prompt_ends_inside_exactly_one_think_block(template: str) -> None:
    model = tagged(template)
    prompt = model.shown(tags.opened_prompt(model, asked("Why?"), is_reasoning=True))
    assert prompt.endswith(ENDS[template])
    assert prompt.count("<think>") == 1
    assert "</think>" not in prompt


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_prompt_has_the_start_token_once_where_the_model_has_one(template: str) -> None:
    model = tagged(template)
    prompt = model.shown(tags.opened_prompt(model, asked("Why?"), is_reasoning=True))
    assert prompt.count(BOS) == template.startswith("r1")
    assert prompt.startswith(BOS) == template.startswith("r1")


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("question", ["What is <think>", "What is <think>\n\n</think>"])
def test_a_tag_in_the_question_opens_nothing(template: str, question: str) -> None:
    model = tagged(template)
    prompt = model.shown(tags.opened_prompt(model, asked(question), is_reasoning=True))
    assert question in prompt
    assert prompt.endswith(ENDS[template].rpartition("Why?")[2])


@pytest.mark.parametrize("template", TEMPLATES)
def test_without_reasoning_the_prompt_is_the_templates_own(template: str) -> None:
    model = tagged(template)
    chat = model.chat(asked("Why?"))
    assert tags.opened_prompt(model, asked("Why?"), is_reasoning=False) == chat


def test_thoughts_of_earlier_turns_stay_as_the_template_writes_them() -> None:
    model = tagged("r1-distill")
    turns = [*asked("Why?"), assistant("So."), *asked("And?")]
    prompt = model.shown(tags.opened_prompt(model, turns, is_reasoning=True))
    assert prompt.endswith("So.<|end_of_sentence|><|User|>And?<|Assistant|><think>\n")


def test_a_request_is_one_turn_of_the_users() -> None:
    assert tags.request("Be brief.", "Why?") == asked("Be brief.\n\nWhy?")


def test_a_model_that_thinks_is_asked_without_worked_examples() -> None:
    model = tagged("qwen3")
    on, off = (tags.opening_of(model, MATH, "Why?", reasoning) for reasoning in ("on", "off"))
    request = tags.request(MATH.system, "Why?")
    assert on == tags.opened_prompt(model, request, is_reasoning=True)
    assert off == model.chat(MATH.messages("Why?"))


def test_models_are_told_by_whether_the_tag_is_one_token() -> None:
    assert tags.is_reasoning_model(tagged("qwen3"))
    assert not tags.is_reasoning_model(ScriptedModel(lambda *_: ""))


def test_a_model_without_control_tokens_gets_the_tag_as_text() -> None:
    model = ScriptedModel(lambda *_: "")
    prompt = tags.opened_prompt(model, asked("Why?"), is_reasoning=True)
    assert model.decode(prompt) == "user: Why?\nassistant: <think>\n"


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("So it is 4.", "So it is 4.\n</think>\n\n"),
        ("So it is 4.\n\n", "So it is 4.\n\n</think>\n\n"),
        ("", "\n</think>\n\n"),
        ("So.\n</think>\n\n4", "So.\n</think>\n\n4"),
        ("So.</think>", "So.</think>"),
    ],
)
def test_a_block_is_closed_once(text: str, closed: str) -> None:
    assert tags.closed(text) == closed == text + tags.closing(text)
    assert tags.closed(closed) == closed
    assert tags.is_closed(text) == (text == closed)


def test_a_text_parts_into_what_was_thought_and_what_is_concluded() -> None:
    text = " First 2.\n\nThen 4.\n</think>\n\nIt is 4.\n"
    assert tags.thinking_of(text) == "First 2.\n\nThen 4."
    assert tags.conclusion_of(text) == "It is 4."
    assert tags.thinking_of(" still at it ") == "still at it"
    assert tags.conclusion_of(" still at it ") == ""


def test_a_conversation_thinks_and_then_answers() -> None:
    def reply(prompt: str, *_: int) -> str:
        return "2 + 2 = 4\n</think>\n\nIt is 4." if prompt.endswith("<think>\n") else "no block"

    model = TaggedModel("qwen3", reply)
    prompt = tags.opened_prompt(model, asked("2 + 2?"), is_reasoning=True)
    (completion,) = model.generate([prompt], SamplingParams(stop=(tags.CLOSE,), keep_stop=True))
    assert tags.is_closed(completion.text)
    assert tags.thinking_of(completion.text) == "2 + 2 = 4"
