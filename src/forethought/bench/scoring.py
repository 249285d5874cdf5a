"""Every step of every chain scored by an evaluator, and what that cost; resumable.

All chains of a question go to the evaluator in one call, as one tree: what chains have in common is
one thought, scored and charged once, as in a search.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from forethought.chains import Chain
from forethought.config import require
from forethought.errors import ConfigError
from forethought.evaluators import Evaluator
from forethought.evaluators.asking import prefix_keys, scores_of
from forethought.model import Scope, Usage, current_scope, run_scope
from forethought.thoughts import Thought

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """One call of an evaluator: a question's chains, told by `digest`, with one score in [0, 1] per
    chain and step. `num_thoughts` different ones were scored in `seconds` by the clock; `usage` is
    what the call cost by model."""

    evaluator: str
    digest: str
    scores: list[list[float]]
    num_thoughts: int
    seconds: float
    usage: dict[str, Usage]


@dataclass(frozen=True, slots=True)
class StepScores:
    """An evaluator's scores of chains: `scores[i][j]` in [0, 1] is that of step j of `chains[i]`.

    `num_thoughts`, `seconds` and `usage` are sums over the questions. An evaluator that reads with
    the target pays here for every thought, also for those that the target wrote and would still
    have in its cache in a search.
    """

    evaluator: str
    chains: list[Chain]
    scores: list[list[float]]
    num_thoughts: int
    seconds: float
    usage: dict[str, Usage]

    def __post_init__(self) -> None:
        lengths = [len(chain.steps) for chain in self.chains]
        given = [len(row) for row in self.scores]
        require(given == lengths, f"{given} scores for chains of {lengths} steps")


def score_chains(
    evaluator: Evaluator,
    chains: list[Chain],
    *,
    path: Path | None = None,
    progress: Progress | None = None,
) -> StepScores:
    """Score every step of every chain, question by question.

    With `path`, questions whose scores stand in that file are not scored again, and new ones are
    added to it. `progress` is called with the questions done and their number.

    Raises:
        ConfigError: there are no chains, one has no steps, or the file holds something else.
        EvaluatorError, RunStopped: as the evaluator.
    """
    require(bool(chains), "there are no chains to score")
    require(all(chain.steps for chain in chains), "a chain without steps cannot be scored")
    known = _known(path, evaluator.name) if path else {}
    groups = list(by_question(chains).values())
    done = []
    for number, group in enumerate(groups, 1):
        scored = known.get(_digest(group))
        if scored is None:
            scored = score_question(evaluator, group)
            if path:
                _append(path, scored)
        done.append(scored)
        if progress:
            progress(number, len(groups))
    return _joined(evaluator.name, groups, done)


def score_question(evaluator: Evaluator, chains: list[Chain]) -> QuestionScores:
    """Score every step of chains that answer one question, in one call of the evaluator.

    Raises:
        ConfigError: the chains answer different questions.
        EvaluatorError: it could not score, or gave something else than one number in [0, 1] per
            thought.
    """
    question = chains[0].question
    is_one = all(chain.question == question for chain in chains)
    require(is_one, f"problem {chains[0].problem!r} names two questions")
    paths: dict[bytes, list[Thought]] = {}
    keys = []
    for path in (chain.path() for chain in chains):
        keys.append(prefix_keys(question, path))
        paths |= {key: path[:length] for length, key in enumerate(keys[-1], 1)}
    outer = current_scope() or Scope()
    with run_scope(Scope(outer.cancel, outer.deadline)) as scope:
        started = time.perf_counter()
        scores = scores_of(evaluator, question, list(paths.values()))
        seconds = time.perf_counter() - started
    usage = scope.meter.totals()
    for model, spent in usage.items():
        outer.meter.add(model, spent)
    by_key = dict(zip(paths, scores, strict=True))
    rows = [[by_key[key] for key in own] for own in keys]
    return QuestionScores(evaluator.name, _digest(chains), rows, len(paths), seconds, usage)


def by_question(chains: list[Chain]) -> dict[str, list[Chain]]:
    """Chains by the name of their problem, in order of appearance."""
    groups: dict[str, list[Chain]] = {}
    for chain in chains:
        groups.setdefault(chain.problem, []).append(chain)
    return groups


def _joined(name: str, groups: list[list[Chain]], done: list[QuestionScores]) -> StepScores:
    usage: dict[str, Usage] = {}
    for scored in done:
        for model, spent in scored.usage.items():
            usage[model] = usage.get(model, Usage()) + spent
    return StepScores(
        evaluator=name,
        chains=[chain for group in groups for chain in group],
        scores=[row for scored in done for row in scored.scores],
        num_thoughts=sum(scored.num_thoughts for scored in done),
        seconds=sum(scored.seconds for scored in done),
        usage=usage,
    )


def _digest(chains: list[Chain]) -> str:
    """Tells these chains from others, by all that an evaluator may judge by."""
    keys = [prefix_keys(chain.question, chain.path())[-1] for chain in chains]
    return blake2b(b"".join(keys), digest_size=16).hexdigest()


def _append(path: Path, scored: QuestionScores) -> None:
    # one write, so that a kill leaves a whole line or none
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(scored)) + "\n")


def _known(path: Path, evaluator: str) -> dict[str, QuestionScores]:
    """The file's scores by that evaluator, by digest; none where there is no file."""
    known: dict[str, QuestionScores] = {}
    if not path.exists():
        return known
    # bytes that are no text make a line that holds no scores
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            scored = _parsed(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path}:{number} holds no scores ({error}): delete the line to score again"
            ) from error
        if scored.evaluator == evaluator:
            known[scored.digest] = scored
    return known


def _parsed(document: dict[str, Any]) -> QuestionScores:
    usage = {model: Usage(**spent) for model, spent in document["usage"].items()}
    return QuestionScores(**{**document, "usage": usage})
