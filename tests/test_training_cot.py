"""What training for Speculative Chain-of-Thought does without weights: examples, drafts to choose
from, and checks of a trained model."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from forethought.chains import Chain, Problem, Step
from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError
from forethought.model import Completion
from forethought.nodes.selection import Selector
from forethought.prompts import MATH
from forethought.training import ChainSampler
from forethought.training.draft import DraftConfig, check_draft, target_chains
from forethought.training.lora import LoraConfig
from forethought.training.samples import GREEDY
from forethought.training.selector import (
    Selection,
    SelectorConfig,
    check_selector,
    selection_examples,
    selections,
)
from forethought.training.split import split_by_question

CONFIG = SelectorConfig(num_drafts=2)


def chain(question: str, text: str = "So it is \\boxed{7}.", *, is_right: bool = True) -> Chain:
    steps = [Step(text, [ord(character) for character in text])]
    stated = MATH.find_answer(text)
    return Chain(question, question, "7", "draft", "w", "code points", steps, stated, is_right)


def pair(question: str, rights: tuple[bool, bool]) -> list[Chain]:
    return [chain(question, f"draft {n}", is_right=right) for n, right in enumerate(rights, 1)]


# Settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rank", 0),
        ("alpha", 0.0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("projections", ()),
        ("layers", 0),
        ("rate", 0.0),
        ("warm_up", 1.5),
        ("epochs", 0),
        ("batch_tokens", 0),
        ("max_tokens", 0),
        ("seed", -1),
    ],
)
def test_settings_of_an_adapter_are_checked(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=setting):
        LoraConfig(**{setting: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, 9])
def test_a_selector_chooses_among_one_to_eight(number: int) -> None:
    with pytest.raises(ConfigError, match="num_drafts"):
        SelectorConfig(num_drafts=number)


def test_defaults_are_the_papers() -> None:
    draft, selector = DraftConfig(), SelectorConfig()
    for config in (draft, selector):
        assert (config.rank, config.alpha, config.dropout) == (8, 32.0, 0.1)
        assert config.projections == ("q_proj", "v_proj")
        assert (config.epochs, config.layers) == (5, None)
    assert (draft.rate, selector.rate, selector.num_drafts) == (5e-5, 1e-4, 5)


# Questions held out


def test_a_question_is_held_out_or_not_whatever_else_there_is() -> None:
    chains = [chain(f"question {n}") for n in range(200) for _ in range(2)]
    whole = split_by_question(chains)
    kept, held = ({one.question for one in side} for side in (whole.kept, whole.held))
    assert not kept & held
    assert 5 < len(held) < 40
    again = split_by_question(chains[100:][::-1])
    assert {one.question for one in again.held} <= held
    with pytest.raises(ConfigError, match="1 chains are too few"):
        split_by_question(chains[:1])


# The target's chains


def test_greedy_chains_are_drawn_at_temperature_0() -> None:
    asked: list[SamplingParams] = []

    class Model(ScriptedModel):
        def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
            asked.append(params)
            return super().generate(prompts, params)

    model = Model(lambda *_: "It is \\boxed{7}.")
    ChainSampler(model, MATH, "target", 0, replace(GREEDY, max_tokens=99)).write(
        Problem("p", "q", "7"), 1
    )
    assert [(params.temperature, params.max_tokens) for params in asked] == [(0.0, 99)]


def test_a_thinking_model_is_sampled_up_to_the_end_of_its_block() -> None:
    prompts: list[str] = []

    def reply(prompt: str, _: int, __: int) -> str:
        prompts.append(prompt)
        return "Maybe \\boxed{6}.\n\nNo: \\boxed{7}.\n</think>\n\nIt is 7."

    problem = Problem("p", "q", "7")
    sampler = ChainSampler(ScriptedModel(reply), MATH, "target", 0, GREEDY, thinks=True)
    (found,) = sampler.write(problem, 1)
    assert prompts[0].endswith("<think>\n")
    text = "".join(step.text for step in found.steps)
    assert text == "Maybe \\boxed{6}.\n\nNo: \\boxed{7}.\n</think>"
    assert (found.stated, found.is_right) == ("7", True)


def test_only_whole_chains_of_the_target_are_learned() -> None:
    whole = replace(chain("a"), source="target")
    cut = replace(chain("b", "Well"), source="target")
    thought = replace(chain("c", "Well\n</think>"), source="target")
    assert target_chains([whole, cut, thought, chain("d")]) == [whole, thought]


def test_a_draft_is_checked_against_the_targets_answers() -> None:
    replies = {"a": "It is \\boxed{7.0}.", "b": "\\boxed{8}", "c": "7", "d": "x" * 600}
    seen: list[tuple[str, int]] = []

    def reply(prompt: str, _: int, index: int) -> str:
        question = prompt.rpartition("user: ")[2][0]
        seen.append((question, index))
        return replies[question]

    check = check_draft(ScriptedModel(reply), CotConfig(), [chain(name) for name in "abcd"])
    assert seen == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]  # one batch
    assert check.num_questions == 4
    assert check.mean_tokens == (18 + 9 + 1 + 512) / 4
    assert (check.ended, check.agreement) == (0.75, 0.25)
    with pytest.raises(ConfigError, match="no chains"):
        check_draft(ScriptedModel(reply), CotConfig(), [])


# Drafts to choose from


def test_any_right_draft_may_be_named_and_the_next_number_if_none_is() -> None:
    rights = [(True, True), (False, True), (False, False)]
    found = selections([one for n, r in enumerate(rights) for one in pair(f"q{n}", r)], 2)
    assert [one.right for one in found] == [[1, 2], [2], [3]]


def test_questions_with_too_few_drafts_are_passed_over() -> None:
    chains = [*pair("a", (True, False)), chain("a", "third"), chain("b")]
    chains += [replace(one, source="target") for one in pair("c", (True, True))]
    (found,) = selections(chains, 2)
    assert (found.question, found.texts()) == ("a", ["draft 1", "draft 2"])
    with pytest.raises(ConfigError, match="--samples-draft 5"):
        selections(chains, 5)


def test_a_shuffled_draft_keeps_its_label() -> None:
    drafts = [chain("q", f"draft {n}", is_right=n in (1, 4)) for n in range(6)]
    selection = Selection("q", drafts)
    orders = set()
    for seed in range(20):
        shown = selection.shuffled(random.Random(seed))
        texts = shown.texts()
        assert sorted(texts) == sorted(selection.texts())
        assert {texts[number - 1] for number in shown.right} == {"draft 1", "draft 4"}
        orders.add(tuple(texts))
    assert len(orders) > 15


def test_every_epoch_shows_another_order_and_the_same_one_again_when_resumed() -> None:
    found = selections([one for n in range(30) for one in pair(f"q{n}", (True, False))], 2)
    asks = Selector(ScriptedModel(lambda *_: ""))
    plain = selection_examples(found, asks, CONFIG)
    first, second = (selection_examples(found, asks, CONFIG, epoch) for epoch in (0, 1))
    assert first != second
    assert first == selection_examples(found, asks, CONFIG, 0)
    assert first != selection_examples(found, asks, replace(CONFIG, seed=1), 0)
    fixed = replace(CONFIG, shuffle=False)
    assert selection_examples(found, asks, fixed, 3) == plain
    for example in first:
        text = "".join(map(chr, example.tokens))
        (answer,) = example.answers
        assert f"Reason {chr(answer)}:\ndraft 1" in text  # the right one


def test_long_drafts_are_shortened_to_fit() -> None:
    drafts = [chain("q", "long " * 300, is_right=right) for right in (True, False)]
    asks = Selector(ScriptedModel(lambda *_: "", context_size=901))
    (example,) = selection_examples([Selection("q", drafts)], asks, CONFIG)
    assert 800 < len(example.tokens) <= 900


def test_choices_are_counted_by_whether_there_was_a_right_one() -> None:
    rights = {"a": (True, False), "b": (False, True), "c": (False, False), "d": (False, False)}
    shares = {
        "a": [0.5, 0.1, 0.2],
        "b": [0.5, 0.1, 0.2],
        "c": [0.1, 0.2, 0.3],
        "d": [0.3, 0.2, 0.1],
    }

    def judge(prompt: str) -> list[float]:
        return shares[prompt.partition("Question: ")[2][0]]

    chains = [one for name, values in rights.items() for one in pair(name, values)]
    check = check_selector(ScriptedModel(lambda *_: "", judge=judge), selections(chains, 2))
    assert (check.num_solvable, check.num_right) == (2, 1)
    assert (check.num_unsolvable, check.num_recognised) == (2, 1)


def test_a_number_that_is_no_single_token_is_told() -> None:
    class Doubled(ScriptedModel):
        def encode(self, text: str, *, special: bool = False) -> list[int]:
            return [token for letter in text for token in (ord(letter), 0)]

    with pytest.raises(ConfigError, match="one token"):
        check_selector(Doubled(lambda *_: ""), selections(pair("a", (True, False)), 2))
