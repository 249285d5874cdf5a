"""Scores that are kept: a path that was scored once is not scored again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from forethought.config import require_at_least
from forethought.evaluators.asking import prefix_keys, scores_of
from forethought.evaluators.evaluator import Evaluator
from forethought.thoughts import Thought


class Cached:
    """Another evaluator's scores, kept for the `capacity` paths that were asked for last.

    Equal paths within one call are scored once; a failure is not kept. `hits` counts paths whose
    score was known, or was asked for twice in one call, and `misses` those that were scored. Safe
    to call from threads: none waits while another scores, so two that ask for the same new path at
    once may both have it scored.

    Raises:
        ConfigError: `capacity` is below 1.
    """

    def __init__(self, evaluator: Evaluator, *, capacity: int = 4096) -> None:
        require_at_least("capacity", capacity, 1)
        self.evaluator = evaluator
        self.capacity = capacity
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[bytes, float] = OrderedDict()  # the latest used last
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """That of the evaluator whose scores these are."""
        return self.evaluator.name

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path: kept, or from one call to the evaluator for all the rest.

        Raises:
            EvaluatorError, RunStopped: as the evaluator does.
        """
        keys = [prefix_keys(question, path)[-1] for path in paths]
        known = self._known(keys)
        new = {key: path for key, path in zip(keys, paths, strict=True) if key not in known}
        known |= zip(new, scores_of(self.evaluator, question, list(new.values())), strict=True)
        self._keep({key: known[key] for key in keys}, num_new=len(new), num_asked=len(keys))
        return [known[key] for key in keys]

    def _known(self, keys: list[bytes]) -> dict[bytes, float]:
        with self._lock:
            return {key: self._kept[key] for key in keys if key in self._kept}

    def _keep(self, scores: dict[bytes, float], *, num_new: int, num_asked: int) -> None:
        with self._lock:
            self.misses += num_new
            self.hits += num_asked - num_new
            for key, score in scores.items():
                self._kept[key] = score
                self._kept.move_to_end(key)
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)
