"""The server: what it answers, whom it refuses, how it ends; with repliers that are scripted."""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_replies import ReplierOnly, ScriptedReplier
from serving_client import chat, serving, wait_for

from forethought import errors
from forethought.errors import ConfigError, ForethoughtError
from forethought.model import RunStopped
from forethought.replies import Ask, Event
from forethought.serving import ServerConfig, desk, respond
from forethought.serving.app import Server
from forethought.serving.faults import FAULTS, told

THINKER = ScriptedReplier("thinker", reasoning=("First.", " Then."))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(ScriptedReplier(), THINKER, ReplierOnly()) as address:
        yield address


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    found: dict[str, Any] = body["error"]
    return found


# Settings


def test_an_address_that_others_can_reach_needs_a_key() -> None:
    for host in ("0.0.0.0", "192.168.0.7", "::", "example.org"):
        with pytest.raises(ConfigError, match="set an API key"):
            ServerConfig(host=host)
        assert not ServerConfig(host=host, api_key="k").is_local
    for host in ("127.0.0.1", "localhost", "::1"):
        assert ServerConfig(host=host).is_local


def test_a_key_is_no_part_of_what_is_printed() -> None:
    assert "secret" not in repr(ServerConfig(api_key="secret"))


@pytest.mark.parametrize(
    "settings",
    [{"port": -1}, {"max_running": 0}, {"max_waiting": -1}, {"deadline": 0}, {"api_key": " "}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ServerConfig(**settings)


def test_a_server_needs_models_with_names_of_their_own() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Server([])
    with pytest.raises(ConfigError, match="one name"):
        Server([ScriptedReplier("a"), ScriptedReplier("a")])


# Errors


def all_errors() -> list[type[ForethoughtError]]:
    found = [errors.ForethoughtError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_every_error_has_a_status_and_a_code() -> None:
    assert len(all_errors()) > 15
    for kind in all_errors():
        answer = told(kind("what happened"))
        assert 400 <= answer.status < 600
        assert answer.body.error.message == "what happened"
        assert answer.body.error.code is not None
        is_ours = answer.body.error.type == "server_error"
        assert is_ours == (answer.status >= 500)
    assert told(RunStopped("deadline")).status == 504
    assert told(RunStopped("cancelled")).status == 503


def test_an_error_that_nobody_foresaw_tells_clients_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = told(ZeroDivisionError("a secret"))
    assert answer.status == 500
    assert "secret" not in answer.body.model_dump_json()
    assert "a secret" in caplog.text


def test_the_docs_have_the_table_of_errors() -> None:
    text = (Path(__file__).parent.parent / "docs" / "server.md").read_text(encoding="utf-8")
    for kind in all_errors():
        fault = next(FAULTS[one] for one in kind.__mro__ if one in FAULTS)
        assert re.search(rf"\| {fault.status} \| `{fault.code}` \|", text), fault


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.PromptTooLong("too long"), 400, "context_length_exceeded"),
        (errors.ConfigError("no such schema"), 400, "invalid_value"),
        (errors.EvaluatorError("no score"), 500, "evaluator_error"),
        (errors.EngineClosed("closed"), 503, "stopping"),
        (ZeroDivisionError("oh"), 500, "internal_error"),
    ],
)
def test_what_a_replier_raises_becomes_a_status(error: Exception, status: int, code: str) -> None:
    with serving(ScriptedReplier(fails=error)) as url:
        for stream in (False, True):
            response = chat(url, stream=stream)
            assert response.status_code == status
            assert error_of(response)["code"] == code


def test_an_error_in_the_middle_of_a_stream_is_its_last_event() -> None:
    failing = ScriptedReplier(fails=errors.DecodeError("decode failed"), fails_after=2)
    with serving(failing) as url:
        response = chat(url, stream=True)
        assert response.status_code == 200
        events = [line[6:] for line in response.text.splitlines() if line]
        assert json.loads(events[-1])["error"]["message"] == "decode failed"
        assert "[DONE]" not in events


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0"),
        ({"top_logprobs": 3}, None),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stop": [""]}, "stop"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "no blanks"}}]}, "tools.0"),
        ({"tool_choice": "required"}, None),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, None),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    url: str, fields: dict[str, Any], param: str | None
) -> None:
    response = chat(url, **fields)
    assert response.status_code == 400
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param or "")


def test_bodies_that_are_no_json_are_refused(url: str) -> None:
    post, path = httpx.post, f"{url}/v1/chat/completions"
    json_type = {"content-type": "application/json"}
    deep = b'{"messages": ' + b"[" * 100_000
    for content in (b"", b"{", b"[]", b"null", b"\xff\xfe", deep):
        response = post(path, content=content, headers=json_type)
        assert response.status_code == 400, content
        error_of(response)
    # a page in a browser may send this without asking the server first
    body = b'{"model": "scripted", "messages": [{"role": "user", "content": ""}]}'
    assert post(path, content=body, headers={"content-type": "text/plain"}).status_code == 400
    lone = b'{"model": "\\ud800", "messages": []}'
    error_of(post(path, content=lone, headers=json_type))


def test_unknown_models_paths_and_methods_are_refused(url: str) -> None:
    response = chat(url, model="gpt-0")
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert error_of(httpx.get(f"{url}/v1/models/gpt-0"))["param"] == "model"
    assert error_of(httpx.get(f"{url}/v2"))["type"] == "invalid_request_error"
    response = httpx.get(f"{url}/v1/chat/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_a_model_that_does_not_complete_texts_says_so(url: str) -> None:
    response = httpx.post(f"{url}/v1/completions", json={"model": "talker", "prompt": "a"})
    assert response.status_code == 400
    assert error_of(response)["param"] == "model"
    models = httpx.get(f"{url}/v1/models").json()["data"]
    assert {one["id"]: len(one["endpoints"]) for one in models} == {
        "scripted": 2,
        "thinker": 2,
        "talker": 1,
    }


def test_fields_that_clients_send_and_that_change_nothing_are_ignored(url: str) -> None:
    response = chat(url, user="me", store=False, metadata={}, parallel_tool_calls=True)
    assert response.status_code == 200


# Who may ask


def test_with_a_key_only_those_who_have_it_may_ask() -> None:
    with serving(ScriptedReplier(), api_key="sesam") as url:
        path = f"{url}/v1/models"
        for wrong in ({}, {"authorization": "Bearer no"}, {"authorization": "sesam"}):
            response = httpx.get(path, headers=wrong)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert error_of(response)["code"] == "invalid_api_key"
        key = {"authorization": "Bearer sesam"}
        assert httpx.get(path, headers=key).status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/health").status_code == 200
        document = httpx.get(f"{url}/openapi.json", headers=key).json()
        assert document["security"] == [{"key": []}]


def test_without_a_key_a_foreign_name_for_this_machine_is_refused(url: str) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example:80", "[::1", ""):
        response = httpx.get(f"{url}/v1/models", headers={"host": host})
        assert response.status_code in (400, 403), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert httpx.get(f"{url}/v1/models", headers={"host": host}).status_code == 200, host


# Limits


def test_a_body_that_is_too_large_is_refused() -> None:
    with serving(ScriptedReplier(), max_body_bytes=1000) as url:
        response = chat(url, user="x" * 1000)
        assert response.status_code == 413
        error_of(response)

        def pieces() -> Iterator[bytes]:
            for _ in range(20):
                yield b" " * 100

        headers = {"content-type": "application/json"}
        path = f"{url}/v1/chat/completions"
        assert httpx.post(path, content=pieces(), headers=headers).status_code == 413


def test_more_requests_than_may_wait_are_told_to_come_back() -> None:
    slow = ScriptedReplier(pause=0.1)
    with serving(slow, max_running=1, max_waiting=1) as url, ThreadPoolExecutor(4) as clients:
        responses = list(clients.map(lambda _: chat(url), range(4)))
    by_status = sorted(response.status_code for response in responses)
    assert by_status == [200, 200, 429, 429]
    for response in responses:
        if response.status_code == 429:
            assert int(response.headers["retry-after"]) >= 1
            assert error_of(response)["type"] == "rate_limit_error"
    assert slow.most_open == 1


def test_more_replies_than_a_request_may_ask_for_are_refused(url: str) -> None:
    prompts = {"model": "scripted", "prompt": ["a"] * 65}
    response = httpx.post(f"{url}/v1/completions", json=prompts)
    assert response.status_code == 400
    assert error_of(response)["code"] == "too_many_choices"


def test_tokens_are_bounded_by_the_server_whatever_is_asked_for() -> None:
    with serving(ScriptedReplier(is_endless=True), max_tokens=3) as url:
        for fields in ({}, {"max_tokens": 1000}):
            choice = chat(url, **fields).json()["choices"][0]
            assert choice["message"]["content"] == "Two and two"
            assert choice["finish_reason"] == "length"


def test_a_reply_that_runs_out_of_time_keeps_what_it_has() -> None:
    endless = ScriptedReplier(is_endless=True, pause=0.05)
    with serving(endless, deadline=0.3, max_tokens=1000) as url:
        choice = chat(url).json()["choices"][0]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"].startswith("Two and")


def test_a_reply_that_has_nothing_by_its_deadline_is_a_timeout() -> None:
    with serving(ScriptedReplier(pause=5), deadline=0.2) as url:
        response = chat(url)
        assert response.status_code == 504
        assert error_of(response)["code"] == "deadline"


class Late(ScriptedReplier):
    """Overlooks its deadline, once."""

    def reply(self, ask: Ask) -> Iterator[Event]:
        time.sleep(0.5)
        return super().reply(replace(ask, deadline=None))


def test_a_request_whose_turn_never_came_is_a_timeout() -> None:
    late = Late()
    with serving(late, max_running=1, deadline=0.3) as url, ThreadPoolExecutor(2) as clients:
        statuses = [r.status_code for r in clients.map(lambda _: chat(url), range(2))]
    assert sorted(statuses) == [200, 504]
    assert len(late.asks) == 1


def test_a_reply_that_overlooks_its_deadline_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_PATIENCE_SECONDS", 0.1)
    with serving(Late(), deadline=0.1) as url:
        response = chat(url)
    assert response.status_code == 504


def test_a_stream_that_is_silent_shows_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respond, "_SILENCE_SECONDS", 0.1)
    with serving(ScriptedReplier(pause=0.25, words=("One",))) as url:
        lines = chat(url, stream=True).text.split("\n\n")
    assert lines[:2] == [": still at work"] * 2
    assert lines[2].startswith("data: {")
    assert "data: [DONE]" in lines


# Hanging up


def read_for_a_while(path: str, body: dict[str, Any]) -> None:
    with httpx.stream("POST", path, json=body, timeout=0.3) as response:
        for number, _ in enumerate(response.iter_lines()):
            if number > 20:
                raise httpx.ReadTimeout("enough")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_its_reply(stream: bool) -> None:
    endless = ScriptedReplier(is_endless=True, pause=0.01)
    with serving(endless, max_tokens=10**6) as url:
        body = {
            "model": "scripted",
            "stream": stream,
            "n": 2,
            "messages": [{"role": "user", "content": ""}],
        }
        with pytest.raises(httpx.ReadTimeout):
            read_for_a_while(f"{url}/v1/chat/completions", body)
        wait_for(lambda: len(endless.asks) == 2)
        wait_for(lambda: endless.num_open == 0)
        assert httpx.get(f"{url}/health").json() == {"status": "ok", "waiting": 0, "running": 0}


def waiting(url: str) -> int:
    number: int = httpx.get(f"{url}/health").json()["waiting"]
    return number


def test_a_client_that_hangs_up_while_it_waits_is_never_answered() -> None:
    slow = ScriptedReplier(pause=0.6, words=("One", " two"))
    with serving(slow, max_running=1) as url:
        first = threading.Thread(target=chat, args=(url,))
        first.start()
        wait_for(lambda: slow.num_open == 1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{url}/v1/chat/completions",
                json={"model": "scripted", "messages": [{"role": "user", "content": ""}]},
                timeout=0.1,
            )
        wait_for(lambda: waiting(url) == 0)
        first.join()
        assert len(slow.asks) == 1


# Many at once


def test_sixteen_clients_are_all_answered_none_much_later_than_others() -> None:
    slow = ScriptedReplier(pause=0.02)

    def timed(url: str) -> tuple[int, float]:
        began = time.perf_counter()
        status = chat(url).status_code
        return status, time.perf_counter() - began

    with serving(slow) as url, ThreadPoolExecutor(16) as clients:
        results = list(clients.map(timed, [url] * 16))
    assert [status for status, _ in results] == [200] * 16
    seconds = [second for _, second in results]
    assert max(seconds) <= 3 * statistics.median(seconds) + 1.0  # a busy machine's hiccup
    assert slow.most_open > 8


def test_first_come_is_first_served() -> None:
    slow = ScriptedReplier(pause=0.05, words=("One",))
    with serving(slow, max_running=1) as url:
        threads: list[threading.Thread] = []
        for number in range(6):
            fields = {"messages": [{"role": "user", "content": str(number)}]}
            threads.append(threading.Thread(target=chat, args=(url,), kwargs=fields))
            threads[-1].start()
            wait_for(lambda: len(slow.asks) + waiting(url) >= len(threads))
        for thread in threads:
            thread.join()
    contents = [ask.turns[0].content for ask in slow.asks]
    assert contents == list("012345")


# Metrics


def test_metrics_tell_tokens_by_role_acceptance_and_the_queue() -> None:
    with serving(ScriptedReplier(reasoning=("Hm.",))) as url:
        chat(url)
        chat(url, model="none")
        text = httpx.get(f"{url}/metrics").text
    for line in (
        'forethought_tokens_total{model="scripted",role="draft"} 2.0',
        'forethought_tokens_total{model="scripted",role="target"} 6.0',
        'forethought_replies_total{finish_reason="stop",model="scripted"} 1.0',
        'forethought_responses_total{path="/v1/chat/completions",status="200"} 1.0',
        'forethought_responses_total{path="/v1/chat/completions",status="404"} 1.0',
        'forethought_acceptance_sum{model="scripted"} 0.5',
        'forethought_first_seconds_count{model="scripted"} 1.0',
        'forethought_wait_seconds_count{model="scripted"} 1.0',
        'forethought_reply_seconds_count{model="scripted"} 1.0',
        "forethought_waiting 0.0",
        "forethought_running 0.0",
    ):
        assert line in text
