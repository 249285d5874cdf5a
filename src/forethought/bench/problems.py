"""Where problems come from, and how an answer to each is graded.

    SOURCE = FILE                          JSON Lines: question and answer, or HumanEval's form
           | hf:NAME[:CONFIG[:SPLIT]]      a data set of the Hugging Face hub, by `datasets`
           | gym:NAME                      a generator of reasoning-gym

Problems come in random order, drawn from the seed alone: the first ten of a run are the first ten
of a longer one.
"""

from __future__ import annotations

import difflib
import importlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from forethought.chains import Problem, load_problems
from forethought.config import require, require_at_least
from forethought.errors import ConfigError, MissingExtra
from forethought.evaluators import CodeProblem, Sandbox, run_tests, same_answer
from forethought.evaluators.final_answer import require_math_verify
from forethought.prompts import MATH, Task, code_question

_CODE_FIELDS: Final = ("task_id", "prompt", "entry_point", "test")
_QUESTION_FIELDS: Final = ("question", "problem", "prompt", "input")
_ANSWER_FIELDS: Final = ("answer", "final_answer", "solution", "target")
_NAME_FIELDS: Final = ("id", "unique_id", "task_id")
_DEFAULT_SPLIT: Final = "test"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Posed:
    """A problem and its grading: code must pass `code`; else the answer must be the problem's, or
    satisfy `score`, a generator's own measure in [0, 1], wholly."""

    problem: Problem
    code: CodeProblem | None = None
    score: Callable[[str], float] | None = None

    @property
    def digest(self) -> str:
        """Tells this problem from another one of its name."""
        parts = [self.problem.question, self.problem.answer, self.code.test if self.code else ""]
        return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    def is_right(self, answer: str) -> bool:
        """Whether `answer`, as `Task.answer_of` finds it, is right.

        Raises:
            EvaluatorError: this system cannot run programs, or math-verify failed.
        """
        if self.code is not None:
            return run_tests(answer, self.code).status == "passed"
        if self.score is not None and self.score(answer) >= 1.0:
            return True
        return same_answer(answer, self.problem.answer)

    def is_solved_by(self, text: str, task: Task) -> bool:
        """Whether `text` states a right answer in the task's form. Raises as `is_right`."""
        answer = task.find_answer(text)
        return answer is not None and self.is_right(answer)


@dataclass(frozen=True, slots=True)
class Fields:
    """The names of a data set's fields; what is None is guessed."""

    question: str | None = None
    answer: str | None = None


def read_problems(
    source: str, *, limit: int, seed: int = 0, fields: Fields | None = None
) -> list[Posed]:
    """`limit` problems of a source in the order that `seed` draws; fewer where it has fewer.

    `fields` are those of a data set of the hub. What grading needs is tried here, once.

    Raises:
        ConfigError: the source is none, is empty, or a row of it is no problem; two have one name.
        MissingExtra: it needs a package that is not installed.
        EvaluatorError: answers are programs, and this system cannot run them.
    """
    require_at_least("limit", limit, 1)
    kind, _, name = source.partition(":")
    if kind == "gym":
        posed = _generated(name, limit, seed)
    elif kind == "hf":
        posed = _shuffled(_fetched(name, fields or Fields()), seed)[:limit]
    else:
        posed = _shuffled(_read(Path(source)), seed)[:limit]
    require(bool(posed), f"{source} has no problems")
    _check_grading(posed)
    return posed


def is_code(posed: Sequence[Posed]) -> bool:
    """Whether the answers are programs."""
    return any(one.code is not None for one in posed)


def final_answer_in(text: str) -> str:
    """The final answer in a worked solution: behind the last `####` (GSM8K), in the last `\\boxed`
    (MATH), else the whole text."""
    _, marked, last = text.rpartition("####")
    return last.strip() if marked else MATH.find_answer(text) or text.strip()


def _read(path: Path) -> list[Posed]:
    require(
        path.is_file(),
        f"there is no file {path}: give a file of JSON Lines, hf:NAME[:CONFIG[:SPLIT]] or gym:NAME",
    )
    rows = _code_rows(path)
    if rows is None:
        return [Posed(problem) for problem in load_problems(path)]
    return [_code(row, f"{path}:{number}") for number, row in enumerate(rows, 1)]


def _code_rows(path: Path) -> list[Row] | None:
    """The rows of a file of HumanEval's form; None where its first line is of another."""
    rows: list[Row] = []
    try:
        for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
            rows.append(json.loads(line))
            if not (isinstance(rows[0], dict) and "entry_point" in rows[0]):
                return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid UTF-8: {error}") from error
    except ValueError as error:
        if not rows:
            return None  # `load_problems` says what is wrong with it
        raise ConfigError(f"{path}:{len(rows) + 1} is no JSON: {error}") from error
    return rows


def _code(row: Row, where: str) -> Posed:
    """A row of HumanEval (Chen et al., arXiv:2107.03374, section 2.2)."""
    missing = [name for name in _CODE_FIELDS if not isinstance(row, dict) or name not in row]
    require(not missing, f"{where} lacks {', '.join(missing)}: see docs/benchmarks.md for the form")
    name, prompt, entry_point, test = (str(row[name]) for name in _CODE_FIELDS)
    try:
        code = CodeProblem(prompt, entry_point, test)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return Posed(Problem(name, code_question(prompt), ""), code=code)


def _fetched(name: str, fields: Fields) -> list[Posed]:
    """The rows of `NAME[:CONFIG[:SPLIT]]` on the hub."""
    path, *rest = name.split(":")
    require(bool(path) and len(rest) < 3, f"hf:{name} is not of the form hf:NAME[:CONFIG[:SPLIT]]")
    config, split = [*rest, *("", "")[len(rest) :]]
    library = _imported("datasets", "hub")
    try:
        rows = list(library.load_dataset(path, config or None, split=split or _DEFAULT_SPLIT))
    # what the hub's library raises is of many kinds, and each says what is wrong
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot load {path} from the hub: {reason}") from error
    return [_row(row, f"{path}/{number}", fields) for number, row in enumerate(rows, 1)]


def _row(row: Row, where: str, fields: Fields) -> Posed:
    if "entry_point" in row:
        return _code(row, where)
    question = _field(row, where, fields.question, _QUESTION_FIELDS)
    answer = _field(row, where, fields.answer, _ANSWER_FIELDS)
    name = next((str(row[key]) for key in _NAME_FIELDS if key in row), where)
    return Posed(Problem(name, str(row[question]), final_answer_in(str(row[answer]))))


def _field(row: Row, where: str, given: str | None, guesses: Iterable[str]) -> str:
    found = next((name for name in ([given] if given else guesses) if name in row), None)
    if found is None:
        wanted = given or " or ".join(guesses)
        raise ConfigError(
            f"{where} has no field {wanted}, only {', '.join(row)}: name the fields with "
            "--question-field and --answer-field"
        )
    return found


def _generated(name: str, limit: int, seed: int) -> list[Posed]:
    """Problems of a generator of reasoning-gym, graded by its own `score_answer` as well."""
    library = _imported("reasoning_gym", "gym")
    known = sorted(importlib.import_module("reasoning_gym.factory").DATASETS)
    near = ", ".join(difflib.get_close_matches(name, known, cutoff=0.4) or known[:3])
    require(
        name in known,
        f"reasoning-gym has no generator {name!r}; it has {len(known)}, e.g. {near}",
    )
    generator = library.create_dataset(name, seed=seed, size=limit)

    def posed(number: int, entry: Any) -> Posed:
        problem = Problem(f"{name}/{seed}/{number}", str(entry["question"]), str(entry["answer"]))
        return Posed(problem, score=lambda text: float(generator.score_answer(text, entry)))

    return [posed(number, generator[number]) for number in range(limit)]


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module} is not installed: pip install 'forethought[{extra}]'"
        ) from error


def _shuffled(posed: list[Posed], seed: int) -> list[Posed]:
    counts = Counter(one.problem.name for one in posed)
    twice = [name for name, count in counts.items() if count > 1]
    require(not twice, f"{len(twice)} names stand for several problems, e.g. {twice[:1]}")
    # the order is no secret
    return random.Random(seed).sample(posed, len(posed))  # noqa: S311


def _check_grading(posed: Sequence[Posed]) -> None:
    """Fail now rather than after the first hour."""
    if is_code(posed):
        Sandbox().run("pass")
    else:
        require_math_verify()
