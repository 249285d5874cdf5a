"""Where benchmark problems come from, and how answers are graded; the problems are our own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_sandbox import is_isolated

from forethought.bench.problems import Fields, final_answer_in, is_code, read_problems
from forethought.errors import ConfigError, EvaluatorError, MissingExtra
from forethought.evaluators.sandbox import Sandbox

isolated = pytest.mark.skipif(not is_isolated(), reason="this system grants no namespaces")

TWICE = {
    "task_id": "own/1",
    "prompt": 'def twice(x):\n    """Two times x.\n\n    >>> twice(2)\n    4\n    """\n',
    "entry_point": "twice",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
}


@pytest.fixture(autouse=True)
def _math_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grading here needs none; whether it is installed is another test's matter."""
    monkeypatch.setattr("forethought.bench.problems.require_math_verify", lambda: None)


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def questions(count: int) -> list[dict[str, str]]:
    return [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(count)]


# Files


def test_a_file_gives_its_problems_in_an_order_that_the_seed_draws(tmp_path: Path) -> None:
    path = str(written(tmp_path, *questions(12)))
    orders = [
        [one.problem.name for one in read_problems(path, limit=12, seed=seed)] for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(f"own/{n}" for n in range(1, 13))
    assert orders[0] != sorted(orders[0])


def test_a_larger_limit_begins_with_the_problems_of_a_smaller_one(tmp_path: Path) -> None:
    path = str(written(tmp_path, *questions(12)))
    few, many = (read_problems(path, limit=limit) for limit in (3, 7))
    assert (len(few), len(many)) == (3, 7)
    assert many[:3] == few


def test_answers_to_questions_are_graded_as_mathematics(tmp_path: Path) -> None:
    (one,) = read_problems(str(written(tmp_path, {"question": "?", "answer": "0.5"})), limit=9)
    assert one.is_right("\\frac{1}{2}")
    assert not one.is_right("5")
    assert not is_code([one])


@isolated
def test_code_is_graded_by_its_tests(tmp_path: Path) -> None:
    (one,) = read_problems(str(written(tmp_path, TWICE)), limit=9)
    assert one.problem.name == "own/1"
    assert "```python\ndef twice(x):" in one.problem.question
    assert "assert" not in one.problem.question
    assert one.is_right("def twice(x):\n    return 2 * x")
    assert one.is_right("    return 2 * x")
    assert not one.is_right("def twice(x):\n    return 4")
    assert is_code([one])


def test_without_isolation_code_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise EvaluatorError("this system grants no isolation")

    monkeypatch.setattr(Sandbox, "run", refuse)
    with pytest.raises(EvaluatorError, match="no isolation"):
        read_problems(str(written(tmp_path, TWICE)), limit=1)


def test_without_math_verify_it_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtra("math-verify is not installed")

    monkeypatch.setattr("forethought.bench.problems.require_math_verify", missing)
    with pytest.raises(MissingExtra, match="math-verify"):
        read_problems(str(written(tmp_path, *questions(1))), limit=1)


def test_problems_of_one_name_are_told_apart_by_their_digests(tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "?", "answer": answer} for answer in ("1", "2")]
    first, second = (read_problems(str(written(tmp_path, row)), limit=1)[0] for row in rows)
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no problems"),
        ("no JSON", "own.jsonl:1 is no JSON object of question and answer"),
        ('{"question": "?"}', "own.jsonl:1 is no JSON object of question and answer: 'answer'"),
        ("[1]", "own.jsonl:1 is no JSON object"),
        ('{"question": "?", "answer": "1"}\nno JSON', "own.jsonl:2 is no JSON"),
        ('{"task_id": 1, "entry_point": "f"}', "own.jsonl:1 lacks prompt, test"),
        (json.dumps(TWICE) + "\nno JSON", "own.jsonl:2 is no JSON"),
        (json.dumps(TWICE) + "\n[1]", "own.jsonl:2 lacks task_id"),
        (json.dumps(TWICE | {"entry_point": "a b"}), "own.jsonl:1: entry_point must be the name"),
        (json.dumps(TWICE | {"test": "pass"}), "own.jsonl:1: test must define check"),
        ("\n".join([json.dumps({"id": 7, "question": "?", "answer": "1"})] * 2), "e.g. \\['7'\\]"),
    ],
)
def test_bad_data_is_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as failed:
        read_problems(str(path), limit=5)
    assert "\n" not in str(failed.value)


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid UTF-8"):
        read_problems(str(path), limit=1)
    with pytest.raises(ConfigError, match=r"there is no file .*nothing\.jsonl.*gym:NAME"):
        read_problems(str(tmp_path / "nothing.jsonl"), limit=1)
    with pytest.raises(ConfigError, match="limit must be at least 1, not 0"):
        read_problems(str(path), limit=0)


# The hub


@dataclass
class Hub:
    """Stands in for the package `datasets`."""

    rows: list[dict[str, Any]]
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    error: Exception | None = None

    def load_dataset(self, path: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
        self.asked.append((path, config, split))
        if self.error:
            raise self.error
        return self.rows

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Hub:
        module: Any = ModuleType("datasets")
        module.load_dataset = self.load_dataset
        monkeypatch.setitem(sys.modules, "datasets", module)
        return self


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("hf:own/sums", ("own/sums", None, "test")),
        ("hf:own/sums:main", ("own/sums", "main", "test")),
        ("hf:own/sums:main:train", ("own/sums", "main", "train")),
        ("hf:own/sums::train", ("own/sums", None, "train")),
    ],
)
def test_a_data_set_of_the_hub_is_asked_for_by_name_config_and_split(
    source: str, asked: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub([{"problem": "1 + 1?", "solution": "So \\boxed{2}"}]).install(monkeypatch)
    (one,) = read_problems(source, limit=3)
    assert hub.asked == [asked]
    assert (one.problem.name, one.problem.question, one.problem.answer) == (
        "own/sums/1",
        "1 + 1?",
        "2",
    )


def test_fields_are_guessed_and_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": 5, "question": "q", "asked": "a", "solution": "x #### 1", "result": 2}
    Hub([row]).install(monkeypatch)
    (guessed,) = read_problems("hf:own/sums", limit=1)
    (named,) = read_problems("hf:own/sums", limit=1, fields=Fields("asked", "result"))
    assert (guessed.problem.question, guessed.problem.answer) == ("q", "1")
    assert (named.problem.name, named.problem.question, named.problem.answer) == ("5", "a", "2")


@isolated
def test_a_data_set_of_functions_is_taken_as_code(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub([TWICE]).install(monkeypatch)
    assert is_code(read_problems("hf:own/functions", limit=1))


@pytest.mark.parametrize(
    ("source", "fields", "message"),
    [
        ("hf:own/sums", Fields("ask"), "own/sums/1 has no field ask, only text"),
        ("hf:own/sums", Fields(), "no field question or problem .*--question-field"),
        ("hf:", Fields(), "not of the form hf:NAME"),
        ("hf:a:b:c:d", Fields(), "not of the form hf:NAME"),
    ],
)
def test_a_data_set_that_does_not_fit_is_told(
    source: str, fields: Fields, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub([{"text": "?"}]).install(monkeypatch)
    with pytest.raises(ConfigError, match=message):
        read_problems(source, limit=1, fields=fields)


def test_what_the_hub_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub([], error=ValueError("Config name is missing.\nPick one of: 'main'")).install(monkeypatch)
    with pytest.raises(ConfigError, match="cannot load own/sums from the hub: Config name is miss"):
        read_problems("hf:own/sums", limit=1)


def test_an_empty_data_set_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub([]).install(monkeypatch)
    with pytest.raises(ConfigError, match="hf:own/sums has no problems"):
        read_problems("hf:own/sums", limit=1)


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [("hf:a/b", "datasets", "hub"), ("gym:sums", "reasoning_gym", "gym")],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    source: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"{module} is not installed.*forethought\[{extra}\]"):
        read_problems(source, limit=1)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("12 / 4 = 3\n#### 3", "3"),
        ("So \\boxed{1} or \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        (" 7 ", "7"),
    ],
)
def test_the_final_answer_of_a_worked_solution_is_found(text: str, answer: str) -> None:
    assert final_answer_in(text) == answer


# Generators


@dataclass
class Gym:
    """Stands in for reasoning-gym: its one generator takes any even number."""

    made: list[dict[str, Any]] = field(default_factory=list)

    def create_dataset(self, name: str, **settings: int) -> Gym:
        self.made.append({"name": name, **settings})
        return self

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"question": f"An even number above {number}?", "answer": "100"}

    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        assert entry["answer"] == "100"
        return 1.0 if answer.isdigit() and int(answer) % 2 == 0 else 0.01

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Gym:
        library: Any = ModuleType("reasoning_gym")
        factory: Any = ModuleType("reasoning_gym.factory")
        library.create_dataset = self.create_dataset
        factory.DATASETS = {"evens": None, "odds": None}
        monkeypatch.setitem(sys.modules, "reasoning_gym", library)
        monkeypatch.setitem(sys.modules, "reasoning_gym.factory", factory)
        return self


def test_a_generator_is_seeded_and_grades_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gym = Gym().install(monkeypatch)
    posed = read_problems("gym:evens", limit=3, seed=4)
    assert gym.made == [{"name": "evens", "seed": 4, "size": 3}]
    assert [one.problem.name for one in posed] == ["evens/4/0", "evens/4/1", "evens/4/2"]
    assert posed[1].problem.question == "An even number above 1?"
    assert posed[0].is_right("12")
    assert posed[0].is_right("$100")  # the same as its own answer
    assert not posed[0].is_right("13")


def test_an_unknown_generator_is_told_with_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    Gym().install(monkeypatch)
    with pytest.raises(ConfigError, match=r"no generator 'evns'; it has 2, e\.g\. evens"):
        read_problems("gym:evns", limit=1)


def test_the_real_generators_give_problems_that_their_own_answers_solve() -> None:
    pytest.importorskip("reasoning_gym")
    posed = read_problems("gym:gsm_symbolic", limit=3, seed=1)
    assert all(one.is_right(one.problem.answer) for one in posed)
    assert not any(one.is_right("-99999") for one in posed)
    again = read_problems("gym:gsm_symbolic", limit=2, seed=1)
    assert [one.problem for one in again] == [one.problem for one in posed[:2]]
