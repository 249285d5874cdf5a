"""An evaluator of your own, tried without any weights: `python examples/own_evaluator.py`.

A thought is worth the share of its sums that are right; the models are scripted.
"""

import re
from dataclasses import dataclass

from forethought import ScriptedModel, SearchConfig, Thought, solve, spec_search


@dataclass(frozen=True)
class SumCheck:
    """Scores a thought by re-computing the additions it states."""

    name: str = "sum check"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [self._share(path[-1].text) for path in paths]

    def _share(self, text: str) -> float:
        sums = re.findall(r"(\d+) \+ (\d+) = (\d+)", text)
        right = sum(int(a) + int(b) == int(c) for a, b, c in sums)
        return right / len(sums) if sums else 0.5


def hasty(prompt: str, seed: int, index: int) -> str:
    """The draft: right every other time."""
    return f"So 17 + 25 = {42 if index % 2 else 41}.\n\n" if "First" in prompt else "?"


def careful(prompt: str, seed: int, index: int) -> str:
    """The target."""
    if "So 17" in prompt:
        return f"The answer is \\boxed{{42}}{'.' * index}"
    return f"First add the two{' numbers' * index}.\n\n"


graph = spec_search(
    draft=ScriptedModel(hasty, name="hasty"),
    target=ScriptedModel(careful, name="careful"),
    evaluator=SumCheck(),
)
solution = solve("What is 17 + 25?", graph, config=SearchConfig(tree_width=2, beam_width=1))
for thought in solution.thoughts:
    print(thought.depth, thought.source, thought.status, thought.score, repr(thought.text))
print(solution.answer.answer)
