"""Settings of speculative thinking, checked where they are made; defaults are the published code's.

Where paper (arXiv 2504.12329) and code differ, the field says what the paper's value is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from forethought.config import (
    Reasoning,
    SamplingParams,
    drawn_by,
    require,
    require_at_least,
    require_deadline,
    require_one_of,
)

Sentences = Literal["adopted", "any"]

_LENGTHS = (
    "takeover_tokens",
    "verification_tokens",
    "recheck_tokens",
    "begin_tokens",
    "chunk_tokens",
    "max_tokens",
    "reflection_limit",
)


@dataclass(frozen=True, slots=True)
class ThinkingConfig:
    """Settings of one chain of thought that draft and target write in turns; lengths in tokens.

    Rule 1: behind a paragraph that the draft has closed, its next `takeover_tokens` are a probe. If
    the probe affirms or reflects (with `not_reasoning`: always), the target writes as many, which
    replace the probe; without `choose_target` only where the two contradict each other, and without
    `take_over` never: the probe stays, unasked. `begin` lets the target open the chain with
    `begin_tokens`.

    Rule 2, unless `verify` is off: behind a sentence that calls for verification the target goes on
    for `verification_tokens`. `cues="adopted"` looks for the call in the target's sentence, "any"
    (the paper) also in the draft's.

    Rule 3, unless `recheck` is off: once `reflection_limit` reflecting sentences were counted, the
    target writes `recheck_tokens` behind `hint` (None: the published one). After each time they
    grow by `recheck_growth` and the limit by `limit_growth`, up to `max_recheck_tokens` and
    `max_reflection_limit`; growths of 0 are the paper's. `counted` says which sentences count: that
    which was adopted, or (paper) "any" that follows a paragraph, the draft's included.

    `reuse_statement_probe` keeps a probe that neither affirms nor reflects, which the published
    code throws away and samples again. `probe_opening` is put before every probe and stays with the
    sentence that is adopted. With `word_boundary`, keywords count as whole words only.

    A chunk of the draft has at most `chunk_tokens`. The chain with its prompt (without it unless
    `limit_counts_prompt`) has at most `max_tokens`; then, and at the `deadline` in seconds, the
    target states the answer. A chain ends where a model ends its text, and with `stop_at_answer`
    also where the task's answer is stated outside a think block.

    `reasoning` says whether prompts open a think block: "auto" where a model's vocabulary has one.
    """

    task: str = "math"
    takeover_tokens: int = 20
    verification_tokens: int = 125
    recheck_tokens: int = 125
    recheck_growth: int = 25
    max_recheck_tokens: int = 200
    reflection_limit: int = 15
    limit_growth: int = 5
    max_reflection_limit: int = 30
    hint: str | None = None
    probe_opening: str = ""
    take_over: bool = True
    verify: bool = True
    recheck: bool = True
    choose_target: bool = True
    begin: bool = False
    begin_tokens: int = 100
    not_reasoning: bool = False
    cues: Sentences = "adopted"
    counted: Sentences = "adopted"
    word_boundary: bool = False
    reuse_statement_probe: bool = False
    reasoning: Reasoning = "auto"
    stop_at_answer: bool = False
    chunk_tokens: int = 1024
    max_tokens: int = 32768
    limit_counts_prompt: bool = True
    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 50
    min_p: float = 0.0
    seed: int = 0
    deadline: float | None = None

    def __post_init__(self) -> None:
        for name in _LENGTHS:
            require_at_least(name, getattr(self, name), 1)
        for name in ("recheck_growth", "limit_growth"):
            require_at_least(name, getattr(self, name), 0)
        require_at_least("max_recheck_tokens", self.max_recheck_tokens, self.recheck_tokens)
        require_at_least("max_reflection_limit", self.max_reflection_limit, self.reflection_limit)
        require_one_of("cues", self.cues, ("adopted", "any"))
        require_one_of("counted", self.counted, ("adopted", "any"))
        require_one_of("reasoning", self.reasoning, ("auto", "on", "off"))
        require(self.hint is None or bool(self.hint.strip()), "hint must not be blank")
        require_deadline(self.deadline)
        require_at_least("seed", self.seed, 0)
        self.sampling(1)

    def sampling(
        self, max_tokens: int, *, stop: tuple[str, ...] = (), seed: int = 0
    ) -> SamplingParams:
        """Parameters of one turn of either model; `seed` tells this draw from the run's others."""
        keep_stop = bool(stop)
        return replace(
            drawn_by(self), max_tokens=max_tokens, stop=stop, keep_stop=keep_stop, seed=seed
        )
