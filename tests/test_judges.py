"""Judges: what they ask, and how the answer becomes a score."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Any

import pytest
from evaluator_contract import QUESTION, path_of, some_paths
from fake_chat import FakeChat, with_grade, with_logprobs
from langchain_core.messages import AIMessage

from forethought.engine import ScriptedModel
from forethought.errors import ConfigError, EngineClosed, EvaluatorError
from forethought.evaluators.chat_judge import ChatJudge
from forethought.evaluators.digit_judge import DigitJudge
from forethought.evaluators.judge import Judge
from forethought.model import Reader, RunStopped, Scope, Usage, run_scope
from forethought.prompts import MATH, TASKS, Task

PATH = path_of("First.\n\n", "Second.\n\n")


class Noted(ScriptedModel):
    """A scripted model that answers with one row and keeps what it was asked."""

    def __init__(self, row: list[float]) -> None:
        super().__init__(lambda *_: "", judge=lambda _: row)
        self.asked: list[tuple[list[str], list[list[str]]]] = []

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        spelt = [[self.decode([token]) for token in choice] for choice in choices]
        self.asked.append(([self.decode(prompt) for prompt in prompts], spelt))
        return super().probs(prompts, choices)


# Judge


def test_a_judge_is_asked_once_for_all_paths_in_the_assistants_own_turn() -> None:
    model = Noted([0.6, 0.2])
    scores = Judge(model, MATH).score(QUESTION, [PATH, path_of("Open")])
    assert scores == pytest.approx([0.75, 0.75])
    ((prompts, _),) = model.asked
    opening = model.decode(model.chat(MATH.messages(QUESTION)))
    assert prompts == [
        opening + "First.\n\nSecond.\n\n" + MATH.judge_question,
        opening + "Open\n\n" + MATH.judge_question,
    ]


class Pieces(ScriptedModel):
    """Writes one token a word, its space in front, as vocabularies do that add one to a text's
    start; and, where told, joins a digit to the space before it."""

    joins_digits = False

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        tokens: list[int] = []
        for word in (" " + text).split(" ")[1:]:
            if word and self.joins_digits:
                tokens.append(hash(word) % 1_000_000)
            else:
                tokens += [1_000_000, *map(ord, word)]
        return tokens


def test_the_answers_tokens_are_those_that_follow_the_question() -> None:
    seen: list[list[list[int]]] = []

    class Seeing(Pieces):
        def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
            seen.append(choices)
            return super().probs(prompts, choices)

    task = replace(MATH, judge_question="Right?(", judge_yes=("yes",), judge_no=("no", "wrong"))
    Judge(Seeing(lambda *_: ""), task).score(QUESTION, [PATH])
    assert seen == [[[ord("y")], [ord("n"), ord("w")]]]  # not the space of a text's start


def test_a_judge_refuses_a_question_that_grows_together_with_its_answers() -> None:
    class Joining(Pieces):
        joins_digits = True

    task = replace(MATH, judge_question="Right?(", judge_yes=("yes",), judge_no=("no",))
    with pytest.raises(ConfigError, match="'yes' does not begin a token after 'Right"):
        Judge(Joining(lambda *_: ""), task).score(QUESTION, [PATH])


@pytest.mark.parametrize("row", [[0.0, 0.0], [math.nan, 0.5], [math.inf, 0.5]])
def test_a_judge_without_an_answer_is_an_error(row: list[float]) -> None:
    with pytest.raises(EvaluatorError, match="judge:scripted gives its answers the probabilities"):
        Judge(Noted(row), MATH).score(QUESTION, [PATH])


def test_judges_take_any_reader() -> None:
    reader: Reader = Noted([0.1] * 10)
    assert DigitJudge(reader, MATH).score(QUESTION, [PATH]) == pytest.approx([0.5])


# DigitJudge


def digits(**probabilities: float) -> list[float]:
    """One probability per digit, given as d3=0.5."""
    return [probabilities.get(f"d{digit}", 0.0) for digit in range(10)]


@pytest.mark.parametrize(
    ("row", "greedy", "average"),
    [
        (digits(d9=0.3), 9.0, 9.0),
        (digits(d0=0.01), 0.0, 0.0),
        (digits(d7=0.3, d9=0.1), 7.0, 7.5),
        (digits(d2=0.2, d4=0.2), 2.0, 3.0),
        ([0.05] * 10, 0.0, 4.5),
    ],
)
def test_a_digit_is_the_most_probable_or_the_expected_one(
    row: list[float], greedy: float, average: float
) -> None:
    model = Noted(row)
    assert DigitJudge(model, MATH, "greedy").score(QUESTION, [PATH]) == [greedy / 9]
    assert DigitJudge(model, MATH).score(QUESTION, [PATH]) == pytest.approx([average / 9])


def test_only_the_digit_is_left_to_write() -> None:
    model = Noted(digits(d5=1.0))
    DigitJudge(model, MATH).score(QUESTION, [PATH])
    ((prompts, choices),) = model.asked
    assert prompts[0].endswith("Second.\n\n" + MATH.digit_question)
    assert choices == [[digit] for digit in "0123456789"]


def test_a_vocabulary_without_digits_of_their_own_is_refused() -> None:
    class TwoTokens(ScriptedModel):
        def encode(self, text: str, *, special: bool = False) -> list[int]:
            return [token for c in text for token in ([0, ord(c)] if c == "8" else [ord(c)])]

    class Joining(ScriptedModel):
        def encode(self, text: str, *, special: bool = False) -> list[int]:
            if text[-2:-1] == " " and text[-1].isdigit():  # " 7" is one token
                return [*map(ord, text[:-2]), 1000 + int(text[-1])]
            return [ord(c) for c in text]

    with pytest.raises(ConfigError, match="writes the digit 8 as 2 tokens"):
        DigitJudge(TwoTokens(lambda *_: ""), MATH)
    with pytest.raises(ConfigError, match="'0' does not begin a token after"):
        DigitJudge(Joining(lambda *_: ""), MATH)
    with pytest.raises(ConfigError, match="how must be one of greedy, average, not 'best'"):
        DigitJudge(Noted([]), MATH, "best")  # type: ignore[arg-type]


def test_names_tell_judges_and_their_scales_apart() -> None:
    model = Noted([])
    chat = FakeChat(respond=lambda *_: AIMessage(""), model_name="gpt")
    names = [
        Judge(model, MATH).name,
        DigitJudge(model, MATH).name,
        DigitJudge(model, MATH, "greedy").name,
        ChatJudge(chat, MATH).name,
        ChatJudge(chat, MATH, how="structured").name,
    ]
    assert names == [
        "judge:scripted",
        "digit_judge:scripted:average",
        "digit_judge:scripted:greedy",
        "chat_judge:gpt:auto",
        "chat_judge:gpt:structured",
    ]


# ChatJudge


def chat_judge(respond: Any, **settings: Any) -> tuple[ChatJudge, FakeChat]:
    model = FakeChat(respond=respond)
    return ChatJudge(model, MATH, **settings), model


@pytest.mark.parametrize(
    ("alternatives", "score"),
    [
        ([("Yes", 0.6), ("No", 0.2)], 0.75),
        ([("Yes", 0.3), (" yes", 0.2), ("YES", 0.1), ("No", 0.1), ("▁no", 0.1)], 0.75),
        ([('"Yes', 0.5), ("Ġno", 0.5)], 0.5),
        ([("No", 0.9), ("Yes", 0.1), ("Yesterday", 0.5), ("None", 0.5), ("", 0.5)], 0.1),
        ([("Yes", 0.9), ("Maybe", 0.05)], 1.0),
        ([("Maybe", 0.9), ("No", 0.05)], 0.0),
    ],
)
def test_a_chat_models_answer_is_renormalised_over_yes_and_no(
    alternatives: list[tuple[str, float]], score: float
) -> None:
    reply = with_logprobs(*((token, math.log(p)) for token, p in alternatives))
    judge, model = chat_judge(lambda *_: reply, how="logprobs")
    assert judge.score(QUESTION, [PATH]) == pytest.approx([score])
    assert model.seen == [{"logprobs": True, "top_logprobs": 20}]


def test_a_chat_model_is_shown_the_problem_the_steps_and_the_last_step() -> None:
    judge, model = chat_judge(lambda *_: with_grade(grade=3), how="structured")
    judge.score(QUESTION, [PATH])
    system, user = model.prompts[0]
    assert (system.type, system.content) == ("system", MATH.review)
    assert user.content == (
        f"Problem:\n{QUESTION}\n\nSteps before:\nFirst.\n\nLast step:\nSecond.\n\n"
        f"{MATH.review_grade}"
    )


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_first_step_has_none_before_it(task: Task) -> None:
    text = task.review_messages("Why {x}?", ["Only {this}.\n\n"], "Well?")[-1]["content"]
    assert text == "Problem:\nWhy {x}?\n\nLast step:\nOnly {this}.\n\nWell?"


@pytest.mark.parametrize(("grade", "score"), [(0, 0.0), (7, 7 / 9), (9, 1.0)])
def test_a_grade_is_a_ninth_each(grade: int, score: float) -> None:
    judge, model = chat_judge(lambda *_: with_grade(grade=grade), how="structured")
    assert judge.score(QUESTION, [PATH]) == [score]
    assert model.seen[0]["tools"][0]["function"]["name"] == "Grade"


BAD_REPLIES = {
    "words": AIMessage("Certainly!"),
    "no alternatives": with_logprobs(),
    "one alternative": with_logprobs(("Yes", -0.1)),
    "other words": with_logprobs(("<think>", -0.1), ("Let", -3.0)),
    "no number": with_logprobs(("Yes", math.nan), ("No", -1.0)),
    "above one": with_logprobs(("Yes", 900.0), ("No", -1.0)),
    "metadata": AIMessage("", response_metadata={"logprobs": {"content": [{"token": "Yes"}]}}),
    "grade too high": with_grade(grade=10),
    "grade is no number": with_grade(grade="good"),
    "no grade": with_grade(),
}


@pytest.mark.parametrize("how", ["auto", "logprobs", "structured"])
@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_nothing_is_read_into_a_reply_without_answer_or_grade(reply: AIMessage, how: Any) -> None:
    judge, _ = chat_judge(lambda *_: reply, how=how)
    with pytest.raises(EvaluatorError, match=f"chat_judge:fake:{how} gave no"):
        judge.score(QUESTION, [PATH])


def test_a_grade_that_does_not_parse_is_the_cause() -> None:
    judge, _ = chat_judge(lambda *_: with_grade(grade=10), how="structured")
    with pytest.raises(EvaluatorError) as failed:
        judge.score(QUESTION, [PATH])
    assert "less than or equal to 9" in str(failed.value.__cause__)


class Refused(Exception):
    """A provider's error with its HTTP status."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


def unless_asked_for_logprobs(error: Exception | None) -> Any:
    """A provider without log-probabilities, which passes over the wish or refuses it."""

    def respond(_: str, settings: dict[str, Any]) -> AIMessage:
        if "tools" in settings:
            return with_grade(grade=6)
        if error:
            raise error
        return AIMessage("Yes")

    return respond


@pytest.mark.parametrize("refusal", [None, TypeError("logprobs"), Refused(400), Refused(403)])
def test_auto_tries_logprobs_once_and_remembers(refusal: Exception | None) -> None:
    judge, model = chat_judge(unless_asked_for_logprobs(refusal))
    for _ in range(2):
        assert judge.score(QUESTION, some_paths(3)) == [6 / 9] * 3
    assert ["tools" in settings for settings in model.seen] == [False] + [True] * 6


def test_auto_stays_with_logprobs_where_they_are_given() -> None:
    judge, model = chat_judge(lambda *_: with_logprobs(("Yes", -1.0), ("No", -1.0)))
    for _ in range(2):
        assert judge.score(QUESTION, some_paths(3)) == [0.5] * 3
    assert not any("tools" in settings for settings in model.seen)


@pytest.mark.parametrize("error", [TimeoutError("late"), Refused(429), Refused(500)])
def test_auto_learns_nothing_from_a_provider_that_is_down(error: Exception) -> None:
    down = [True]

    def respond(text: str, settings: dict[str, Any]) -> AIMessage:
        if down.pop() if down else False:
            raise error
        return with_logprobs(("Yes", -1.0), ("No", -1.0))

    judge, _ = chat_judge(respond)
    with pytest.raises(EvaluatorError) as failed:
        judge.score(QUESTION, [PATH])
    assert failed.value.__cause__ is error
    assert judge.score(QUESTION, [PATH]) == [0.5]


def test_auto_does_not_settle_on_what_failed() -> None:
    refusing = [Refused(403), Refused(403)]

    def respond(text: str, settings: dict[str, Any]) -> AIMessage:
        if refusing:
            raise refusing.pop()
        return with_logprobs(("Yes", -1.0), ("No", -1.0))

    judge, _ = chat_judge(respond)
    with pytest.raises(EvaluatorError):
        judge.score(QUESTION, [PATH])
    assert judge.score(QUESTION, [PATH]) == [0.5]


def test_a_model_that_cannot_call_tools_has_no_structured_output() -> None:
    class Plain(FakeChat):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    judge = ChatJudge(Plain(respond=lambda *_: AIMessage("Yes")), MATH)
    with pytest.raises(EvaluatorError, match="no structured output"):
        judge.score(QUESTION, [PATH])


def test_errors_of_a_model_of_ours_are_not_renamed() -> None:
    def closed(*_: Any) -> AIMessage:
        raise EngineClosed("closed")

    def stopped(*_: Any) -> AIMessage:
        raise RunStopped("deadline")

    for respond, error in ((closed, EngineClosed), (stopped, RunStopped)):
        with pytest.raises(error):
            chat_judge(respond, how="logprobs")[0].score(QUESTION, [PATH])


def test_calls_run_side_by_side_up_to_the_limit_and_in_order() -> None:
    meeting = threading.Barrier(4)

    def respond(text: str, _: dict[str, Any]) -> AIMessage:
        meeting.wait(10)  # passes only where four calls are under way at once
        return with_grade(grade=int(text.partition("Last step:\n")[2][0]))

    judge, model = chat_judge(respond, how="structured", concurrency=4)
    scores = judge.score(QUESTION, [path_of(f"{digit}") for digit in (3, 1, 4, 1, 5, 9, 2, 6)])
    assert scores == [digit / 9 for digit in (3, 1, 4, 1, 5, 9, 2, 6)]
    assert model.most_at_once == 4
    with pytest.raises(ConfigError, match="concurrency must be at least 1, not 0"):
        ChatJudge(model, MATH, concurrency=0)


def test_a_run_that_is_cancelled_meanwhile_asks_no_more() -> None:
    scope = Scope()

    def respond(*_: Any) -> AIMessage:
        scope.cancel.set()
        return with_grade(grade=1)

    judge, model = chat_judge(respond, how="structured", concurrency=2)
    with run_scope(scope), pytest.raises(RunStopped):
        judge.score(QUESTION, some_paths(7))
    assert len(model.seen) == 2


@pytest.mark.parametrize("how", ["logprobs", "structured"])
def test_what_a_provider_charges_is_metered(how: Any) -> None:
    charged: Any = {
        "input_tokens": 50,
        "output_tokens": 2,
        "total_tokens": 52,
        "input_token_details": {"cache_read": 20},
    }
    word = with_logprobs(("Yes", -1.0), ("No", -1.0), usage_metadata=charged)
    grade = with_grade(grade=1)
    grade.usage_metadata = charged
    judge, _ = chat_judge(lambda *_: word if how == "logprobs" else grade, how=how)
    with run_scope(Scope()) as scope:
        judge.score(QUESTION, some_paths(10))
    usage = scope.meter.totals()["fake"]
    assert usage == Usage(300, 200, 20, usage.seconds)
    assert usage.seconds > 0


def test_a_chat_model_is_named_by_whichever_field_has_its_name() -> None:
    class Named(FakeChat):
        model_name: str = ""
        model: str = "claude"

    assert ChatJudge(Named(respond=lambda *_: AIMessage("")), MATH).name == "chat_judge:claude:auto"
    nameless = FakeChat(respond=lambda *_: AIMessage(""), model_name="")
    assert ChatJudge(nameless, MATH).name == "chat_judge:FakeChat:auto"
