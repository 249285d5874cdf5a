"""What requests of both endpoints say about drawing, and what they may not ask for.

Fields that change what is written and that are not offered are refused by their bounds; all others
that clients send besides are ignored.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from forethought.config import SamplingParams
from forethought.engine.sampler import stream_seed

MOST_CHOICES = 128


def _whole(number: object) -> object:
    """To JSON 5.0 is an integer."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


# behind the bounds, so that the OpenAPI document has them
WHOLE = BeforeValidator(_whole)
StopString = Annotated[str, Field(min_length=1, max_length=1000)]
TokenCount = Annotated[int, Field(ge=1, le=10_000_000), WHOLE]


class Body(BaseModel):
    """A part of a request: types are taken as they are sent, and nothing is converted."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class StreamOptions(Body):
    """How a stream ends."""

    include_usage: bool | None = Field(None, description="End with a chunk that has the usage.")


class SamplingBody(Body):
    """How replies are drawn."""

    model: str = Field(description="One of GET /v1/models.")
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES), WHOLE] | None = Field(
        1, description="Replies wanted (per prompt)."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0 is greedy.")
    top_p: float | None = Field(None, ge=0, le=1, description="Nucleus sampling; 1 is off.")
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), WHOLE] | None = Field(
        None, description="0 and -1 are off."
    )
    min_p: float | None = Field(None, ge=0, le=1, description="0 is off.")
    # no bounds: a reader with floats alone cannot tell numbers beside those of 64 bits apart
    seed: Annotated[int, WHOLE] | None = Field(None, description="Fixes every draw.")
    stop: StopString | Annotated[list[StopString], Field(max_length=16)] | None = Field(
        None, description="Text that ends the answer, and is not part of it."
    )
    stream: bool | None = Field(False, description="Send server-sent events.")
    stream_options: StreamOptions | None = None
    frequency_penalty: float | None = Field(None, ge=0, le=0, description="Not offered: 0.")
    presence_penalty: float | None = Field(None, ge=0, le=0, description="Not offered: 0.")
    logit_bias: dict[str, Any] | None = Field(None, max_length=0, description="Not offered.")

    @property
    def count(self) -> int:
        """Replies wanted per prompt."""
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def params(self, max_tokens: int) -> SamplingParams:
        """How the first reply is drawn; what is not said is as `SamplingParams` has it."""
        named = ("temperature", "top_p", "top_k", "min_p")
        said = {name: value for name in named if (value := getattr(self, name)) is not None}
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        seed = secrets.randbits(63) if self.seed is None else self.seed % 2**64
        if self.top_k == -1:  # as vLLM's clients say it
            said["top_k"] = 0
        return SamplingParams(**said, stop=stop, seed=seed, max_tokens=max_tokens)


def seed_of_choice(seed: int, index: int) -> int:
    """The seed of one of several replies: the first has the request's own."""
    return stream_seed(seed, index) if index else seed
