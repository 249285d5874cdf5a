"""What a trained file says of itself: its kind, its base, what it learned from, how well it did."""

from __future__ import annotations

from pathlib import Path

from forethought.bench.quality import Ranking
from forethought.chains import Chain
from forethought.engine.header import BASE, weights_identity
from forethought.training.labels import Labels


def about(base: Path, chains: list[Chain]) -> dict[str, str]:
    """The base's name and identity, and the number of `chains` and questions.

    Raises:
        UnknownModel, ModelLoadError: as `weights_identity`.
    """
    questions = {chain.question for chain in chains}
    return {
        BASE: weights_identity(base),
        "base": base.stem,
        "trained_on": f"{len(chains)} chains of {len(questions)} questions",
    }


def about_ranking(labels: Labels, ranking: Ranking) -> dict[str, str]:
    """The labels of an evaluator's steps, and the figures of its `ranking`, a dash where there is
    none."""
    return {
        "labels": labels,
        "auc_steps": _shown(ranking.auc_steps),
        "auc_last": _shown(ranking.auc_last),
        "pairs": _shown(ranking.pairs),
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
