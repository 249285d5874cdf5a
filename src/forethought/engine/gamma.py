"""How many tokens a draft should propose at once: what costs and acceptance say.

Leviathan et al. 2023, section 3.5, with measured costs: on a CPU, a step that verifies several
tokens of every sequence takes longer than one that decodes one of each.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

MAX_GAMMA = 16
_PROBE_GAMMA, _PROBE_ROUNDS = 4, 4
_STEPS_BETWEEN_PROBES = 512
# of a new measurement in a running mean, and of the past that a round of verdicts leaves
_NEWEST, _REMEMBERED = 0.2, 0.95


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds for a batch: `plain`, one step of the target alone; `draft`, one proposal for each
    sequence; `row`, what one more proposal for each adds to the step in which the target verifies.
    """

    plain: float
    draft: float
    row: float


@dataclass(frozen=True, slots=True)
class Round:
    """What a round has shown: of `num_proposed` tokens for `num_sequences`, `num_judged` were put
    to the test, none behind one that failed it, and `num_accepted` passed. `seconds` are the
    draft's and the target's; None where prompts had to be computed in them."""

    num_sequences: int
    num_proposed: int
    num_judged: int
    num_accepted: int
    seconds: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Plain:
    """What decoding without proposals has shown; `seconds` as in `Round`."""

    num_sequences: int
    num_steps: int
    num_tokens: int
    seconds: float | None


def expected_tokens(acceptance: float, gamma: int) -> float:
    """Tokens that a round of `gamma` proposals is expected to give, each accepted with probability
    `acceptance`: (1 - a^(gamma + 1)) / (1 - a), Leviathan et al. 2023, equation 1."""
    return sum(acceptance**count for count in range(gamma + 1))


def best_gamma(acceptance: float, costs: Costs) -> int:
    """The gamma in 0..MAX_GAMMA with the most expected tokens per second; 0 is plain decoding."""

    def speed(gamma: int) -> float:
        seconds = costs.plain + gamma * (costs.draft + costs.row)
        return expected_tokens(acceptance, gamma) / seconds

    return max(range(MAX_GAMMA + 1), key=speed)


class AdaptiveGamma:
    """Chooses gamma by running means, which are kept by batch size, up to a factor of two.

    Where speculation does not pay, a few rounds are tried again once in a while. Threads may share
    it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces: dict[int, _Pace] = {}
        # one verdict of either kind, so that the first rounds do not decide for ever
        self._num_accepted, self._num_judged = 1.0, 2.0

    @property
    def acceptance(self) -> float:
        """The running share of judged proposals that were accepted."""
        return self._num_accepted / self._num_judged

    def choose(self, num_sequences: int) -> int:
        """The gamma for a next round of so many sequences; 0 to decode without speculation."""
        with self._lock:
            return self._pace(num_sequences).choose(self.acceptance)

    def saw_round(self, seen: Round) -> None:
        """Learn from a round."""
        with self._lock:
            self._num_accepted = self._num_accepted * _REMEMBERED + seen.num_accepted
            self._num_judged = self._num_judged * _REMEMBERED + seen.num_judged
            self._pace(seen.num_sequences).saw_round(seen)

    def saw_plain(self, seen: Plain) -> None:
        """Learn from decoding without proposals."""
        with self._lock:
            self._pace(seen.num_sequences).saw_plain(seen)

    def _pace(self, num_sequences: int) -> _Pace:
        return self._paces.setdefault(num_sequences.bit_length(), _Pace())


@dataclass(slots=True)
class _Mean:
    value: float | None = None

    def take(self, value: float) -> None:
        old = value if self.value is None else self.value
        self.value = old + _NEWEST * (value - old)


@dataclass(slots=True)
class _Pace:
    """What is known at one batch size."""

    probes_left: int = _PROBE_ROUNDS
    steps_since: int = 0
    plain: _Mean = field(default_factory=_Mean)
    draft: _Mean = field(default_factory=_Mean)
    verify: _Mean = field(default_factory=_Mean)
    gamma: _Mean = field(default_factory=_Mean)  # at which `verify` was measured

    def choose(self, acceptance: float) -> int:
        if self.probes_left:
            return _PROBE_GAMMA
        plain, draft, verify, gamma = (
            mean.value for mean in (self.plain, self.draft, self.verify, self.gamma)
        )
        if plain is None or draft is None or verify is None or not gamma:
            return 0
        return best_gamma(acceptance, Costs(plain, draft, max(0.0, verify - plain) / gamma))

    def saw_round(self, seen: Round) -> None:
        self.probes_left = max(0, self.probes_left - 1)
        gamma = seen.num_proposed / seen.num_sequences
        if seen.seconds and gamma:
            drafting, verifying = seen.seconds
            self.draft.take(drafting / gamma)
            self.verify.take(verifying)
            self.gamma.take(gamma)

    def saw_plain(self, seen: Plain) -> None:
        if seen.seconds and seen.num_steps:
            self.plain.take(seen.seconds / seen.num_steps)
        self.steps_since += seen.num_steps
        if self.steps_since >= _STEPS_BETWEEN_PROBES:
            self.steps_since, self.probes_left = 0, _PROBE_ROUNDS
