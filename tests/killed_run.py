"""Kept searches of slow scripted models, for processes that are killed while they think."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from forethought import (
    Engine,
    EngineConfig,
    ScriptedModel,
    SearchConfig,
    Solution,
    Thought,
    solve,
    spec_search,
)
from forethought.graphs import speculative_thinking
from forethought.graphs.registry import AnyGraph
from forethought.runs import open_runs

QUESTION = "How many apples are left?"
PAUSE = 0.006
_WORDS = "so the farm has many hens and we count them all one by one in the barn"


class Scores:
    """Scores drawn from a thought's text."""

    name = "drawn"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [random.Random(path[-1].text).random() for path in paths]


def slow_graph(
    kind: str = "search", *, pause: float = PAUSE, share_ending: float = 0.02
) -> AnyGraph:
    """A pair that takes its time, and whose words follow from prompt, seed and place alone."""

    def reply(prompt: str, seed: int, index: int) -> str:
        time.sleep(pause)
        dice = random.Random(f"{seed} {len(prompt)} {prompt[-40:]} {index}")
        words = " ".join(dice.choice(_WORDS.split()) for _ in range(12))
        return words + (" \\boxed{7}\n\n" if dice.random() < share_ending else "\n\n")

    draft, target = ScriptedModel(reply, name="small"), ScriptedModel(reply, name="large")
    if kind == "thinking":
        return speculative_thinking(draft=draft, target=target)
    return spec_search(draft=draft, target=target, evaluator=Scores())


def told(solution: Solution) -> dict[str, object]:
    """What two runs must agree on."""
    thoughts = [(t.id, t.parent, t.status, t.score, t.text) for t in solution.thoughts]
    return {"answer": solution.answer.text, "thoughts": [list(one) for one in thoughts]}


def main(path: str, name: str, out: str) -> None:
    """Begin the run, or go on with it; at its end, write what it told to `out`."""
    config = SearchConfig(max_depth=30, beam_width=2, tree_width=3, seed=5)
    graph = slow_graph(share_ending=0.0)
    with open_runs(Path(path)) as runs:
        solution = solve(QUESTION, graph, config=config, checkpointer=runs, thread_id=name)
    Path(out).write_text(json.dumps(told(solution)), encoding="utf-8")


def main_on_weights(file: str, path: str, out: str, num_steps: int) -> None:
    """As `main`, both models that of `file`, and killed behind `num_steps` decisions."""

    def listen(event: dict[str, Any]) -> None:
        nonlocal num_steps
        num_steps -= event["event"] == "decided"
        if num_steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    config = SearchConfig(max_depth=3, beam_width=1, tree_width=2, thought_tokens=40, seed=5)
    with (
        Engine(file, config=EngineConfig(context_size=1024)) as model,
        open_runs(Path(path)) as runs,
    ):
        graph = spec_search(draft=model, target=model, evaluator=Scores())
        solution = solve(
            QUESTION, graph, config=config, listen=listen, checkpointer=runs, thread_id="one"
        )
    Path(out).write_text(json.dumps(told(solution)), encoding="utf-8")
