"""How readily "all are wrong" should be picked: a bias on its logit, fitted on known outcomes.

A selector that was not trained for it never says that all chains are wrong (Speculative
Chain-of-Thought, section 4.3), although its probability may tell such questions from others. The
bias moves the point from which on it says so, and leaves the order of the chains as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from forethought.bench.selections import Selected, counted
from forethought.config import require, require_between
from forethought.config_cot import CotConfig
from forethought.errors import ConfigError
from forethought.nodes.selection import picked

SCHEMA: Final = 1
_NUM_FOLDS: Final = 5
_BEYOND: Final = 1.0  # nats past the outermost margin: all one way


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a selector is right, in [0, 1]: a right chain was picked where there is one
    (`picked_right`), and "all are wrong" where there is none (`recognised`)."""

    picked_right: float
    recognised: float

    def __post_init__(self) -> None:
        for name in ("picked_right", "recognised"):
            require_between(name, getattr(self, name), (0.0, 1.0))

    @property
    def balanced(self) -> float:
        """Their mean: both kinds of question count the same, however many there are of each."""
        return (self.picked_right + self.recognised) / 2


@dataclass(frozen=True, slots=True)
class SelectionBias:
    """A fitted `all_wrong_bias`, in nats, for one selector, draft and number of chains.

    `before` are the rates without it, `after` with a bias that was fitted on other questions;
    `num_questions` were measured, of which `num_without` had no right chain.
    """

    selector: str
    draft: str
    num_chains: int
    all_wrong_bias: float
    before: Rates
    after: Rates
    num_questions: int
    num_without: int

    def __post_init__(self) -> None:
        bias = self.all_wrong_bias
        require(
            isinstance(bias, int | float) and math.isfinite(bias),
            f"all_wrong_bias must be a finite number, not {bias!r}",
        )

    def document(self) -> dict[str, Any]:
        """Plain data for a JSON file; `read_selection_bias` reads it."""
        return {"schema": SCHEMA, **asdict(self)}

    def applied(self, config: CotConfig, *, selector: str, draft: str) -> CotConfig:
        """`config` with this bias.

        Raises:
            ConfigError: it was fitted for another selector, draft or number of chains.
        """
        fitted = (self.selector, self.draft, self.num_chains)
        given = (selector, draft, config.num_chains)
        require(
            fitted == given,
            f"the calibration was fitted for {_told(fitted)}, not for {_told(given)}: fit one "
            "(forethought calibrate scot)",
        )
        return replace(config, all_wrong_bias=self.all_wrong_bias)


def read_selection_bias(path: Path) -> SelectionBias:
    """What `forethought calibrate scot` wrote.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        before, after = (Rates(**document.pop(name)) for name in ("before", "after"))
        return SelectionBias(**document, before=before, after=after)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(
            f"{path} is no calibration of a selector ({error}): fit one (forethought calibrate "
            "scot)"
        ) from error


def calibrated(
    config: CotConfig, fitted: Sequence[SelectionBias], *, selector: str, draft: str
) -> CotConfig:
    """`config` with the one of the `fitted` biases that is for this selector, draft and number of
    chains; unchanged where there are none, or nobody is asked whether all chains are wrong.

    Raises:
        ConfigError: there are some, and none of them fits.
    """
    if not fitted or config.selector != "model" or not config.correction:
        return config
    given = (selector, draft, config.num_chains)
    fitting = (one for one in fitted if (one.selector, one.draft, one.num_chains) == given)
    return next(fitting, fitted[0]).applied(config, selector=selector, draft=draft)


def rates(records: Sequence[Selected], bias: float) -> Rates:
    """The rates under `bias`; 0 for a kind of question of which there is none."""
    choices = counted((r.rights, picked(r.shares, bias=bias, correction=True)) for r in records)
    return Rates(choices.picked_right or 0.0, choices.recognised or 0.0)


def fit_bias(records: Sequence[Selected]) -> float:
    """The bias in nats with the highest mean of both rates; of equal ones that nearest to 0.

    Raises:
        ConfigError: there are no questions with a right chain, or none without.
    """
    num_right = sum(record.has_right for record in records)
    require(
        0 < num_right < len(records),
        f"of {len(records)} questions {num_right} have a right chain: give some of both kinds "
        "(more questions, or harder or easier ones)",
    )
    turns = sorted({bias for record in records if math.isfinite(bias := _turning(record))})
    between = [(low + high) / 2 for low, high in pairwise(turns)]
    ends = [turns[0] - _BEYOND, turns[-1] + _BEYOND] if turns else []
    candidates = sorted([0.0, *between, *ends], key=abs)
    return max(candidates, key=lambda bias: rates(records, bias).balanced)


def cross_validated(records: Sequence[Selected]) -> Rates:
    """The rates where every question is judged under a bias fitted on the others: 5 folds by
    question, each with its part of both kinds.

    Raises:
        ConfigError: there are fewer than 2 questions of a kind.
    """
    kinds = [[r for r in records if r.has_right == kind] for kind in (True, False)]
    require(
        min(map(len, kinds)) >= 2,
        f"{len(kinds[0])} questions have a right chain and {len(kinds[1])} have none: at least 2 "
        "of each kind are needed, so give more questions",
    )
    hits = [0.0, 0.0]
    for fold in range(_NUM_FOLDS):
        held_out = [kind[fold::_NUM_FOLDS] for kind in kinds]
        if not any(held_out):
            continue
        names = {r.digest for own in held_out for r in own}
        found = rates(
            held_out[0] + held_out[1], fit_bias([r for r in records if r.digest not in names])
        )
        hits[0] += found.picked_right * len(held_out[0])
        hits[1] += found.recognised * len(held_out[1])
    return Rates(hits[0] / len(kinds[0]), hits[1] / len(kinds[1]))


def _turning(record: Selected) -> float:
    """The bias at which "all are wrong" is as good as the best chain; infinite where none is."""
    *chains, wrong = record.shares
    best = max(chains)
    if not (best > 0.0 and wrong > 0.0):
        return math.inf
    return math.log(best) - math.log(wrong)


def _told(fitted: tuple[str, str, int]) -> str:
    selector, draft, num_chains = fitted
    return f"{num_chains} chains of {draft} under {selector}"
