"""A person decides on every draft: `python examples/approve_thoughts.py --scripted`.

The run stops before each decision and is kept meanwhile: it may be gone on with tomorrow, by
another process, if the checkpointer writes to a file. With `--scripted` models and person are
scripted; without it, the default pair thinks and you are asked.
"""

import sys
from contextlib import ExitStack

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from forethought import (
    TASKS,
    Engine,
    Judge,
    Model,
    ScriptedModel,
    SearchConfig,
    Thought,
    resolve,
    spec_search,
)

IS_SCRIPTED = "--scripted" in sys.argv
QUESTION = "A shelf holds 4 rows of 9 jars. 7 jars break. How many are left?"


def decided(thought: Thought) -> Thought:
    """What the person makes of a draft: Enter approves, `-` rejects, anything else replaces it."""
    told = "-" if "41" in thought.text else "" if IS_SCRIPTED else input(f"{thought.text.strip()} ")
    if not told:
        return thought.marked("accepted")
    if told == "-":
        return thought.marked("rejected")
    return thought.edited(f"{told}\n\n").marked("accepted")


def hasty(prompt: str, seed: int, index: int) -> str:
    """The draft: wrong every other time."""
    return "36 - 7 = 29, so the answer is \\boxed{29}." if index % 2 else "36 + 7 = 41.\n\n"


def careful(prompt: str, seed: int, index: int) -> str:
    """The target."""
    return f"There are 4 * 9 = 36 jars{' in all' * index}.\n\n"


with ExitStack() as opened:
    draft: Model = ScriptedModel(hasty, name="hasty")
    target: Model = ScriptedModel(careful, name="careful", judge=lambda _: [0.9, 0.1])
    if not IS_SCRIPTED:
        draft = opened.enter_context(Engine(resolve("qwen2.5-coder-0.5b")))
        target = opened.enter_context(Engine(resolve("qwen2.5-coder-1.5b")))
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"])).compile(
        checkpointer=InMemorySaver(), interrupt_before=["accept"]
    )
    run: RunnableConfig = {"configurable": {"thread_id": "jars"}, "recursion_limit": 1000}
    settings = SearchConfig(tree_width=2, beam_width=1, max_depth=6)
    state = graph.invoke({"question": QUESTION}, run, context=settings)
    while state["answer"] is None:
        drafts = [t for t in state["candidates"] if t.source == "draft" and t.status == "proposed"]
        graph.update_state(run, {"candidates": [decided(one) for one in drafts]})
        state = graph.invoke(None, run, context=settings)

for thought in state["thoughts"]:
    print(thought.depth, thought.source, thought.status, repr(thought.text))
print(state["answer"].answer)
