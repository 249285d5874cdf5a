"""How one of several chains is picked: the prompt, its budget, and the arg max over numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from scripted_cot import Noted

from forethought.engine import Engine
from forethought.errors import ConfigError, EvaluatorError, PromptTooLong
from forethought.model import Message
from forethought.nodes.selection import Selector, assistant_marker, picked
from forethought.prompts_cot import CUT_MARK, SELECTION_CUE, selection_text, shortened

QUESTION = "How many pears are left?"


def reading(shares: list[float] | None = None, **more: Any) -> Noted:
    """A selector that gives the numbers these probabilities, or all the same."""
    return Noted(lambda *_: "", judge=(lambda _: shares) if shares else None, **more)


# The prompt


def test_the_blocks_stand_in_order_and_are_parted_by_blank_lines() -> None:
    blocks = selection_text(" Why? ", ["\nOne.\n\nTwo.\n", "Three."]).split("\n\n")
    assert "best Reason" in blocks[0]
    assert "only one Number" in blocks[0]
    assert blocks[1] == "Question: Why?"
    assert blocks[2].endswith(":")
    assert blocks[3:6] == ["Reason 1:\nOne.", "Two.", "Reason 2:\nThree."]
    assert blocks[6].startswith("Reason 3:\nAll of the reasoning paths above are wrong")
    assert len(blocks) == 7


def test_the_prompt_ends_with_the_assistants_marker_and_the_cue() -> None:
    reader = reading()
    prompt = reader.decode(Selector(reader).prompt(QUESTION, ["One.", "Two."]))
    assert prompt == selection_text(QUESTION, ["One.", "Two."]) + f"\nassistant: {SELECTION_CUE}"
    assert "user:" not in prompt  # plain text, no conversation


class Templated(Noted):
    """A start token, and a template with control tokens, code points above all text."""

    START, USER, ASSISTANT = 0x110001, 0x110002, 0x110003
    tail = ""

    def start_tokens(self) -> list[int]:
        return [self.START]

    def chat(
        self, messages: list[Message], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        (message,) = messages
        text = self.encode(message["content"])
        return [self.START, self.USER, *text, self.ASSISTANT, *self.encode(self.tail)]


@pytest.mark.parametrize(
    ("tail", "kept"), [("", ""), ("\n", "\n"), ("<think>\n", ""), ("\n<think>", "\n")]
)
def test_the_marker_is_the_templates_without_a_think_tag(tail: str, kept: str) -> None:
    reader = Templated(lambda *_: "")
    reader.tail = tail
    assert assistant_marker(reader) == [reader.ASSISTANT, *reader.encode(kept)]


def test_the_prompt_has_one_start_token() -> None:
    reader = Templated(lambda *_: "")
    prompt = Selector(reader).prompt(QUESTION, ["One."])
    assert prompt[0] == reader.START
    assert prompt.count(reader.START) == 1
    assert reader.USER not in prompt


# The budget


def test_a_chain_is_shortened_from_its_start() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 2) == CUT_MARK + "ef"


def test_what_fits_is_not_shortened() -> None:
    chains = ["a" * 100, "b" * 7]
    reader = reading()
    whole = len(Selector(reader).prompt(QUESTION, chains))
    exact = reading(context_size=whole + 1)
    assert exact.decode(Selector(exact).prompt(QUESTION, chains)).count("a" * 100) == 1
    tight = reading(context_size=whole)
    text = tight.decode(Selector(tight).prompt(QUESTION, chains))
    assert "a" * 100 not in text
    assert CUT_MARK + "a" * 96 in text  # one too many, and three for the mark
    assert "Reason 2:\nbbbbbbb\n" in text


@pytest.mark.parametrize("lengths", [(50, 50, 50), (10**6, 20, 400), (10**6, 10**6), (0, 10**5)])
@pytest.mark.parametrize("context", [500, 700, 2000])
def test_the_budget_is_used_up_and_long_chains_share_it(
    lengths: tuple[int, ...], context: int
) -> None:
    chains = [f"{place}" * length for place, length in enumerate(lengths)]
    reader = reading(context_size=context)
    prompt = Selector(reader).prompt(QUESTION, chains)
    assert len(prompt) < context
    text = reader.decode(prompt)

    def cut(length: int) -> str:
        texts = [shortened(chain, length) for chain in chains]
        return selection_text(QUESTION, texts) + f"\nassistant: {SELECTION_CUE}"

    # the slow way: of all lengths the longest that fits
    lengths_that_fit = [n for n in [*range(1, 2000), max(lengths)] if len(cut(n)) < context]
    assert text == cut(max(lengths_that_fit))


def test_a_question_that_leaves_no_room_is_told() -> None:
    reader = reading(name="narrow", context_size=200)
    with pytest.raises(PromptTooLong, match=r"leaves 2 chains no room in the context of narrow"):
        Selector(reader).prompt(QUESTION * 20, ["a" * 50, "b" * 50])


# The numbers


def test_the_numbers_are_read_in_one_call_whatever_else_is_probable() -> None:
    reader = reading([1e-9, 3e-9, 2e-9])  # nearly all probability is elsewhere
    shares = Selector(reader).shares(QUESTION, ["One.", "Two."])
    assert shares == pytest.approx([1 / 6, 3 / 6, 2 / 6])
    ((prompts, numbers),) = reader.read
    assert len(prompts) == 1
    assert numbers == ["1", "2", "3"]
    assert picked(shares, bias=0.0, correction=True) == 2


def test_numbers_without_any_probability_are_no_choice() -> None:
    with pytest.raises(EvaluatorError, match="selector:scripted gives its answers"):
        Selector(reading([0.0, 0.0])).shares(QUESTION, ["One."])


@pytest.mark.parametrize("count", [0, 9])
def test_too_many_or_no_chains_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"a selection is among 1 to 8 chains, not {count}"):
        Selector(reading()).shares(QUESTION, ["One."] * count)


def test_a_vocabulary_without_single_digits_is_refused() -> None:
    class Spelt(Noted):
        """Digits take two tokens."""

        def encode(self, text: str, *, special: bool = False) -> list[int]:
            return [i for c in text for i in ([0, ord(c)] if c.isdigit() else [ord(c)])]

    selector = Selector(Spelt(lambda *_: "", name="spelt"))
    with pytest.raises(ConfigError, match="spelt does not write the number 1 as one token"):
        selector.numbers(6)


@pytest.mark.parametrize(
    ("shares", "bias", "correction", "number"),
    [
        ([0.2, 0.5, 0.3], 0.0, True, 2),
        ([0.2, 0.3, 0.5], 0.0, True, 3),
        ([0.2, 0.3, 0.5], 0.0, False, 2),
        ([0.4, 0.4, 0.2], 0.0, True, 1),
        ([0.25, 0.25, 0.5], -math.log(2), True, 1),
        ([0.5, 0.25, 0.25], math.log(2) + 1e-9, True, 3),
        ([0.0, 0.0, 1.0], 0.0, False, 1),
        ([0.0, 1.0, 0.0], 100.0, True, 2),
    ],
)
def test_the_most_probable_number_is_picked_and_ties_go_to_the_lower(
    shares: list[float], bias: float, correction: bool, number: int
) -> None:
    assert picked(shares, bias=bias, correction=correction) == number


@pytest.mark.weights
def test_a_real_vocabulary_writes_the_numbers_and_its_marker(smollm: Engine) -> None:
    selector = Selector(smollm)
    assert len({tuple(number) for number in selector.numbers(9)}) == 9
    assert [smollm.decode(number) for number in selector.numbers(9)] == list("123456789")
    prompt = selector.prompt(QUESTION, ["So it is 3.", "word " * 20_000])
    assert smollm.context_size - 40 < len(prompt) < smollm.context_size
    assert smollm.encode("assistant\n")[-1] in assistant_marker(smollm)
