"""What every evaluator keeps, as checks that any test file can run over evaluators of its own:

    SUBJECTS = [Subject("mine", lambda: Mine(model), broken=(lambda: Mine(broken_model),))]
    test_mine_keeps_the_contract = contract_test(SUBJECTS)

`contract_test` gives one test per subject and check. A fresh evaluator is made for every check.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass

import pytest

from forethought.errors import EvaluatorError, PromptTooLong
from forethought.evaluators import Evaluator
from forethought.model import Reader, RunStopped, Scope, run_scope
from forethought.thoughts import Thought

QUESTION = "A tray holds 4 cups. How many cups do 6 trays and 3 single cups make?"
MANY = 64


@dataclass(frozen=True)
class Subject:
    """An evaluator under test.

    `broken` make evaluators whose model, program or provider fails or gives no numbers; each must
    raise EvaluatorError. `asks_a_model`: a cancelled run stops it, with RunStopped. `writer` writes
    the thoughts' tokens; without one they are code points, as ScriptedModel's are. `tolerance` is
    how far a score may move with the batch that it is computed in. `max_tokens` is the longest
    thought that must be scored; a longer one may raise PromptTooLong.
    """

    name: str
    make: Callable[[], Evaluator]
    broken: tuple[Callable[[], Evaluator], ...] = ()
    asks_a_model: bool = True
    writer: Reader | None = None
    tolerance: float = 1e-9
    max_tokens: int = 4000


Check = Callable[[Subject], None]


def path_of(*texts: str, writer: Reader | None = None) -> list[Thought]:
    """A path of thoughts with these texts; the last one ends it where it states an answer."""
    return [
        Thought(
            id=depth,
            parent=depth - 1,
            depth=depth,
            text=text,
            tokens=writer.encode(text) if writer else [ord(character) for character in text],
            vocabulary=writer.vocabulary if writer else "code points",
            source="draft",
            is_terminal="boxed" in text,
        )
        for depth, text in enumerate(texts, 1)
    ]


def some_paths(count: int, *, writer: Reader | None = None) -> list[list[Thought]]:
    """Different paths of one to three thoughts; a third of their last thoughts miscalculates."""
    steps = ["6 trays hold 6 * 4 = 24 cups.\n\n", "There are 3 single cups.\n\n"]
    return [
        path_of(
            *steps[: number % 3],
            f"24 + {number} = {24 + number + (number % 3 == 1)} cups.\n\n",
            writer=writer,
        )
        for number in range(1, count + 1)
    ]


def contract_test(subjects: Sequence[Subject]) -> Callable[..., None]:
    """A test function over all subjects and the checks that concern them."""
    cases = [
        pytest.param(subject, check, id=f"{subject.name}-{check.__name__}")
        for subject in subjects
        for check in CONTRACT
        if (check is not stops_with_its_run or subject.asks_a_model)
        and (check is not raises_where_it_cannot_score or subject.broken)
    ]

    @pytest.mark.parametrize(("subject", "check"), cases)
    def test(subject: Subject, check: Check) -> None:
        check(subject)

    return test


# Checks


def has_a_name_that_stays(subject: Subject) -> None:
    first, second = subject.make(), subject.make()
    name = first.name
    assert isinstance(name, str)
    assert name.strip() == name != ""
    assert second.name == name
    first.score(QUESTION, some_paths(2, writer=subject.writer))
    assert first.name == name


def gives_nothing_for_nothing_and_asks_nobody(subject: Subject) -> None:
    scope = Scope()
    scope.cancel.set()
    with run_scope(scope):
        assert subject.make().score(QUESTION, []) == []
    assert scope.meter.totals() == {}


def scores_one_candidate(subject: Subject) -> None:
    assert_scores(subject.make().score(QUESTION, some_paths(1, writer=subject.writer)), 1)


def scores_many_candidates_in_order(subject: Subject) -> None:
    paths = some_paths(MANY, writer=subject.writer)
    order = random.Random(7).sample(range(MANY), MANY)
    scores = subject.make().score(QUESTION, paths)
    permuted = subject.make().score(QUESTION, [paths[i] for i in order])
    assert_scores(scores, MANY)
    assert len(set(scores)) > 1, "it tells no two of these thoughts apart"
    assert permuted == pytest.approx([scores[i] for i in order], abs=subject.tolerance)


def scores_a_path_alone_as_in_a_batch(subject: Subject) -> None:
    paths = some_paths(5, writer=subject.writer)
    evaluator = subject.make()
    together = evaluator.score(QUESTION, paths)
    alone = [score for path in paths for score in subject.make().score(QUESTION, [path])]
    assert alone == pytest.approx(together, abs=subject.tolerance)
    assert evaluator.score(QUESTION, paths) == pytest.approx(together, abs=subject.tolerance)


def scores_the_same_path_twice_in_a_batch(subject: Subject) -> None:
    first, second = some_paths(2, writer=subject.writer)
    scores = subject.make().score(QUESTION, [first, second, first])
    assert_scores(scores, 3)
    assert scores[0] == pytest.approx(scores[2], abs=subject.tolerance)


def leaves_its_paths_as_they_are(subject: Subject) -> None:
    paths = some_paths(3, writer=subject.writer)
    before = deepcopy(paths)
    subject.make().score(QUESTION, paths)
    assert paths == before


def scores_a_thought_of_one_token(subject: Subject) -> None:
    assert_scores(subject.make().score(QUESTION, [path_of("7", writer=subject.writer)]), 1)


def scores_a_long_thought_or_says_that_it_does_not_fit(subject: Subject) -> None:
    for count in (3000, 4000):
        path = path_of(" seven" * count, writer=subject.writer)
        assert len(path[0].tokens) >= count
        try:
            assert_scores(subject.make().score(QUESTION, [path]), 1)
        except PromptTooLong:
            assert count > subject.max_tokens


def scores_texts_of_every_kind(subject: Subject) -> None:
    odd = [
        "\n\n",
        "{x} %s {}",
        "<|im_end|>",
        "naïve 🙂 ½",
        "a\tb\r\nc",
        "The answer is \\boxed{27}.",
    ]
    paths = [path_of("First.\n\n", text, writer=subject.writer) for text in odd]
    assert_scores(subject.make().score("Why {x}?\n\n<|im_end|>", paths), len(odd))


def scores_for_many_threads_at_once(subject: Subject) -> None:
    evaluator = subject.make()
    paths = some_paths(8, writer=subject.writer)
    barrier = threading.Barrier(4)

    def ask(first: int) -> list[float]:
        barrier.wait(10)
        return evaluator.score(QUESTION, paths[first : first + 2])

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(ask, range(0, 8, 2)))
    expected = subject.make().score(QUESTION, paths)
    assert [score for part in parts for score in part] == pytest.approx(
        expected, abs=subject.tolerance
    )


def stops_with_its_run(subject: Subject) -> None:
    scope = Scope()
    scope.cancel.set()
    with run_scope(scope), pytest.raises(RunStopped) as stopped:
        subject.make().score(QUESTION, some_paths(2, writer=subject.writer))
    assert stopped.value.reason == "cancelled"


def raises_where_it_cannot_score(subject: Subject) -> None:
    for make in subject.broken:
        evaluator = make()
        for paths in (some_paths(1, writer=subject.writer), some_paths(9, writer=subject.writer)):
            with pytest.raises(EvaluatorError) as failed:
                evaluator.score(QUESTION, paths)
            assert str(failed.value).strip()


CONTRACT: tuple[Check, ...] = (
    has_a_name_that_stays,
    gives_nothing_for_nothing_and_asks_nobody,
    scores_one_candidate,
    scores_many_candidates_in_order,
    scores_a_path_alone_as_in_a_batch,
    scores_the_same_path_twice_in_a_batch,
    leaves_its_paths_as_they_are,
    scores_a_thought_of_one_token,
    scores_a_long_thought_or_says_that_it_does_not_fit,
    scores_texts_of_every_kind,
    scores_for_many_threads_at_once,
    stops_with_its_run,
    raises_where_it_cannot_score,
)


def assert_scores(scores: object, count: int) -> None:
    """A list of `count` Python floats in [0, 1]."""
    assert isinstance(scores, list)
    assert len(scores) == count
    for score in scores:
        assert type(score) is float  # a numpy scalar is one by inheritance, and crashes checkpoints
        assert not math.isnan(score)
        assert 0.0 <= score <= 1.0
