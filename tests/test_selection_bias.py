"""A selector tried on chains of known outcome, and the bias by which it says that all are wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_cot import Noted, choosing, stated

from forethought.bench.problems import Posed
from forethought.bench.selection_bias import (
    Rates,
    SelectionBias,
    cross_validated,
    fit_bias,
    rates,
    read_selection_bias,
)
from forethought.bench.selections import Selected, SelectionTrial, try_selection
from forethought.chains import Problem
from forethought.cli import calibrate
from forethought.cli.main import run
from forethought.cli.opening import Opened
from forethought.config_cot import CotConfig
from forethought.engine import EngineStats
from forethought.errors import ConfigError
from forethought.evaluators import Parts
from forethought.model import RunStopped, Scope, run_scope
from forethought.nodes import Selector
from forethought.prompts import MATH


def record(name: int, margin: float, *, rights: tuple[bool, bool] = (False, False)) -> Selected:
    """Two chains, the first the better one; "all are wrong" lies `margin` nats above it."""
    logits = np.array([0.0, -1.0, margin])
    shares = np.exp(logits) / np.exp(logits).sum()
    return Selected(f"p{name}", f"d{name}", "s", list(rights), shares.tolist())


def mixed(num: int, *, gap: float, seed: int = 0) -> list[Selected]:
    """Questions with and without a right chain, the margins of the latter `gap` higher."""
    rng = np.random.default_rng(seed)
    found = []
    for name in range(num):
        is_wrong = name % 4 == 0
        margin = float(rng.normal(-6.0 + gap * is_wrong, 1.0))
        rights = (False, False) if is_wrong else (bool(rng.random() < 0.9), True)
        found.append(record(name, margin, rights=rights))
    return found


# Rates


def test_rates_count_each_kind_of_question() -> None:
    records = [
        record(1, -1.0, rights=(True, False)),  # picked
        record(2, 1.0, rights=(True, True)),  # refused
        record(3, -1.0, rights=(False, True)),  # the wrong one
        record(4, -1.0, rights=(True, True)),  # picked
        record(5, 1.0),  # recognised
        record(6, -1.0),  # not
        record(7, -1.0),  # not
    ]
    found = rates(records, 0.0)
    assert found == Rates(picked_right=2 / 4, recognised=1 / 3)
    assert found.balanced == pytest.approx(5 / 12)
    assert rates(records, 5.0) == Rates(0.0, 1.0)
    assert rates(records, -5.0) == Rates(3 / 4, 0.0)
    assert rates(records[:4], 0.0).recognised == 0.0


# The fit


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_as_good_as_the_best_of_a_grid(gap: float, seed: int) -> None:
    records = mixed(60, gap=gap, seed=seed)
    slow = max(rates(records, bias).balanced for bias in np.linspace(-12, 12, 241))
    assert rates(records, fit_bias(records)).balanced >= slow


def test_margins_that_tell_apart_are_told_apart_exactly() -> None:
    none = [record(n, -3.0 - n / 10) for n in range(5)]
    right = [record(9 + n, -5.0 - n / 10, rights=(True, False)) for n in range(5)]
    assert rates(none + right, 0.0) == Rates(1.0, 0.0)  # as an untrained selector
    bias = fit_bias(none + right)
    assert bias == pytest.approx((3.4 + 5.0) / 2)
    assert rates(none + right, bias) == Rates(1.0, 1.0)


def test_what_is_right_already_stays_as_it_is() -> None:
    assert fit_bias([record(1, 2.0), record(2, -2.0, rights=(True, True))]) == 0.0


def test_one_kind_of_question_teaches_nothing() -> None:
    with pytest.raises(ConfigError, match="of 2 questions 2 have a right chain"):
        fit_bias([record(n, 0.0, rights=(True, True)) for n in range(2)])
    with pytest.raises(ConfigError, match="of 2 questions 0 have a right chain"):
        fit_bias([record(n, 0.0) for n in range(2)])


def test_probabilities_of_nothing_do_not_break_the_fit() -> None:
    never = Selected("a", "a", "s", [False], [1.0, 0.0])
    always = Selected("b", "b", "s", [True], [0.0, 1.0])
    bias = fit_bias([never, always, record(1, -1.0), record(2, -2.0, rights=(True, True))])
    assert math.isfinite(bias)


# Cross-validation


def test_every_question_is_judged_by_a_bias_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    records = mixed(43, gap=2.0)
    seen: list[set[str]] = []

    def noted(training: list[Selected]) -> float:
        seen.append({r.digest for r in training})
        return 0.0

    monkeypatch.setattr("forethought.bench.selection_bias.fit_bias", noted)
    assert cross_validated(records) == rates(records, 0.0)
    everything = {r.digest for r in records}
    left_out = [everything - training for training in seen]
    assert len(seen) == 5
    assert sorted(d for fold in left_out for d in fold) == sorted(everything)
    for fold in left_out:
        kinds = [r.has_right for r in records if r.digest in fold]
        assert 2 <= kinds.count(False) <= 3


def test_margins_that_say_nothing_promise_nothing() -> None:
    records = mixed(160, gap=0.0, seed=3)
    fitted_on_itself = rates(records, fit_bias(records)).balanced
    found = cross_validated(records).balanced
    assert found < fitted_on_itself
    assert abs(found - rates(records, 0.0).balanced) < 0.1


def test_margins_that_say_much_promise_much() -> None:
    records = mixed(120, gap=3.0)
    before, after = rates(records, 0.0), cross_validated(records)
    assert before.recognised < 0.1
    assert after.recognised > 0.8
    assert after.picked_right > 0.75


def test_two_of_each_kind_are_needed() -> None:
    records = [record(1, 0.0), *(record(n, 0.0, rights=(True, True)) for n in range(2, 6))]
    with pytest.raises(ConfigError, match="4 questions have a right chain and 1 have none"):
        cross_validated(records)


# The file


BIAS = SelectionBias("large", "small", 5, 1.5, Rates(0.8, 0.0), Rates(0.7, 0.5), 40, 8)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "bias.json"
    path.write_text(json.dumps(BIAS.document()))
    assert read_selection_bias(path) == BIAS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        json.dumps(BIAS.document() | {"more": 1}),
        json.dumps(BIAS.document() | {"all_wrong_bias": None}),
        json.dumps(BIAS.document() | {"after": {"picked_right": 2, "recognised": 0}}),
    ],
)
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bias.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bias\.json is no calibration of a selector"):
        read_selection_bias(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json is no calibration"):
        read_selection_bias(tmp_path / "none.json")


def test_a_calibration_is_applied_to_its_own_models_only() -> None:
    config = CotConfig(seed=3)
    applied = BIAS.applied(config, selector="large", draft="small")
    assert applied == replace(config, all_wrong_bias=1.5)
    for change in ({"selector": "other"}, {"draft": "other"}):
        with pytest.raises(ConfigError, match="fitted for 5 chains of small under large, not for"):
            BIAS.applied(config, **({"selector": "large", "draft": "small"} | change))
    with pytest.raises(ConfigError, match="not for 4 chains"):
        BIAS.applied(CotConfig(num_chains=4), selector="large", draft="small")


# Trying a selector


def posed(count: int) -> list[Posed]:
    return [Posed(Problem(f"p{n}", f"What is {n} + 1?", str(n + 1))) for n in range(count)]


def drafting() -> Noted:
    """Right in its second chain for even numbers only; blank for 5."""

    def reply(prompt: str, seed: int, index: int) -> str:
        number = int(prompt.rpartition("What is ")[2].split()[0])
        if number == 5:
            return " "
        return stated(index, str(number + 1 if index == 1 and number % 2 == 0 else -1))

    return Noted(reply, name="small")


def trial(draft: Noted, target: Noted, **settings: Any) -> SelectionTrial:
    given: dict[str, Any] = {"num_chains": 2} | settings
    return SelectionTrial(draft, Selector(target), CotConfig(**given))


def test_chains_are_drafted_graded_and_read(tmp_path: Path) -> None:
    draft, target = drafting(), choosing([0.2, 0.1, 0.1])
    told: list[tuple[int, int]] = []
    found = try_selection(
        trial(draft, target),
        posed(6),
        path=tmp_path / "kept.jsonl",
        progress=lambda done, of: told.append((done, of)),
    )
    assert [r.rights for r in found] == [[False, True], [False, False]] * 2 + [
        [False, True],
        [],
    ]
    assert found[0].shares == pytest.approx([0.5, 0.25, 0.25])
    assert found[5].shares == []
    assert told == [(n, 6) for n in range(1, 7)]
    assert len(target.read) == 5


def test_a_trial_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    first = try_selection(trial(drafting(), choosing([0.2, 0.1, 0.1])), posed(3), path=path)
    with path.open("a") as file:
        file.write('{"problem": "p3", "di')  # killed in a line
    draft = drafting()
    again = try_selection(trial(draft, choosing([0.2, 0.1, 0.1])), posed(4), path=path)
    assert again[:3] == first
    assert len(draft.written) == 1
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("settings", [{"num_chains": 3}, {"temperature": 0.1}, {"seed": 9}])
def test_other_settings_are_tried_anew(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    try_selection(trial(drafting(), choosing([0.2, 0.1, 0.1])), posed(2), path=path)
    draft = drafting()
    shares = [0.1] * (settings.get("num_chains", 2) + 1)
    try_selection(trial(draft, choosing(shares), **settings), posed(2), path=path)
    assert len(draft.written) == 2


def test_the_bias_itself_needs_no_new_trial(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    try_selection(trial(drafting(), choosing([0.2, 0.1, 0.1])), posed(2), path=path)
    draft = drafting()
    try_selection(trial(draft, choosing([0.2, 0.1, 0.1]), all_wrong_bias=3.0), posed(2), path=path)
    assert draft.written == []


@pytest.mark.parametrize("text", ["no selection\n", "no selection", '{"problem": "a"}\n'])
def test_somebody_elses_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match="give another file"):
        try_selection(trial(drafting(), choosing([0.2, 0.1, 0.1])), posed(1), path=path)
    assert path.read_text() == text


def test_a_cancelled_trial_keeps_nothing_half_done(tmp_path: Path) -> None:
    scope = Scope()
    scope.cancel.set()
    path = tmp_path / "kept.jsonl"
    with run_scope(scope), pytest.raises(RunStopped):
        try_selection(trial(drafting(), choosing([0.2, 0.1, 0.1])), posed(1), path=path)
    assert not path.exists()


def test_shares_and_chains_must_match() -> None:
    with pytest.raises(ConfigError, match="1 shares for 1 chains of p"):
        Selected("p", "d", "s", [True], [1.0])


# The command


class Counted(Noted):
    """A model that counts what it has served."""

    def stats(self) -> EngineStats:
        return EngineStats()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(prompt: str) -> list[float]:
        number = int(prompt.partition("Question: What is ")[2].split()[0])
        return [0.1, 0.8, 0.05 if number % 2 else 0.01]  # it knows, and does not say so

    @contextmanager
    def open_models(roles: set[str], _: dict[str, Any]) -> Iterator[Opened]:
        assert roles == {"draft", "target"}
        draft = Counted(drafting()._reply, name="small")
        target = Counted(lambda *_: "", judge=judge, name="large")
        yield Opened({"draft": draft, "target": target}, Parts(draft, target, MATH))

    monkeypatch.setattr(calibrate, "open_models", open_models)


def scot(data: Path, out: Path, *more: str) -> int:
    return run(["calibrate", "scot", "--data", str(data), "--out", str(out), *more])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(24)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.usefixtures("scripted")
def test_the_command_writes_a_bias_and_reports_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bias.json"
    assert scot(data, out, "--num-chains", "2") == 0
    bias = read_selection_bias(out)
    assert (bias.selector, bias.draft, bias.num_chains) == ("large", "small", 2)
    assert (bias.num_questions, bias.num_without) == (23, 11)
    assert (bias.before, bias.after) == (Rates(1.0, 0.0), Rates(1.0, 1.0))
    assert math.log(0.8 / 0.05) < bias.all_wrong_bias < math.log(0.8 / 0.01)
    printed = capsys.readouterr().out
    assert "before" in printed
    assert "100.0%" in printed
    assert "fitted on 23 questions, 11 without a right chain" in printed
    assert len((tmp_path / "bias.jsonl").read_text().splitlines()) == 24


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--num-chains", "9"], "num_chains must lie in 1..8, not 9"),
        (["--limit", "1", "--num-chains", "2"], "at least 2 of each kind are needed"),
        (["--kept", "nowhere/at.jsonl"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(
    more: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scot(data, tmp_path / "bias.json", *more) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (tmp_path / "bias.json").exists()


@pytest.mark.usefixtures("scripted")
def test_measurements_and_calibration_need_two_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bias.json"
    assert scot(data, out, "--kept", str(out)) == 1
    assert "give two files" in capsys.readouterr().err
