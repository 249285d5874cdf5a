"""A model whose tokens a smaller one proposes: token-level speculation behind `Model`."""

from __future__ import annotations

import threading
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams, require, require_between
from forethought.engine.engine import Engine
from forethought.engine.gamma import MAX_GAMMA, AdaptiveGamma
from forethought.engine.rounds import Rounds, Writing, begin
from forethought.engine.worker import EngineStats
from forethought.model import Completion, Message, Reading, RunStopped


@dataclass(frozen=True, slots=True)
class SpeculationStats:
    """Counts since the model was made: `num_rounds` verifications of one sequence each, in which
    `num_proposed` tokens were proposed and `num_accepted` of the `num_judged` accepted; none is
    judged behind one that was not. `num_plain` tokens were sampled without proposals."""

    num_rounds: int = 0
    num_proposed: int = 0
    num_judged: int = 0
    num_accepted: int = 0
    num_plain: int = 0

    @property
    def acceptance_rate(self) -> float | None:
        """The share of judged proposals that were accepted (Leviathan et al. 2023, alpha), in
        [0, 1]; None before the first."""
        return self.num_accepted / self.num_judged if self.num_judged else None

    def __add__(self, other: SpeculationStats) -> SpeculationStats:
        return SpeculationStats(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class SpeculativeModel:
    """A target to which a draft proposes tokens. Implements `forethought.model.Model`.

    Completions are distributed as the target's own, and at temperature 0 they are its own. With a
    fixed gamma the seed fixes every draw, whatever else is in the batch; a gamma that follows
    measured times does not. Everything that reads is the target's. Neither engine is closed.

    Args:
        target: the model that is spoken for; its `name` is this one's.
        draft: a faster model with the same vocabulary.
        gamma: tokens proposed to each sequence and round, 1 to 16; None chooses by what was
            measured, and decodes without proposals where they do not pay.

    Raises:
        ConfigError: the vocabularies differ, or gamma is out of range.
    """

    def __init__(self, target: Engine, draft: Engine, *, gamma: int | None = None) -> None:
        require(
            target.vocabulary == draft.vocabulary,
            f"{draft.name} cannot propose tokens to {target.name}, for their vocabularies differ: "
            "leave --gamma at 0; speculation with whole thoughts works for every pair",
        )
        if gamma is not None:
            require_between("gamma", gamma, (1, MAX_GAMMA))
        self._target, self._gamma = target, gamma
        self._rounds = Rounds(target, draft)
        self._adaptive = AdaptiveGamma()
        self._lock = threading.Lock()
        self._stats = SpeculationStats()

    @property
    def name(self) -> str:
        """The target's."""
        return self._target.name

    @property
    def vocabulary(self) -> str:
        """That of both."""
        return self._target.vocabulary

    @property
    def context_size(self) -> int:
        """The target's."""
        return self._target.context_size

    @property
    def speculation(self) -> SpeculationStats:
        """How proposals have fared so far."""
        return self._stats

    def stats(self) -> EngineStats:
        """The target's counts."""
        return self._target.stats()

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """See `Engine.encode`."""
        return self._target.encode(text, special=special)

    def decode(self, tokens: list[int]) -> str:
        """See `Engine.decode`."""
        return self._target.decode(tokens)

    def start_tokens(self) -> list[int]:
        """See `Engine.start_tokens`."""
        return self._target.start_tokens()

    def chat(self, messages: list[Message]) -> list[int]:
        """See `Engine.chat`."""
        return self._target.chat(messages)

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """See `Engine.probs`."""
        return self._target.probs(prompts, choices)

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """See `Engine.hidden`."""
        return self._target.hidden(prompts, layer=layer)

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """See `Engine.readings`."""
        return self._target.readings(prompts, counts)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in order, all speculated on in the same batches; under a
        grammar the target writes alone.

        Usage is metered under either engine's name; a completion's is the sum. Of the target, the
        rows that verify count as prompt tokens, and the tokens they gave as generated.

        Raises:
            PromptTooLong: a prompt leaves no room for a token in the target's context. Where it is
                the draft's that has no room, the target goes on alone.
            DecodeError, EngineClosed: see `forethought.errors`.
        """
        if params.grammar is not None:
            return self._target.generate(prompts, params)
        self._target.check(prompts)
        writings = begin(prompts, params)
        try:
            while unfinished := [w for w in writings if w.completion is None]:
                self._advance(unfinished, params)
        except RunStopped as stopped:
            unfinished = [w for w in writings if w.completion is None]
            self._rounds.stop(unfinished, params, stopped.reason)
        return [w.completion for w in writings if w.completion is not None]

    def _advance(self, writings: list[Writing], params: SamplingParams) -> None:
        """A round for those that the draft can serve; the others are written to their ends."""
        gamma = self._adaptive.choose(len(writings)) if self._gamma is None else self._gamma
        room = self._rounds.room(gamma) if gamma else 0
        if alone := [w for w in writings if len(w.tokens) >= room]:
            plain = self._rounds.write_alone(alone, params)
            self._adaptive.saw_plain(plain)
            self._count(SpeculationStats(num_plain=plain.num_tokens))
        if served := [w for w in writings if w.completion is None]:
            seen = self._rounds.speculate(served, params, gamma)
            self._adaptive.saw_round(seen)
            counts = (seen.num_proposed, seen.num_judged, seen.num_accepted)
            self._count(SpeculationStats(seen.num_sequences, *counts))

    def _count(self, new: SpeculationStats) -> None:
        with self._lock:
            self._stats += new
