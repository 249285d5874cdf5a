"""What an OpenAI-compatible server sends, as far as it is read here, and what it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field

from forethought.config import SamplingParams
from forethought.engine.template import CHATML, compiled
from forethought.errors import ConfigError
from forethought.model import Message, Usage
from forethought.remote.pieces import Conversation
from forethought.remote.settings import Capabilities, Continues

TOP_LOGPROBS: Final = 20  # the most that OpenAI's API gives; /completions gives fewer
TOP_LOGPROBS_OF_TEXT: Final = 5
_FLAGS: Final = {"continue_final_message": True, "add_generation_prompt": False}
# vLLM's name and SGLang's for leaving the stop string in the text
KEEP_STOP: Final = {"include_stop_str_in_output": True, "no_stop_trim": True}


class _Told(BaseModel):
    token: str = ""
    logprob: float = Field(default=0.0, allow_inf_nan=False)
    top_logprobs: list[_Told] = []


class Logprobs(BaseModel):
    """Those of a chat's answer (`content`), or of plain text (`tokens` and what belongs to
    them)."""

    content: list[_Told] | None = None
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None

    @property
    def written(self) -> list[float]:
        """The log-probabilities of the tokens that came in."""
        if self.content is not None:
            return [told.logprob for told in self.content]
        return [logprob for logprob in self.token_logprobs if logprob is not None]

    @property
    def first(self) -> list[tuple[str, float]]:
        """What the first token might have been."""
        if self.content:
            return [(told.token, told.logprob) for told in self.content[0].top_logprobs]
        return list(((self.top_logprobs or [None])[0] or {}).items())


class _Part(BaseModel):
    content: str | None = None


class Choice(BaseModel):
    """One answer, or the next part of it."""

    index: int = Field(default=0, ge=0)
    text: str | None = None
    message: _Part | None = None
    delta: _Part | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        """Its text."""
        part = self.message or self.delta
        return self.text or (part.content if part else None) or ""


class _Details(BaseModel):
    cached_tokens: int | None = None


class _Counts(BaseModel):
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int | None = Field(default=0, ge=0)
    prompt_tokens_details: _Details | None = None


class _PromptToken(BaseModel):
    logprob: float
    decoded_token: str = ""


class Reply(BaseModel):
    """A whole answer, or one event of a stream."""

    choices: list[Choice] = []
    error: Any = None
    usage: _Counts | None = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None

    @property
    def said(self) -> str:
        """The first answer's text."""
        return self.choices[0].said if self.choices else ""

    @property
    def logprobs(self) -> Logprobs | None:
        """The first answer's."""
        return self.choices[0].logprobs if self.choices else None

    @property
    def cost(self) -> Usage | None:
        """What the server counted; None where it does not say."""
        if self.usage is None:
            return None
        details = self.usage.prompt_tokens_details
        cached = (details.cached_tokens if details else None) or 0
        computed = max(0, self.usage.prompt_tokens - cached)
        return Usage(computed, cached, self.usage.completion_tokens or 0)


class _Meta(BaseModel):
    n_ctx: int | None = None
    n_ctx_train: int | None = None


class Listed(BaseModel):
    """A model that a server offers, and how much it holds, by vLLM's, SGLang's, llama-server's and
    OpenRouter's names for it."""

    id: str
    max_model_len: int | None = None
    context_length: int | None = None
    meta: _Meta | None = None

    @property
    def context_size(self) -> int | None:
        """Tokens, None where it is not told."""
        meta = self.meta or _Meta()
        return self.max_model_len or self.context_length or meta.n_ctx or meta.n_ctx_train


class ModelList(BaseModel):
    """The models that a server offers."""

    data: list[Listed]


class Wording:
    """How conversations and settings are put to one model.

    Raises:
        ConfigError: the template cannot be read, or is no template.
    """

    def __init__(self, model: str, template: str | None) -> None:
        self._model = model
        self._template = None if template is None else compiled(_source(template), template)

    def path(self, how: Continues) -> str:
        """Where requests go."""
        return "completions" if how == "template" else "chat/completions"

    def body(self, talk: Conversation, how: Continues) -> dict[str, Any]:
        """A request to go on with a conversation, no settings yet."""
        body: dict[str, Any] = {"model": self._model}
        if how == "template":
            assert self._template is not None
            opened = self._template.render(
                messages=list(talk.messages), add_generation_prompt=True, bos_token="", eos_token=""
            )
            return body | {"prompt": opened + talk.prefix}
        if how == "asked" or not talk.prefix:
            return body | {"messages": talk.asked()}
        begun: Message = {"role": "assistant", "content": talk.prefix}
        return body | {"messages": [*talk.messages, begun]} | (_FLAGS if how == "flags" else {})


def drawing(params: SamplingParams, can: Capabilities, *, seed: int, count: int) -> dict[str, Any]:
    """The settings of a request for `count` answers, streamed."""
    body: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": seed,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_tokens,
    }
    if count > 1:
        body["n"] = count
    if can.filters:
        body |= {"top_k": params.top_k or -1, "min_p": params.min_p}
    if can.keeps_stop and params.stop:
        body |= {"stop": list(params.stop)} | KEEP_STOP
    if params.logprob:
        body["logprobs"] = 1 if can.continues == "template" else True
    return body


def _source(template: str) -> str:
    if template == "chatml":
        return CHATML
    try:
        return Path(template).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the template {template} cannot be read: {error}") from error
