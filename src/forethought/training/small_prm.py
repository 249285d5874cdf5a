"""From chains to the file of a small PRM: split by question, train, judge, export."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from forethought.bench.quality import Ranking, ranking_of
from forethought.bench.scoring import StepScores
from forethought.chains import Chain
from forethought.config import require
from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.evaluators.small_prm import KIND, METADATA, answer_tokens
from forethought.prompts import SMALL_PRM
from forethought.training.about import about
from forethought.training.adapter import shape_of, write_adapter
from forethought.training.base_model import load_base
from forethought.training.prm import Example, PrmConfig, PrmTrainer, Progress, make_examples

_HELD_OUT = 10  # one question in so many
_ALIKE = 2  # of a question's chains that all end alike, so many are read


def train_small_prm(
    base: Path,
    chains: list[Chain],
    *,
    config: PrmConfig,
    out: Path,
    report: Callable[[Progress], None],
) -> Ranking:
    """Train an adapter for the GGUF file `base` on nine tenths of the questions, judge it on the
    rest, and write it to `out` with what it is. Goes on from `out`'s checkpoint if there is one.
    Of a question's chains of one source that all end alike, only the first two are read.

    Raises:
        ConfigError: too few questions, or a checkpoint of other settings.
        MissingExtra, ModelLoadError: see `forethought.training.base_model`.
    """
    held = [chain for chain in chains if _is_held_out(chain)]
    kept = telling([chain for chain in chains if not _is_held_out(chain)])
    require(
        bool(held and kept), f"{len(chains)} chains are too few to hold questions out: add more"
    )
    header = Weights.header(base)
    try:
        vocabulary = Vocabulary(header)
        answers = answer_tokens(vocabulary, SMALL_PRM)
        examples = make_examples(kept, vocabulary, config)
        tests = make_examples(held, vocabulary, config)
    finally:
        header.close()
    trainer = PrmTrainer(load_base(base), answers, config)
    trainer.train(examples, out.with_suffix(".checkpoint"), report)
    ranking = _judged(trainer, held, tests)
    info = {"kind": KIND, **about(base, kept, config.labels, ranking)}
    write_adapter(
        out,
        trainer.pairs(),
        shape=shape_of(trainer.model.config),
        alpha=config.alpha,
        metadata={METADATA + key: value for key, value in info.items()},
    )
    return ranking


def telling(chains: list[Chain]) -> list[Chain]:
    """The chains without those that are one more of a kind: where all of a source's solutions of a
    question are right, or all wrong, two of them say as much as many, and reading costs time."""
    groups: dict[tuple[str, str], list[Chain]] = defaultdict(list)
    for chain in chains:
        groups[chain.question, chain.source].append(chain)
    return [
        chain
        for group in groups.values()
        for chain in (group if len({one.is_right for one in group}) > 1 else group[:_ALIKE])
    ]


def _is_held_out(chain: Chain) -> bool:
    return hashlib.sha256(chain.question.encode()).digest()[0] % _HELD_OUT == 0


def _judged(trainer: PrmTrainer, chains: list[Chain], tests: list[Example]) -> Ranking:
    rows = trainer.score(tests)
    scored = [chains[test.chain] for test in tests]
    ranking = ranking_of(StepScores("small-prm", scored, rows, len(rows), 0.0, {}))
    assert ranking is not None
    return ranking
