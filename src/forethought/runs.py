"""Runs that outlive their process: the file that they are kept in, and how one forks."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import StateSnapshot

from forethought.config import require
from forethought.errors import MissingExtra
from forethought.graphs.registry import AnyCompiled
from forethought.model import Usage
from forethought.nodes import changed_settings
from forethought.thoughts import Answer, Ledger, LedgerEntry, Plan, Thought

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

_OURS: Final = (Answer, Ledger, LedgerEntry, Plan, Thought, Usage)


# a row of up to a quarter of a page needs no page of its own
_PAGE_BYTES: Final = 16384


class Deflate(CipherProtocol):
    """No cipher: what LangGraph hands over to be encrypted is deflated. Checkpoints say the same
    few names again and again."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "deflate", zlib.compress(plaintext, 6)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        require(ciphername == "deflate", f"checkpoints are deflated here, not {ciphername}")
        return zlib.decompress(ciphertext)


def compact_serializer() -> EncryptedSerializer:
    """A serialiser for any checkpointer (`serde=`) that reads this package's types alone, and
    writes a few times less than LangGraph's own."""
    names = [(one.__module__, one.__name__) for one in _OURS]
    return EncryptedSerializer(Deflate(), JsonPlusSerializer(allowed_msgpack_modules=names))


@contextmanager
def open_runs(path: Path) -> Iterator[SqliteSaver]:
    """A checkpointer on the SQLite file at `path`, made where there is none.

    Raises:
        MissingExtra: langgraph-checkpoint-sqlite is not installed.
    """
    try:
        from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            "runs are kept by langgraph-checkpoint-sqlite: pip install 'forethought[durable]'"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        with closing(sqlite3.connect(":memory:")) as model:
            SqliteSaver(model).setup()
            _make_tables(connection, like=model)
        yield SqliteSaver(connection, serde=compact_serializer())


def _make_tables(connection: sqlite3.Connection, *, like: sqlite3.Connection) -> None:
    """The same tables with every row in its key's own tree: kept beside it, as is SQLite's habit,
    the long keys would take more room than what they lead to."""
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    tables = like.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()
    for (sql,) in tables:
        create = sql.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)
        connection.execute(f"{create} WITHOUT ROWID")


def fork(
    graph: AnyCompiled, config: RunnableConfig, thought_id: int, /, **changes: Any
) -> RunnableConfig:
    """Go back to where a thought was written and not yet decided on, to go on otherwise.

    What was thought before stays; everything behind is thought anew, beside what was there.

    Args:
        graph: compiled with the run's checkpointer; another target or evaluator than the run's are
            those of another graph.
        config: names the run, and where it is not the last one, the checkpoint in it.
        thought_id: any thought's, one that was rejected or pruned included.
        changes: settings, e.g. `policy="always"`, `threshold=0.5`; `beta` sets SpecSearch's moving
            threshold for the thought's depth.

    Returns:
        Where the fork begins: `graph.invoke(None, it, context=...)`, or `solve(None, ...)` with the
        run's name, which now stands for the fork.

    Raises:
        ConfigError: the run has no such thought, or a setting is unknown or out of range.
    """
    place = _written_at(graph, config, thought_id)
    values, beta = place.values, changes.pop("beta", None)
    kind: Any = graph.builder.context_schema
    known = {field.name for field in fields(kind)}
    for name in changes:
        require(name in known, f"{kind.__name__} has no setting {name!r}")
    begun = {name: value for name, value in values["settings"].items() if name != "class"}
    update: dict[str, Any] = {"settings": changed_settings(kind(**begun | changes))}
    if beta is not None:
        require("thresholds" in values, "only a search has a moving threshold (beta)")
        update["thresholds"] = {**values["thresholds"], values["depth"]: float(beta)}
    return graph.update_state(place.config, update)


def _written_at(graph: AnyCompiled, config: RunnableConfig, thought_id: int) -> StateSnapshot:
    """The first moment of a run at which the thought is there."""
    place = graph.get_state(config)
    require(thought_id in _ids(place), f"the run has no thought {thought_id}")
    while place.parent_config and thought_id in _ids(past := graph.get_state(place.parent_config)):
        place = past
    return place


def _ids(place: StateSnapshot) -> set[int]:
    """Of all thoughts that are known at that moment, those still in work included."""
    values = place.values
    lists = [values.get(name, []) for name in ("thoughts", "candidates", "chains")]
    lists.append([values["probe"]] if values.get("probe") else [])
    return {thought.id for thoughts in lists for thought in thoughts}
