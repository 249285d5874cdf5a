"""The engine's thread when it fails: whoever waits for it hears of that, and nobody waits after."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import pytest
from toy_engine import ToyEngine, ToySampler, table

from forethought.config import SamplingParams
from forethought.errors import EngineClosed

FAULTS: dict[str, Callable[[ToyEngine], object]] = {
    "forget": lambda engine: engine.forget([]),
    "plan": lambda engine: engine.generate([[0], [1]], SamplingParams(max_tokens=3)),
}


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What threads ended with that nobody caught."""
    found: list[BaseException | None] = []
    monkeypatch.setattr("forethought.engine.request.Sampler", ToySampler)
    monkeypatch.setattr(threading, "excepthook", lambda args: found.append(args.exc_value))
    return found


@pytest.mark.parametrize("step", FAULTS)
def test_a_fault_reaches_its_caller_and_closes_the_engine(
    step: str, monkeypatch: pytest.MonkeyPatch, ends: list[BaseException | None]
) -> None:
    fault = OSError("the memory is gone")

    def fail(*_: object) -> None:
        raise fault

    with closing(ToyEngine("toy", table(0))) as engine:
        monkeypatch.setattr(f"forethought.engine.scheduler.Scheduler.{step}", fail)
        with pytest.raises(OSError, match="the memory is gone"):
            FAULTS[step](engine)
        engine.close()
        assert ends == [fault]
        for ask in FAULTS.values():
            with pytest.raises(EngineClosed, match="toy is closed"):
                ask(engine)
