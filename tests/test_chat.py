"""Chat models: what LangChain's own suites do not look at."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from scripted_replier import ANSWER, THOUGHT, ScriptedReplier

import forethought
from forethought.chat import ChatForethought, ChatLlama
from forethought.chat.sharing import EngineLease, num_shared
from forethought.config import EngineConfig
from forethought.errors import ConfigError, UnknownModel
from forethought.model import Scope, current_scope, run_scope
from forethought.replies import Ask, Event, Piece

SMALL = EngineConfig(context_size=1024, max_sequences=8)


def chat(**settings: Any) -> tuple[ChatForethought, ScriptedReplier]:
    replier = ScriptedReplier()
    return ChatForethought(replier=replier, **settings), replier


def test_reasoning_and_answer_are_standard_content_blocks() -> None:
    reply = chat()[0].invoke("Hello.")
    assert [block["type"] for block in reply.content_blocks] == ["reasoning", "text"]
    assert reply.content_blocks[0] == {
        "type": "reasoning",
        "reasoning": "".join(THOUGHT),
        "index": 0,
    }
    assert reply.text == "".join(ANSWER)


def test_metadata_stand_once_in_a_stream_and_say_what_the_run_did() -> None:
    full = None
    for chunk in chat()[0].stream("Hello."):
        full = chunk if full is None else full + chunk
    assert full is not None
    assert full.response_metadata["model_name"] == "scripted"
    assert full.response_metadata["finish_reason"] == "stop"
    assert full.response_metadata["acceptance_rate"] == 0.5
    assert full.response_metadata["thresholds"] == {"1": 0.7}
    assert full.usage_metadata == {
        "input_tokens": 2,
        "output_tokens": 7,
        "total_tokens": 9,
        "input_token_details": {"cache_read": 1},
        "output_token_details": {"reasoning": 2, "draft": 3, "target": 4, "scored": 5},
    }


def test_settings_of_the_model_and_of_the_call_reach_the_reply() -> None:
    model, replier = chat(temperature=0.3, max_tokens=9, stop=["a"], timeout=5, seed=4)
    model.invoke("Hello.")
    model.invoke("Hello.", stop=["b"], temperature=0.0, seed=5, top_p=0.5, timeout=6)
    first, second = replier.asks
    assert (first.params.temperature, first.params.stop, first.params.seed) == (0.3, ("a",), 4)
    assert (second.params.temperature, second.params.stop, second.params.seed) == (0.0, ("b",), 5)
    assert (first.params.max_tokens, first.deadline, second.deadline) == (9, 5, 6)
    assert second.params.top_p == 0.5
    with pytest.raises(ConfigError, match="takes no temprature"):
        model.invoke("Hello.", temprature=0)
    with pytest.raises(ConfigError, match="temperature must lie in"):
        model.invoke("Hello.", temperature=99)


def test_without_a_seed_every_call_draws_anew() -> None:
    model, replier = chat()
    model.batch(["Hello."] * 4)
    assert len({one.params.seed for one in replier.asks}) == 4


def test_conversations_become_turns_and_other_media_are_refused() -> None:
    model, replier = chat()
    model.invoke(
        [
            SystemMessage("Be brief."),
            ChatMessage(content="Hi.", role="user"),
            AIMessage(
                [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Yes?"}],
                tool_calls=[{"name": "add", "args": {"a": "é"}, "id": "7"}],
            ),
            HumanMessage([{"type": "text", "text": "More."}]),
        ]
    )
    turns = replier.asks[0].turns
    assert [(turn.role, turn.content) for turn in turns] == [
        ("system", "Be brief."),
        ("user", "Hi."),
        ("assistant", "Yes?"),
        ("user", "More."),
    ]
    assert turns[2].tool_calls[0].arguments == '{"a": "é"}'
    with pytest.raises(ConfigError, match="not image_url"):
        model.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}])])
    with pytest.raises(ConfigError, match="ChatMessage"):
        model.invoke([ChatMessage(content="Hi.", role="critic")])


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@pytest.mark.parametrize(
    ("told", "choice"),
    [
        (None, "auto"),
        (False, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        (True, "required"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
    ],
)
def test_every_form_of_a_tool_choice_is_understood(told: Any, choice: str) -> None:
    model, replier = chat()
    model.bind_tools([add], tool_choice=told, parallel_tool_calls=False).invoke("Add.")
    assert replier.asks[0].tool_choice == choice
    assert replier.asks[0].tools[0].name == "add"


class City(BaseModel):
    name: str
    size: int


def test_structured_output_parses_and_keeps_the_raw_reply_where_asked() -> None:
    model, replier = chat()
    assert model.with_structured_output(City).invoke("Rome") == City(name="Rome", size=3)
    assert replier.asks[0].schema is not None
    both = model.with_structured_output(City, include_raw=True).invoke("Rome")
    assert (both["parsed"], both["parsing_error"]) == (City(name="Rome", size=3), None)
    failed = model.with_structured_output(City, method="json_mode", include_raw=True).invoke("Rome")
    assert failed["parsed"] is None
    assert failed["parsing_error"] is not None
    with pytest.raises(ConfigError, match="method must be"):
        model.with_structured_output(City, method="guess")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="response_format"):
        model.invoke("Rome", response_format={"type": "xml"})


def test_log_probabilities_come_as_with_openai_models() -> None:
    reply = chat(logprobs=True)[0].invoke("Hello.")
    rows = reply.response_metadata["logprobs"]["content"]
    assert len(rows) == len(ANSWER)
    assert rows[0] == {"token": "x", "bytes": [120], "logprob": -0.5, "top_logprobs": []}


def test_a_rate_limiter_is_honoured() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=20, check_every_n_seconds=0.01)
    model, _ = chat(rate_limiter=limiter)
    started = time.monotonic()
    model.batch(["Hello."] * 4)
    assert time.monotonic() - started > 0.1


def test_a_stream_that_is_closed_closes_the_reply() -> None:
    model, replier = chat()
    stream: Any = model.stream("Hello.")
    next(stream)
    stream.close()
    del stream
    gc.collect()
    assert replier.closed == 1


class Endless(ScriptedReplier):
    """Goes on until its scope ends; `is_over` is set then."""

    is_over = threading.Event()

    def reply(self, ask: Ask) -> Iterator[Event]:
        scope = current_scope()
        assert scope is not None
        while not scope.stop_reason():
            time.sleep(0.002)
        self.is_over.set()
        yield Piece("text", "late")


async def test_a_task_that_is_cancelled_ends_its_reply() -> None:
    model = ChatForethought(replier=Endless())
    task = asyncio.create_task(model.ainvoke("Hello."))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Endless.is_over.wait(5)


def test_a_reply_ends_with_the_scope_it_is_asked_in() -> None:
    scope = Scope()
    threading.Timer(0.05, scope.cancel.set).start()
    with run_scope(scope):
        assert ChatForethought(replier=Endless()).invoke("Hello.").text == "late"


def test_rejected_drafts_reach_the_custom_stream_and_never_the_messages() -> None:
    model, _ = chat()

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    shown, noted = "", []
    asked: Any = {"messages": [HumanMessage("Hello.")]}
    for mode, data in builder.compile().stream(asked, stream_mode=["messages", "custom"]):
        if mode == "custom":
            noted.append(data)
        else:
            part: Any = data
            shown += str(part[0].content)
    assert "rejected" not in shown
    assert all(text in shown for text in (*ANSWER, *THOUGHT))
    assert noted == [{"event": "rejected", "text": "a rejected draft"}]


def test_an_agent_calls_a_tool_and_answers() -> None:
    from langchain.agents import create_agent  # noqa: PLC0415 - slow to import

    model, replier = chat()
    state: Any = create_agent(model, [add]).invoke({"messages": [HumanMessage("Add.")]})
    kinds = [message.type for message in state["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert state["messages"][2].content == "6"
    assert replier.asks[1].turns[-1].role == "tool"


def test_what_opens_a_replier_is_called_once_and_late() -> None:
    opened: list[ScriptedReplier] = []

    def opening() -> ScriptedReplier:
        opened.append(ScriptedReplier())
        return opened[0]

    model = ChatForethought(replier=opening)
    assert not opened
    model.batch(["Hello."] * 3)
    assert len(opened) == 1
    with pytest.raises(ConfigError, match="no 'other'"):
        model.invoke("Hello.", model="other")


def test_chat_models_are_found_at_the_top_of_the_package() -> None:
    assert forethought.ChatLlama is ChatLlama
    assert forethought.ChatForethought is ChatForethought
    with pytest.raises(AttributeError, match="ChatParrot"):
        forethought.ChatParrot  # type: ignore[attr-defined]  # noqa: B018


def test_traces_name_a_path_without_its_folders(tmp_path: Path) -> None:
    model = ChatLlama(model=str(tmp_path / "tiny.gguf"), stop=["x"])
    params = model._get_ls_params()
    assert (params.get("ls_provider"), params.get("ls_model_name")) == ("forethought", "tiny")
    assert params.get("ls_stop") == ["x"]
    with pytest.raises(UnknownModel):
        model.invoke("Hello.")
    assert num_shared() == 0


@pytest.mark.weights
def test_chat_models_of_one_file_share_an_engine_until_the_last_is_closed() -> None:
    settings: dict[str, Any] = {"model": "smollm2-135m", "quant": "original", "engine": SMALL}
    before = num_shared()
    first, second = (ChatLlama(**settings, max_tokens=4, temperature=0) for _ in range(2))
    assert first.invoke("Hello.").text == second.invoke("Hello.").text
    assert num_shared() == before + 1
    engine = first._leases["smollm2-135m"].engine
    assert engine is second._leases["smollm2-135m"].engine
    first.close()
    first.close()
    assert second.invoke("Hello.").text
    second.close()
    assert num_shared() == before
    assert first.invoke("Hello.").text  # opened again
    del first
    gc.collect()
    assert num_shared() == before


@pytest.mark.weights
def test_a_seed_fixes_a_reply_and_a_batch_is_served_together() -> None:
    model = ChatLlama(
        model="smollm2-135m", quant="original", engine=SMALL, max_tokens=12, temperature=0.9
    )
    replies = model.batch(["Name a colour."] * 4)
    assert len({reply.text for reply in replies}) > 1
    alike = {model.invoke("Name a colour.", seed=3).text for _ in range(2)}
    assert len(alike) == 1
    model.close()


@pytest.mark.weights
def test_a_lease_on_a_missing_file_leaves_nothing_behind(tmp_path: Path) -> None:
    before = num_shared()
    with pytest.raises(UnknownModel):
        EngineLease(tmp_path / "missing.gguf", SMALL)
    assert num_shared() == before
