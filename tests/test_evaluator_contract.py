"""Every evaluator keeps the one contract, without weights and with them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluator_contract import (
    CONTRACT,
    QUESTION,
    Check,
    Subject,
    contract_test,
    path_of,
    some_paths,
)
from fake_chat import FakeChat, number_of, with_grade, with_logprobs
from langchain_core.messages import AIMessage

from forethought.config import EngineConfig
from forethought.engine import Engine, ScriptedModel
from forethought.errors import EvaluatorError
from forethought.evaluators.aggregate import Aggregate
from forethought.evaluators.cache import Cached
from forethought.evaluators.chat_judge import ChatJudge
from forethought.evaluators.digit_judge import DigitJudge
from forethought.evaluators.ensemble import Ensemble
from forethought.evaluators.evaluator import Evaluator
from forethought.evaluators.judge import Judge
from forethought.evaluators.likelihood import Likelihood
from forethought.model import Reading, RunStopped
from forethought.prompts import MATH
from forethought.thoughts import Thought

NAN = math.nan


def judging(judge: Callable[[str], list[float]]) -> ScriptedModel:
    return ScriptedModel(lambda *_: "", judge=judge)


def drawn(num_choices: int) -> Callable[[str], list[float]]:
    """Probabilities that look drawn at random and stay with the prompt."""
    return lambda text: [
        zlib.crc32(f"{choice}{text}".encode()) / 2**32 / num_choices
        for choice in range(num_choices)
    ]


class Reads(ScriptedModel):
    """A scripted model that meets each token by the token's own number, or always in one way."""

    def __init__(self, fixed: Reading | None = None) -> None:
        super().__init__(lambda *_: "")
        self._fixed = fixed

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        super().readings(prompts, counts)
        return [
            [
                self._fixed or Reading(-token / 99, token / 99, token / 9)
                for token in prompt[-count:]
            ]
            for prompt, count in zip(prompts, counts, strict=True)
        ]


@dataclass(frozen=True)
class Gives:
    """An evaluator that breaks its word: it gives these scores, whatever it is asked."""

    scores: list[float]
    name: str = "gives"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return self.scores * len(paths)


LIARS: tuple[Evaluator, ...] = (Gives([NAN]), Gives([1.5]), Gives([-0.1]), Gives([0.5, 0.5]))


def judge() -> Judge:
    return Judge(judging(drawn(2)), MATH)


def digit_judge() -> DigitJudge:
    return DigitJudge(judging(drawn(10)), MATH)


def broken_judges(num_choices: int) -> list[ScriptedModel]:
    rows = [[NAN] * num_choices, [0.0] * num_choices, [1.0] * (num_choices - 1) + [NAN]]
    return [judging(partial(_always, row)) for row in rows]


def _always(row: list[float], _: str) -> list[float]:
    return row


def says_yes_or_no(text: str, _: dict[str, Any]) -> AIMessage:
    share = (number_of(text) + 1) / 1002
    return with_logprobs(("Yes", math.log(share)), (" no", math.log(1 - share)))


def grades(text: str, _: dict[str, Any]) -> AIMessage:
    return with_grade(grade=number_of(text) % 10)


def fails(*_: Any) -> AIMessage:
    raise TimeoutError("the provider did not answer")


def raves(*_: Any) -> AIMessage:
    return AIMessage("Certainly! Let me think about this.")


def with_digits(how: Any, inner: Evaluator) -> Ensemble:
    return Ensemble((digit_judge(), inner), how=how)


def over_all(make: Callable[[Evaluator], Evaluator]) -> Callable[[], Evaluator]:
    return partial(make, judge())


def over_liars(make: Callable[[Evaluator], Evaluator]) -> tuple[Callable[[], Evaluator], ...]:
    broken = [Judge(model, MATH) for model in broken_judges(2)]
    return tuple(partial(make, inner) for inner in (*broken, *LIARS))


def wrapper(name: str, make: Callable[[Evaluator], Evaluator]) -> Subject:
    """A subject that asks another evaluator."""
    return Subject(name, over_all(make), broken=over_liars(make))


def chat(name: str, respond: Any, **settings: Any) -> Subject:
    return Subject(
        name,
        lambda: ChatJudge(FakeChat(respond=respond), MATH, **settings),
        broken=tuple(
            partial(ChatJudge, FakeChat(respond=reply), MATH, **settings)
            for reply in (fails, raves)
        ),
    )


def likelihood(how: Any) -> Subject:
    readings = [Reading(NAN, NAN, NAN), Reading(1.0, -1.0, -1.0)]
    return Subject(
        f"likelihood-{how}",
        lambda: Likelihood(Reads(), MATH, how),
        broken=tuple(partial(Likelihood, Reads(one), MATH, how) for one in readings),
    )


SUBJECTS = [
    Subject(
        "judge",
        judge,
        broken=tuple(partial(Judge, model, MATH) for model in broken_judges(2)),
    ),
    *(
        Subject(
            f"digit-judge-{how}",
            partial(DigitJudge, judging(drawn(10)), MATH, how),
            broken=tuple(partial(DigitJudge, model, MATH, how) for model in broken_judges(10)),
        )
        for how in ("greedy", "average")
    ),
    likelihood("logprob"),
    likelihood("certainty"),
    likelihood("entropy"),
    chat("chat-judge-logprobs", says_yes_or_no, how="logprobs"),
    chat("chat-judge-structured", grades, how="structured"),
    chat("chat-judge-auto", says_yes_or_no),
    chat("chat-judge-auto-without-logprobs", grades),
    wrapper("cached", Cached),
    wrapper("cached-small", lambda inner: Cached(inner, capacity=3)),
    *(
        wrapper(f"aggregate-{how}", partial(Aggregate, how=how))
        for how in ("last", "min", "mean", "product")
    ),
    *(
        wrapper(f"ensemble-{how}", partial(with_digits, how))
        for how in ("mean", "geometric", "min", "product")
    ),
    wrapper("all-at-once", lambda inner: Ensemble((Cached(Aggregate(inner)), digit_judge()))),
]

test_without_weights_the_contract_holds = contract_test(SUBJECTS)


# The contract itself: each check finds its fault


class Faulty:
    """An evaluator that keeps the contract but for one fault."""

    def __init__(self, fault: str = "") -> None:
        self.name = "faulty" if fault != "unnamed" else " "
        self._fault = fault
        self._judge = judge()

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        if self._fault == "asks about nothing":
            self._judge.score(question, [path_of("Nothing.")])
        try:
            scores = self._judge.score(question, paths)
        except (EvaluatorError, RunStopped):
            if self._fault == "makes scores up":
                return [0.5] * len(paths)
            raise
        if self._fault == "renames itself":
            self.name += "!"
        if self._fault == "spoils paths":
            paths.pop()
        return self._spoilt(scores)

    def _spoilt(self, scores: list[float]) -> list[Any]:
        faults: dict[str, Callable[[], list[Any]]] = {
            "sorts": lambda: sorted(scores),
            "numpy": lambda: list(np.asarray(scores)),
            "no number": lambda: [NAN for _ in scores],
            "out of range": lambda: [score + 1.0 for score in scores],
            "one too few": lambda: scores[1:],
            "all alike": lambda: [0.5 for _ in scores],
            "relative": lambda: [score / max(scores) for score in scores],
            "distinct": lambda: [score - i / 1e6 for i, score in enumerate(scores)],
        }
        return faults.get(self._fault, lambda: scores)()


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("unnamed", "has_a_name_that_stays"),
        ("renames itself", "has_a_name_that_stays"),
        ("asks about nothing", "gives_nothing_for_nothing_and_asks_nobody"),
        ("numpy", "scores_one_candidate"),
        ("no number", "scores_one_candidate"),
        ("out of range", "scores_one_candidate"),
        ("one too few", "scores_many_candidates_in_order"),
        ("sorts", "scores_many_candidates_in_order"),
        ("all alike", "scores_many_candidates_in_order"),
        ("relative", "scores_a_path_alone_as_in_a_batch"),
        ("distinct", "scores_the_same_path_twice_in_a_batch"),
        ("spoils paths", "leaves_its_paths_as_they_are"),
        ("makes scores up", "stops_with_its_run"),
    ],
)
def test_the_contract_finds_a_fault(fault: str, check: str) -> None:
    (named,) = (one for one in CONTRACT if one.__name__ == check)
    named(Subject("sound", Faulty))
    with pytest.raises((AssertionError, RunStopped, pytest.fail.Exception)):
        named(Subject(fault, lambda: Faulty(fault)))


def test_the_contract_finds_a_thought_that_should_have_fitted() -> None:
    (long,) = (one for one in CONTRACT if "long_thought" in one.__name__)

    def narrow() -> Judge:
        return Judge(ScriptedModel(lambda *_: "", judge=drawn(2), context_size=20_000), MATH)

    long(Subject("said so", narrow, max_tokens=3000))
    with pytest.raises(AssertionError):
        long(Subject("did not", narrow, max_tokens=4000))


def test_the_contract_finds_a_score_that_was_made_up() -> None:
    (cannot,) = (one for one in CONTRACT if "cannot" in one.__name__)
    with pytest.raises(pytest.fail.Exception):
        cannot(Subject("gives", judge, broken=(lambda: Gives([0.5]),)))


# With weights: on one thread, and in an engine with room for all. Several threads sum the attention
# of a batch of one row in another order, and so does a cache whose cells are used again; what 8-bit
# activations make of such rounding moves this small model's scores by 0.05.

WITH_WEIGHTS: dict[str, Callable[[Engine], Evaluator]] = {
    "judge": lambda engine: Judge(engine, MATH),
    "digit-judge": lambda engine: DigitJudge(engine, MATH),
    "likelihood": lambda engine: Likelihood(engine, MATH),
}


@pytest.fixture
def roomy(smollm_path: Path) -> Iterator[Engine]:
    config = EngineConfig(context_size=4096, max_sequences=64, threads=1)
    with Engine(smollm_path, config=config) as engine:
        yield engine


@pytest.mark.weights
@pytest.mark.parametrize("check", [one for one in CONTRACT if "cannot" not in one.__name__])
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_with_weights_the_contract_holds(name: str, check: Check, roomy: Engine) -> None:
    make = partial(WITH_WEIGHTS[name], roomy)
    check(Subject(name, make, writer=roomy, tolerance=1e-6, max_tokens=1500))


@pytest.mark.weights
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_path_of_another_vocabulary_is_read_by_its_text(name: str, roomy: Engine) -> None:
    evaluator = WITH_WEIGHTS[name](roomy)
    (own,), (foreign,) = some_paths(1, writer=roomy), some_paths(1)
    scores = [evaluator.score(QUESTION, [path])[0] for path in (own, foreign)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
