"""Engines shared by all chat models of the process that want the same file placed the same way."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from forethought.config import EngineConfig
from forethought.engine import Engine

_Key = tuple[Path, EngineConfig]


@dataclass(slots=True)
class _Shared:
    loading: threading.Lock = field(default_factory=threading.Lock)
    engine: Engine | None = None
    num_holders: int = 0


_shared: dict[_Key, _Shared] = {}
_guard = threading.RLock()  # a lease may be collected, and so let go, while this is held


class EngineLease:
    """One holder's share of an engine: opened with the first, closed with the last.

    `close` lets go of it and is safe to call twice; a lease that is forgotten lets go by itself.
    Raises what `Engine` raises.
    """

    def __init__(self, path: Path, config: EngineConfig) -> None:
        key = path.resolve(), config
        self.engine = _open(key)
        self.close = weakref.finalize(self, _let_go, key)
        self.close.atexit = False  # an engine closes itself then


def num_shared() -> int:
    """How many engines are held."""
    return len(_shared)


def _open(key: _Key) -> Engine:
    with _guard:
        shared = _shared.setdefault(key, _Shared())
        shared.num_holders += 1
    try:
        with shared.loading:
            if shared.engine is None:
                shared.engine = Engine(key[0], config=key[1])
            return shared.engine
    except BaseException:
        _let_go(key)
        raise


def _let_go(key: _Key) -> None:
    with _guard:
        shared = _shared[key]
        shared.num_holders -= 1
        if shared.num_holders:
            return
        del _shared[key]
    if shared.engine is not None:
        shared.engine.close()
