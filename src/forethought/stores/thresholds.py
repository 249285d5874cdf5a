"""Acceptance thresholds that outlive a run.

Knows how the observations of many runs become one threshold per key and depth on a LangGraph
store. Refuses to know what a score means, when a search observes one, and where the bytes lie.

A LangGraph store has neither transactions nor an atomic increment, so every writer has its own
item per key, written by it alone. An item holds what a decayed mean needs (weighted sum, weight,
count) for every depth; readers add the items of all writers up.
"""

from __future__ import annotations

import math
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from langgraph.store.base import BaseStore, SearchItem
from langgraph.store.memory import InMemoryStore

from forethought.errors import ConfigError
from forethought.stores.records import (
    LIMIT,
    SCHEMA,
    Record,
    Tally,
    ThresholdKey,
    digest,
    parsed_record,
    parsed_records,
)

_ROOT = ("forethought", "thresholds")
_PAGE = 1000  # in practice one page, hence one consistent read


@dataclass(frozen=True, slots=True)
class ThresholdRecord:
    """The threshold of one key at one depth, over all writers."""

    key: ThresholdKey
    depth: int  # from 1, the root thoughts
    beta: float
    weight: float  # of the decayed mean; at most count
    count: int  # observations ever folded in
    updated: float  # seconds since 1970


class ThresholdStore:
    """Running acceptance thresholds per key and depth, on any LangGraph store.

    `store` defaults to a new InMemoryStore. `theta` in (0, 1] is what one observation leaves of
    the weight of all earlier ones (theta of SpecSearch's beta^(k+1) = theta beta^(k) +
    (1 - theta) Theta(V_p^(k)), here from run to run); 1 gives the plain mean.

    Safe to share between threads. `writer` names the items of this object; no two live objects
    on one store may share a name, and by default none do. Give each worker of a long-lived
    service a name that survives its restarts, and the store holds one item per worker and key.
    `exclusive` opens a context that holds off every other process, for stores that have one: with
    it, objects in several processes may share a writer. Raises ConfigError.
    """

    def __init__(
        self,
        store: BaseStore | None = None,
        *,
        writer: str | None = None,
        theta: float = 0.9,
        exclusive: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        if not 0 < theta <= 1:
            raise ConfigError(f"theta is {theta!r}; it must be above 0 and at most 1")
        if writer is not None and not writer.strip():
            raise ConfigError(f"writer is {writer!r}; give it a name, or leave it out")
        self._store = InMemoryStore() if store is None else store
        self._lock = _lock_of(self._store)
        self._exclusive = exclusive
        self._theta = float(theta)
        self._named = writer
        self._drawn = uuid.uuid4().hex

    @property
    def writer(self) -> str:
        """The name of this object's items; the process id keeps a forked child's apart."""
        return self._named or f"{self._drawn}-{os.getpid()}"

    def observe(
        self, key: ThresholdKey, *, thresholds: Mapping[int, float], observation_id: str
    ) -> int:
        """Fold a finished run's thresholds by depth (from 1) into the running ones, in one write.

        Retried and resumed nodes run again: at each depth, an `observation_id` among the last 128
        of a writer changes nothing. Returns the number of depths that changed. Raises ConfigError
        for a depth below 1, a value that is not finite or beyond 1e9, a blank id; StoreError for
        a record of this key that cannot be read.
        """
        values = {int(depth): float(value) for depth, value in thresholds.items()}
        for depth, value in values.items():
            if depth < 1:
                raise ConfigError(f"depth is {depth}; the root thoughts are depth 1")
            if not abs(value) <= LIMIT:
                raise ConfigError(f"threshold at depth {depth} is {value}, which is no score")
        if not observation_id.strip():
            raise ConfigError(f"observation_id is {observation_id!r}; name the run")
        mark = digest(observation_id)
        with self._lock, self._exclusive():
            records = self._records(key)
            new = [d for d in values if not any(r.has_seen(mark, depth=d) for r in records)]
            mine = next((record for record in records if record.writer == self.writer), None)
            mine = mine or Record.empty(key, self.writer)
            for depth in new:
                mine = mine.folded(values[depth], depth=depth, theta=self._theta, mark=mark)
            if new:
                self._put(mine)
        return len(new)

    def warm_start(self, key: ThresholdKey) -> dict[int, float]:
        """The threshold to start with at each depth observed so far. Raises StoreError."""
        return {row.depth: row.beta for row in self._rows(key)}

    def show(self) -> list[ThresholdRecord]:
        """All thresholds, sorted by key and depth. Raises StoreError."""
        return self._rows()

    def reset(self, key: ThresholdKey | None = None) -> None:
        """Forget one key, or everything, records that cannot be read included."""
        with self._lock, self._exclusive():
            for item in self._items(key):
                self._store.delete(item.namespace, item.key)

    def export(self) -> dict[str, Any]:
        """Everything as one JSON document for `load`. Raises StoreError."""
        with self._lock:
            records = self._records()
        ordered = sorted(records, key=lambda record: (record.key, record.writer))
        return {"schema": SCHEMA, "records": [record.document() for record in ordered]}

    def load(self, document: object) -> int:
        """Take in a document of `export`; returns its number of records.

        Writers keep their names, and of two states of one writer at one depth the one with more
        observations stays: to load a document twice, or a newer one from the same source, counts
        nothing twice. Nothing is written unless the whole document is valid. On a store without
        `exclusive`, load while no run is writing. Raises StoreError that names the wrong field.
        """
        records = parsed_records(document)
        with self._lock, self._exclusive():
            stored = {(record.key, record.writer): record for record in self._records()}
            for theirs in records:
                place = (theirs.key, theirs.writer)
                ours = stored.get(place) or Record.empty(*place)
                stored[place] = ours.caught_up(theirs)
                if stored[place] is not ours:
                    self._put(stored[place])
        return len(records)

    def _rows(self, key: ThresholdKey | None = None) -> list[ThresholdRecord]:
        with self._lock:
            records = self._records(key)
        tallies: dict[tuple[ThresholdKey, int], list[Tally]] = {}
        for record in records:
            for depth, tally in record.depths.items():
                tallies.setdefault((record.key, depth), []).append(tally)
        return [_merged(*place, tallies[place]) for place in sorted(tallies)]

    def _records(self, key: ThresholdKey | None = None) -> list[Record]:
        advice = "remove it with `forethought thresholds reset` or ThresholdStore.reset"
        return [
            parsed_record(
                item.value, where=f"record {'/'.join(item.namespace)}/{item.key}", advice=advice
            )
            for item in self._items(key)
        ]

    def _items(self, key: ThresholdKey | None = None) -> list[SearchItem]:
        """All items, also where the store's own limit on a page is below ours."""
        prefix = _ROOT if key is None else (*_ROOT, key.label)
        found: dict[tuple[tuple[str, ...], str], SearchItem] = {}
        offset = 0
        while page := self._store.search(prefix, limit=_PAGE, offset=offset):
            found.update({(item.namespace, item.key): item for item in page})
            offset += len(page)
        return list(found.values())

    def _put(self, record: Record) -> None:
        # index=False: there is no text to embed, on stores that embed by default
        namespace = (*_ROOT, record.key.label)
        self._store.put(namespace, record.writer, record.document(), index=False)


_locks: WeakKeyDictionary[BaseStore, threading.RLock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


def _lock_of(store: BaseStore) -> threading.RLock:
    # One per store, not per ThresholdStore: InMemoryStore cannot be searched while another
    # thread writes ("dictionary changed size during iteration").
    with _locks_lock:
        return _locks.setdefault(store, threading.RLock())


def _merged(key: ThresholdKey, depth: int, tallies: list[Tally]) -> ThresholdRecord:
    weight = math.fsum(tally.weight for tally in tallies)
    return ThresholdRecord(
        key=key,
        depth=depth,
        beta=math.fsum(tally.total for tally in tallies) / weight,
        weight=weight,
        count=sum(tally.count for tally in tallies),
        updated=max(tally.updated for tally in tallies),
    )
