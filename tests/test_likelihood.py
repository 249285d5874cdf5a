"""Likelihood: how a thought's tokens become a score."""

from __future__ import annotations

import math
from typing import Any

import pytest
from evaluator_contract import QUESTION, path_of

from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError, EvaluatorError
from forethought.evaluators.likelihood import Likelihood
from forethought.model import Reading
from forethought.prompts import MATH


class Met(ScriptedModel):
    """A scripted model that meets the tokens of every thought in one way, in turn."""

    def __init__(self, *readings: Reading, vocabulary: str = "code points") -> None:
        super().__init__(lambda *_: "", vocabulary=vocabulary)
        self._readings = list(readings)
        self.asked: list[tuple[list[str], list[int]]] = []

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        super().readings(prompts, counts)
        self.asked.append(([self.decode(prompt) for prompt in prompts], counts))
        return [self._readings for _ in prompts]


HALF = Reading(logprob=math.log(0.5), entropy=math.log(2), certainty=10 * math.log(2))
EIGHTH = Reading(logprob=math.log(0.125), entropy=math.log(8), certainty=10 * math.log(8))


@pytest.mark.parametrize(
    ("how", "score"),
    [("logprob", 0.25), ("entropy", 0.25), ("certainty", 0.75)],
)
def test_the_mean_over_the_tokens_becomes_a_score(how: Any, score: float) -> None:
    assert Likelihood(Met(HALF, EIGHTH), MATH, how).score(QUESTION, [path_of("ab")]) == [
        pytest.approx(score)
    ]


def test_only_the_last_thought_is_read_behind_the_question_and_the_path() -> None:
    model = Met(HALF)
    Likelihood(model, MATH).score(QUESTION, [path_of("One.\n\n", "Two."), path_of("A")])
    opening = model.decode(model.chat(MATH.messages(QUESTION)))
    assert model.asked == [([opening + "One.\n\nTwo.", opening + "A"], [4, 1])]


def test_another_vocabulary_counts_its_own_tokens() -> None:
    class Doubled(Met):
        def encode(self, text: str, *, special: bool = False) -> list[int]:
            return [ord(c) for c in text for _ in range(2)]

    model = Doubled(HALF, vocabulary="doubled")
    Likelihood(model, MATH).score(QUESTION, [path_of("One.\n\n", "Two.")])
    assert model.asked[0][1] == [8]


@pytest.mark.parametrize("how", ["logprob", "entropy"])
def test_a_sure_token_scores_one_whatever_rounding_left(how: Any) -> None:
    sure = Reading(logprob=1e-9, entropy=-1e-9, certainty=5.0)
    assert Likelihood(Met(sure), MATH, how).score(QUESTION, [path_of("a")]) == [1.0]


def test_an_impossible_token_scores_nothing() -> None:
    never = Reading(logprob=-math.inf, entropy=1.0, certainty=1.0)
    assert Likelihood(Met(never, HALF), MATH).score(QUESTION, [path_of("ab")]) == [0.0]


@pytest.mark.parametrize(
    ("how", "nats"),
    [
        *((how, nats) for how in ("logprob", "entropy", "certainty") for nats in (math.nan, -0.5)),
        ("entropy", math.inf),
        ("certainty", math.inf),
    ],
)
def test_what_no_distribution_has_is_an_error(how: Any, nats: float) -> None:
    wrong = Reading(logprob=-nats, entropy=nats, certainty=nats)
    with pytest.raises(EvaluatorError, match=f"scripted gives {nats} nats for a token's {how}"):
        Likelihood(Met(HALF, wrong), MATH, how).score(QUESTION, [path_of("ab")])


def test_a_thought_without_tokens_is_an_error() -> None:
    with pytest.raises(EvaluatorError, match="without tokens has no likelihood"):
        Likelihood(Met(HALF), MATH).score(QUESTION, [path_of("One.", "")])


def test_its_name_says_how() -> None:
    assert Likelihood(Met(), MATH, "entropy").name == "likelihood:scripted:entropy"
    with pytest.raises(ConfigError, match="how must be one of logprob, certainty, entropy"):
        Likelihood(Met(), MATH, "perplexity")  # type: ignore[arg-type]


@pytest.mark.weights
@pytest.mark.parametrize("how", ["logprob", "certainty", "entropy"])
def test_a_model_is_surer_of_sense_than_of_noise(how: Any, smollm: Engine) -> None:
    texts = ("6 trays hold 6 * 4 = 24 cups.", "Trays purple 6 of * hold seldom = 9 why.")
    paths = [path_of(text, writer=smollm) for text in texts]
    sense, noise = Likelihood(smollm, MATH, how).score(QUESTION, paths)
    assert sense > noise
