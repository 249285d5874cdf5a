"""The body of POST /v1/completions, and what it asks a completer for."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from forethought.replies import TextAsk
from forethought.serving.sampling_body import WHOLE, SamplingBody, seed_of_choice

_DEFAULT_TOKENS = 16  # OpenAI's

Text = Annotated[str, Field(min_length=1)]
Token = Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]
Tokens = Annotated[list[Token], Field(min_length=1)]
Prompts = (
    Text
    | Tokens
    | Annotated[list[Text], Field(min_length=1)]
    | Annotated[list[Tokens], Field(min_length=1)]
)


class TextBody(SamplingBody):
    """Texts to be written on."""

    prompt: Prompts = Field(description="Text or token ids, or several of either.")
    max_tokens: Annotated[int, Field(ge=0, le=10_000_000), WHOLE] | None = Field(
        _DEFAULT_TOKENS, description="0 writes nothing: see echo."
    )
    echo: bool | None = Field(False, description="Begin with the prompt.")
    logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = Field(
        None, description="Log-probabilities, and of so many likeliest tokens."
    )
    best_of: Annotated[int, Field(ge=1, le=1), WHOLE] | None = Field(
        None, description="Not offered: 1."
    )
    suffix: None = Field(None, description="Not offered.")

    def asks(self, most_tokens: int) -> list[TextAsk]:
        """What each of the replies is asked for, all of a prompt's before the next one's.

        Raises:
            ConfigError: the parts of the request do not go together.
        """
        wanted = _DEFAULT_TOKENS if self.max_tokens is None else self.max_tokens
        params = self.params(max(1, min(wanted, most_tokens)))
        return [
            TextAsk(
                prompt=prompt,
                params=replace(params, seed=seed_of_choice(params.seed, index)) if wanted else None,
                echo=bool(self.echo),
                top_logprobs=self.logprobs,
            )
            for prompt in _prompts(self.prompt)
            for index in range(self.count)
        ]


def _prompts(said: Prompts) -> list[str | tuple[int, ...]]:
    if isinstance(said, str):
        return [said]
    if isinstance(said[0], int):
        return [tuple(token for token in said if isinstance(token, int))]
    return [one if isinstance(one, str) else tuple(one) for one in said if not isinstance(one, int)]
