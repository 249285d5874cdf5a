"""The server as a process: how it is stopped, what it needs, and that it does not grow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from serving_client import chat, process, wait_for

from forethought.cli import serve as command
from forethought.cli.main import run
from forethought.cli.opening import Opened
from forethought.config import SamplingParams, SearchConfig
from forethought.engine import ScriptedModel
from forethought.evaluators.registry import Parts
from forethought.graph_replier import GraphReplier
from forethought.prompts import MATH
from forethought.replies import Ask, Completer, Ended, Piece, Replier, Turn
from forethought.serving import run as serving_run
from forethought.serving.app import Server


def stopped(server: Any, seconds: float) -> int:
    """Send SIGTERM; the exit code."""
    server.send_signal(signal.SIGTERM)
    code: int = server.wait(seconds)
    return code


def test_an_idle_server_stops_at_once() -> None:
    with process() as (url, server):
        assert chat(url).status_code == 200
        assert stopped(server, 5) == 0


def test_open_replies_end_before_the_server_does() -> None:
    with process(pause=0.2) as (url, server):
        responses: list[httpx.Response] = []
        client = threading.Thread(target=lambda: responses.append(chat(url)))
        client.start()
        wait_for(lambda: httpx.get(f"{url}/health").json()["running"] == 1)
        assert stopped(server, 10) == 0
        client.join()
    assert responses[0].status_code == 200
    assert responses[0].json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_replies_that_do_not_end_are_cancelled_after_the_time_of_grace(stream: bool) -> None:
    with process(grace=0.5) as (url, server):
        responses: list[httpx.Response] = []
        client = threading.Thread(
            target=lambda: responses.append(chat(url, model="endless", stream=stream))
        )
        client.start()
        wait_for(lambda: httpx.get(f"{url}/health").json()["running"] == 1)
        began = time.monotonic()
        assert stopped(server, 10) == 0
        assert time.monotonic() - began >= 0.5
        client.join()
    if stream:
        last = [line for line in responses[0].text.splitlines() if line][-1]
        body = json.loads(last.removeprefix("data: "))
    else:
        assert responses[0].status_code == 503
        body = responses[0].json()
    assert body["error"]["code"] == "stopping"


def resident_bytes(server: Any) -> int:
    pages = int(Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_300_requests() -> None:
    with process() as (url, server), httpx.Client(timeout=30) as client:

        def ask(count: int) -> None:
            message = {"role": "user", "content": "What is two and two? " * 100}
            for number in range(count):
                body = {"model": "scripted", "messages": [message], "n": 2, "logprobs": True}
                response = client.post(
                    f"{url}/v1/chat/completions", json={**body, "stream": number % 2 == 0}
                )
                assert response.status_code == 200

        ask(100)
        before = resident_bytes(server)
        ask(300)
        growth = resident_bytes(server) / before - 1
    assert growth <= 0.05


# The command


def check_replies(server: Server) -> None:
    """That both models and the graphs reply, and who completes texts."""
    for replier in server.served.values():
        assert isinstance(replier, Replier)
        turns = (Turn("user", "What is two and two?"),)
        *pieces, end = replier.reply(Ask(turns, SamplingParams(max_tokens=50)))
        assert isinstance(end, Ended)
        said = [piece.text for piece in pieces if isinstance(piece, Piece) and piece.kind == "text"]
        is_graph = isinstance(replier, GraphReplier)
        assert "".join(said).endswith("4" if is_graph else "t is \\boxed{4}.")
        assert ("acceptance_rate" in end.details) == is_graph
        assert isinstance(replier, Completer) != is_graph


def test_the_command_serves_the_pair_with_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    servers: list[Server] = []

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Opened]:
        one = ScriptedModel(
            lambda *_: "So it is \\boxed{4}.", judge=lambda _: [0.8, 0.1], name="small"
        )
        other = ScriptedModel(lambda *_: "It is \\boxed{4}.", name="large")
        models: Any = {"draft": one, "target": other}
        yield Opened(models, Parts(one, one, MATH))

    monkeypatch.setattr(command, "open_models", opened)

    def serve(server: Server) -> None:
        check_replies(server)
        servers.append(server)

    monkeypatch.setattr(serving_run, "serve", serve)
    monkeypatch.setenv("FORETHOUGHT_API_KEY", "sesam")
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    graphs = ["--graph", "spec-search", "--graph", "speculative-cot", "--set", "seed=3"]
    assert run(["serve", "--host", "0.0.0.0", "--max-running", "3", *graphs]) == 0
    (server,) = servers
    config = server.config
    assert (config.host, config.max_running, config.api_key) == ("0.0.0.0", 3, "sesam")
    assert list(server.served) == ["small", "large", "spec-search", "speculative-cot"]
    config = server.served["spec-search"].config  # type: ignore[union-attr]
    conversing = SearchConfig(seed=3, early_commits=1, early_width=1)
    assert config == conversing, "the server's own options are not the graph's"


def test_graphs_and_settings_that_there_are_not_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["serve", "--set", "bean_width=1"]) == 1
    assert "no setting 'bean_width'" in capsys.readouterr().err
    assert run(["serve", "--graph", "oracle"]) == 1
    assert "oracle" in capsys.readouterr().err


def test_the_command_refuses_to_be_open_to_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORETHOUGHT_API_KEY", raising=False)
    assert run(["serve", "--host", "0.0.0.0"]) == 1
    assert "set an API key" in capsys.readouterr().err


def test_the_commands_help_has_every_setting() -> None:
    text = CliRunner().invoke(command.serve, ["--help"]).output
    for flag in ("--host", "--port", "--max-waiting", "--deadline", "--grace", "--api-key"):
        assert flag in text


def test_without_the_extra_the_package_imports_and_says_what_to_install() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(["fastapi", "uvicorn", "prometheus_client"]))
import forethought, forethought.serving
from forethought.cli.main import run
sys.exit(run(["serve"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "forethought[server]" in done.stderr
