"""What has been written after a prompt, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

from forethought.config import SamplingParams
from forethought.engine.vocabulary import Vocabulary
from forethought.model import Completion, FinishReason, Usage


@dataclass(slots=True)
class Continuation:
    """The tokens sampled after prompt `index` of a call, without the end-of-text token, and the
    `data` that they decode to. Whoever goes on with it goes on as if nothing had been between.
    `logprobs` are those of the tokens, the end-of-text token's included, where they are asked for.
    """

    index: int = 0
    tokens: list[int] = field(default_factory=list)
    data: bytes = b""
    logprobs: list[float] = field(default_factory=list)

    def add(
        self, token: int, params: SamplingParams, vocabulary: Vocabulary, *, logprob: float
    ) -> FinishReason | None:
        """Append a sampled token; the reason to finish, if it is one."""
        if params.logprob:
            self.logprobs.append(logprob)
        if vocabulary.is_end(token):
            return "eos"
        num_known = len(self.data)
        self.tokens.append(token)
        self.data += vocabulary.piece(token)
        if stop_position(self.data, params, num_known) is not None:
            return "stop"
        return "length" if len(self.tokens) >= params.max_tokens else None

    def completed(
        self, reason: FinishReason, params: SamplingParams, vocabulary: Vocabulary, usage: Usage
    ) -> Completion:
        """The completion as it stands: cut before a stop string unless it is kept, and where it
        did not end by itself never within a character."""
        tokens, data = self.tokens, self.data
        if reason not in ("stop", "eos"):
            tokens = vocabulary.whole_characters(tokens)
            data = vocabulary.to_bytes(tokens)
        cut = stop_position(data, params, 0) if reason == "stop" and not params.keep_stop else None
        text = data[:cut].decode("utf-8", "replace")
        logprob = fmean(self.logprobs) if self.logprobs else None
        return Completion(text, tokens, reason, usage, logprob)


def stop_position(data: bytes, params: SamplingParams, num_known: int) -> int | None:
    """Where the first stop string begins in `data`; `num_known` bytes were searched before.

    With `keep_stop`, stop strings within the leading white space do not count.
    """
    if not params.stop:
        return None
    start = len(data) - len(data.lstrip()) if params.keep_stop else 0
    stops = [stop.encode() for stop in params.stop]
    reach = max(map(len, stops)) - 1
    found = [data.find(stop, max(start, num_known - reach)) for stop in stops]
    return min((position for position in found if position >= 0), default=None)
