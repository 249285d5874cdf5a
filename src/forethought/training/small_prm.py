"""From chains to the file of a small PRM: split by question, train, judge, export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from forethought.bench.quality import Ranking, ranking_of
from forethought.bench.scoring import StepScores
from forethought.chains import Chain
from forethought.evaluators.small_prm import answer_tokens
from forethought.prompts_prm import SMALL_PRM
from forethought.training.about import about, about_ranking
from forethought.training.base_model import load_base
from forethought.training.encoder import open_encoder
from forethought.training.lora import Progress
from forethought.training.prm import Example, PrmConfig, PrmTrainer, make_examples
from forethought.training.split import split_by_question

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
    split = split_by_question(chains)
    kept, held = telling(split.kept), split.held
    with open_encoder(base, max_tokens=config.max_tokens) as encoder:
        answers = answer_tokens(encoder, SMALL_PRM)
        examples = make_examples(kept, encoder, config)
        tests = make_examples(held, encoder, config)
    trainer = PrmTrainer(load_base(base), answers, config)
    trainer.train([examples] * config.epochs, out.with_suffix(".checkpoint"), report)
    ranking = _judged(trainer, held, tests)
    trainer.export(out, "prm", {**about(base, kept), **about_ranking(config.labels, ranking)})
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


def _judged(trainer: PrmTrainer, chains: list[Chain], tests: list[Example]) -> Ranking:
    rows = trainer.score(tests)
    scored = [chains[test.chain] for test in tests]
    ranking = ranking_of(StepScores("small-prm", scored, rows, len(rows), 0.0, {}))
    assert ranking is not None
    return ranking
