"""The SQLite file that thresholds are kept in by default.

Knows SQLite: one table, transactions, and what its errors mean to the person at the keyboard.
Refuses to know thresholds, beyond handing ThresholdStore a place to keep them.

Why not the store of langgraph-checkpoint-sqlite: it requires the sqlite-vec binary, for which
some platforms (musl, Windows on ARM) have no wheel; its migrations fail when several processes
open a new file at once; and it offers no transaction around a read and the write that follows.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)
from langgraph.store.memory import InMemoryStore

from forethought.errors import StoreError
from forethought.stores.thresholds import ThresholdStore

_BUSY_SECONDS = 30.0

# A namespace is kept with a dot after each label, so that a prefix of the text is one of labels.
_TABLE = """
CREATE TABLE IF NOT EXISTS items (
    namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, PRIMARY KEY (namespace, key))
"""
_PUT = """
INSERT INTO items VALUES (?, ?, ?, ?4, ?4)
ON CONFLICT DO UPDATE SET value = excluded.value, updated = excluded.updated
"""
_GET = "SELECT * FROM items WHERE namespace = ? AND key = ?"
_DELETE = "DELETE FROM items WHERE namespace = ? AND key = ?"
_UNDER = """
SELECT * FROM items WHERE substr(namespace, 1, length(?1)) = ?1
ORDER BY namespace, key LIMIT ?2 OFFSET ?3
"""
_NAMESPACES = "SELECT DISTINCT namespace FROM items"

_ELSEWHERE = "set FORETHOUGHT_DATA to a folder that you may write to"
_ADVICE = {
    sqlite3.SQLITE_BUSY: f"another process held it for {_BUSY_SECONDS:.0f} s; end it, try again",
    sqlite3.SQLITE_READONLY: f"it may not be written; make it writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: f"it cannot be opened; make file and folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_NOTADB: "it is some other kind of file; move it away, a new one will be made",
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, then import your last export",
    sqlite3.SQLITE_FULL: f"the disk is full; free some space, or {_ELSEWHERE}",
}
_DAMAGED = _ADVICE[sqlite3.SQLITE_CORRUPT]


class SqliteStore(BaseStore):
    """A LangGraph store in one SQLite file, without vectors and without expiry.

    Threads may share it; each process opens its own, after any fork. `transaction` makes reads
    and the writes that follow from them one step, for all processes. Creates file and folder.
    Raises StoreError, here and from every method, where SQLite fails.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._lock = threading.RLock()  # one connection, hence one transaction at a time
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {path.parent} ({error}); {_ELSEWHERE}") from error
        # SQLite's default journal, not WAL: WAL does not work on network drives, where the home
        # folders of clusters are, and writes of a few kilobytes gain nothing from it.
        with self._explained():
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._connection.execute(_TABLE)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        with self._lock:
            self._closed = True
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold off all other writers; undo everything written inside where an error leaves it."""
        with self._begun("BEGIN IMMEDIATE"):
            yield

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run `ops` in order, all of them or none."""
        ops = list(ops)
        writes = any(isinstance(op, PutOp) for op in ops)
        with self._begun("BEGIN IMMEDIATE" if writes else "BEGIN"):
            return [self._run(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _run(self, op: Op) -> Result:
        validate_op_namespace(op)
        match op:
            case GetOp():
                return self._get(op)
            case PutOp():
                self._put(op)
                return None
            case SearchOp():
                return self._search(op)
            case ListNamespacesOp():
                return self._list_namespaces(op)

    def _get(self, op: GetOp) -> Item | None:
        row = self._connection.execute(_GET, (_text(op.namespace), op.key)).fetchone()
        return None if row is None else self._item(row)

    def _put(self, op: PutOp) -> None:
        place = (_text(op.namespace), op.key)
        if op.value is None:
            self._connection.execute(_DELETE, place)
        else:
            value = json.dumps(op.value, allow_nan=False)
            self._connection.execute(_PUT, (*place, value, time.time()))

    def _search(self, op: SearchOp) -> list[SearchItem]:
        prefix = _text(op.namespace_prefix)
        if not op.filter:
            return self._items_under(prefix, limit=op.limit, offset=op.offset)
        items = self._items_under(prefix)
        memory = InMemoryStore()  # whose filter operators are the reference
        for item in items:
            memory.put(item.namespace, item.key, item.value)
        kept = memory.search(op.namespace_prefix, filter=op.filter, limit=len(items))
        places = {(item.namespace, item.key) for item in kept}
        matches = [item for item in items if (item.namespace, item.key) in places]
        return matches[op.offset : op.offset + op.limit]

    def _items_under(self, prefix: str, *, limit: int = -1, offset: int = 0) -> list[SearchItem]:
        rows = self._connection.execute(_UNDER, (prefix, limit, offset))
        return [self._item(row) for row in rows]

    def _list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        memory = InMemoryStore()
        for (namespace,) in self._connection.execute(_NAMESPACES):
            memory.put(_labels(namespace), "", {})
        (found,) = memory.batch([op])
        assert isinstance(found, list)
        return [namespace for namespace in found if isinstance(namespace, tuple)]

    def _item(self, row: tuple[str, str, str, float, float]) -> SearchItem:
        namespace, key, text, created, updated = row
        try:
            value: Any = json.loads(text)
        except ValueError as error:
            raise StoreError(f"{self.path}: {namespace}{key} holds no JSON; {_DAMAGED}") from error
        return SearchItem(
            _labels(namespace),
            key,
            value,
            datetime.fromtimestamp(created, UTC),
            datetime.fromtimestamp(updated, UTC),
        )

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        with self._lock, self._explained():
            if self._closed:
                raise StoreError(f"{self.path} was closed; open it again")
            if self._connection.in_transaction:  # this thread's own: it holds the lock
                yield
                return
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # absent on errors that Python raises before SQLite is asked
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            advice = _ADVICE.get(code, _DAMAGED)
            raise StoreError(f"{self.path}: {error}; {advice}") from error


class SqliteThresholdStore(ThresholdStore):
    """Thresholds in one SQLite file that any number of threads and processes may share.

    Each observation is one transaction, so the file needs, and has, a single writer: it does not
    grow with the number of runs. Close it, or use it in a `with`. Raises StoreError.
    """

    def __init__(self, path: Path, *, theta: float = 0.9) -> None:
        self._file = SqliteStore(path)
        try:
            writer = _writer_of(self._file)
            super().__init__(
                self._file, writer=writer, theta=theta, exclusive=self._file.transaction
            )
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def default_store() -> SqliteThresholdStore:
    """The thresholds of this user, in `data_folder()`. Raises StoreError."""
    return SqliteThresholdStore(data_folder() / "thresholds.sqlite")


def data_folder() -> Path:
    """Where this user's data lives: $FORETHOUGHT_DATA, or the platform's folder for it."""
    chosen = os.environ.get("FORETHOUGHT_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("forethought")


def _writer_of(store: SqliteStore) -> str:
    """A name drawn once per file, so that exports of two machines never share a writer."""
    namespace, key = ("forethought",), "writer"
    if store.get(namespace, key) is None:
        with store.transaction():
            if store.get(namespace, key) is None:  # still, now that no other process writes
                store.put(namespace, key, {"name": uuid.uuid4().hex})
    item = store.get(namespace, key)
    name = item.value.get("name") if item is not None and isinstance(item.value, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise StoreError(f"{store.path}: the writer's name is {name!r}; {_DAMAGED}")
    return name


def _text(namespace: tuple[str, ...]) -> str:
    return "".join(f"{label}." for label in namespace)


def _labels(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[:-1])
