"""`langgraph.json` as LangGraph's own command takes it, and its server with its own client.

They have an environment of their own (`make test` makes it): see the extra `platform`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

if importlib.util.find_spec("langgraph_api") is None:
    pytest.skip("needs pip install 'forethought[platform]'", allow_module_level=True)

from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

REPOSITORY = Path(__file__).parent.parent
LANGGRAPH = str(Path(sys.executable).with_name("langgraph"))
MODEL = "smollm2-135m"
SMALL = {"draft": MODEL, "target": MODEL, "max_depth": 2, "thought_tokens": 16, "tree_width": 2}
STARTS_WITHIN = 120.0  # seconds


def test_the_configuration_is_valid() -> None:
    done = subprocess.run(
        [LANGGRAPH, "validate"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 graphs found" in done.stdout


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [LANGGRAPH, "dev", "--no-browser", "--no-reload", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[LangGraphClient]:
    """A client of the server, once that answers."""
    loop = asyncio.get_running_loop()
    end = loop.time() + STARTS_WITHIN
    async with get_client(url=address) as client:
        while True:
            try:
                await client.assistants.search()
                break
            except httpx.HTTPError:
                if loop.time() > end:
                    raise
                await asyncio.sleep(0.5)
        yield client


def test_each_graph_shows_its_settings(address: str) -> None:
    async def shown() -> dict[str, set[str]]:
        found = {}
        async with connected(address) as client:
            for one in await client.assistants.search():
                schemas: Any = await client.assistants.get_schemas(one["assistant_id"])
                found[one["graph_id"]] = set(schemas["context_schema"]["properties"])
        return found

    settings = asyncio.run(shown())
    assert set(settings) == {"spec-search", "speculative-thinking", "speculative-cot"}
    assert {"draft", "target", "evaluator", "policy", "theta"} <= settings["spec-search"]
    assert all({"draft", "target", "task"} <= names for names in settings.values())


@pytest.mark.weights
def test_a_run_thinks_and_tells_its_events(address: str) -> None:
    async def run() -> tuple[list[Any], dict[str, Any]]:
        async with connected(address) as client:
            thread = await client.threads.create()
            stream = client.runs.stream(
                thread["thread_id"],
                "spec-search",
                input={"question": "What is 2 + 3?"},
                context={**SMALL, "evaluator": "likelihood:logprob"},
                stream_mode="custom",
            )
            parts = [part async for part in stream]
            state: Any = await client.threads.get_state(thread["thread_id"])
            return parts, state["values"]

    parts, state = asyncio.run(run())
    assert [part.data for part in parts if part.event == "error"] == []
    kinds = {part.data["event"] for part in parts if part.event == "custom"}
    assert {"proposed", "scored"} <= kinds
    assert state["text"]
    assert {one["source"] for one in state["thoughts"]} <= {"draft", "target"}


def test_a_setting_that_is_wrong_ends_the_run_as_an_error(address: str) -> None:
    async def fault() -> Any:
        async with connected(address) as client:
            thread = await client.threads.create()
            run = await client.runs.create(
                thread["thread_id"], "spec-search", input={"question": "?"}, context={"theta": 7.0}
            )
            await client.runs.join(thread["thread_id"], run["run_id"])
            return await client.threads.get(thread["thread_id"])

    found = asyncio.run(fault())
    assert found["status"] == "error"
    assert found["error"]["error"] == "ConfigError"  # what it says the server keeps in its log
