"""An acceptance policy of your own, tried without any weights: `python examples/own_policy.py`.

Drafts must be better the deeper they stand; the models and the evaluator are scripted.
"""

from forethought import ScriptedModel, SearchConfig, Thought, solve, spec_search
from forethought.nodes import AcceptancePolicy, Rules


class Rising(AcceptancePolicy):
    """Accepts a draft of depth k from the score 0.5 + k / 10 on."""

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        return (draft.score or 0.0) >= 0.5 + draft.depth / 10


class Fixed:
    """Gives the draft 0.65 and the target 0.9."""

    name = "fixed"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [0.65 if path[-1].source == "draft" else 0.9 for path in paths]


def written(name: str) -> ScriptedModel:
    """A model that counts to two and answers."""

    def reply(prompt: str, seed: int, index: int) -> str:
        step = prompt.rpartition("assistant: ")[2].count("\n\n") + 1
        return f"{name} {index}: the answer is \\boxed{{7}}." if step > 2 else f"{name} {index}\n\n"

    return ScriptedModel(reply, name=name)


graph = spec_search(
    draft=written("small"),
    target=written("large"),
    evaluator=Fixed(),
    rules=Rules(own_policy=Rising()),
)
solution = solve("How many days has a week?", graph, config=SearchConfig(tree_width=2))
for thought in solution.thoughts:
    print(thought.depth, thought.source, thought.status, repr(thought.text))
print(solution.answer.answer)
