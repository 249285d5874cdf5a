"""How one of several chains of thought is picked: a number, read off one prefill.

Nothing is generated. The probabilities of the numbers alone decide, however probable other tokens
are (Speculative Chain-of-Thought, equation 3).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from forethought.config import require
from forethought.config_cot import MAX_CHAINS
from forethought.engine.radix import common_prefix
from forethought.errors import PromptTooLong
from forethought.evaluators.judge import shares_of
from forethought.model import Reader
from forethought.prompts_cot import SELECTION_CUE, selection_text, shortened
from forethought.thinking_tags import OPEN


@dataclass(frozen=True, slots=True)
class Selector:
    """A model that picks one of several chains, or says that all are wrong: the target, or its
    weights with an adapter that was trained for this."""

    reader: Reader

    @property
    def name(self) -> str:
        """`selector` and the model's name."""
        return f"selector:{self.reader.name}"

    def shares(self, question: str, chains: Sequence[str]) -> list[float]:
        """Each number's part, in [0, 1], of the probability that all numbers have together: one per
        chain, then that of "all are wrong". One prompt in one call.

        Raises:
            ConfigError: there are no chains or more than 8, or a number is not one token.
            EvaluatorError: the model gives no number any probability.
            PromptTooLong: the question leaves the chains no room in the model's context.
            RunStopped: the caller's run has stopped.
        """
        choices = self.numbers(len(chains) + 1)
        (row,) = self.reader.probs([self.prompt(question, chains)], choices)
        return shares_of(row, self.name)

    def prompt(self, question: str, chains: Sequence[str]) -> list[int]:
        """Token ids of the selection prompt. Where it would not fit the context, long chains are
        shortened to one length, as much of their ends as fits; short ones stay whole.

        Raises:
            PromptTooLong: the question leaves the chains no room.
        """
        start = self.reader.start_tokens()
        tail = assistant_marker(self.reader) + self.reader.encode(SELECTION_CUE)
        room = self.reader.context_size - 1 - len(start) - len(tail)

        def body(length: int) -> list[int]:
            texts = [shortened(chain, length) for chain in chains]
            return self.reader.encode(selection_text(question, texts))

        longest = max(map(len, chains))
        tokens = body(longest)
        if len(tokens) > room:
            lengths = range(1, longest)
            place = bisect_left(lengths, True, key=lambda length: len(body(length)) > room)
            if place == 0:
                raise PromptTooLong(
                    f"the question leaves {len(chains)} chains no room in the context of "
                    f"{self.reader.name} ({self.reader.context_size} tokens): raise context_size "
                    "(--context), or draft fewer chains"
                )
            tokens = body(lengths[place - 1])
        return start + tokens + tail

    def numbers(self, count: int) -> list[list[int]]:
        """The token of each number from 1 to `count` behind the cue.

        Raises:
            ConfigError: `count` is no number of options, or a number is not one token.
        """
        require(
            2 <= count <= MAX_CHAINS + 1,
            f"a selection is among 1 to {MAX_CHAINS} chains, not {count - 1}",
        )
        cue = self.reader.encode(SELECTION_CUE)
        found = []
        for number in range(1, count + 1):
            both = self.reader.encode(f"{SELECTION_CUE}{number}")
            require(
                both[:-1] == cue,
                f"{self.reader.name} does not write the number {number} as one token after "
                f"{SELECTION_CUE!r}: use another selector, or selector 'majority'",
            )
            found.append(both[-1:])
        return found


def picked(shares: Sequence[float], *, bias: float, correction: bool) -> int:
    """The most probable number, from 1; the lower one where two tie.

    `shares` are as `Selector.shares` gives them; `bias`, in nats, is added to the logit of the last
    one ("all are wrong"), which is left out without `correction`.
    """
    logits = [math.log(share) if share > 0.0 else -math.inf for share in shares]
    options = [*logits[:-1], logits[-1] + bias] if correction else logits[:-1]
    return options.index(max(options)) + 1


def assistant_marker(reader: Reader) -> list[int]:
    """What stands between a user's words and the assistant's in the model's template; without the
    think tag that some open the assistant's turn with."""
    one, other = (reader.chat([{"role": "user", "content": word}]) for word in ("a", "b"))
    marker = one[len(one) - common_prefix(one[::-1], other[::-1]) :]
    for tag in (f"{OPEN}\n", OPEN):
        tokens = reader.encode(tag, special=True)
        if marker[-len(tokens) :] == tokens:
            return marker[: -len(tokens)]
    return marker
