"""How well an evaluator tells right from wrong, on chains whose outcome is known.

What cannot be told is None: an area under the curve where all chains are right, an interval over
one question. A step counts as right where its chain's final answer is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forethought.bench.scoring import StepScores, by_question
from forethought.bench.statistics import ratio_interval
from forethought.chains import Chain
from forethought.config import require_at_least
from forethought.evaluators.calibration import Kind, fit_calibration
from forethought.evaluators.final_answer import same_answer

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.int_]
Group = Literal["all", "draft", "target"]

GROUPS: tuple[Group, ...] = ("all", "draft", "target")
NUM_BINS = 10
_NUM_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """How often the better one has the higher score; ties count half, 0.5 is chance.

    `auc_steps` is over all steps, `auc_last` over the chains' last steps, `pairs` over all pairs of
    a right and a wrong answer to the same question, by their last steps' scores. `interval` is a 95
    per cent bootstrap interval of `pairs`, questions drawn with replacement.
    """

    num_chains: int
    auc_steps: float | None
    auc_last: float | None
    pairs: float | None
    num_pairs: int
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Steps whose scores fall into one tenth of [0, 1]: mean score, share right, their number."""

    score: float
    share_right: float
    count: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """Scores read as probabilities: mean squared error (Brier 1950), and the expected calibration
    error over ten bins of equal width (Guo et al. 2017, equation 3); both in [0, 1], 0 is best."""

    brier: float
    calibration_error: float
    bins: list[Bin]


@dataclass(frozen=True, slots=True)
class BestOf:
    """Accuracy in [0, 1] when one of a question's first `num_samples` drafts is chosen: by the
    `highest` last score, by a vote `weighted` with it, by `majority`, at random (`mean`), or by one
    who knows (`any`). Where several are as good as another, the share of them that is right counts.
    """

    num_questions: int
    num_samples: float
    highest: float
    weighted: float
    majority: float
    mean: float
    any: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a different thought cost: milliseconds by the clock, and prompt tokens computed, in all
    and by model; the question's own tokens are spread over its thoughts."""

    ms_per_thought: float
    tokens_per_thought: float
    tokens_by_model: dict[str, float]


@dataclass(frozen=True, slots=True)
class Quality:
    """All figures of one evaluator. `calibrated` is what calibration makes of its scores, fitted on
    other questions than it is judged on; None where a part of the questions has one outcome only.
    """

    evaluator: str
    num_questions: int
    num_chains: int
    num_steps: int
    ranking: dict[Group, Ranking]
    raw: Reliability
    calibrated: Reliability | None
    best_of: BestOf | None
    cost: Cost


def quality(scored: StepScores, *, kind: Kind = "isotonic", num_samples: int = 8) -> Quality:
    """The figures of an evaluator's scores; `num_samples` drafts a question for best-of-n.

    Raises:
        ConfigError: `num_samples` is below 1.
    """
    require_at_least("num_samples", num_samples, 1)
    scores, labels, questions = _flat(scored)
    mapped = cross_fitted(scores, labels, questions, kind=kind)
    return Quality(
        evaluator=scored.evaluator,
        num_questions=len(by_question(scored.chains)),
        num_chains=len(scored.chains),
        num_steps=len(scores),
        ranking={group: found for group in GROUPS if (found := ranking_of(scored, group))},
        raw=reliability(scores, labels),
        calibrated=None if mapped is None else reliability(mapped, labels),
        best_of=best_of(scored, num_samples),
        cost=_cost(scored),
    )


def auc(scores: Floats, labels: Flags) -> float | None:
    """Probability that a right one scores above a wrong one (Mann-Whitney); None for one class."""
    right, wrong = scores[labels], scores[~labels]
    return _wins(right, wrong) / (len(right) * len(wrong)) if len(right) and len(wrong) else None


def reliability(scores: Floats, labels: Flags) -> Reliability:
    """Scores in [0, 1] against what came true."""
    places = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    bins = [
        Bin(float(scores[inside].mean()), float(labels[inside].mean()), int(inside.sum()))
        for inside in (places == place for place in range(NUM_BINS))
        if inside.any()
    ]
    gaps = sum(one.count * abs(one.score - one.share_right) for one in bins)
    return Reliability(float(((scores - labels) ** 2).mean()), gaps / len(scores), bins)


def cross_fitted(scores: Floats, labels: Flags, questions: Places, *, kind: Kind) -> Floats | None:
    """Calibrated scores, each by a map that was fitted on other questions than its own.

    `questions` numbers each score's question from 0. None where the labels to fit on are all alike.
    """
    mapped = np.empty_like(scores)
    for fold in range(_NUM_FOLDS):
        held_out = questions % _NUM_FOLDS == fold
        known = labels[~held_out]
        if not held_out.any():
            continue
        if known.all() or not known.any():
            return None
        given = scores[~held_out].tolist(), known.tolist()
        calibration = fit_calibration(*given, kind=kind, evaluator="cross-fitted")
        mapped[held_out] = calibration.apply(scores[held_out].tolist())
    return mapped


def best_of(scored: StepScores, num_samples: int) -> BestOf | None:
    """Accuracy of choosing among drafts; None where no question has two of them."""
    last, rights = _last(scored), _rights(scored)
    rows, counts = [], []
    for places in _questions(scored, "draft"):
        chosen = places[:num_samples]
        if len(chosen) < 2:
            continue
        chains, right = [scored.chains[place] for place in chosen], rights[chosen]
        highest = right[last[chosen] == last[chosen].max()].mean()
        votes = _voted(chains, last[chosen]), _voted(chains, np.ones(len(chosen)))
        rows.append((float(highest), *votes, float(right.mean()), float(right.any())))
        counts.append(len(chosen))
    if not rows:
        return None
    return BestOf(len(rows), float(np.mean(counts)), *np.mean(rows, axis=0).tolist())


def _voted(chains: list[Chain], weights: Floats) -> float:
    """Share right of the answers with the largest sum of weights; 0 where none was stated."""
    answers: list[Chain] = []  # the first chain that states each
    sums: list[float] = []
    for chain, weight in zip(chains, weights.tolist(), strict=True):
        if chain.stated is None:
            continue
        place = next((i for i, one in enumerate(answers) if _same(one, chain)), len(answers))
        if place == len(answers):
            answers.append(chain)
            sums.append(0.0)
        sums[place] += weight
    if not sums:
        return 0.0
    first = np.isclose(sums, max(sums), rtol=1e-12)
    return float(np.array([chain.is_right for chain in answers])[first].mean())


def _same(one: Chain, other: Chain) -> bool:
    return same_answer(one.stated or "", other.stated or "")


def ranking_of(scored: StepScores, group: Group = "all") -> Ranking | None:
    """The ranking figures of a group of chains; None where there are none of it."""
    questions = _questions(scored, group)
    if not questions:
        return None
    last, rights, inside = _last(scored), _rights(scored), np.concatenate(questions)
    split = [(last[own][rights[own]], last[own][~rights[own]]) for own in questions]
    wins = np.array([_wins(right, wrong) for right, wrong in split])
    counts = np.array([len(right) * len(wrong) for right, wrong in split])
    num_pairs = int(counts.sum())
    scores = np.concatenate([scored.scores[place] for place in inside])
    lengths = [len(scored.scores[place]) for place in inside]
    return Ranking(
        num_chains=len(inside),
        auc_steps=auc(scores, np.repeat(rights[inside], lengths)),
        auc_last=auc(last[inside], rights[inside]),
        pairs=float(wins.sum()) / num_pairs if num_pairs else None,
        num_pairs=num_pairs,
        interval=ratio_interval(wins[counts > 0].tolist(), counts[counts > 0].tolist()),
    )


def _wins(right: Floats, wrong: Floats) -> float:
    """Pairs in which the right one scores higher, ties half."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(below.sum()) / 2


def _cost(scored: StepScores) -> Cost:
    tokens = {
        model: usage.prompt_tokens / scored.num_thoughts for model, usage in scored.usage.items()
    }
    return Cost(1000 * scored.seconds / scored.num_thoughts, sum(tokens.values(), 0.0), tokens)


def _flat(scored: StepScores) -> tuple[Floats, Flags, Places]:
    """Score, label and question number of every step."""
    lengths = [len(row) for row in scored.scores]
    numbers = {problem: number for number, problem in enumerate(by_question(scored.chains))}
    questions = np.array([numbers[chain.problem] for chain in scored.chains])
    labels, scores = _rights(scored), np.concatenate(scored.scores)
    return scores, np.repeat(labels, lengths), np.repeat(questions, lengths)


def _questions(scored: StepScores, group: Group) -> list[Places]:
    """The places of the group's chains, question by question, where there are any."""
    found: dict[str, list[int]] = {}
    for place, chain in enumerate(scored.chains):
        if group in ("all", chain.source):
            found.setdefault(chain.problem, []).append(place)
    return [np.array(places) for places in found.values()]


def _last(scored: StepScores) -> Floats:
    """Every chain's score at its last step."""
    return np.array([row[-1] for row in scored.scores])


def _rights(scored: StepScores) -> Flags:
    return np.array([chain.is_right for chain in scored.chains])
