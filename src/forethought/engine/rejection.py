"""Speculative sampling: what a draft proposes, and what the target makes of it.

The tokens that come out are distributed as the target's own, whatever the draft proposes: Leviathan
et al., *Fast Inference from Transformers via Speculative Decoding*, 2023, algorithm 1; Chen et al.,
*Accelerating Large Language Model Decoding with Speculative Sampling*, 2023, algorithm 2. Chances
are uniform numbers in [0, 1) that come with the request, so that a row which has to be computed
again gives the same token again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams
from forethought.engine.context import Context
from forethought.engine.distribution import Distribution, distribution_of
from forethought.engine.reads import token_logprob


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A token that the draft drew, and the distribution `source`, q, that it drew it from."""

    token: int
    source: Distribution


def verified(target: Distribution, proposal: Proposal | None, chances: NDArray[np.float64]) -> int:
    """The token that takes the proposal's place; equal to it exactly where it was accepted.

    With the target's distribution p, the proposal x is accepted with probability
    min(1, p(x) / q(x)), else the token is drawn from norm(max(0, p - q)). Without a proposal it is
    drawn from p. `chances` are two: to accept, and to draw.
    """
    if proposal is None:
        return target.draw(float(chances[1]))
    token = np.array([proposal.token], np.int32)
    p, q = float(target.of(token)[0]), float(proposal.source.of(token)[0])
    if chances[0] * q < p:
        return proposal.token
    return target.beyond(proposal.source).draw(float(chances[1]))


@dataclass(frozen=True, slots=True)
class Propose:
    """Asks a draft to go on after each prompt, as `params[i]` say, and to tell its distributions.

    `chances[i]` holds one chance for each of the `params[i].max_tokens` proposals. An end-of-text
    token is a proposal too, and the last one.
    """

    params: list[SamplingParams]
    chances: list[NDArray[np.float64]]

    def proposal(self, logits: NDArray[np.float32], index: int, number: int) -> Proposal:
        """The `number`-th proposal for prompt `index`, drawn from these logits."""
        source = distribution_of(logits, self.params[index])
        return Proposal(source.draw(float(self.chances[index][number])), source)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The token that takes a place, and its natural-log probability before temperature and
    filters, 0 where it is not asked for."""

    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Verify:
    """Reads prompts that end in `proposals`: the tokens that take their places up to the first
    that was not accepted, and where all were, one more.

    `chances[i]` has shape [proposals of prompt i + 1, 2].
    """

    params: SamplingParams
    proposals: list[list[Proposal]]
    chances: list[NDArray[np.float64]]
    layer: None = None
    draws: bool = True

    def num_rows(self, index: int) -> int:
        """One row before each proposal, and the last one's own."""
        return len(self.proposals[index]) + 1

    def row(
        self, context: Context, row: int, index: int, before: list[Verdict | None]
    ) -> Verdict | None:
        """The token that comes after this row; None behind a proposal that was not accepted."""
        proposals, number = self.proposals[index], len(before)
        last = before[-1] if before else None
        if number and (last is None or last.token != proposals[number - 1].token):
            return None
        proposal = proposals[number] if number < len(proposals) else None
        logits = context.logits(row)
        target = distribution_of(logits, self.params)
        token = verified(target, proposal, self.chances[index][number])
        return Verdict(token, token_logprob(logits, token) if self.params.logprob else 0.0)

    def result(self, rows: list[Verdict | None]) -> list[Verdict]:
        """The tokens that stand."""
        return [verdict for verdict in rows if verdict is not None]
