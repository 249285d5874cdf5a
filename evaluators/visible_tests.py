"""Code that a path states, tried on the examples that its question itself shows.

The examples are those of the docstring that is to be kept (`shown_examples.py`), so nothing is used
here that the models may not read: hidden tests are for grading, see `unit_tests.py`. Public
examples as the judge of sampled programs: AlphaCode (Li et al., arXiv:2203.07814, section 4.5,
filtering).
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from forethought.evaluators.asking import scores_of
from forethought.evaluators.evaluator import Evaluator
from forethought.evaluators.sandbox import Sandbox
from forethought.evaluators.shown_examples import shown_pairs
from forethought.model import RunStopped, Scope, current_scope
from forethought.prompts import CODE, trimmed
from forethought.thoughts import Thought

_FENCE = "```"
# a value that is written in another way (quotes, spaces, an equal float) is the same value
_HARNESS = """
import ast as _ast, doctest as _doctest
class _Checker(_doctest.OutputChecker):
    def check_output(self, want, got, flags):
        if super().check_output(want, got, flags):
            return True
        try:
            return _ast.literal_eval(want.strip()) == _ast.literal_eval(got.strip())
        except (SyntaxError, ValueError):
            return False
_examples = [_doctest.Example(*_pair) for _pair in {examples!r}]
_test = _doctest.DocTest(_examples, globals(), "examples", None, None, None)
_runner = _doctest.DocTestRunner(_Checker(), False, _doctest.NORMALIZE_WHITESPACE)
_results = _runner.run(_test, out=lambda _: None, clear_globs=False)
print("\\nheld", _results.attempted - _results.failed)
"""


@dataclass(frozen=True, slots=True)
class Examples:
    """What a question shows: the `prompt`, code whose docstring has examples, and each example's
    source and what it prints."""

    prompt: str
    pairs: tuple[tuple[str, str], ...]

    def program(self, code: str) -> str:
        """`code` behind the prompt, then the examples; its last line says how many hold."""
        return f"{self.prompt}\n{code}\n{_HARNESS.format(examples=list(self.pairs))}"


def examples_in(question: str) -> Examples | None:
    """The examples in the docstrings of the question's code: of its last fenced block, or of the
    whole question. None where it is no Python, or shows none that Python can read."""
    prompt = CODE.find_answer(question) or question
    try:
        pairs = tuple(shown_pairs(prompt))
    except (SyntaxError, ValueError):
        return None
    return Examples(prompt, pairs) if pairs else None


@dataclass(frozen=True, slots=True)
class VisibleTests:
    """Scores a path by the share of the question's examples that hold for the code it states last,
    in [0, 1]; code that does not run to its end has none that hold.

    Only code that is whole is run: a closed fenced block, or, where the path has ended, whatever
    follows its last fence. A path that has ended without code scores 0. Unfinished code, and every
    path where the question shows no examples, is scored by `otherwise`: there is nothing to run.

    `beginning` stands before every path, where the task has opened a block of code already.
    Programs run side by side, as many as there are cores; the same program runs once.
    """

    otherwise: Evaluator
    sandbox: Sandbox = field(default_factory=Sandbox)
    beginning: str = ""

    @property
    def name(self) -> str:
        """`visible-tests`, with the name of the evaluator for what cannot be run."""
        return f"visible-tests({self.otherwise.name})"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path; those that cannot be run in one call of `otherwise`.

        Raises:
            EvaluatorError: as `otherwise`, or the sandbox cannot run programs on this system.
            RunStopped: the caller's run has stopped; programs under way are waited for.
        """
        examples = examples_in(question)
        codes = [whole_code(path, self.beginning) if examples else None for path in paths]
        shares = self._shares(examples, codes) if examples else {}
        others = [path for path, code in zip(paths, codes, strict=True) if code is None]
        asked = iter(scores_of(self.otherwise, question, others))
        return [next(asked) if code is None else shares[code] for code in codes]

    def _shares(self, examples: Examples, codes: list[str | None]) -> dict[str, float]:
        wanted = list(dict.fromkeys(code for code in codes if code is not None))
        scope = current_scope()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda code: self._share(examples, code, scope), wanted)
            return dict(zip(wanted, found, strict=True))

    def _share(self, examples: Examples, code: str, scope: Scope | None) -> float:
        if scope and (reason := scope.stop_reason()):
            raise RunStopped(reason)
        if not code:
            return 0.0
        outcome = self.sandbox.run(examples.program(code))
        # code that meddles with the count (a `print` of its own, say) has shown nothing to hold
        counted = re.search(r"^held (\d+)\s*\Z", outcome.stdout, re.MULTILINE)
        if outcome.status != "passed" or counted is None:
            return 0.0
        return min(1.0, int(counted[1]) / len(examples.pairs))


def whole_code(path: list[Thought], beginning: str = "") -> str | None:
    """The code that a path behind `beginning` states last, "" for an ended path without any; None
    while it is under way: no block was closed yet, or a newer one is open."""
    text = beginning + "".join(thought.text for thought in path)
    *_, tail = text.split(_FENCE)
    if text.count(_FENCE) % 2 == 0:
        code = CODE.find_answer(text)
        return code if code is not None or not path[-1].is_terminal else ""
    if not path[-1].is_terminal:
        return None
    return trimmed(tail.partition("\n")[2])
