"""SpecSearch as one node of a workflow: `python examples/workflow.py [--scripted]`.

The graph splits a text into questions, thinks about each, and joins the answers.
"""

import sys
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from forethought import TASKS, Engine, Judge, Model, ScriptedModel, resolve, solve, spec_search


class Work(TypedDict):
    """The workflow's state."""

    text: str
    questions: list[str]
    report: str


def workflow(draft: Model, target: Model) -> Any:
    """The compiled workflow."""
    search = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))

    def split(state: Work) -> dict[str, list[str]]:
        return {"questions": [line for line in state["text"].splitlines() if line.strip()]}

    def think(state: Work) -> dict[str, str]:
        lines = [f"{q} {solve(q, search).answer.answer}" for q in state["questions"]]
        return {"report": "\n".join(lines)}

    builder = StateGraph(Work)
    builder.add_node("split", split)
    builder.add_node("think", think)
    builder.add_edge(START, "split")
    builder.add_edge("split", "think")
    builder.add_edge("think", END)
    return builder.compile()


def scripted() -> tuple[Model, Model]:
    """A pair without weights."""
    one, other = (
        ScriptedModel(lambda *_: "The answer is \\boxed{4}.", judge=lambda _: [0.8, 0.1], name=name)
        for name in ("small", "large")
    )
    return one, other


TEXT = "A dog has how many legs?\nHow many wheels has a car?"

if "--scripted" in sys.argv:
    print(workflow(*scripted()).invoke({"text": TEXT})["report"])
else:
    with (
        Engine(resolve("qwen2.5-coder-0.5b")) as draft,
        Engine(resolve("qwen2.5-coder-1.5b")) as target,
    ):
        print(workflow(draft, target).invoke({"text": TEXT})["report"])
