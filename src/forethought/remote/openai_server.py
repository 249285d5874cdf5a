"""A model behind an OpenAI-compatible server: vLLM, SGLang, llama-server, or a hosted one.

Answers are streamed and cut here, so that it is known whether a stop string or the model ended
them, which the protocol does not say; where no answer has more to come, the connection is closed,
and the server stops writing.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from forethought.config import require
from forethought.engine.sampler import stream_seed
from forethought.errors import ConfigError, RemoteError
from forethought.model import Usage
from forethought.remote.backend import Draw, NextToken, ReadToken
from forethought.remote.background import together
from forethought.remote.pieces import Conversation
from forethought.remote.probing import models_at, probed
from forethought.remote.settings import Capabilities, RemoteConfig, address_of
from forethought.remote.transport import Passing, Transport
from forethought.remote.wire import (
    TOP_LOGPROBS,
    TOP_LOGPROBS_OF_TEXT,
    Choice,
    Reply,
    Wording,
    drawing,
)

_UNTOLD_CONTEXT: Final = 32_768  # of a server that does not say; it refuses what does not fit


class OpenAIServer:
    """Implements `forethought.remote.Backend`.

    Args:
        url: up to and with the version, e.g. `http://localhost:8000/v1`.
        model: the model's name there.
        config: how it is spoken to.
        capabilities: what it can do; by default found out by trials, at the first request.

    Raises:
        ConfigError: the template cannot be read, or is no template.
        MissingExtra: httpx or tenacity is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        config: RemoteConfig | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.name = model
        self.config = config or RemoteConfig()
        self._transport = Transport(url, self.config)
        self._wording = Wording(model, self.config.template)
        self.known = capabilities

    @classmethod
    def at(cls, address: str) -> OpenAIServer:
        """The model at `https://host/v1#name`.

        Raises:
            ConfigError: it is no address, or names no model.
            MissingExtra: httpx or tenacity is not installed.
        """
        url, name = address_of(address)
        require(bool(name), f"name the model behind the address, as in {url}#model")
        return cls(url, name)

    async def capabilities(self) -> Capabilities:
        """What the server can do; trials are made once."""
        if self.known is None:
            self.known = await probed(self._transport, self._wording, self.name, self.config)
        return self.known

    async def models(self) -> list[str]:
        """The names of the models that the server offers."""
        return await models_at(self._transport)

    async def context_size(self) -> int:
        """As the settings say, else the server, else 32,768."""
        can = await self.capabilities()
        return self.config.context_size or can.context_size or _UNTOLD_CONTEXT

    async def draw(self, talk: Conversation, draws: list[Draw]) -> Usage | None:
        """Write answers: in one request where the server takes `n`, else in one each."""
        can, transport = await self.capabilities(), self._transport
        if can.draws_many or len(draws) == 1:
            return await transport.tried(lambda: self._drawn(talk, draws, can))
        costs = await together(
            lambda draw: transport.tried(lambda: self._drawn(talk, [draw], can)), draws
        )
        told = [cost for cost in costs if cost is not None]
        return sum(told, Usage()) if len(told) == len(costs) else None

    async def alternatives(self, talk: Conversation) -> tuple[list[NextToken], Usage | None]:
        """The 20 likeliest next tokens, or the 5 likeliest behind a template."""
        can = await self.capabilities()
        if not can.logprobs or can.continues == "asked":
            raise ConfigError(
                f"{self.name} does not tell what would come next in a begun answer: score with "
                "another model (judge:draft), or with ChatJudge"
            )
        if can.continues == "template":
            asked: dict[str, object] = {"logprobs": TOP_LOGPROBS_OF_TEXT}
        else:
            asked = {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        body = self._wording.body(talk, can.continues) | {"max_tokens": 1, "temperature": 0} | asked
        reply = await self._transport.post(self._wording.path(can.continues), body, Reply)
        found = reply.logprobs
        if found is None or not found.first:
            raise RemoteError(f"{self.name} told no log-probabilities, though it had in a trial")
        return [NextToken(*one) for one in found.first], reply.cost

    async def read(self, talk: Conversation) -> tuple[list[ReadToken], Usage | None]:
        """The prompt's tokens, by `echo` or vLLM's `prompt_logprobs`."""
        can = await self.capabilities()
        if can.reads is None:
            raise ConfigError(f"{self.name} does not tell how probable a text is: use the draft")
        body = self._wording.body(talk, can.continues) | {"max_tokens": 1, "temperature": 0}
        body |= {"echo": True, "logprobs": 1} if can.reads == "echo" else {"prompt_logprobs": 0}
        reply = await self._transport.post(self._wording.path(can.continues), body, Reply)
        if can.reads == "prompt_logprobs":
            return _of_prompt(reply), reply.cost
        return _echoed(reply), reply.cost

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _drawn(
        self, talk: Conversation, draws: list[Draw], can: Capabilities
    ) -> Usage | None:
        for draw in draws:
            draw.begin_anew()
        params, told, num_ended = draws[0].params, None, 0
        settings = drawing(
            params, can, seed=stream_seed(params.seed, draws[0].index), count=len(draws)
        )
        body = self._wording.body(talk, can.continues) | settings
        path = self._wording.path(can.continues)
        async with aclosing(self._transport.events(path, body, Reply)) as events:
            async for event in events:
                told = event.cost or told
                if event.error is not None:
                    raise Passing(f"{self.name} failed in the middle of an answer: {event.error}")
                for choice in event.choices:
                    num_ended += choice.finish_reason is not None
                    _take(choice, draws)
                if all(draw.reason for draw in draws) and not (
                    can.keeps_stop or num_ended == len(draws)
                ):
                    told = None  # what was told so far is no total
                    break
        for draw in draws:
            draw.end("eos")
            if can.continues == "asked":
                draw.become_step(talk.prefix)
        return told


def _take(choice: Choice, draws: list[Draw]) -> None:
    if choice.index >= len(draws):
        raise Passing(f"there is an answer {choice.index}, where {len(draws)} were asked for")
    draw = draws[choice.index]
    logprobs = choice.logprobs.written if choice.logprobs else []
    draw.add(choice.said, logprobs, max(1, len(logprobs)))
    if choice.finish_reason is not None:
        draw.end("length" if choice.finish_reason == "length" else "eos")


def _of_prompt(reply: Reply) -> list[ReadToken]:
    if reply.prompt_logprobs is None:
        raise RemoteError("the server told no log-probabilities of the prompt")
    told = [next(iter(one.values())) if one else None for one in reply.prompt_logprobs]
    return [
        ReadToken(one.decoded_token, one.logprob) if one else ReadToken("", None) for one in told
    ]


def _echoed(reply: Reply) -> list[ReadToken]:
    found = reply.logprobs
    if found is None or len(found.tokens) != len(found.token_logprobs) or reply.usage is None:
        raise RemoteError("the server echoed no log-probabilities of the prompt")
    end = len(found.tokens) - (reply.usage.completion_tokens or 0)
    pairs = zip(found.tokens[:end], found.token_logprobs[:end], strict=True)
    return [ReadToken(text, logprob) for text, logprob in pairs]
