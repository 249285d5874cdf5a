"""How either model takes its turn in a chain of thought; it decides nothing.

A prompt is always the question and all of the chain, so a model computes what the other wrote since
its last turn and finds the rest in its cache.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Any

from forethought.config_thinking import ThinkingConfig
from forethought.errors import PromptTooLong, RemoteError
from forethought.evaluators import path_tokens
from forethought.model import Model
from forethought.nodes.chain import ChainRuntime, ChainState, chain_of, chain_settings
from forethought.nodes.closing import answer_tokens
from forethought.nodes.state import cost, cut_short, node_scope
from forethought.prompts import Task, task_named
from forethought.thinking_tags import conclusion_of, has_think_tags, opening_of
from forethought.thoughts import Role, Source, Thought

_RUN_SHIFT = 24  # a draw's place in the run's seed: thoughts are fewer than 2**23
_ANSWER_MARGIN = 16  # tokens that tags and cue may take beyond the cue's own under this vocabulary


def up_to(model: Model, thought: Thought, delimiter: str) -> Thought:
    """`thought` up to the token that completes the first `delimiter` in its decoded text, which is
    then not its path's end."""
    tokens = thought.tokens
    end = bisect_left(
        range(len(tokens)), True, key=lambda n: delimiter in model.decode(tokens[: n + 1])
    )
    if end == len(tokens):
        return thought
    kept = tokens[: end + 1]
    return replace(thought, text=model.decode(kept), tokens=kept, is_terminal=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model wrote, None where there is no room to write, and the `update` for its cost."""

    thought: Thought | None
    update: dict[str, Any]

    @property
    def is_cut_short(self) -> bool:
        """Whether the run must end here."""
        return self.update["stop"] is not None


@dataclass(frozen=True, slots=True)
class Pen:
    """One model in the role of `source`."""

    model: Model
    source: Source

    def turn(
        self,
        state: ChainState,
        runtime: ChainRuntime,
        num_tokens: int,
        *,
        opening: str = "",
        until: str = "",
    ) -> Turn:
        """The next tokens of the chain: `opening`, and `num_tokens` that are sampled behind it, or
        fewer where the text ends, or room or time run out, or `until` is complete.

        Raises:
            PromptTooLong: the question alone does not fit the model's context.
        """
        config = chain_settings(runtime)
        role: Role = "drafted" if self.source == "draft" else "revised"
        with node_scope(state, config) as scope:
            try:
                thought = self._write(state, config, num_tokens, (opening, until))
            except (PromptTooLong, RemoteError) as error:
                return Turn(None, cut_short(state, runtime, error))
        stop = scope.stop_reason() or ("limit" if thought is None else None)
        return Turn(thought, cost(scope, role) | {"stop": stop})

    def _write(
        self, state: ChainState, config: ThinkingConfig, num_tokens: int, bounds: tuple[str, str]
    ) -> Thought | None:
        (opening, until), model, chain = bounds, self.model, chain_of(state)
        given = model.encode(opening) if opening else []
        frame = opening_of(model, task_named(config.task), state["question"], config.reasoning)
        prompt = frame + path_tokens(model, chain) + given
        room = self._room(len(prompt), len(frame), config)
        if room < 1 and chain:
            return None
        number = len(state["thoughts"]) + 1 + (state["probe"] is not None)
        seed = (config.seed << _RUN_SHIFT) + (number << 1) + (self.source == "target")
        stop = (until,) if until else ()
        params = config.sampling(max(1, min(num_tokens, room)), stop=stop, seed=seed)
        (completion,) = model.generate([prompt], params)
        is_terminal = completion.finish_reason == "eos"
        is_written = is_terminal or bool(completion.tokens)
        thought = Thought(
            id=number,
            parent=state["end"],
            depth=len(chain) + 1,
            text=opening + completion.text if is_written else "",
            tokens=given + completion.tokens if is_written else [],
            vocabulary=model.vocabulary,
            source=self.source,
            is_terminal=is_terminal,
            usage=completion.usage,
        )
        if until:
            thought = up_to(model, thought, until)
        ends = config.stop_at_answer and self._answers([*chain, thought], config)
        return replace(thought, is_terminal=thought.is_terminal or ends)

    def _room(self, num_prompt: int, num_frame: int, config: ThinkingConfig) -> int:
        """Tokens that the chain may still have, those of a forced answer put aside."""
        task = task_named(config.task)
        aside = answer_tokens(task) + len(self.model.encode(task.answer_cue)) + _ANSWER_MARGIN
        counted = num_prompt if config.limit_counts_prompt else num_prompt - num_frame
        return min(self.model.context_size - num_prompt - aside, config.max_tokens - counted)

    def _answers(self, chain: list[Thought], config: ThinkingConfig) -> bool:
        task: Task = task_named(config.task)
        text = "".join(thought.text for thought in chain)
        said = conclusion_of(text) if has_think_tags(self.model, config.reasoning) else text
        return task.answer_ends_path and task.find_answer(said) is not None
