"""The probe: a small head on a hidden state that the model has computed anyway.

Middle layers of a language model know more about whether it is right than its last one does
(Azaria and Mitchell 2023, "The Internal State of an LLM Knows When It's Lying"; which layer knows
most here stands in docs/results.md). A thought costs one row of a decode: the state of its last
token, on top of the context that the search has in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forethought.errors import ModelFileError
from forethought.evaluators.evaluator import closed_tokens
from forethought.evaluators.heads import Head, load_head
from forethought.evaluators.trained import check_base
from forethought.model import Reader
from forethought.prompts import Task
from forethought.thoughts import Thought

KIND = "probe"


@dataclass(frozen=True, slots=True)
class Probe:
    """Scores a path by a head on the state of its last token behind block `layer` (from 1; None:
    after the final norm) of `reader`, which reads the path as the search writes it."""

    reader: Reader
    task: Task
    head: Head
    layer: int | None = None

    @property
    def name(self) -> str:
        """`probe`, the model's name, the layer, and what tells the head from others."""
        return f"probe:{self.reader.name}:{self.layer or 'final'}:{self.head.fingerprint}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path, all in one batch.

        Raises:
            ConfigError: the model does not hand out hidden states, or has no such layer.
            EvaluatorError: head and model do not belong together.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        prompts = self.prompts(question, paths)
        return self.head.apply(self.reader.hidden(prompts, layer=self.layer))

    def prompts(self, question: str, paths: list[list[Thought]]) -> list[list[int]]:
        """What the model reads: the paths as it thinks on them, every thought closed."""
        opening = self.task.opening(self.reader, question)
        delimiter = self.task.delimiter
        return [opening + closed_tokens(self.reader, path, delimiter) for path in paths]


def load_probe(path: Path, reader: Reader, task: Task) -> Probe:
    """The probe of a file that `forethought train probe` wrote, on the model it was trained for.

    Raises:
        UnknownModel, ModelFileError: there is no such file, it is damaged, no probe, or another
            model's.
    """
    head = load_head(path)
    if head.info.get("kind") != KIND:
        raise ModelFileError(f"{path} is a head, but no probe: use it with its own model")
    check_base(head.info, reader, path)
    layer = int(head.info["layer"])
    return Probe(reader, task, head, layer or None)
