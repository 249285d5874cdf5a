"""How many of its siblings come to the same result as a thought: a program, no model.

Self-consistency (Wang et al., arXiv:2203.11171) for single steps: what a model draws again and
again is more often right than what it draws once, and of all that can be asked without another
model it tells right answers from wrong ones best (docs/results.md).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from forethought.prompts import Task
from forethought.thoughts import Thought

_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_UNSEEN: Final = (
    0.5  # of the draw that a thought itself is: it says nothing of what others would be
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Scores a path by the share of its siblings, the paths of the same batch that differ in the
    last thought only, that come to the same result: the answer, where the thought states one, else
    its last number, else its words. Every draw counts, half of the thought's own first one.

    Unlike others' its scores depend on what else is scored in the same call: thoughts that are
    scored alone get 0.5.
    """

    task: Task

    @property
    def name(self) -> str:
        """`agreement`."""
        return "agreement"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in (0, 1) per path."""
        places = [("".join(t.text for t in path[:-1]), self._result(path[-1])) for path in paths]
        draws: Counter[tuple[str, str]] = Counter()
        totals: Counter[str] = Counter()
        for (parent, result), path in zip(places, paths, strict=True):
            draws[parent, result] += path[-1].num_draws
            totals[parent] += path[-1].num_draws
        return [(draws[place] - _UNSEEN) / totals[place[0]] for place in places]

    def _result(self, thought: Thought) -> str:
        answer = self.task.find_answer(thought.text)
        if answer is not None:
            return "".join(answer.split())
        numbers = _NUMBER.findall(thought.text)
        words = " ".join(thought.text.split()).casefold()
        return numbers[-1].replace(",", "") if numbers else words
