"""What a thought is worth, in [0, 1]."""

from forethought.evaluators.evaluator import Evaluator, path_tokens
from forethought.evaluators.judge import Judge

__all__ = ["Evaluator", "Judge", "path_tokens"]
