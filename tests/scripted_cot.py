"""Speculative Chain-of-Thought without weights: scripted models whose every call is noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.engine import ScriptedModel
from forethought.engine.scripted import Reply
from forethought.graphs import speculative_cot
from forethought.model import Completion, Scope, run_scope
from forethought.nodes import CotState
from forethought.prompts_cot import SELECTION_CUE
from forethought.thoughts import Answer

QUESTION = "How many pears are left?"
CUE = "The answer is \\boxed{"


class Noted(ScriptedModel):
    """Notes its prompts by call: `written` with their parameters, and `read` with the choices."""

    def __init__(self, reply: Reply, **options: Any) -> None:
        super().__init__(reply, **options)
        self.written: list[tuple[list[str], SamplingParams]] = []
        self.read: list[tuple[list[str], list[str]]] = []

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        self.written.append(([self.decode(prompt) for prompt in prompts], params))
        return super().generate(prompts, params)

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        numbers = [self.decode(choice) for choice in choices]
        self.read.append(([self.decode(prompt) for prompt in prompts], numbers))
        return super().probs(prompts, choices)

    @property
    def prompts(self) -> list[str]:
        """All that it was to continue, in order."""
        return [prompt for prompts, _ in self.written for prompt in prompts]


def stated(number: int, answer: str) -> str:
    """A whole chain."""
    return f"Path {number} counts them.\n\nThe answer is \\boxed{{{answer}}}."


def writing(*texts: str) -> Noted:
    """A draft that writes these chains, in turn."""
    return Noted(lambda prompt, seed, index: texts[index % len(texts)], name="small")


def choosing(
    shares: Sequence[float], *, own: str = "Own thinking.\n\nThe answer is \\boxed{9}.", **more: Any
) -> Noted:
    """A target that reads `shares`, thinks `own`, and answers 7 behind a cue."""

    def reply(prompt: str, seed: int, index: int) -> str:
        return "7}, of course" if prompt.endswith(CUE) else own

    return Noted(reply, judge=lambda prompt: list(shares), name="large", **more)


@dataclass
class CotRun:
    """A finished run and its events."""

    state: CotState
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answer(self) -> Answer:
        assert self.state["answer"] is not None
        return self.state["answer"]

    def roles(self) -> list[str]:
        return [entry.role for entry in self.answer.ledger.entries]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]


def run_cot(
    draft: ScriptedModel,
    target: ScriptedModel,
    *,
    selector: ScriptedModel | None = None,
    scope: Scope | None = None,
    **settings: Any,
) -> CotRun:
    """Run the graph on `QUESTION`."""
    graph = speculative_cot(draft=draft, target=target, selector=selector).compile()
    events: list[dict[str, Any]] = []
    state: dict[str, Any] = {}
    with run_scope(scope or Scope()):
        for mode, data in graph.stream(
            {"question": QUESTION},
            context=CotConfig(**settings),
            stream_mode=["custom", "values"],
        ):
            if mode == "custom":
                events.append(cast("dict[str, Any]", data))
            else:
                state = cast("dict[str, Any]", data)
    return CotRun(cast("CotState", state), events)


def is_selection(prompt: str) -> bool:
    """Whether a prompt asks for a number."""
    return prompt.endswith(SELECTION_CUE)
