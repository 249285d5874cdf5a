"""`forethought train` from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forethought.chains import Chain, Step, append_chains, read_chains
from forethought.cli.main import run
from forethought.cli.opening import Opened, Served
from forethought.cli.train import _layers
from forethought.engine import EngineStats, ScriptedModel
from forethought.errors import ConfigError
from forethought.evaluators.registry import Parts, Role
from forethought.prompts import MATH

CHAIN = Chain("q", "q?", "7", "draft", "m", "v", [Step("a", [1])], "7", True)


class CountedModel(ScriptedModel):
    """A scripted model in an engine's place."""

    def stats(self) -> EngineStats:
        return EngineStats()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    rows = [json.dumps({"question": f"{n} + 0?", "answer": "1"}) for n in range(3)]
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(prompt: str, _: int, index: int) -> str:
        return f"So it is \\boxed{{{index % 2}}}."

    @contextmanager
    def open_models(roles: set[Role], _: dict[str, Any]) -> Iterator[Opened]:
        models: dict[Role, Served] = {role: CountedModel(reply, name=role) for role in roles}
        yield Opened(models, Parts(models.get("draft"), models.get("target"), MATH))

    monkeypatch.setattr("forethought.cli.train.open_models", open_models)


@pytest.mark.usefixtures("scripted")
def test_both_models_write_and_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "chains.jsonl"
    given = ["train", "sample", "--data", str(data), "--out", str(out), "--rollouts", "2"]
    assert run([*given, "--samples-target", "2"]) == 0
    chains = read_chains(out)
    assert [sum(c.source == role for c in chains) for role in ("draft", "target")] == [12, 6]
    assert all(step.value is not None for chain in chains for step in chain.steps)
    assert "18 solutions, 50% right" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["probe", "prm"])
def test_one_outcome_teaches_nothing(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chains.jsonl"
    append_chains(path, [CHAIN, replace(CHAIN, problem="r")])
    assert run(["train", command, "--chains", str(path), "--out", str(tmp_path / "x")]) == 1
    assert "right and wrong" in capsys.readouterr().err


def test_layers_are_numbers_of_the_model() -> None:
    assert _layers("3, 12,0", 24) == [3, 12, 0]
    assert _layers("", 24) == [8, 10, 12, 14, 16, 18, 20, 22, 0]
    for text in ("a", "25", "-1", "3,,4"):
        with pytest.raises(ConfigError):
            _layers(text, 24)
