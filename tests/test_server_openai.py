"""The server through the `openai` client and LangChain's, whose own types check what it sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from openai.types import Completion, CompletionUsage, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, ConfigDict, SecretStr
from scripted_replies import ScriptedReplier
from serving_client import serving

from forethought.chat import PlainReplier
from forethought.config import SamplingParams
from forethought.engine import Engine

TALKER = ScriptedReplier()
THINKER = ScriptedReplier("thinker", reasoning=("Two twos.", " So four."))
QUESTION: Any = [{"role": "user", "content": "What is two and two?"}]
ANSWER = "Two and two are four."
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(TALKER, THINKER, api_key="k") as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as made:
        yield made


def strictly(kind: type[BaseModel], data: Any) -> None:
    """The client builds its types without checking them; this checks the raw JSON."""
    known = {field.alias or name for name, field in kind.model_fields.items()}
    assert set(data) <= known | {"forethought"}, set(data) - known
    kind.model_validate(data, strict=False)


def raw(url: str, path: str, body: dict[str, Any]) -> Any:
    headers = {"authorization": "Bearer k"}
    response = httpx.post(f"{url}/v1/{path}", json=body, headers=headers)
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        return response.json()
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def test_models_are_listed_and_found(client: openai.OpenAI, url: str) -> None:
    assert [model.id for model in client.models.list()] == ["scripted", "thinker"]
    assert client.models.retrieve("thinker").object == "model"
    headers = {"authorization": "Bearer k"}
    for data in httpx.get(f"{url}/v1/models", headers=headers).json()["data"]:
        endpoints = data.pop("endpoints")
        assert endpoints == ["/v1/chat/completions", "/v1/completions"]
        strictly(Model, data)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 2, "seed": 1, "temperature": 0.0, "top_p": 0.5},
        {"logprobs": True, "top_logprobs": 2},
        {"tools": [TOOL], "tool_choice": "required"},
        {"model": "thinker", "stream_options": {"include_usage": True}},
    ],
)
def test_raw_responses_are_of_openais_types(url: str, fields: dict[str, Any]) -> None:
    body = {"model": "scripted", "messages": QUESTION, **fields}
    strictly(ChatCompletion, raw(url, "chat/completions", body))
    for chunk in raw(url, "chat/completions", {**body, "stream": True}):
        strictly(ChatCompletionChunk, chunk)


def test_a_question_is_answered(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="scripted", messages=QUESTION)
    assert reply.model == "scripted"
    (choice,) = reply.choices
    assert choice.message.content == ANSWER
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None
    assert reply.usage == CompletionUsage.model_validate(
        {
            "prompt_tokens": 5,
            "completion_tokens": 6,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 0},
            "draft_tokens": 0,
            "target_tokens": 6,
            "scored_tokens": 0,
        }
    )


def test_a_streamed_answer_is_the_same(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="thinker", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    reasoning = [getattr(delta, "reasoning_content", None) for delta in deltas]
    assert [text for text in reasoning if text] == ["Two twos.", " So four."]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    assert len({chunk.id for chunk in chunks}) == 1
    whole = client.chat.completions.create(model="thinker", messages=QUESTION)
    assert whole.usage == chunks[-1].usage
    assert getattr(whole.choices[0].message, "reasoning_content", None) == "Two twos. So four."


def test_a_stream_has_no_usage_unless_it_was_asked_for(url: str) -> None:
    body = {"model": "scripted", "messages": QUESTION, "stream": True}
    assert all("usage" not in chunk for chunk in raw(url, "chat/completions", body))


@pytest.mark.parametrize("seed", [-(2**63) - 191, 2**64, -(10**30)])
def test_any_whole_number_is_a_seed(client: openai.OpenAI, seed: int) -> None:
    client.chat.completions.create(model="scripted", messages=QUESTION, seed=seed)
    assert TALKER.asks[-1].params.seed == seed % 2**64


def test_several_replies_have_seeds_of_their_own(client: openai.OpenAI) -> None:
    TALKER.asks.clear()
    reply = client.chat.completions.create(model="scripted", messages=QUESTION, n=3, seed=7)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 18)
    seeds = [ask.params.seed for ask in TALKER.asks]
    assert 7 in seeds
    assert len(set(seeds)) == 3
    client.chat.completions.create(model="scripted", messages=QUESTION, n=3, seed=7)
    assert sorted(seeds) == sorted(ask.params.seed for ask in TALKER.asks[3:])
    stream = client.chat.completions.create(model="scripted", messages=QUESTION, n=2, stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == {0: ANSWER, 1: ANSWER}


def test_settings_reach_the_replier(client: openai.OpenAI) -> None:
    client.chat.completions.create(
        model="scripted",
        messages=[
            {
                "role": "developer",
                "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}],
            },
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "weather", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "rain"},
        ],
        temperature=0.25,
        top_p=0.5,
        seed=-1,
        stop="two",
        max_completion_tokens=3,
        tools=[TOOL],
        extra_body={"top_k": 5, "min_p": 0.125},
    )
    ask = TALKER.asks[-1]
    assert [(turn.role, turn.content) for turn in ask.turns] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", ""),
        ("tool", "rain"),
    ]
    assert ask.turns[2].tool_calls[0].name == "weather"
    assert ask.turns[3].tool_call_id == "c"
    params = ask.params
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.25, 0.5, 5, 0.125)
    assert (params.stop, params.max_tokens, params.seed) == (("two",), 3, 2**64 - 1)
    assert ask.tools[0].parameters["properties"] == {"city": {"type": "string"}}
    assert ask.deadline is not None


def test_a_top_k_of_minus_one_is_off(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Hi"}]
    client.chat.completions.create(model="scripted", messages=messages, extra_body={"top_k": -1})
    assert TALKER.asks[-1].params.top_k == 0


def test_stop_strings_and_limits_end_replies(client: openai.OpenAI) -> None:
    make = client.chat.completions.create
    choice = make(model="scripted", messages=QUESTION, stop=[" are"]).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Two and two", "stop")
    choice = make(model="scripted", messages=QUESTION, max_tokens=2).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Two and", "length")


def test_log_probabilities_come_whole_and_streamed(client: openai.OpenAI) -> None:
    make = client.chat.completions.create
    whole = make(model="scripted", messages=QUESTION, logprobs=True, top_logprobs=2)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert "".join(one.token for one in logprobs.content) == ANSWER
    assert bytes(b for one in logprobs.content for b in one.bytes or ()) == ANSWER.encode()
    assert [one.logprob for one in logprobs.content[0].top_logprobs] == [-0.5, -1.5]
    streamed = []
    for chunk in make(model="scripted", messages=QUESTION, logprobs=True, stream=True):
        found = chunk.choices[0].logprobs
        streamed += (found.content or []) if found else []
    assert [one.token for one in streamed] == [one.token for one in logprobs.content]
    assert streamed[0].top_logprobs == []


def test_tools_are_called_whole_and_streamed(client: openai.OpenAI) -> None:
    make = client.chat.completions.create
    named: Any = {"type": "function", "function": {"name": "weather"}}
    for choice in ("required", named):
        reply = make(model="scripted", messages=QUESTION, tools=[TOOL], tool_choice=choice)
        assert reply.choices[0].finish_reason == "tool_calls"
        assert reply.choices[0].message.content is None
        (call,) = reply.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "Oslo"}
    reply = make(model="scripted", messages=QUESTION, tools=[TOOL], tool_choice="none")
    assert reply.choices[0].message.tool_calls is None
    stream = make(
        model="scripted", messages=QUESTION, tools=[TOOL], tool_choice="required", stream=True
    )
    calls = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert [(call.index, call.id) for call in calls] == [(0, "call_1")]


def test_replies_fit_schemas(client: openai.OpenAI) -> None:
    class Sum(BaseModel):
        model_config = ConfigDict(extra="forbid")
        answer: int

    reply = client.chat.completions.parse(model="scripted", messages=QUESTION, response_format=Sum)
    assert reply.choices[0].message.parsed == Sum(answer=4)
    schema = TALKER.asks[-1].schema
    assert schema is not None
    assert schema["properties"]["answer"]["type"] == "integer"
    make = client.chat.completions.create
    make(model="scripted", messages=QUESTION, response_format={"type": "json_object"})
    assert TALKER.asks[-1].schema == {"type": "object"}
    make(model="scripted", messages=QUESTION, response_format={"type": "text"})
    assert TALKER.asks[-1].schema is None


# Raw texts


@pytest.mark.parametrize(
    "fields",
    [{}, {"n": 2, "logprobs": 2, "echo": True}, {"stream_options": {"include_usage": True}}],
)
def test_raw_texts_are_of_openais_types(url: str, fields: dict[str, Any]) -> None:
    body = {"model": "scripted", "prompt": "One and", **fields}
    strictly(Completion, scored(raw(url, "completions", body)))
    for chunk in raw(url, "completions", {**body, "stream": True}):
        for choice in chunk["choices"]:
            # the client has one type for both, whose reason is always there
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        strictly(Completion, scored(chunk))


def scored(response: Any) -> Any:
    """Without the nulls of a prompt's first token, which OpenAI sends and its types do not know."""
    for choice in response["choices"]:
        for numbers in (choice["logprobs"] or {}).values():
            if numbers and numbers[0] is None:
                del numbers[0]
    return response


def test_texts_are_written_on(client: openai.OpenAI) -> None:
    text = client.completions.create(model="scripted", prompt="One and", stop="four")
    assert (text.choices[0].text, text.choices[0].finish_reason) == ("Two and two are", "stop")
    stream = client.completions.create(model="scripted", prompt="One and", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == ANSWER
    params = TALKER.texts[-1].params
    assert params is not None
    assert params.max_tokens == 16


def test_several_prompts_come_in_order_as_text_and_as_tokens(client: openai.OpenAI) -> None:
    make = client.completions.create
    reply = make(model="scripted", prompt=["a b", "c"], n=2, echo=True, max_tokens=1)
    assert [choice.text for choice in reply.choices] == ["a bTwo", "a bTwo", "cTwo", "cTwo"]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 4)
    reply = make(model="scripted", prompt=[[1, 2], [3]], echo=True, max_tokens=1)
    assert [choice.text for choice in reply.choices] == ["<1><2>Two", "<3>Two"]
    make(model="scripted", prompt=[5, 6])
    assert TALKER.texts[-1].prompt == (5, 6)


def test_an_echoed_prompt_has_log_probabilities(client: openai.OpenAI) -> None:
    reply = client.completions.create(
        model="scripted", prompt="One and two", echo=True, logprobs=1, max_tokens=1
    )
    assert reply.choices[0].text == "One and twoTwo"
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["One", " and", " two", "Two"]
    assert logprobs.token_logprobs == [None, -0.5, -0.5, -0.5]
    assert logprobs.top_logprobs == [None, {" and": -0.5}, {" two": -0.5}, {"Two": -0.5}]
    assert logprobs.text_offset == [0, 3, 7, 11]


def test_a_prompt_can_be_read_without_writing(client: openai.OpenAI) -> None:
    make = client.completions.create
    reply = make(model="scripted", prompt="One two", echo=True, logprobs=0, max_tokens=0)
    assert reply.choices[0].text == "One two"
    assert reply.choices[0].logprobs is not None
    assert reply.choices[0].logprobs.token_logprobs == [None, -0.5]
    assert reply.choices[0].logprobs.top_logprobs is None
    with pytest.raises(openai.BadRequestError, match="echo"):
        make(model="scripted", prompt="One two", max_tokens=0)


def test_the_clients_errors_are_those_of_openai(url: str) -> None:
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError) as caught:
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


# LangChain


def test_langchains_client_talks_to_it(url: str) -> None:
    def weather(city: str) -> str:
        """Of a city."""
        return city

    class Sum(BaseModel):
        """A sum."""

        answer: int

    key = SecretStr("k")
    chat = ChatOpenAI(
        model="scripted", base_url=f"{url}/v1", api_key=key, max_retries=0, stream_usage=True
    )
    assert chat.invoke("What is two and two?").content == ANSWER
    chunks = list(chat.stream("What is two and two?"))
    assert "".join(str(chunk.content) for chunk in chunks) == ANSWER
    usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [usage["total_tokens"] for usage in usages] == [11]
    (call,) = chat.bind_tools([weather], tool_choice="any").invoke("Hi").tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Oslo"})
    for method in ("json_schema", "json_mode"):
        structured = chat.with_structured_output(Sum, method=method)
        assert structured.invoke("What is two and two?") == Sum(answer=4)
    scored = chat.bind(logprobs=True).invoke("Hi").response_metadata["logprobs"]["content"]
    assert "".join(one["token"] for one in scored) == ANSWER
    assert len(chat.batch(["a", "b", "c"])) == 3


# On weights


@pytest.mark.weights
def test_clients_at_once_get_from_an_engine_what_each_would_alone(smollm: Engine) -> None:
    prompts = [f"{number} plus {number} is" for number in range(12)]
    params = SamplingParams(temperature=0, max_tokens=6)

    def alone(prompt: str) -> str:
        return smollm.generate([smollm.start_tokens() + smollm.encode(prompt)], params)[0].text

    with (
        serving(PlainReplier(smollm)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ThreadPoolExecutor(12) as clients,
    ):

        def served(prompt: str) -> str:
            reply = client.completions.create(
                model=smollm.name, prompt=prompt, temperature=0, max_tokens=6
            )
            return reply.choices[0].text

        texts = list(clients.map(served, prompts))
    assert texts == [alone(prompt) for prompt in prompts]
