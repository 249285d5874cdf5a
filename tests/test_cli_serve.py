"""`forethought serve`: what it serves, by options; models are scripted and nothing listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from counted_model import CountedModel

from forethought import SearchConfig
from forethought.cli.main import run
from forethought.cli.opening import Opened
from forethought.evaluators.registry import Parts
from forethought.prompts import MATH
from forethought.serving.app import Server


@contextmanager
def open_models(*_: object, **__: object) -> Iterator[Opened]:
    draft, target = (CountedModel(lambda *_: "4", name=name) for name in ("small", "large"))
    yield Opened({"draft": draft, "target": target}, Parts(draft, target, MATH))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Server]:
    """The servers that were to run."""
    found: list[Server] = []
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    monkeypatch.setattr("forethought.cli.serve.open_models", open_models)
    monkeypatch.setattr("forethought.serving.run.serve", found.append)
    return found


def test_the_pair_and_its_graphs_are_served_each_by_its_name(served: list[Server]) -> None:
    assert run(["serve", "--graph", "spec-search", "--graph", "speculative-cot"]) == 0
    (server,) = served
    assert list(server.served) == ["small", "large", "spec-search", "speculative-cot"]


@pytest.mark.parametrize(("options", "early_commits"), [([], 1), (["--set", "early_commits=0"], 0)])
def test_a_served_search_commits_early_unless_told_otherwise(
    served: list[Server], options: list[str], early_commits: int
) -> None:
    assert run(["serve", *options]) == 0
    search: Any = served[0].served["spec-search"]
    assert search.config == SearchConfig(early_commits=early_commits)
