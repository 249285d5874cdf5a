"""`forethought train` from the command line."""

from __future__ import annotations

import json
import re
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
from forethought.training.lora import Losses
from forethought.training.split import Split

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


# Speculative Chain-of-Thought


class Adapting(CountedModel):
    """A scripted model in an engine's place, which writes more briefly and picks better once it is
    adapted."""

    def __init__(self, *, is_adapted: bool = False) -> None:
        reply = "\\boxed{1}" if is_adapted else "Well, well: \\boxed{2}"
        shares = [0.1, 0.7, 0.2] if is_adapted else [0.5, 0.3, 0.2]
        super().__init__(lambda *_: reply, judge=lambda _: shares)

    def adapted(self, _: Path) -> Adapting:
        return Adapting(is_adapted=True)

    def __enter__(self) -> Adapting:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Trains nothing, and keeps what was to be trained on."""
    seen: dict[str, Any] = {}

    def train(base: Path, data: Split, **options: Any) -> Losses:
        seen.update(options, base=base, data=data)
        return Losses(3, 1.25, 0.5)

    for name in ("train_on_chains", "train_on_drafts"):
        monkeypatch.setattr(f"forethought.cli.train_cot.{name}", train)
    monkeypatch.setattr("forethought.cli.train_cot.Engine", lambda *_, **__: Adapting())
    monkeypatch.setattr(
        "forethought.cli.train_cot.model_path", lambda role, _: Path(f"{role}.gguf")
    )
    return seen


@pytest.fixture
def target_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def reply(prompt: str, _: int, __: int) -> str:
        asked.append(prompt)
        return "So it is \\boxed{1}."

    @contextmanager
    def open_models(roles: set[Role], _: dict[str, Any]) -> Iterator[Opened]:
        assert roles == {"target"}
        models: dict[Role, Served] = {"target": CountedModel(reply, name="target")}
        yield Opened(models, Parts(None, models["target"], MATH))

    monkeypatch.setattr("forethought.cli.train_cot.open_models", open_models)
    return asked


def test_the_target_writes_what_the_draft_learns_and_only_once(
    trained: dict[str, Any],
    target_writes: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = tmp_path / "problems.jsonl", tmp_path / "chains.jsonl"
    rows = [json.dumps({"question": f"{n} + 0?", "answer": "1"}) for n in range(40)]
    path.write_text("\n".join(rows))
    given = ["train", "draft", "--data", str(path), "--chains", str(out), "--out", "d.gguf"]
    assert run([*given, "--limit", "38"]) == 0
    assert len(target_writes) == 38
    assert run([*given, "--check", "2", "--epochs", "3", "--layers", "4"]) == 0
    assert len(target_writes) == 40
    config = trained["config"]
    assert (trained["base"], config.epochs, config.layers) == (Path("draft.gguf"), 3, 4)
    assert len(trained["data"].kept) + len(trained["data"].held) == 40
    shown = capsys.readouterr().out
    assert "loss 1.2500 before and 0.5000 after" in shown
    (before,) = re.findall(r"before +(\d+) +(\d+%) +(\d+%)", shown.rpartition("loss")[2])
    (after,) = re.findall(r"after +(\d+) +(\d+%) +(\d+%)", shown.rpartition("questions held")[2])
    assert (before, after) == (("21", "100%", "0%"), ("9", "100%", "100%"))


def test_a_draft_needs_chains_or_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "draft", "--chains", "none.jsonl", "--out", "d.gguf"]) == 1
    assert "--data" in capsys.readouterr().err


def test_a_selector_is_trained_on_the_drafts_and_checked_on_others(
    trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chains.jsonl"
    for n in range(40):
        own = replace(CHAIN, question=f"{n}?", problem=str(n))
        append_chains(path, [replace(own, is_right=False), replace(own, is_right=n % 2 == 0)])
    given = ["train", "selector", "--chains", str(path), "--num-drafts", "2", "--no-shuffle"]
    assert run([*given, "--out", "s.gguf", "--check", "40"]) == 0
    config = trained["config"]
    assert (trained["base"], config.num_drafts, config.shuffle) == (Path("target.gguf"), 2, False)
    held = len(trained["data"].held) // 2
    shown = capsys.readouterr().out
    ((right, solvable, recognised, rest),) = re.findall(
        r"after +(\d+) of (\d+) +(\d+) of (\d+)", shown
    )
    assert int(right) == int(solvable) > 0
    assert (int(recognised), int(solvable) + int(rest)) == (0, held)
    assert re.search(rf"before +0 of {solvable} ", shown)
    assert run([*given, "--out", "s.gguf", "--check", "0"]) == 0
    assert "held out\n" in capsys.readouterr().out
