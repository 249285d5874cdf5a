"""Chains of thought without weights: two scripted models take turns, and every turn is noted.

A token is a character, so lengths in tokens can be counted in the texts; `…` stands for more dots
than anyone asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from forethought.config import SamplingParams
from forethought.config_thinking import ThinkingConfig
from forethought.engine import ScriptedModel
from forethought.graphs import speculative_thinking
from forethought.model import Completion, Scope
from forethought.solve import Solution, solve
from forethought.thoughts import Source

QUESTION = "How many apples are left?"
_ASSISTANT = "assistant: "

Voice = Callable[[str], str]


@dataclass(frozen=True)
class Called:
    """One turn: who was asked, for how much, and what stood in the chain before."""

    name: str
    num_tokens: int
    chain: str
    prompt: list[int]
    params: SamplingParams


class Speaker(ScriptedModel):
    """A scripted model that is asked for what follows a chain, and notes it."""

    def __init__(self, name: str, voice: Voice, calls: list[Called], **settings: Any) -> None:
        super().__init__(self._reply, name=name, **settings)
        self._voice, self._calls = voice, calls

    def _reply(self, prompt: str, _: int, __: int) -> str:
        return self._voice(prompt.rpartition(_ASSISTANT)[2]).replace("…", "." * 2000)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        (prompt,) = prompts
        chain = self.decode(prompt).rpartition(_ASSISTANT)[2]
        self._calls.append(Called(self.name, params.max_tokens, chain, prompt, params))
        return super().generate(prompts, params)


class Shifted(Speaker):
    """A speaker of another vocabulary: its ids are one more than the code points."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, vocabulary="shifted", **settings)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return [ord(character) + 1 for character in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(token - 1) for token in tokens)


def in_order(texts: Iterable[str]) -> Voice:
    """Says these, one a turn, and is silent afterwards."""
    left = iter(texts)

    def voice(_: str) -> str:
        return next(left, "")

    return voice


@dataclass
class Run:
    """A finished run and everything that was seen of it."""

    solution: Solution
    calls: list[Called]
    events: list[dict[str, Any]]
    draft: Speaker
    target: Speaker

    @property
    def turns(self) -> list[tuple[str, int]]:
        """Who was asked for how many tokens."""
        return [(call.name, call.num_tokens) for call in self.calls]

    @property
    def chain(self) -> str:
        """The chain's text."""
        return "".join(thought.text for thought in self.solution.answer.path)

    def written(self, source: Source | None = None) -> list[str]:
        """The chain's thoughts, or those of one model."""
        path = self.solution.answer.path
        return [t.text for t in path if source is None or t.source == source]

    def rejected(self) -> list[tuple[Source, str]]:
        """Sentences that were not adopted."""
        return [(t.source, t.text) for t in self.solution.thoughts if t.status == "rejected"]


def think(
    draft: Voice | Iterable[str],
    target: Voice | Iterable[str] = (),
    *,
    scope: Scope | None = None,
    kinds: tuple[type[Speaker], type[Speaker]] = (Speaker, Speaker),
    models: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Think about `QUESTION`; voices say what follows a chain, or are lists for `in_order`."""
    calls: list[Called] = []
    voices = [voice if callable(voice) else in_order(voice) for voice in (draft, target)]
    small = kinds[0]("small", voices[0], calls, **(models or {}))
    large = kinds[1]("large", voices[1], calls, **(models or {}))
    events: list[dict[str, Any]] = []
    solution = solve(
        QUESTION,
        speculative_thinking(draft=small, target=large),
        config=ThinkingConfig(**settings),
        scope=scope,
        listen=events.append,
    )
    return Run(solution, calls, events, small, large)
