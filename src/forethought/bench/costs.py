"""What passes over a model's weights take, worked out from sizes: a roofline, no measurement.

A pass over n tokens reads all weights once and computes every token; the slower of the two decides
(Williams et al., Roofline, 2009). Reading the KV cache, and one model reading the thoughts that the
other one wrote, are not counted: both are small against decoding at these lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forethought.config import require, require_at_least, require_between
from forethought.thoughts import Source

Size = tuple[float, float]
Part = Source | Literal["evaluator"]

_TERA, _BILLION = 1e12, 1e9
_FLOPS_PER_WEIGHT = 2  # a multiplication and an addition


@dataclass(frozen=True, slots=True)
class Machine:
    """An accelerator and the models on it.

    A size is billions of weights computed per token, and gigabytes read per pass: by default
    Qwen2.5 7B and 72B in GPTQ-Int4 and a 7B reward model in 16 bits. `bandwidth` is in TB/s and
    `compute` in TFLOP/s, of which the share `efficiency` is reached; by default an A800's. A pass
    takes `overhead` ms besides. The target decodes at most `target_rows` thoughts in one pass, the
    draft `draft_rows`; 1 is one by one. `rereads`: the evaluator keeps no prefix and reads question
    and path again with every thought. Token-level speculation proposes `gamma` tokens, each
    accepted with chance `token_acceptance`.

    Raises:
        ConfigError: a value is out of range.
    """

    draft_size: Size = (7.6, 5.6)
    target_size: Size = (72.7, 41.6)
    evaluator_size: Size = (7.6, 15.2)
    bandwidth: float = 2.0
    compute: float = 312.0
    efficiency: float = 0.6
    overhead: float = 2.0
    draft_rows: int = 64
    target_rows: int = 64
    rereads: bool = True
    token_acceptance: float = 0.8
    gamma: int = 5

    def __post_init__(self) -> None:
        for name in ("draft_size", "target_size", "evaluator_size"):
            size = getattr(self, name)
            require(min(size) > 0, f"{name} must be two numbers above 0, not {size}")
        for name in ("bandwidth", "compute"):
            value = getattr(self, name)
            require(value > 0, f"{name} must be above 0, not {value}")
        require(0 < self.efficiency <= 1, f"efficiency must lie in 0..1, not {self.efficiency}")
        require_at_least("overhead", self.overhead, 0)
        require_at_least("draft_rows", self.draft_rows, 1)
        require_at_least("target_rows", self.target_rows, 1)
        require_between("token_acceptance", self.token_acceptance, (0.0, 1.0))
        require_at_least("gamma", self.gamma, 1)

    def pass_seconds(self, part: Part, num_tokens: float) -> float:
        """One pass of a model over `num_tokens` tokens, in any number of sequences."""
        sizes: dict[Part, Size] = {
            "draft": self.draft_size,
            "target": self.target_size,
            "evaluator": self.evaluator_size,
        }
        billions, gigabytes = sizes[part]
        reading = gigabytes * _BILLION / (self.bandwidth * _TERA)
        flops = _FLOPS_PER_WEIGHT * billions * _BILLION * num_tokens
        computing = flops / (self.compute * _TERA)
        return self.overhead / 1000 + max(reading, computing) / self.efficiency

    def decode_seconds(
        self, source: Source, lengths: Sequence[int], *, speculates: bool = False
    ) -> float:
        """Thoughts of these lengths in tokens, written in groups of as many as fit in a pass; the
        places of those that have ended stay empty until the last of their group has."""
        rows = self.draft_rows if source == "draft" else self.target_rows
        gain = self.tokens_per_cycle if speculates else 1.0
        seconds = 0.0
        for start in range(0, len(lengths), rows):
            group = sorted(math.ceil(length / gain) for length in lengths[start : start + rows])
            done = 0
            for place, end in enumerate(group):
                cycle = self.cycle_seconds(source, len(group) - place, speculates=speculates)
                seconds += (end - done) * cycle
                done = end
        return seconds

    def cycle_seconds(self, source: Source, num_open: int, *, speculates: bool) -> float:
        """One token more for each open thought; with speculation, one round of proposals by the
        draft and their verification."""
        if not speculates:
            return self.pass_seconds(source, num_open)
        proposing = self.gamma * self.pass_seconds("draft", num_open)
        return proposing + self.pass_seconds(source, num_open * (self.gamma + 1))

    @property
    def tokens_per_cycle(self) -> float:
        """Tokens that a round of token-level speculation yields on average: (1 - a^(gamma + 1)) /
        (1 - a) with a the chance of acceptance (Leviathan et al., ICML 2023, equation 1)."""
        chance = self.token_acceptance
        if chance == 1.0:
            return self.gamma + 1.0
        return (1 - chance ** (self.gamma + 1)) / (1 - chance)

    def scoring_seconds(self, lengths: Sequence[int], *, num_before: float) -> float:
        """Thoughts of these lengths read by the evaluator in one pass, each behind `num_before`
        tokens of question and path."""
        reread = num_before * len(lengths) if self.rereads else 0.0
        return self.pass_seconds("evaluator", sum(lengths) + reread) if lengths else 0.0
