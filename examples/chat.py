"""A conversation with the pair: `python examples/chat.py`, an empty line ends it.

Thoughts are shown as they are settled, before the answer. With `--scripted` both models and what is
said are scripted.
"""

import sys

from langchain_core.messages import AnyMessage, HumanMessage

from forethought import TASKS, ChatForethought, Judge, ScriptedModel, spec_search
from forethought.chat import PlainReplier
from forethought.graph_replier import GraphReplier

IS_SCRIPTED = "--scripted" in sys.argv
SAID = iter(["A shelf holds 4 rows of 9 jars. How many are there?", ""])


def scripted() -> GraphReplier:
    """A pair without weights."""
    draft = ScriptedModel(lambda *_: "4 * 9 = 36, so it is \\boxed{36}.", name="small")
    target = ScriptedModel(
        lambda *_: "Rows times jars: \\boxed{36}.", judge=lambda _: [0.9, 0.1], name="large"
    )
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))
    return GraphReplier("pair", graph, target, speaker=PlainReplier(target))


def said() -> str:
    """What the user says next."""
    return next(SAID) if IS_SCRIPTED else input("> ")


chat = (
    ChatForethought(replier=scripted)
    if IS_SCRIPTED
    else ChatForethought(settings={"early_commits": 2})
)
turns: list[AnyMessage] = []
while words := said():
    turns.append(HumanMessage(words))
    reply = None
    for chunk in chat.stream(turns):
        for block in chunk.content_blocks:
            print(block.get("reasoning") or block.get("text") or "", end="", flush=True)
        reply = chunk if reply is None else reply + chunk
    assert reply is not None
    turns.append(reply)
    print(f"\n{reply.text}")
chat.close()
