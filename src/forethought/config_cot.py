"""Settings of Speculative Chain-of-Thought: frozen, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from forethought.config import (
    Reasoning,
    SamplingParams,
    drawn_by,
    require,
    require_at_least,
    require_between,
    require_deadline,
    require_one_of,
)

SelectorName = Literal["model", "none", "majority"]

# the option behind the last chain needs a number of one digit, too
MAX_CHAINS: Final = 8


@dataclass(frozen=True, slots=True)
class CotConfig:
    """One run's settings, with the defaults of the paper (Wang et al. 2025, "Efficient Reasoning
    for LLMs through Speculative Chain-of-Thought").

    The draft writes `num_chains` chains of thought (1 to 8) at `temperature` from the whole
    vocabulary, or what `top_p`, `top_k` and `min_p` leave of it. `selector` says who picks one:
    the target in one pass over all of them ("model"), nobody, so that it is the first ("none"), or
    the chains' own answers, the most frequent of which wins ("majority"). With `correction`, the
    model may also pick "all are wrong", and the target then thinks again by itself;
    `all_wrong_bias`, in nats, is added to the logit of that option. Limits count sampled tokens:
    `draft_tokens` of a chain, `think_tokens` of the target's own thinking, `answer_tokens` of the
    answer; each is lowered to what the model's context has room for. `reasoning` says whether
    chains stand in a think block: "auto", where a model's vocabulary has one. `deadline` is in
    seconds.

    Raises:
        ConfigError: a value is out of range.
    """

    task: str = "math"
    num_chains: int = 5
    selector: SelectorName = "model"
    correction: bool = True
    all_wrong_bias: float = 0.0
    draft_tokens: int = 5000
    think_tokens: int = 20480
    answer_tokens: int = 10240
    reasoning: Reasoning = "auto"
    temperature: float = 0.6
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    deadline: float | None = None

    def __post_init__(self) -> None:
        require_between("num_chains", self.num_chains, (1, MAX_CHAINS))
        require_one_of("selector", self.selector, get_args(SelectorName))
        require_one_of("reasoning", self.reasoning, get_args(Reasoning))
        bias = self.all_wrong_bias
        require(math.isfinite(bias), f"all_wrong_bias must be a finite number, not {bias}")
        for name in ("draft_tokens", "think_tokens", "answer_tokens"):
            require_at_least(name, getattr(self, name), 1)
        require_deadline(self.deadline)
        self.sampling(self.draft_tokens)

    def sampling(self, max_tokens: int, *, stop: tuple[str, ...] = ()) -> SamplingParams:
        """Parameters to draw chains of at most `max_tokens` tokens, each up to a `stop` string."""
        return replace(drawn_by(self), max_tokens=max_tokens, stop=stop, seed=self.seed)
