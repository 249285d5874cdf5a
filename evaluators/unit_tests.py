"""Code that a path states, run against the tests of its problem.

Problems come in the form of HumanEval (Chen et al., "Evaluating Large Language Models Trained on
Code", arXiv:2107.03374, section 2.2): a prompt that ends in a function's signature and docstring,
that function's name, and tests as the source of a function `check(candidate)`. A program is put
together as in the paper's harness (prompt, code, tests, call of `check`) and run in a sandbox.
"""

from __future__ import annotations

import keyword
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from forethought.config import require
from forethought.evaluators.evaluator import Evaluator
from forethought.evaluators.final_answer import scores_at_the_end
from forethought.evaluators.sandbox import Outcome, Sandbox
from forethought.model import RunStopped, Scope, current_scope
from forethought.prompts import CODE, Task
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """A function to write: `prompt` is what the program begins with, `entry_point` the function's
    name, `test` the source of `check(candidate)`, which raises where the function is wrong."""

    prompt: str
    entry_point: str
    test: str

    def __post_init__(self) -> None:
        require(
            self.entry_point.isidentifier() and not keyword.iskeyword(self.entry_point),
            f"entry_point must be the name of a function, not {self.entry_point!r}",
        )
        require(
            "def check(" in self.test, f"test must define check(candidate), not {self.test[:60]!r}"
        )

    def program(self, code: str) -> str:
        """`code` between the prompt and the tests: a whole program, or the missing body alone."""
        return f"{self.prompt}\n{code}\n\n{self.test}\n\ncheck({self.entry_point})\n"


def run_tests(code: str, problem: CodeProblem, *, sandbox: Sandbox | None = None) -> Outcome:
    """What becomes of `code` under the problem's tests: `passed` where all of them hold.

    Raises:
        EvaluatorError: the sandbox cannot run programs on this system.
    """
    return (sandbox or Sandbox()).run(problem.program(code))


@dataclass(frozen=True, slots=True)
class UnitTests:
    """Scores a terminal thought 1.0 where the code that its path states last passes all tests, 0.0
    where it fails them, or where the path ends without code. A path that has not ended has nothing
    to test: `otherwise` scores it, and without one that is an EvaluatorError.

    Programs run side by side, as many as there are cores; the same program runs once.
    """

    problem: CodeProblem
    task: Task = CODE
    otherwise: Evaluator | None = None
    sandbox: Sandbox = field(default_factory=Sandbox)

    @property
    def name(self) -> str:
        """`unit-tests`, with the name of the evaluator for paths that have not ended."""
        return f"unit-tests({self.otherwise.name})" if self.otherwise else "unit-tests"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number per path: 1.0 or 0.0 for those that have ended, else that of `otherwise`.

        Raises:
            EvaluatorError: a path has not ended and there is no `otherwise`, or the sandbox cannot
                run programs on this system.
            RunStopped: the caller's run has stopped; programs under way are waited for.
        """
        return scores_at_the_end(question, paths, grade=self._grades, otherwise=self.otherwise)

    def _grades(self, paths: list[list[Thought]]) -> list[float]:
        codes = [self.task.find_answer("".join(t.text for t in path)) for path in paths]
        wanted = list(dict.fromkeys(code for code in codes if code is not None))
        scope = current_scope()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda code: self._passes(code, scope), wanted)
            passed = {code for code, is_passed in zip(wanted, results, strict=True) if is_passed}
        return [1.0 if code in passed else 0.0 for code in codes]

    def _passes(self, code: str, scope: Scope | None) -> bool:
        if scope and (reason := scope.stop_reason()):
            raise RunStopped(reason)
        return run_tests(code, self.problem, sandbox=self.sandbox).status == "passed"
