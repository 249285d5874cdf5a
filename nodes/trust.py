"""Whether the draft is good enough for a kind of question, by how far it agrees with itself.

Two answers that a model draws independently are the same about as often as one of them is right,
because there are many ways to be wrong (Wang et al., arXiv:2203.11171, section 3.4, of consistency
and accuracy; what was found for the default pair stands in docs/results.md). An evaluator's scores
cannot tell this: they rank thoughts to one question, and are as high where all are wrong.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from forethought.evaluators.final_answer import same_answer

_DECAY: Final = 0.8  # what a new gauge leaves of the weight of the earlier ones
_FIRST: Final = 2  # runs that are gauged before any is trusted unseen
_RUNS_BETWEEN: Final = {
    True: 8,
    False: 16,
}  # where it is trusted, where not


def agreement(answers: Sequence[str | None]) -> float:
    """The share of pairs that are the same answer, in [0, 1]; None is like no other."""
    pairs = [
        left is not None and right is not None and same_answer(left, right)
        for left, right in itertools.combinations(answers, 2)
    ]
    return sum(pairs) / max(1, len(pairs))


@dataclass(slots=True)
class _Record:
    weight: float = 0.0
    total: float = 0.0
    num_gauges: int = 0
    num_waited: int = 0


class Trust:
    """Running agreement by task, over the runs of one graph; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}

    def is_due(self, task: str, least: float) -> bool:
        """Whether the run that begins is to be gauged; every run asks once."""
        with self._lock:
            record = self._records.setdefault(task, _Record())
            record.num_waited += 1
            if record.num_gauges < _FIRST:
                return True
            return record.num_waited >= _RUNS_BETWEEN[record.total >= least * record.weight]

    def observe(self, task: str, share: float) -> None:
        """Take in one gauge."""
        with self._lock:
            record = self._records.setdefault(task, _Record())
            record.weight = _DECAY * record.weight + 1.0
            record.total = _DECAY * record.total + share
            record.num_gauges += 1
            record.num_waited = 0

    def mean(self, task: str) -> float | None:
        """The running mean, in [0, 1]; None before any gauge."""
        with self._lock:
            record = self._records.get(task)
            return record.total / record.weight if record and record.weight else None
