"""What one model writes behind a prompt: as it is written where the model can be listened to, else
in one piece. Raw texts are written on with nothing else."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace

from forethought.config import SamplingParams, require
from forethought.model import Completion, Delta, Model, Scope, Speaker, TokenLogprob, run_scope
from forethought.replies import Ended, Event, Piece, ReplyEnd, ReplyUsage, TextAsk


def deltas(
    model: Model, prompt: list[int], params: SamplingParams, scope: Scope
) -> Generator[Delta]:
    """What `params` asks for, in `scope`; the last delta has the completion.

    Raises:
        ConfigError: log-probabilities are asked of a model that cannot be listened to.
    """
    with run_scope(scope):
        if isinstance(model, Speaker):
            return model.stream(prompt, params)
        _refuse_logprobs(model, params.top_logprobs)
        (completion,) = model.generate([prompt], params)
    return (delta for delta in [Delta(completion.text, completion=completion)])


def written_on(model: Model, ask: TextAsk, scope: Scope) -> Iterator[Event]:
    """See `forethought.replies.Completer.complete`."""
    prompt, num_shown = _tokens(model, ask.prompt)
    if ask.echo:
        text = ask.prompt if isinstance(ask.prompt, str) else model.decode(prompt)
        with run_scope(scope):
            told = _read(model, prompt, num_shown, ask.top_logprobs)
        yield Piece("text", text, told)
    if ask.params is None:
        yield Ended("length", ReplyUsage(input_tokens=len(prompt)))
        return
    params = replace(ask.params, top_logprobs=ask.top_logprobs)
    completion = None
    with closing(deltas(model, prompt, params, scope)) as parts:
        for delta in parts:
            completion = delta.completion
            if delta.text:
                yield Piece("text", delta.text, delta.logprobs)
    assert completion is not None
    usage = ReplyUsage(
        input_tokens=len(prompt),
        output_tokens=len(completion.tokens),
        target_tokens=completion.usage.generated_tokens,
        cached_tokens=completion.usage.cached_tokens,
    )
    yield Ended(end_of(completion), usage)


def end_of(completion: Completion) -> ReplyEnd:
    """Why a reply ends with this completion."""
    return "stop" if completion.finish_reason == "eos" else completion.finish_reason


def _tokens(model: Model, prompt: str | tuple[int, ...]) -> tuple[list[int], int]:
    """The prompt's ids, and how many of them stand for its text."""
    if not isinstance(prompt, str):
        return list(prompt), len(prompt)
    tokens = model.encode(prompt)
    return model.start_tokens() + tokens, len(tokens)


def _read(
    model: Model, prompt: list[int], num_shown: int, num_top: int | None
) -> tuple[TokenLogprob, ...]:
    """How probable the prompt's last tokens are; one that nothing precedes has NaN."""
    _refuse_logprobs(model, num_top)
    if num_top is None:
        return ()
    assert isinstance(model, Speaker)
    told = model.logprobs(prompt, top=num_top) if len(prompt) > 1 else []
    if len(told) >= num_shown:
        return tuple(told[len(told) - num_shown :])
    text = model.decode(prompt[:1])
    return TokenLogprob(text, text.encode(), math.nan), *told


def _refuse_logprobs(model: Model, num_top: int | None) -> None:
    tells = num_top is None or isinstance(model, Speaker)
    require(tells, f"{model.name} does not tell log-probabilities of tokens")
