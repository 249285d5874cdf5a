"""SpecSearch on thoughts that are only numbers: what its rules come to, before any model is run.

How good thoughts are is assumed in `forethought.bench.thinking`, what they cost follows from sizes
in `forethought.bench.costs`; which of them stay, and how the threshold moves, is decided by the
rules of `forethought.nodes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forethought.bench.costs import Machine
from forethought.bench.thinking import Batch, Drawn, Thinkers, Thinking
from forethought.config import SearchConfig, require_at_least
from forethought.nodes.rules import accepted, best, owed, threshold_pool
from forethought.nodes.thresholds import next_threshold


@dataclass(frozen=True, slots=True)
class Method:
    """A way to search: whether the draft writes thoughts, and whether the target is sped up by
    token-level speculation."""

    name: str
    drafts: bool
    speculates: bool


METHODS = (
    Method("AR", drafts=False, speculates=False),
    Method("SpS", drafts=False, speculates=True),
    Method("SpecSearch", drafts=True, speculates=True),
    Method("SpecSearch without SpS", drafts=True, speculates=False),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One depth of one search: thoughts by parent, those that were accepted, the threshold that
    drafts were held against (none where there were no drafts), and the one for the next depth."""

    drafts: list[Batch]
    kept: list[Batch]
    revised: list[Batch]
    beta: float | None
    next_beta: float | None


def search(thinkers: Thinkers, config: SearchConfig, *, drafts: bool) -> Iterator[Step]:
    """One problem's beam search, all of whose paths end at the last depth.

    As in the graph, the target writes the root's thoughts, and with `drafts` the draft writes from
    depth 2 on, else the target (`policy="never"`).
    """
    beta: float | None = None
    num_parents = 1
    for depth in range(1, thinkers.num_depths + 1):
        proposed, kept = [], []
        due = [config.tree_width] * num_parents
        held = beta if drafts else None
        if held is not None:
            count = config.draft_multiplier * config.tree_width
            proposed = [thinkers.write("draft", depth, count) for _ in due]
            kept = [batch.at(accepted(batch.scores, held, config)) for batch in proposed]
            missing = owed([len(one.scores) for one in kept], config)
            due = [count + config.extra_large_thoughts for count in missing]
        revised = [thinkers.write("target", depth, count) for count in due]
        pool = threshold_pool(_scores(revised), _scores(kept), config)
        beta = next_threshold(beta, pool, config)
        num_parents = len(best(_scores([*kept, *revised]), config.beam_width))
        yield Step(proposed, kept, revised, held, beta)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One method over all problems; lists are by depth, from 1.

    `seconds` of a problem by what took them (draft, score, target). `acceptance`: drafts that were
    accepted, of all that were written; None where none were. `drafted`: the draft's share of the
    thoughts that entered the tree, and `quality` their mean. `holds`: the share of problems whose
    threshold was at or above the target's expected quality, the premise of Theorem 4.3.
    """

    method: str
    seconds: dict[str, float]
    acceptance: list[float | None]
    drafted: list[float]
    quality: list[float]
    holds: list[float | None]

    @property
    def total_seconds(self) -> float:
        """A problem's latency."""
        return sum(self.seconds.values())

    @property
    def mean_quality(self) -> float:
        """Over all depths alike."""
        return sum(self.quality) / len(self.quality)


def simulate(
    thinking: Thinking,
    machine: Machine,
    config: SearchConfig,
    *,
    num_problems: int = 200,
    methods: Sequence[Method] = METHODS,
) -> list[Outcome]:
    """Every method on `num_problems` problems; `config.seed` fixes all draws.

    Of `config`, what the rules use counts: widths, theta, estimators, multiplier, extra thoughts.

    Raises:
        ConfigError: `num_problems` is below 1.
    """
    require_at_least("num_problems", num_problems, 1)
    outcomes = []
    for method in methods:
        runs = []
        for problem in range(num_problems):
            thinkers = Drawn(thinking, np.random.default_rng([config.seed, problem]))
            runs.append(list(search(thinkers, config, drafts=method.drafts)))
        outcomes.append(_outcome(method, runs, thinking, machine))
    return outcomes


def step_seconds(
    step: Step, machine: Machine, *, num_before: float, speculates: bool
) -> dict[str, float]:
    """What one step takes, by phase: all drafts in one batch, then all replacements in another, and
    a pass of the evaluator after each. `num_before` are tokens of question and path."""
    drafts, revised = _lengths(step.drafts), _lengths(step.revised)
    return {
        "draft": machine.decode_seconds("draft", drafts),
        "score": machine.scoring_seconds(drafts, num_before=num_before)
        + machine.scoring_seconds(revised, num_before=num_before),
        "target": machine.decode_seconds("target", revised, speculates=speculates),
    }


def _outcome(
    method: Method, searches: list[list[Step]], thinking: Thinking, machine: Machine
) -> Outcome:
    by_depth = [[steps[k] for steps in searches] for k in range(thinking.num_thoughts)]
    seconds = {"draft": 0.0, "score": 0.0, "target": 0.0}
    for index, steps in enumerate(by_depth):
        num_before = thinking.question_tokens + index * thinking.num_tokens
        for step in steps:
            spent = step_seconds(step, machine, num_before=num_before, speculates=method.speculates)
            for phase, value in spent.items():
                seconds[phase] += value / len(searches)
    return Outcome(
        method=method.name,
        seconds=seconds,
        acceptance=[_acceptance(steps) for steps in by_depth],
        drafted=[_drafted(steps) for steps in by_depth],
        quality=[_quality(steps) for steps in by_depth],
        holds=[_holds(steps, thinking.mean("target", k)) for k, steps in enumerate(by_depth, 1)],
    )


def _acceptance(steps: list[Step]) -> float | None:
    written = sum(len(_lengths(step.drafts)) for step in steps)
    return sum(len(_lengths(step.kept)) for step in steps) / written if written else None


def _drafted(steps: list[Step]) -> float:
    kept = sum(len(_lengths(step.kept)) for step in steps)
    return kept / (kept + sum(len(_lengths(step.revised)) for step in steps))


def _quality(steps: list[Step]) -> float:
    batches = [batch for step in steps for batch in (*step.kept, *step.revised)]
    return float(np.mean([quality for batch in batches for quality in batch.qualities]))


def _holds(steps: list[Step], mean: float) -> float | None:
    betas = [step.beta for step in steps if step.beta is not None]
    return sum(beta >= mean for beta in betas) / len(betas) if betas else None


def _scores(batches: list[Batch]) -> list[float]:
    return [score for batch in batches for score in batch.scores]


def _lengths(batches: list[Batch]) -> list[int]:
    return [length for batch in batches for length in batch.lengths]
