"""Batches: what they read and write, kills and resumption, failures, and the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from batch_run import CONFIG, ByText, run, thoughtful_graph
from counted_model import CountedModel

from forethought.batch import Asker, Tally, answer_all, append, encoded
from forethought.cli.main import run as run_command
from forethought.cli.opening import Opened
from forethought.config import SearchConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError, DecodeError, EvaluatorError
from forethought.evaluators.registry import Parts
from forethought.graphs import GRAPHS, spec_search
from forethought.model import Scope, current_scope
from forethought.prompts import MATH
from forethought.questions import Question, parse_questions
from forethought.thoughts import Thought

COUNT = 6
SCRIPT = Path(__file__).with_name("batch_run.py")


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def asked(count: int = COUNT) -> list[Question]:
    return [Question(f"q{n}", f"What is {n} + {n}?", {"level": n}) for n in range(count)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(lines(*({"id": q.id, "question": q.text, **q.rest} for q in asked())))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(path: Path) -> dict[str, dict[str, Any]]:
    """Every line by its id, each there once, without what the clock says."""
    found = rows(path)
    by_id = {row["id"]: {**row, "seconds": None} for row in found}
    assert len(by_id) == len(found)
    return by_id


# Questions


def test_questions_have_ids_and_keep_whatever_else_was_said() -> None:
    data = lines({"question": "a?", "answer": 3}, {"question": "b?", "id": "x"}, {"question": "c"})
    first, second, third = parse_questions(data.removesuffix(b"\n"), "here")
    assert first == Question(1, "a?", {"answer": 3})
    assert second == Question("x", "b?", {})
    assert third.id == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (b"{not json}", "here:2 is no JSON: Expecting"),
        (b"", "here:2 is no JSON"),
        (b'{"question": "a", "x": NaN}', "here:2 is no JSON: NaN is no JSON number"),
        (b'{"question": "\\ud800"}', "here:2 is no JSON"),
        (b'{"question": "\xff"}', "here:2 is no JSON"),
        (b"[" * 100_000, "here:2 is no JSON"),
        (b'["a"]', "here:2 is no JSON object"),
        (b'{"answer": 1}', "here:2 has no text as `question`: None"),
        (b'{"question": "  "}', "here:2 has no text as `question`: '  '"),
        (b'{"question": 5}', "here:2 has no text as `question`: 5"),
        (b'{"question": "a", "id": 1.5}', "here:2 has an `id` that is neither .*: 1.5"),
        (b'{"question": "a", "id": true}', "here:2 has an `id` that is neither .*: True"),
        (b'{"question": "a", "id": ""}', "here:2 has an `id` that is neither .*: ''"),
        (b'{"question": "a", "id": "1"}', "here:2 has the id '1' of line 1"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(wrong: bytes, message: str) -> None:
    good = lines({"question": "fine?"})
    with pytest.raises(ConfigError, match=message):
        parse_questions(good + wrong + b"\n" + lines({"question": "c", "id": "c"}), "here")


def test_no_questions_are_refused() -> None:
    with pytest.raises(ConfigError, match="here has no questions"):
        parse_questions(b"", "here")


def test_line_separators_within_a_question_are_text() -> None:
    text = "one\u2028two"
    data = json.dumps({"question": text}, ensure_ascii=False).encode()
    assert parse_questions(data, "here") == [Question(1, text)]


def test_a_questions_seed_hangs_on_the_runs_seed_and_its_id_alone() -> None:
    first = Question(7, "a?")
    assert first.seed(0) == Question("7", "b?", {"x": 1}).seed(0)
    seeds = {Question(n, "a?").seed(seed) for n in range(50) for seed in (0, 1)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**32 for seed in seeds)


# Answers


def test_every_question_gets_one_line(data: Path, out: Path) -> None:
    assert run(data, out) == Tally(COUNT, 0)
    found = answers(out)
    assert set(found) == {question.id for question in asked()}
    row = found["q3"]
    assert list(row) == [
        "id",
        "question",
        "answer",
        "text",
        "finish_reason",
        "seconds",
        "tokens",
        "seed",
        "input",
    ]
    assert row["question"] == "What is 3 + 3?"
    assert row["finish_reason"] == "answer"
    assert row["text"].endswith(f"\\boxed{{{row['answer']}}}")
    assert row["input"] == {"level": 3}
    assert row["seed"] == asked()[3].seed(CONFIG.seed)
    assert list(row["tokens"]) == ["drafted", "scored", "revised", "answered"]
    assert row["tokens"]["revised"] > 0
    assert all(line["seconds"] >= 0 for line in rows(out))


def test_answers_do_not_depend_on_how_many_are_in_work(data: Path, tmp_path: Path) -> None:
    found = []
    for concurrency in (1, 3, 8):
        path = tmp_path / f"{concurrency}.jsonl"
        run(data, path, concurrency)
        found.append(answers(path))
    assert found[0] == found[1] == found[2]
    assert len({row["answer"] for row in found[0].values()}) > 1


def test_draws_hang_on_the_runs_seed_and_the_questions_id(tmp_path: Path) -> None:
    texts = []
    for number, (own, seed) in enumerate((("a", 0), ("a", 0), ("b", 0), ("a", 1))):
        path = tmp_path / f"{number}.jsonl"
        asker = Asker(thoughtful_graph(), replace(CONFIG, seed=seed))
        answer_all(asker, [Question(own, "Why?")], path)
        texts.append(rows(path)[0]["text"])
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_as_many_are_in_work_as_was_said_and_no_more(out: Path) -> None:
    """Replies come three at a time, and never would if fewer were in work."""
    in_work: set[str] = set()
    most = 0
    meeting = threading.Barrier(3, timeout=5)
    lock = threading.Lock()

    def reply(prompt: str, seed: int, index: int) -> str:
        nonlocal most
        with lock:
            in_work.add(prompt)
            most = max(most, len(in_work))
        meeting.wait()
        with lock:
            in_work.discard(prompt)
        return "V=0.5 \\boxed{1}"

    model = ScriptedModel(reply)
    graph = spec_search(draft=model, target=model, evaluator=ByText())
    config = SearchConfig(tree_width=1, beam_width=1)
    assert answer_all(Asker(graph, config, 3), asked(6), out) == Tally(6, 0)
    assert most == 3


def test_progress_tells_what_is_done_of_how_many(data: Path, out: Path) -> None:
    told: list[tuple[int, int]] = []
    questions = parse_questions(data.read_bytes(), "data")
    asker = Asker(thoughtful_graph(), CONFIG)
    answer_all(asker, questions[:2], out)
    answer_all(asker, questions, out, progress=lambda *done: told.append(done))
    assert told == [(done, COUNT) for done in range(2, COUNT + 1)]
    told.clear()
    answer_all(asker, questions, out, progress=lambda *done: told.append(done))
    assert told == [(COUNT, COUNT)]


def test_less_than_one_at_once_is_refused() -> None:
    with pytest.raises(ConfigError, match="concurrency must be at least 1, not 0"):
        Asker(thoughtful_graph(), CONFIG, 0)


# Kills and resumption


def process(data: Path, out: Path, *arguments: object) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(SCRIPT.parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(data), str(out), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def undisturbed(data: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What a run writes that nobody kills."""
    path = tmp_path / "undisturbed.jsonl"
    run(data, path)
    return answers(path)


@pytest.mark.parametrize(("line", "byte"), [(1, 1), (3, 40), (COUNT, 10_000)])
def test_a_run_that_was_killed_while_it_wrote_goes_on(
    line: int, byte: int, data: Path, out: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    killed = process(data, out, 2, 0, line, byte)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    before = [text for text in out.read_bytes().split(b"\n")[:-1] if text]
    run(data, out)
    after = out.read_bytes().split(b"\n")[:-1]
    assert after[: len(before)] == before  # nothing was asked again
    assert answers(out) == undisturbed


def test_a_run_that_is_killed_again_and_again_loses_and_repeats_nothing(
    data: Path, out: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    known: list[bytes] = []
    for _ in range(2):
        running = process(data, out, 2, 0.03)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and running.poll() is None:
            if out.exists() and out.read_bytes().count(b"\n") > len(known):
                break
            time.sleep(0.005)
        running.kill()
        running.communicate()
        whole = out.read_bytes().split(b"\n")[:-1]
        assert whole[: len(known)] == known
        known = whole
    assert 0 < len(known) < COUNT + 1
    run(data, out)
    assert answers(out) == undisturbed


def test_a_file_cut_at_any_byte_is_made_whole(data: Path, out: Path) -> None:
    run(data, out)
    whole, content = answers(out), out.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for end in [*range(10), *range(last, last + 10), *range(last + 10, len(content), 31)]:
        out.write_bytes(content[:end])
        assert run(data, out) == Tally(COUNT, 0)
        assert answers(out) == whole
        assert out.read_bytes().startswith(content[:last] if end >= last else b"{")


def test_what_is_finished_is_not_asked_again(data: Path, out: Path) -> None:
    run(data, out)
    content = out.read_bytes()
    graph = spec_search(draft=ScriptedModel(never), target=ScriptedModel(never), evaluator=ByText())
    questions = parse_questions(data.read_bytes(), "data")
    assert answer_all(Asker(graph, CONFIG), questions, out) == Tally(COUNT, 0)
    assert out.read_bytes() == content


def never(prompt: str, seed: int, index: int) -> str:
    raise AssertionError(f"asked {prompt!r}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a line of mine\n", ":1 is no answer"),
        (b"a line of mine", "ends in what is no answer"),
        (b'{"question": "What is 0 + 0?"}', "ends in what is no answer"),
        (b'{"id": "q0", "question": "What is 0 + 0?"}\n', ":1 is no answer"),
        (b"[1]\n", ":1 is no answer"),
        (b'{"id": "q0", "question": "Other?", "seed": 1}\n', ":1 answers 'q0', which is not asked"),
        (b'{"id": "r", "question": "r", "seed": 1}\n', ":1 answers 'r', which is not asked"),
        (b'{"id": "q0", "question": "What is 0 + 0?", "seed": 1}\n', ":1 has seed 1, not "),
    ],
)
def test_a_file_that_is_something_else_is_left_as_it_was(
    content: bytes, message: str, data: Path, out: Path
) -> None:
    out.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        run(data, out)
    assert out.read_bytes() == content


def test_a_question_answered_twice_is_refused(data: Path, out: Path) -> None:
    run(data, out)
    content = out.read_bytes()
    out.write_bytes(content + content.split(b"\n")[0] + b"\n")
    with pytest.raises(ConfigError, match="once more"):
        run(data, out)


def test_two_runs_do_not_write_to_one_file(data: Path, out: Path) -> None:
    running = process(data, out, 1, 1.0)
    try:
        deadline = time.monotonic() + 30
        while not out.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(ConfigError, match="another run is writing to"):
            run(data, out)
    finally:
        running.kill()
        running.communicate()


def test_a_file_that_cannot_be_written_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        run(data, tmp_path)


def test_a_disk_that_is_full_ends_the_run(
    data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("forethought.batch.os.fsync", full)
    with pytest.raises(ConfigError, match=r"cannot write .*No space left"):
        run(data, out)


def test_a_line_that_the_system_takes_in_pieces_is_written_whole(data: Path, out: Path) -> None:
    class Slow(FileIO):
        def write(self, content: Any) -> int:
            return super().write(content[:7])

    with Slow(out, "ab+") as file:
        append(file, out, {"id": 1, "text": "a long line"})
    assert rows(out) == [{"id": 1, "text": "a long line"}]


def test_half_a_surrogate_pair_is_written_as_its_escape() -> None:
    row = {"id": 1, "text": "a\ud800ä"}
    assert encoded(row) == b'{"id": 1, "text": "a\\ud800\xc3\xa4"}\n'
    assert json.loads(encoded(row)) == row


# Failures


class Failing(ByText):
    """An evaluator that fails on one question."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        if question == "What is 2 + 2?":
            raise self.error
        return super().score(question, paths)


def graph_with(evaluator: ByText, **settings: Any) -> Any:
    def reply(prompt: str, seed: int, index: int) -> str:
        return "V=0.5 \\boxed{1}"

    model = ScriptedModel(reply, **settings)
    return spec_search(draft=model, target=model, evaluator=evaluator)


def test_an_evaluators_failure_is_that_questions_line_and_stops_no_other(out: Path) -> None:
    asker = Asker(graph_with(Failing(EvaluatorError("no score today"))), CONFIG)
    assert answer_all(asker, asked(), out) == Tally(COUNT, 1)
    found = answers(out)
    assert found["q2"] == {
        "id": "q2",
        "question": "What is 2 + 2?",
        "error": "EvaluatorError: no score today",
        "seed": asked()[2].seed(CONFIG.seed),
        "input": {"level": 2},
        "seconds": None,
    }
    assert sum("answer" in row for row in found.values()) == COUNT - 1
    again = Asker(graph_with(ByText()), CONFIG)
    assert answer_all(again, asked(), out) == Tally(COUNT, 1)  # not asked again by itself


def test_a_question_that_is_too_long_is_its_own_line(out: Path) -> None:
    size = len(MATH.messages("")[0]["content"]) + 2000
    long = Question("long", "why? " * 1000)
    asker = Asker(graph_with(ByText(), context_size=size), CONFIG)
    assert answer_all(asker, [long, *asked(2)], out) == Tally(3, 1)
    assert answers(out)["long"]["error"].startswith("PromptTooLong: ")


@pytest.mark.parametrize("error", [DecodeError("the device is gone"), ZeroDivisionError()])
def test_what_would_meet_every_question_stops_the_run(error: Exception, out: Path) -> None:
    scope = Scope()
    asker = Asker(graph_with(Failing(error)), CONFIG, 1, scope)
    with pytest.raises(type(error)):
        answer_all(asker, asked(), out)
    assert scope.cancel.is_set()
    assert set(answers(out)) <= {"q0", "q1"}


def test_a_cancelled_run_begins_nothing_and_writes_no_half_answers(data: Path, out: Path) -> None:
    scope = Scope()

    class Interrupting(ByText):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            seen.append(question)
            if question == "What is 2 + 2?":
                scope.cancel.set()
            return super().score(question, paths)

    seen: list[str] = []
    questions = parse_questions(data.read_bytes(), "data")
    asker = Asker(graph_with(Interrupting()), CONFIG, 1, scope)
    assert answer_all(asker, questions, out) == Tally(2, 0)
    assert set(answers(out)) == {"q0", "q1"}
    assert seen == [f"What is {n} + {n}?" for n in range(3)]
    assert answer_all(Asker(graph_with(ByText()), CONFIG), questions, out) == Tally(COUNT, 0)


def test_searches_run_in_the_callers_context_and_scope(out: Path) -> None:
    scope = Scope()
    callers: ContextVar[str] = ContextVar("callers")
    callers.set("own")
    seen: set[bool] = set()

    class Looking(ByText):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            current = current_scope()
            in_scope = current is not None and current.cancel is scope.cancel
            seen.add(in_scope and callers.get("") == "own")
            return super().score(question, paths)

    answer_all(Asker(graph_with(Looking()), CONFIG, 2, scope), asked(), out)
    assert seen == {True}
    assert scope.meter.totals()["scripted"].generated_tokens > 0


# On the command line


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Prompts that scripted models were shown by the command."""
    shown: list[str] = []

    def reply(prompt: str, seed: int, index: int) -> str:
        shown.append(prompt)
        scope = current_scope()
        assert scope is not None
        if "interrupt" in prompt and not scope.cancel.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            assert scope.cancel.wait(5)
        return "So it is \\boxed{4}."

    @contextmanager
    def open_models(*_: Any, **__: Any) -> Iterator[Opened]:
        draft, target = (CountedModel(reply, name=name) for name in ("small", "large"))
        yield Opened({"draft": draft, "target": target}, Parts(draft, target, MATH))

    monkeypatch.setattr("forethought.cli.batch.open_models", open_models)
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path / "data"))
    return shown


def test_the_command_answers_a_file(
    replies: list[str], data: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["batch", str(data), "--out", str(out), "--concurrency", "2", "--seed", "5"]
    assert run_command(given) == 0
    found = answers(out)
    assert {row["answer"] for row in found.values()} == {"4"}
    assert found["q0"]["seed"] == asked()[0].seed(5)
    told = capsys.readouterr()
    assert told.out == f"{out}: {COUNT} of {COUNT} questions\n"
    assert f"answers: {COUNT} of {COUNT} questions" in told.err
    replies.clear()
    assert run_command(given) == 0
    assert replies == []


@pytest.mark.parametrize("graph", sorted(GRAPHS))
def test_the_command_answers_by_any_graph(
    graph: str, replies: list[str], data: Path, out: Path
) -> None:
    assert run_command(["batch", str(data), "--out", str(out), "--graph", graph]) == 0
    found = answers(out)
    assert {row["answer"] for row in found.values()} == {"4"}
    assert {row["finish_reason"] for row in found.values()} == {"answer"}
    assert found["q0"]["seed"] == asked()[0].seed(0)


def test_settings_of_the_graph_reach_a_batch(
    replies: list[str], data: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["batch", str(data), "--out", str(out), "--graph", "speculative-cot"]
    assert run_command([*given, "--set", "num_chains=1", "--set", "correction=false"]) == 0
    assert {row["tokens"]["scored"] for row in answers(out).values()} == {0}
    assert run_command([*given, "--tree-width", "3"]) == 1
    assert "the graph speculative-cot has no --tree-width" in capsys.readouterr().err


def test_the_command_reads_standard_input(
    replies: list[str], data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with data.open("rb") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", type("Input", (), {"buffer": file}))
        assert run_command(["batch", "-", "--out", str(out)]) == 0
    assert len(answers(out)) == COUNT


def test_ctrl_c_leaves_what_is_written_and_says_how_to_go_on(
    replies: list[str], out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "three.jsonl"
    path.write_bytes(lines(*({"question": text} for text in ("one?", "interrupt?", "three?"))))
    before = signal.getsignal(signal.SIGINT)
    assert run_command(["batch", str(path), "--out", str(out), "--concurrency", "1"]) == 1
    assert [row["question"] for row in rows(out)] == ["one?"]
    assert capsys.readouterr().out == f"{out}: 1 of 3 questions; run the same command to go on\n"
    assert not any("three?" in prompt for prompt in replies)
    assert signal.getsignal(signal.SIGINT) is before


def test_errors_among_the_answers_exit_with_3(
    replies: list[str], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    monkeypatch.setattr(
        "forethought.cli.graphs.build_evaluator", lambda *_: Failing(EvaluatorError("none"))
    )
    assert run_command(["batch", str(data), "--out", str(out)]) == 3
    assert len(answers(out)) == COUNT


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read the questions"), (b"nonsense\n", ":1 is no JSON")],
)
def test_a_bad_file_is_refused_before_any_model_is_opened(
    content: bytes | None, message: str, out: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr("forethought.cli.batch.open_models", None)
    assert run_command(["batch", str(path), "--out", str(out)]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()
