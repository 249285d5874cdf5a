"""A model without weights, for tests: it says what a script tells it to.

Its tokens are Unicode code points, so that token ids, prefixes and stop strings behave as with a
real model. It keeps the contract of `forethought.model.Model`, scopes and usage included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams, require
from forethought.errors import PromptTooLong
from forethought.model import (
    Completion,
    Delta,
    FinishReason,
    Message,
    Reading,
    RunStopped,
    TokenLogprob,
    Usage,
    current_scope,
    record_usage,
)

Reply = Callable[[str, int, int], str]
Judgement = Callable[[str], list[float]]


class ScriptedModel:
    """Replies come from a function, not from weights.

    Args:
        reply: called with the prompt's text, the seed, and the prompt's index in its batch; returns
            what the model would go on to write until its end of text.
        judge: called with a prompt's text; returns one probability in [0, 1] per choice. Without it
            every choice is equally likely.
        name: the model's name.
        vocabulary: fingerprint; give two models different ones to act as a pair that cannot
            exchange token ids.
        context_size: longest prompt in characters.
    """

    width = 8
    knows_tools = False

    def __init__(
        self,
        reply: Reply,
        *,
        judge: Judgement | None = None,
        name: str = "scripted",
        vocabulary: str = "code points",
        context_size: int = 1_000_000,
    ) -> None:
        self._reply = reply
        self._judge = judge
        self.name = name
        self.vocabulary = vocabulary
        self.context_size = context_size

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """One code point per character; there are no control tokens."""
        return [ord(character) for character in text]

    def start_tokens(self) -> list[int]:
        """None: a script has no start token."""
        return []

    def decode(self, tokens: list[int]) -> str:
        """The characters of the code points."""
        return "".join(map(chr, tokens))

    def chat(
        self, messages: list[Message], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """`role: content` lines, then the assistant's turn opened; tools are not told of."""
        turns = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        return self.encode(turns + "assistant: ")

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """The script's replies, cut as `params` says."""
        self._check(prompts)
        scope = current_scope()
        reason = scope.stop_reason() if scope else None
        completions = []
        for index, prompt in enumerate(prompts):
            reply = "" if reason else self._reply(self.decode(prompt), params.seed, index)
            text, finish = cut_reply(reply, params)
            usage = Usage(prompt_tokens=len(prompt), generated_tokens=len(text))
            record_usage(self.name, usage)
            logprob = -math.log(128) if params.logprob else None
            completions.append(
                Completion(text, self.encode(text), reason or finish, usage, logprob)
            )
        return completions

    def stream(self, prompt: list[int], params: SamplingParams) -> Generator[Delta]:
        """What `generate` returns, character by character; a grammar is not looked at."""
        (completion,) = self.generate([prompt], params)
        return _letters(completion, params.top_logprobs)

    def logprobs(self, prompt: list[int], *, top: int = 0) -> list[TokenLogprob]:
        """Every token is as likely as any of 128 others."""
        self._read([prompt])
        return [_told(chr(token), top) for token in prompt[1:]]

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """What the script judges; `RunStopped` where the caller's run has stopped."""
        require(bool(choices) and all(choices), "probs needs at least one token id per choice")
        self._read(prompts)
        rows = []
        for prompt in prompts:
            row = (
                self._judge(self.decode(prompt))
                if self._judge
                else [1 / len(choices)] * len(choices)
            )
            require(len(row) == len(choices), f"judge gave {len(row)} numbers for {len(choices)}")
            rows.append(row)
        return rows

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """A vector of `width` numbers in [-1, 1] drawn from each prompt's tokens and the layer."""
        self._read(prompts)
        return [
            np.random.default_rng([layer or 0, *prompt]).uniform(-1, 1, self.width).astype("f4")
            for prompt in prompts
        ]

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """Every token is as likely as any of 128 others."""
        self._read(prompts)
        uniform = Reading(logprob=-math.log(128), entropy=math.log(128), certainty=0.0)
        return [[uniform] * count for count in counts]

    def _read(self, prompts: list[list[int]]) -> None:
        self._check(prompts)
        scope = current_scope()
        if scope and (reason := scope.stop_reason()):
            raise RunStopped(reason)
        for prompt in prompts:
            record_usage(self.name, Usage(prompt_tokens=len(prompt)))

    def _check(self, prompts: list[list[int]]) -> None:
        for prompt in prompts:
            if not 0 < len(prompt) < self.context_size:
                raise PromptTooLong(
                    f"a prompt of {len(prompt)} tokens does not fit {self.context_size}"
                )


def cut_reply(reply: str, params: SamplingParams) -> tuple[str, FinishReason]:
    """Cut a reply where its first stop string is complete or at its length limit, as the engine
    would, for which the end of text is one more token."""
    start = len(reply) - len(reply.lstrip()) if params.keep_stop else 0
    found = [(reply.find(stop, start), stop) for stop in params.stop if stop in reply[start:]]
    if found:
        end, position = min((position + len(stop), position) for position, stop in found)
        if end <= params.max_tokens:
            return reply[: end if params.keep_stop else position], "stop"
    if len(reply) >= params.max_tokens:
        return reply[: params.max_tokens], "length"
    return reply, "eos"


def _letters(completion: Completion, num_top: int | None) -> Generator[Delta]:
    for letter in completion.text:
        yield Delta(letter, () if num_top is None else (_told(letter, num_top),))
    yield Delta("", completion=completion)


def _told(letter: str, num_top: int) -> TokenLogprob:
    alike = TokenLogprob(letter, letter.encode(), -math.log(128))
    return replace(alike, top=(alike,) * num_top)
