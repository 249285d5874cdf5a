"""Sampling, labels, heads and examples: what training does without weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from forethought.chains import Chain, Problem, Step, append_chains, read_chains
from forethought.config import SamplingParams
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError
from forethought.evaluators.heads import Head
from forethought.model import Completion, RunStopped, Scope, run_scope
from forethought.prompts import MATH
from forethought.training import ChainSampler, sample_chains
from forethought.training.features import StateReader, StepStates, read_states
from forethought.training.labels import step_labels
from forethought.training.prm import PrmConfig, make_examples
from forethought.training.probe import HEAD_KINDS, Trial, _Recipe, compare_heads, train_probe
from forethought.training.rollouts import add_rollouts
from forethought.training.small_prm import telling

RIGHT = "3 + 4 = 7.\n\nThe answer is \\boxed{7}.\n\nAnd so on."
WRONG = "\n\n3 + 4 = 8.\n\nThe answer is \\boxed{8}."
PROBLEMS = [Problem(f"p{n}", f"Question {n}: what is 3 + 4?", "7") for n in range(4)]


def writer(reply: Callable[[str, int, int], str] | None = None) -> ScriptedModel:
    """By turns a right and a wrong solution."""
    return ScriptedModel(reply or (lambda _, __, index: (RIGHT, WRONG)[index % 2]), name="w")


def sampler(model: ScriptedModel | None = None, seed: int = 0) -> ChainSampler:
    return ChainSampler(model or writer(), MATH, "draft", seed)


def chain(
    question: str = "q", *, is_right: bool = True, values: list[float] | None = None
) -> Chain:
    texts = ["3 + 4 = 7.\n\n", "The answer is \\boxed{7}."]
    steps = [Step(text, [ord(c) for c in text]) for text in texts]
    if values:
        steps = [replace(step, value=value) for step, value in zip(steps, values, strict=True)]
    return Chain(question, question, "7", "draft", "w", "code points", steps, "7", is_right)


# Sampling


def test_a_solution_is_cut_into_thoughts_and_ends_with_its_answer() -> None:
    right, wrong = sampler().write(PROBLEMS[0], 2)
    assert [step.text for step in right.steps] == [
        "3 + 4 = 7.\n\n",
        "The answer is \\boxed{7}.\n\n",
    ]
    assert [step.text for step in wrong.steps] == [
        "\n\n3 + 4 = 8.\n\n",
        "The answer is \\boxed{8}.",
    ]
    assert (right.is_right, right.stated, wrong.is_right, wrong.stated) == (True, "7", False, "8")
    assert all(step.text == "".join(map(chr, step.tokens)) for step in right.steps + wrong.steps)


def test_blank_solutions_are_left_out_and_one_without_an_answer_is_wrong() -> None:
    replies = ["  \n\n ", "I cannot say."]
    (found,) = sampler(writer(lambda _, __, index: replies[index])).write(PROBLEMS[0], 2)
    assert (found.is_right, found.stated, len(found.steps)) == (False, None, 1)


def test_sampling_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "chains.jsonl"
    seen: list[tuple[int, int]] = []
    sample_chains(sampler(), PROBLEMS[:2], num_chains=2, path=path)
    asked: list[str] = []

    def reply(prompt: str, _: int, __: int) -> str:
        asked.append(prompt)
        return RIGHT

    again = sampler(writer(reply))
    show = lambda done, total: seen.append((done, total))  # noqa: E731
    sample_chains(again, PROBLEMS, num_chains=1, path=path, progress=show)
    assert len(asked) == 2
    assert not any("Question 0" in prompt or "Question 1" in prompt for prompt in asked)
    assert seen == [(3, 4), (4, 4)]
    assert len(read_chains(path)) == 6


def test_draws_depend_on_the_seed_and_the_problem_alone() -> None:
    seeds: list[int] = []

    def reply(_: str, seed: int, __: int) -> str:
        seeds.append(seed)
        return RIGHT

    for seed in (0, 0, 1):
        sampler(writer(reply), seed).write(PROBLEMS[0], 1)
    sampler(writer(reply), 0).write(PROBLEMS[1], 1)
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3


def test_a_cancelled_run_keeps_what_was_finished(tmp_path: Path) -> None:
    path = tmp_path / "chains.jsonl"
    scope = Scope(threading.Event())

    class Cancelling(ScriptedModel):
        def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
            done = super().generate(prompts, params)
            scope.cancel.set()
            return done

    model = Cancelling(lambda *_: RIGHT)
    with run_scope(scope):
        sample_chains(sampler(model), PROBLEMS[:1], num_chains=1, path=path)
        with pytest.raises(RunStopped):
            sample_chains(sampler(model), PROBLEMS, num_chains=1, path=path)
    assert len(read_chains(path)) == 1


# Roll-outs and labels


def test_a_steps_value_is_the_share_of_ways_on_that_end_right(tmp_path: Path) -> None:
    replies = ["The answer is \\boxed{7}.", "The answer is \\boxed{7}.", "No.", WRONG]
    model = writer(lambda _, __, index: replies[index % 4])
    path = tmp_path / "chains.jsonl"
    append_chains(path, [chain(), replace(chain(), source="target")])
    add_rollouts(sampler(model), path, num_rollouts=4)
    own, other = read_chains(path)
    assert [step.value for step in own.steps] == [0.5, 1.0]
    assert [step.value for step in other.steps] == [None, None]


def test_roll_outs_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "chains.jsonl"
    append_chains(path, [chain(values=[0.25, 1.0])])
    add_rollouts(sampler(), path, num_rollouts=2)
    assert [step.value for step in read_chains(path)[0].steps] == [0.25, 1.0]


def test_labels_are_outcomes_or_what_roll_outs_gave() -> None:
    chains = [chain(values=[0.25, 0.0]), chain(is_right=False, values=[0.5, 1.0])]
    assert step_labels(chains, "outcome").tolist() == [1, 1, 0, 0]
    assert step_labels(chains, "soft").tolist() == [0.25, 0, 0.5, 1]
    assert step_labels(chains, "hard").tolist() == [1, 0, 1, 1]
    with pytest.raises(ConfigError, match="2 of 4 steps have no roll-outs"):
        step_labels([chain(), chains[0]], "soft")


# Hidden states


class StatesEngine(ScriptedModel):
    """Hands out states, and counts for how many prompts."""

    num_read = 0
    path = Path("scripted.gguf")

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        self.num_read += len(prompts)
        return super().hidden(prompts, layer=layer)


def states_reader() -> tuple[StatesEngine, StateReader]:
    engine = StatesEngine(lambda *_: "")
    return engine, StateReader(cast(Engine, engine), MATH, [3, 0])


def test_states_are_those_of_closed_prefixes_at_every_layer(tmp_path: Path) -> None:
    engine, reader = states_reader()
    found = read_states(reader, [chain("a"), chain("b")], path=tmp_path / "s")
    assert found.states.shape == (4, 2, 8)
    prompt = engine.chat(MATH.messages("b")) + engine.encode(
        "3 + 4 = 7.\n\nThe answer is \\boxed{7}.\n\n"
    )
    for column, layer in enumerate((3, None)):
        (state,) = engine.hidden([prompt], layer=layer)
        assert np.allclose(found.states[3, column], state, atol=1e-3)


@pytest.mark.parametrize("cut", [0, 7, 40, 8 * 2 * 2 * 2, 8 * 2 * 2 * 2 + 5])
def test_reading_states_goes_on_behind_the_last_whole_question(tmp_path: Path, cut: int) -> None:
    chains = [chain("a"), chain("b"), chain("c")]
    _, reader = states_reader()
    path = tmp_path / "s"
    whole = read_states(reader, chains, path=path).states
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    engine, reader = states_reader()
    again = read_states(reader, chains, path=path).states
    assert np.array_equal(whole, again)
    num_questions = -(-cut // (2 * 2 * 8 * 2))  # steps, layers, width, bytes
    assert engine.num_read == num_questions * 2 * 2


def test_states_of_other_chains_are_refused(tmp_path: Path) -> None:
    _, reader = states_reader()
    read_states(reader, [chain("a")], path=tmp_path / "s")
    with pytest.raises(ConfigError, match="other chains"):
        read_states(reader, [chain("b")], path=tmp_path / "s")


# Heads


def told_states(num_questions: int = 40) -> StepStates:
    """States of which the first layer tells right from wrong and the second is noise."""
    chance = np.random.default_rng(0)
    chains = [
        chain(f"q{n}", is_right=bool(n % 2 == k)) for n in range(num_questions) for k in (0, 1)
    ]
    labels = step_labels(chains, "outcome")
    states = chance.normal(size=(len(labels), 2, 8))
    states[:, 0, 0] += 3 * labels
    return StepStates(chains, [5, 0], (100 + 30 * states).astype(np.float16))


def test_the_layer_that_knows_wins_under_cross_validation() -> None:
    trials = compare_heads(told_states(), labels="outcome")
    assert len(trials) == 8
    assert {trial.layer for trial in trials[:4]} == {5}
    pairs = [trial.ranking.pairs for trial in trials]
    assert (pairs[0] or 0) > 0.9
    assert 0.2 < (pairs[-1] or 0) < 0.7


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_scaling_is_folded_into_the_heads_first_layer(kind: str) -> None:
    found = told_states()
    values = step_labels(found.chains, "outcome")
    recipe = _Recipe("linear" if kind == "linear" else "two-layer", 0.01)
    head = Head(recipe.fit(found.states[:, 0], values), output="sigmoid")
    scores = np.array(head.apply(found.states[:, 0].astype(np.float32)))
    assert ((scores > 0.5) == values.astype(bool)).mean() > 0.85


def test_soft_labels_pull_a_head_as_far_as_they_go() -> None:
    states = np.zeros((100, 1, 3), np.float16)
    layers = _Recipe("linear", 1.0).fit(states[:, 0], np.full(100, 0.3))
    (score,) = Head(layers, output="sigmoid").apply([np.zeros(3, np.float32)])
    assert score == pytest.approx(0.3, abs=1e-3)


def test_a_trained_probe_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.training.about.weights_identity", lambda _: "abc")
    _, reader = states_reader()
    found = told_states()
    trial: Trial = compare_heads(found, labels="outcome")[0]
    info = train_probe(reader, found, trial, labels="outcome", path=tmp_path / "p").info
    assert (info["kind"], info["layer"], info["base_sha256"]) == ("probe", "5", "abc")
    assert info["trained_on"] == "80 chains of 40 questions"
    assert float(info["pairs"]) > 0.9


# Examples of the small PRM


class Letters:
    """One token per character."""

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def start_tokens(self) -> list[int]:
        return [1]


def test_an_example_ends_its_steps_where_they_are_closed() -> None:
    long = replace(chain(), question="why? " * 200)
    examples = make_examples([long, chain("Q? ")], Letters(), PrmConfig(max_tokens=100))
    (example,) = examples
    text = "".join(map(chr, example.tokens[1:]))
    assert example.chain == 1
    assert text == "Q?\n\n3 + 4 = 7.\n\nThe answer is \\boxed{7}.\n\n"
    assert [text[:end].count("\n\n") for end in example.ends] == [2, 3]
    assert example.values == [1.0, 1.0]


def test_settings_of_the_small_prm_are_checked() -> None:
    for wrong in ({"rank": 0}, {"epochs": 0}, {"rate": 0.0}, {"alpha": 0.0}, {"batch_tokens": 0}):
        with pytest.raises(ConfigError, match=str(next(iter(wrong)))):
            PrmConfig(**wrong)  # type: ignore[arg-type]


def test_of_solutions_that_all_end_alike_two_are_read() -> None:
    mixed = [chain("mixed", is_right=number == 3) for number in range(4)]
    wrong = [chain("hard", is_right=False) for _ in range(4)]
    right = [replace(chain("hard"), source="target")]
    kept = telling([*mixed, *wrong, *right])
    assert [(one.question, one.is_right) for one in kept] == (
        [("mixed", number == 3) for number in range(4)] + [("hard", False)] * 2 + [("hard", True)]
    )
