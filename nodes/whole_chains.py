"""How either model writes whole chains of thought: in one batch, between its think tags, if any."""

from __future__ import annotations

from dataclasses import dataclass

from forethought.chains import solution_text
from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.model import Completion, Model
from forethought.prompts import task_named
from forethought.thinking_tags import CLOSE, has_think_tags, opening_of
from forethought.thoughts import ROOT, Source, Thought


@dataclass(frozen=True, slots=True)
class ChainWriter:
    """One model in the role of `source`."""

    model: Model
    source: Source

    def drafts(self, question: str, config: CotConfig) -> list[Thought]:
        """`num_chains` chains, sampled in one batch and numbered from 1; blank ones are left out.

        Their limit is lowered so that all fit the context at once.
        """
        prompt = self._opening(question, config)
        room = (self.model.context_size - len(prompt)) // config.num_chains
        limit = min(config.draft_tokens, room, self._room(prompt, config))
        params = config.sampling(max(1, limit), stop=self._stop(config))
        return self._written([prompt] * config.num_chains, params, config=config, first=1)

    def greedy(self, question: str, config: CotConfig, *, number: int) -> list[Thought]:
        """One chain of at most `think_tokens`, the most probable token by token, with `number` as
        its id; none where it is blank."""
        prompt = self._opening(question, config)
        limit = min(config.think_tokens, self._room(prompt, config))
        params = SamplingParams(
            temperature=0.0, max_tokens=max(1, limit), stop=self._stop(config), seed=config.seed
        )
        return self._written([prompt], params, config=config, first=number)

    def _opening(self, question: str, config: CotConfig) -> list[int]:
        return opening_of(self.model, task_named(config.task), question, config.reasoning)

    def _room(self, prompt: list[int], config: CotConfig) -> int:
        """What the context has left for thinking: it shares it with the answer as their limits
        do."""
        left = self.model.context_size - len(prompt)
        return left * config.think_tokens // (config.think_tokens + config.answer_tokens)

    def _stop(self, config: CotConfig) -> tuple[str, ...]:
        return (CLOSE,) if has_think_tags(self.model, config.reasoning) else ()

    def _written(
        self, prompts: list[list[int]], params: SamplingParams, *, config: CotConfig, first: int
    ) -> list[Thought]:
        completions = self.model.generate(prompts, params)
        return [
            self._thought(number, completion, config)
            for number, completion in enumerate((c for c in completions if c.text.strip()), first)
        ]

    def _thought(self, number: int, completion: Completion, config: CotConfig) -> Thought:
        text = completion.text
        if not has_think_tags(self.model, config.reasoning):
            text = solution_text(text, task_named(config.task))
        is_whole = completion.finish_reason in ("stop", "eos") or text != completion.text
        return Thought(
            id=number,
            parent=ROOT,
            depth=1,
            text=text,
            tokens=self._tokens(completion.tokens, text),
            vocabulary=self.model.vocabulary,
            source=self.source,
            is_terminal=is_whole,
            usage=completion.usage,
        )

    def _tokens(self, tokens: list[int], text: str) -> list[int]:
        """Those of `tokens` that spell `text`, which begins as they do; where none of them ends
        with it, those that the vocabulary spells it with."""
        length = len(text)
        for end in range(len(tokens), -1, -1):
            spelt = self.model.decode(tokens[:end])
            if spelt == text:
                return tokens[:end]
            if len(spelt) < length:
                break
        return self.model.encode(text)
