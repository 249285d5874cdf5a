"""How one evaluator asks another: its answer is checked, and equal paths are told by their keys."""

from __future__ import annotations

import json
import math
from hashlib import blake2b

from forethought.errors import EvaluatorError
from forethought.evaluators.evaluator import Evaluator
from forethought.thoughts import Thought


def scores_of(evaluator: Evaluator, question: str, paths: list[list[Thought]]) -> list[float]:
    """What `evaluator` gives for `paths`, as Python floats; not asked about none.

    Raises:
        EvaluatorError: its answer is no list of one number in [0, 1] per path, or it failed.
        RunStopped: the caller's run has stopped.
    """
    if not paths:
        return []
    scores = [float(score) for score in evaluator.score(question, paths)]
    if len(scores) != len(paths):
        raise EvaluatorError(
            f"evaluator {evaluator.name} gave {len(scores)} scores for {len(paths)} paths"
        )
    for score in scores:
        if not (math.isfinite(score) and 0.0 <= score <= 1.0):
            raise EvaluatorError(
                f"evaluator {evaluator.name} gave the score {score}, which is not in 0..1"
            )
    return scores


def prefix_keys(question: str, path: list[Thought]) -> list[bytes]:
    """A key for each of the path's prefixes, the whole path last: equal where all that an evaluator
    may judge by is equal (texts, tokens, vocabulary, and whether the path ends)."""
    digest = blake2b(json.dumps(question).encode(), digest_size=32)
    keys = []
    for thought in path:
        decisive = [thought.text, thought.tokens, thought.vocabulary, thought.is_terminal]
        digest.update(json.dumps(decisive).encode())
        keys.append(digest.digest())
    return keys
