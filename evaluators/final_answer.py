"""Final answers held against a known one.

Numbers and words are compared here. What is more mathematics than a number (roots, sets, intervals,
expressions) is left to math-verify, which reads LaTeX into sympy: extra `verify`, see
https://github.com/huggingface/Math-Verify. It runs in a process of its own, because its own limits
on time need signals, which no thread but the main one receives.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from forethought.errors import EvaluatorError, MissingExtra
from forethought.evaluators.evaluator import Evaluator
from forethought.prompts import Task
from forethought.thoughts import Thought

Grade = Callable[[list[list[Thought]]], list[float]]

_WORKER = Path(__file__).with_name("math_worker.py")
_CLOSE = Fraction(1, 10**6)
_LONGEST = 500

_PLAIN = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?:[A-Za-z]+ *= *)?(?P<sign>[-+]?) *"
    rf"(?:(?:(?P<whole>\d+) +)?(?P<over>\d+) */ *(?P<under>\d+)|(?P<plain>{_PLAIN})) *"
    r"(?P<percent>%)?(?: *°| +(?!pi\b|sqrt)[A-Za-z]{2,}[A-Za-z ./²³-]*)?"
)
_SPACING = re.compile(r"\\[,;:! ]|\\left|\\right|~|\\\$|\$")
_WORDING = re.compile(r"\\(?:text|textbf|mathrm|mbox|textrm)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")


def same_answer(given: str, expected: str) -> bool:
    """Whether two final answers, in words, numbers or LaTeX, are the same.

    Texts that differ in spaces, case and LaTeX's spacing alone are the same, and so are numbers
    that differ by no more than 1e-6; currency and units in words do not count, and 50 % is 50 as
    well as 0.5. A sentence without LaTeX stands for its last number. All else that holds
    mathematics is compared by math-verify; what it cannot show to be the same within 10 seconds
    is not, nor is a text of more than 500 characters.

    Raises:
        MissingExtra: the answers need math-verify, which is not installed.
        EvaluatorError: math-verify failed.
    """
    left, right = _tidy(given), _tidy(expected)
    if re.sub(r"\s", "", left).lower() == re.sub(r"\s", "", right).lower():
        return True
    a, b = _values(left), _values(right)
    if a and b:
        return any(abs(x - y) <= _CLOSE for x in a for y in b)
    if not (_is_mathematics(left) and _is_mathematics(right)):
        return False
    return _checker(os.getpid()).is_same(given.strip(), expected.strip())


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """Scores a terminal thought 1.0 where its path states the `expected` answer, 0.0 where it
    states another or none. A path that has not ended has no answer to grade: `otherwise` scores
    it, and without one that is an EvaluatorError.

    It knows the answer: for grading and for experiments, not for searches that are to find it.
    """

    expected: str
    task: Task
    otherwise: Evaluator | None = None

    @property
    def name(self) -> str:
        """`final-answer`, with the name of the evaluator for paths that have not ended."""
        return f"final-answer({self.otherwise.name})" if self.otherwise else "final-answer"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number per path: 1.0 or 0.0 for those that have ended, else that of `otherwise`.

        Raises:
            EvaluatorError: a path has not ended and there is no `otherwise`.
            MissingExtra: an answer needs math-verify, which is not installed.
        """
        return scores_at_the_end(question, paths, grade=self._grades, otherwise=self.otherwise)

    def _grades(self, paths: list[list[Thought]]) -> list[float]:
        stated = [self.task.find_answer("".join(t.text for t in path)) for path in paths]
        return [
            1.0 if answer is not None and same_answer(answer, self.expected) else 0.0
            for answer in stated
        ]


def scores_at_the_end(
    question: str, paths: list[list[Thought]], *, grade: Grade, otherwise: Evaluator | None
) -> list[float]:
    """Paths that have ended scored by `grade`, the others by `otherwise`; each in one batch.

    Raises:
        EvaluatorError: a path has not ended and there is no `otherwise`.
    """
    ended = [path for path in paths if path[-1].is_terminal]
    open_paths = [path for path in paths if not path[-1].is_terminal]
    if open_paths and otherwise is None:
        raise EvaluatorError(
            f"{len(open_paths)} of {len(paths)} paths have not ended, so there is nothing to "
            "grade: give `otherwise`, an evaluator for paths under way"
        )
    grades = iter(grade(ended) if ended else [])
    scores = iter(otherwise.score(question, open_paths) if otherwise and open_paths else [])
    return [next(grades) if path[-1].is_terminal else next(scores) for path in paths]


class _Checker:
    """math-verify in a process that is started when first asked, and again after it was stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.close)

    def is_same(self, given: str, expected: str) -> bool:
        """Ask; False where it was stopped for taking too long or too much memory."""
        with self._lock:
            process = self._process = self._process or _started()
            assert process.stdin
            assert process.stdout
            try:
                process.stdin.write(json.dumps([given, expected]) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            if answer:
                return bool(json.loads(answer))
            code = self._end()
        if code not in (-signal.SIGALRM, -signal.SIGKILL, -signal.SIGSEGV):
            raise EvaluatorError(f"math-verify ended with code {code} on {given!r}, {expected!r}")
        return False

    def close(self) -> None:
        """Stop the process, if there is one."""
        with self._lock:
            if self._process:
                self._process.kill()
                self._end()

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process
        with process:
            return process.wait()


@functools.cache
def _checker(pid: int) -> _Checker:
    """This process's own: a fork must not talk into its parent's."""
    return _Checker()


def require_math_verify() -> None:
    """Raise `MissingExtra` unless math-verify, which some answers need, is installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtra("math-verify is not installed: pip install 'forethought[verify]'")


def _started() -> subprocess.Popen[str]:
    require_math_verify()
    return subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


def _tidy(text: str) -> str:
    """Without what does not change an answer: spacing, currency, LaTeX around words."""
    text = _SPACING.sub(" ", text.replace("\\%", "%").replace("{,}", ","))
    text = _WORDING.sub(r" \1 ", text)
    text = text.replace("^\\circ", "°").replace("^{\\circ}", "°")
    return text.strip().removesuffix(".").rstrip()


def _values(text: str) -> set[Fraction]:
    """The numbers that a text may stand for: one, two for a percentage, none."""
    if len(text) > _LONGEST:
        return set()
    found = _NUMBER.fullmatch(_FRACTION.sub(r" \1/\2", text).strip())
    if found is None:
        is_sentence = "\\" not in text and len(re.findall("[A-Za-z]{2,}", text)) > 1
        numbers = re.findall(rf"-?(?:{_PLAIN})", text) if is_sentence else []
        return {_fraction(number) for number in numbers[-1:]}
    if found["plain"]:
        value = _fraction(found["plain"])
    elif int(found["under"]):
        value = int(found["whole"] or 0) + Fraction(int(found["over"]), int(found["under"]))
    else:
        return set()
    value = -value if found["sign"] == "-" else value
    return {value, value / 100} if found["percent"] else {value}


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def _is_mathematics(text: str) -> bool:
    """Whether it is more than words, whose letters math-verify would multiply."""
    return 0 < len(text) <= _LONGEST and re.search(r"[\d\\^_=<>|+*/]|^\W*\w\W*$", text) is not None
