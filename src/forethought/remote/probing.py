"""What a server can do, found out by a handful of short requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from forethought.errors import ConfigError
from forethought.remote.pieces import Conversation
from forethought.remote.settings import Capabilities, Continues, Reads, RemoteConfig
from forethought.remote.transport import Refused, Transport
from forethought.remote.wire import KEEP_STOP, ModelList, Reply, Wording

# an answer that is begun within a word: a model that begins anew does not go on with "ur,"
_TALK: Final = Conversation(
    ({"role": "user", "content": "Count from one to nine in words, with commas between."},),
    "one, two, three, fo",
)
_REST, _STOP = "ur", ","
_SHORT: Final = {"max_tokens": 8, "temperature": 0}


async def probed(
    transport: Transport, wording: Wording, model: str, config: RemoteConfig
) -> Capabilities:
    """What the server behind `transport` can do with `model`.

    Raises:
        ConfigError: the server knows no such model.
        RemoteError: it cannot be reached, refuses the key, or refuses even a plain question.
    """
    size = await _context_size(transport, model)
    trials = _Trials(transport, wording)
    how = "template" if config.template else config.continues or await trials.continues()
    can = Capabilities(continues=how, context_size=size)
    reply = await trials.ask(how, {"stop": [_STOP]} | KEEP_STOP)
    keeps_stop = reply is not None and reply.said.endswith(_STOP)
    many = await trials.ask(how, {"n": 2})
    filters = await trials.ask(how, {"top_k": 40, "min_p": 0.0})
    asked = {"logprobs": 2} if how == "template" else {"logprobs": True, "top_logprobs": 2}
    told = await trials.ask(how, asked)
    found = told.logprobs if told else None
    return replace(
        can,
        keeps_stop=keeps_stop,
        draws_many=many is not None and len(many.choices) == 2,
        filters=filters is not None,
        logprobs=found is not None and len(found.first) > 1,
        reads=await trials.reads(how),
    )


async def models_at(transport: Transport) -> list[str]:
    """The names of the models that a server offers. Raises RemoteError."""
    return [one.id for one in (await transport.get("models", ModelList)).data]


async def _context_size(transport: Transport, model: str) -> int | None:
    try:
        listed = (await transport.get("models", ModelList)).data
    except Refused as error:
        if error.status in (401, 403):
            raise
        return None  # not every server has the list
    by_name = {one.id: one for one in listed}
    if model not in by_name:
        known = ", ".join(by_name) or "none"
        raise ConfigError(f"{transport.url} has no model {model!r}; it offers: {known}")
    return by_name[model].context_size


class _Trials:
    """Short requests whose refusal is an answer."""

    def __init__(self, transport: Transport, wording: Wording) -> None:
        self._transport = transport
        self._wording = wording

    async def ask(self, how: Continues, settings: dict[str, Any]) -> Reply | None:
        """The reply to the trial's conversation; None where it is refused."""
        try:
            return await self._asked(how, settings)
        except Refused:
            return None

    async def continues(self) -> Continues:
        """How the server goes on with a begun answer in a chat."""
        ways: tuple[Continues, ...] = ("last", "flags")
        for how in ways:
            reply = await self.ask(how, {})
            if reply and reply.said.lstrip().startswith(_REST):
                return how
        await self._asked("asked", {})  # raises what is wrong where nothing works
        return "asked"

    async def reads(self, how: Continues) -> Reads | None:
        """How the server tells the log-probabilities of a prompt's tokens."""
        if how == "asked":
            return None
        reply = await self.ask(how, {"prompt_logprobs": 0, "max_tokens": 1})
        if reply and reply.prompt_logprobs:
            return "prompt_logprobs"
        if how != "template":
            return None
        reply = await self.ask(how, {"echo": True, "logprobs": 1, "max_tokens": 1})
        found = reply.logprobs if reply else None
        return "echo" if found and len(found.tokens) > 2 else None

    async def _asked(self, how: Continues, settings: dict[str, Any]) -> Reply:
        body = self._wording.body(_TALK, how) | _SHORT | settings
        return await self._transport.post(self._wording.path(how), body, Reply)
