"""`forethought bench systems` from the command line: whole tiny benchmarks on scripted models."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scripted_cot import is_selection
from test_sandbox import is_isolated

from forethought.bench.engine import QUESTION
from forethought.bench.selection_bias import Rates, SelectionBias
from forethought.cli.main import run
from forethought.cli.opening import Opened, Served
from forethought.config import SamplingParams
from forethought.engine import EngineStats, ScriptedModel
from forethought.evaluators.registry import Parts, Role
from forethought.model import Completion, Usage, record_usage
from forethought.prompts import task_named

METHODS = "target-greedy,draft-greedy,self-consistency:draft,ar-beam,spec-search-beam"
NAMES = METHODS.split(",")
SECONDS = {"draft": 0.001, "target": 0.004}
isolated = pytest.mark.skipif(not is_isolated(), reason="this system grants no namespaces")
drawing = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib"
)


class TimedModel(ScriptedModel):
    """A scripted model in an engine's place, which says that every token took its time."""

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        completions = super().generate(prompts, params)
        num = sum(len(one.tokens) for one in completions)
        record_usage(self.name, Usage(seconds=num * SECONDS[self.name] / 1000))
        return completions

    def stats(self) -> EngineStats:
        return EngineStats()


def asked(prompt: str) -> str:
    return prompt.rpartition("user: ")[2].partition("\nassistant: ")[0]


@dataclass
class Desk:
    """A command line whose models add two numbers; the draft errs by one on every third question.

    `dies_at` is the question at which the process is stopped. With a `program` they write that.
    """

    opened: list[tuple[list[Role], list[Role], str]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    dies_at: str = "no question"
    program: str = ""

    def _answer(self, name: str, question: str) -> str:
        numbers = [int(found) for found in re.findall(r"\d+", question)] or [0]
        return str(sum(numbers) + (name == "draft" and numbers[0] % 3 == 0))

    def _reply(self, name: str) -> Any:
        def reply(prompt: str, seed: int, index: int) -> str:
            question = asked(prompt)
            self.questions.append(question)
            if question == self.dies_at:
                raise KeyboardInterrupt
            first = f"{name} {index} adds them up.\n\n"
            last = f"So \\boxed{{{self._answer(name, question)}}}."
            if self.program:
                first, last = "", f"```python\n{self.program}\n```"
            return (first if prompt.endswith("assistant: ") else "") + last

        return reply

    def _judge(self, prompt: str) -> list[float]:
        if is_selection(prompt):
            return [0.6, *[0.1] * (prompt.count("\nReason ") - 2), 0.2]
        return [0.4 if "draft 0" in prompt else 0.7, 0.3]

    @contextmanager
    def open_models(
        self, roles: set[Role], options: dict[str, Any], *, with_states: set[Role]
    ) -> Iterator[Opened]:
        self.opened.append((sorted(roles), sorted(with_states), options["task"]))
        models: dict[Role, Served] = {
            role: TimedModel(self._reply(role), judge=self._judge, name=role) for role in roles
        }
        task = task_named(options["task"])
        yield Opened(models, Parts(models.get("draft"), models.get("target"), task))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr("forethought.cli.systems.open_models", made.open_models)
    monkeypatch.setattr("forethought.bench.problems.require_math_verify", lambda: None)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n} + 5?", "answer": str(n + 5)} for n in range(1, 10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(data: Path | str, out: Path, *more: str) -> list[str]:
    return [
        *("bench", "systems", "--data", str(data), "--out", str(out), "--no-plots"),
        *("--methods", METHODS, "--limit", "6", "--tree-width", "2", "--beam-width", "1"),
        *more,
    ]


def results_of(data: Path | str, out: Path, *more: str) -> dict[str, Any]:
    assert run(command(data, out, *more)) == 0
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results


def lines_of(out: Path) -> list[dict[str, Any]]:
    text = (out / "runs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()][1:]


def what_was_decided(out: Path) -> list[tuple[Any, ...]]:
    """Runs without what the clock says."""
    names = ("problem", "method", "seed", "answer", "kept", "rejected", "revised")
    return [tuple(line[name] for name in names) for line in lines_of(out)]


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error, which must be one line on stderr and nothing on stdout."""
    assert run(arguments) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("forethought: ")
    assert err.count("\n") == 1
    return err


def test_a_benchmark_has_the_figures_of_every_method(
    desk: Desk, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = results_of(data, tmp_path / "out")
    methods = results["methods"]
    assert list(methods) == NAMES
    assert desk.opened == [(["draft", "target"], [], "math")]
    right = sum(int(line["problem"].split("/")[1]) % 3 != 0 for line in lines_of(tmp_path / "out"))
    share = right / len(lines_of(tmp_path / "out"))
    assert methods["target-greedy"]["accuracy"] == 1.0
    assert methods["ar-beam"]["accuracy"] == 1.0
    assert methods["draft-greedy"]["accuracy"] == pytest.approx(share)
    assert methods["self-consistency:draft"]["accuracy"] == pytest.approx(share)
    assert methods["draft-greedy"]["target_share_of_all"] == 0.0
    assert methods["target-greedy"]["acceptance"] is None
    spec = methods["spec-search-beam"]
    assert set(spec["speed_ups"]) == {"ar-beam"}
    assert spec["bound"]["measured"] == pytest.approx(spec["speed_ups"]["ar-beam"]["value"])
    assert spec["bound"]["prices"]["target"] / spec["bound"]["prices"]["draft"] == pytest.approx(
        4.0, rel=0.05
    )
    total = spec["bound"]["ideal"] + sum(spec["bound"]["losses"].values())
    assert total == pytest.approx(spec["total_seconds"])
    assert methods["ar-beam"]["bound"] is None
    out, err = capsys.readouterr()
    assert "Accuracy and time" in out
    assert "Where the time went" in out
    last = json.loads(out.strip().splitlines()[-1])
    assert last["accuracy"]["ar-beam"] == 1.0
    assert "30/30 " in err


def test_results_say_how_they_were_made(
    desk: Desk, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(data, tmp_path / "out", "--seed", "3")
    monkeypatch.setattr(sys, "argv", ["forethought", *arguments])
    assert run(arguments) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert set(results) == {"schema", "command", "date", "started", "settings", "methods"}
    assert results["command"].startswith("forethought bench systems --data ")
    assert results["started"] <= results["date"]
    settings = results["settings"]
    assert settings["search"]["seed"] == 3
    assert settings["samples"] == 2
    assert settings["machine"]["cores"] >= 1
    assert settings["versions"]["forethought"]
    assert settings["methods"][3] == {"label": "ar-beam", "evaluator": "judge"}
    documented = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text("utf-8")
    for key in {*results, *results["methods"]["spec-search-beam"]}:
        assert f"`{key}`" in documented, key


def test_methods_are_interleaved_problem_by_problem_with_one_seed_each(
    desk: Desk, data: Path, tmp_path: Path
) -> None:
    results_of(data, tmp_path, "--seed", "10")
    lines = lines_of(tmp_path)
    for place in range(6):
        own = lines[5 * place : 5 * place + 5]
        assert len({line["problem"] for line in own}) == 1
        assert {line["seed"] for line in own} == {10 + place}
        first = place % 5
        assert [line["method"] for line in own] == [*NAMES[first:], *NAMES[:first]]
    assert desk.questions[0] == QUESTION  # warm, before anything is timed
    assert not any(line["problem"] == QUESTION for line in lines)


@pytest.mark.parametrize("torn", ["", '{"method": "ar-be', '{"schema": 1}'])
def test_a_benchmark_that_was_cut_off_goes_on_where_it_was(
    torn: str, desk: Desk, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of(data, tmp_path / "whole")
    expected = what_was_decided(tmp_path / "whole")
    number = int(expected[5 * 3][0].split("/")[1])
    desk.dies_at = f"What is {number} + 5?"
    capsys.readouterr()
    assert run(command(data, tmp_path / "cut")) == 1
    assert capsys.readouterr().err.endswith("forethought: stopped\n")
    assert not (tmp_path / "cut" / "results.json").exists()
    assert what_was_decided(tmp_path / "cut") == expected[:15]
    with (tmp_path / "cut" / "runs.jsonl").open("a") as file:
        file.write(torn)
    desk.dies_at = "no question"
    desk.questions.clear()
    results = results_of(data, tmp_path / "cut")
    assert what_was_decided(tmp_path / "cut") == expected
    done = {f"What is {name.split('/')[1]} + 5?" for name, *_ in expected[:15]}
    assert not done & set(desk.questions)
    assert results["methods"]["ar-beam"]["num_problems"] == 6


def test_a_finished_benchmark_is_reported_again_without_a_model(
    desk: Desk, data: Path, tmp_path: Path
) -> None:
    first = results_of(data, tmp_path)
    desk.opened.clear()
    assert results_of(data, tmp_path)["methods"] == first["methods"]
    assert desk.opened == []
    fewer = results_of(data, tmp_path, "--limit", "4")["methods"]["ar-beam"]
    assert fewer["num_problems"] == 4
    assert desk.opened == []


def test_a_larger_limit_adds_problems(desk: Desk, data: Path, tmp_path: Path) -> None:
    results_of(data, tmp_path)
    before = lines_of(tmp_path)
    assert results_of(data, tmp_path, "--limit", "8")["methods"]["ar-beam"]["num_problems"] == 8
    assert lines_of(tmp_path)[: len(before)] == before
    assert len(lines_of(tmp_path)) == 8 * 5


def test_other_settings_in_the_same_folder_are_refused(
    desk: Desk, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of(data, tmp_path / "out")
    capsys.readouterr()
    for more, message in (
        (["--theta", "0.5"], "search.theta: 0.9 -> 0.5"),
        (["--target", "other"], 'target: "qwen2.5-coder-1.5b" -> "other"'),
        (["--samples", "3"], "samples: 2 -> 3"),
        (["--methods", "ar-beam"], "methods: "),
    ):
        assert message in fails(capsys, *command(data, tmp_path / "out", *more))


def test_several_evaluators_are_compared_at_once(desk: Desk, data: Path, tmp_path: Path) -> None:
    names = "spec-search-beam,spec-search-beam@equations,ar-beam,ar-beam@equations"
    found = results_of(data, tmp_path, "--methods", names, "--evaluator", "judge+equations")
    evaluators = [one["evaluator"] for one in found["methods"].values()]
    assert evaluators == ["judge+equations", "equations", "judge+equations", "equations"]
    speed_ups = [list(one["speed_ups"]) for one in found["methods"].values()]
    assert speed_ups == [["ar-beam"], ["ar-beam@equations"], [], []]


CHAINS = "target-greedy,sps-greedy,speculative-thinking,speculative-cot[num_chains=1|2]"


@pytest.fixture
def speculating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token-level speculation needs engines; the target stands in for it."""
    monkeypatch.setattr(
        "forethought.cli.systems.speculating_target", lambda opened, _: opened.models["target"]
    )


@pytest.mark.usefixtures("speculating")
def test_graphs_of_whole_chains_run_beside_the_models_alone(
    desk: Desk, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    results = results_of(data, out, "--methods", CHAINS, "--temperature", "0.3")
    labels = [
        *("target-greedy", "sps-greedy", "speculative-thinking"),
        *("speculative-cot[num_chains=1]", "speculative-cot[num_chains=2]"),
    ]
    methods = results["methods"]
    assert list(methods) == labels
    assert [line["method"] for line in lines_of(out)[5:10]] == [*labels[1:], labels[0]]
    right = [int(line["problem"].split("/")[1]) % 3 != 0 for line in lines_of(out)]
    share = sum(right) / len(right)
    accuracy = [methods[label]["accuracy"] for label in labels]
    # in turns the draft's errors stay; behind a chain the answer is the target's
    assert accuracy == [1.0, 1.0, pytest.approx(share), 1.0, 1.0]
    for label in labels[2:]:
        assert set(methods[label]["speed_ups"]) == {"target-greedy", "sps-greedy"}
    choices = methods[labels[3]]["chains"]["choices"]
    assert choices["num_solvable"] == choices["num_right"] == round(6 * share)
    assert choices["num_recognised"] == 0
    assert methods[labels[4]]["graph"] == "speculative-cot"
    assert methods["target-greedy"]["chains"]["choices"] is None
    graphs = results["settings"]["graphs"]
    assert graphs["speculative-cot"]["temperature"] == 0.3
    assert graphs["speculative-thinking"]["temperature"] == 0.3
    documented = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text("utf-8")
    for key in {"graphs", *methods[labels[4]]["chains"], *choices}:
        assert f"`{key}`" in documented, key
    shown = capsys.readouterr().out
    assert "Chains of thought" in shown
    assert "Which chain was picked" in shown


def calibration(path: Path, num_chains: int, bias: float) -> str:
    rates = Rates(0.5, 0.5)
    fitted = SelectionBias("target", "draft", num_chains, bias, rates, rates, 9, 4)
    path.write_text(json.dumps(fitted.document()))
    return str(path)


def test_a_calibration_decides_which_methods_call_all_chains_wrong(
    desk: Desk, data: Path, tmp_path: Path
) -> None:
    names = (
        "speculative-cot[num_chains=1|2],speculative-cot:untrained[num_chains=2],"
        "speculative-cot[num_chains=2;all_wrong_bias=0.5],speculative-cot:single"
    )
    given = [
        *("--calibration", calibration(tmp_path / "one.json", 1, 0.5)),
        *("--calibration", calibration(tmp_path / "two.json", 2, 3.0)),
    ]
    results = results_of(data, tmp_path / "out", "--methods", names, *given)
    again = {label: one["chains"]["thought_again"] for label, one in results["methods"].items()}
    assert [label for label, num in again.items() if num] == ["speculative-cot[num_chains=2]"]
    assert results["methods"]["speculative-cot[num_chains=2]"]["accuracy"] == 1.0
    fitted = [one["all_wrong_bias"] for one in results["settings"]["calibrations"]]
    assert fitted == [0.5, 3.0]


def test_a_calibration_for_another_number_of_chains_is_refused_before_any_run(
    desk: Desk, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = calibration(tmp_path / "one.json", 1, 0.5)
    given = command(data, tmp_path / "out", "--methods", "speculative-cot", "--calibration", path)
    message = fails(capsys, *given)
    assert "fitted for 1 chains of draft under target, not for 5 chains" in message
    assert lines_of(tmp_path / "out") == []


def test_only_the_models_that_are_needed_are_opened(desk: Desk, data: Path, tmp_path: Path) -> None:
    results_of(data, tmp_path, "--methods", "draft-greedy")
    assert desk.opened == [(["draft"], [], "math")]


def test_thresholds_that_are_kept_are_each_method_s_own(
    desk: Desk, data: Path, tmp_path: Path
) -> None:
    names = "spec-search-beam,spec-search-beam@judge:draft"
    results_of(data, tmp_path, "--methods", names, "--init", "store")
    stores = {path.name for path in tmp_path.glob("*.sqlite")}
    assert stores == {"thresholds-0.sqlite", "thresholds-1.sqlite"}
    lines = [line for line in lines_of(tmp_path) if line["method"] == "spec-search-beam"]
    has_drafted_first = [line["depths"][0]["num_drafted"] > 0 for line in lines]
    assert has_drafted_first == [False] + [True] * 5


@isolated
@pytest.mark.parametrize(("program", "accuracy"), [("    return 2 * x", 1.0), ("    pass", 0.0)])
def test_functions_are_searched_as_code_and_graded_by_their_tests(
    program: str, accuracy: float, desk: Desk, tmp_path: Path
) -> None:
    row = {
        "task_id": "own/1",
        "prompt": 'def twice(x):\n    """Two times x.\n\n    >>> twice(2)\n    4\n    """\n',
        "entry_point": "twice",
        "test": "def check(candidate):\n    assert candidate(3) == 6\n",
    }
    path = tmp_path / "functions.jsonl"
    path.write_text(json.dumps(row) + "\n")
    desk.program = program
    more = ("--methods", "target-greedy,ar-beam", "--evaluator", "visible-tests")
    found = results_of(path, tmp_path / "out", *more)["methods"]
    assert desk.opened == [(["draft", "target"], [], "code")]
    assert [one["accuracy"] for one in found.values()] == [accuracy] * 2
    last = found["ar-beam"]["by_depth"][-1]
    assert (last["depth"], last["mean_score"]) == (1, accuracy)


@drawing
def test_the_report_has_tables_and_pictures(desk: Desk, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(command(data, out, "--plots")) == 0
    text = (out / "report.md").read_text(encoding="utf-8")
    for name in ("accuracy_latency", "speed_up", "by_depth"):
        assert f"({name}.png)" in text
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"{name}.svg").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == [
        "Accuracy and time",
        "Speed-up",
        "Tokens",
        "Who wrote",
        "Acceptance by depth",
        "Score by depth",
        "Threshold by depth",
        "The bound",
        "Where the time went",
    ]
    assert "this pair on this machine could reach a speed-up of" in text
    rows = [line for line in text.splitlines() if line.startswith("| spec-search-beam |")]
    assert len(rows) == len(titles)


@drawing
def test_a_benchmark_without_searches_leaves_out_what_it_cannot_tell(
    desk: Desk, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = command(data, out, "--plots", "--methods", "draft-greedy", "--limit", "1")
    assert run(given) == 0
    text = (out / "report.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == ["Accuracy and time", "Tokens", "Who wrote"]
    assert sorted(path.stem for path in out.glob("*.png")) == ["accuracy_latency"]


def test_without_matplotlib_the_extra_is_told_before_anything_is_done(
    desk: Desk,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    error = fails(capsys, *command(data, tmp_path / "out", "--plots"))
    assert "[bench]" in error
    assert desk.opened == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "dice"], "there is no method 'dice'"),
        (["--methods", "ar-beam@dice"], "there is no evaluator 'dice'"),
        (["--evaluator", "dice"], "there is no evaluator 'dice'"),
        (["--data", "nothing.jsonl"], "there is no file nothing.jsonl"),
        (["--data", "{tmp}/empty.jsonl"], "has no problems"),
        (["--data", "{tmp}/wrong.jsonl"], "wrong.jsonl:1 is no JSON object"),
        (["--limit", "0"], "limit"),
        (["--samples", "0"], "samples"),
        (["--theta", "2"], "theta must lie in"),
        (["--methods", "ar-beam[theta=2]"], "theta must lie in"),
        (["--methods", "speculative-cot[num_chains=9]"], "num_chains must lie in"),
        (["--calibration", "{tmp}/wrong.jsonl"], "is no calibration of a selector"),
        (["--task", "chess"], "task must be one of"),
        (["--out", "{tmp}/empty.jsonl/out"], "cannot write to"),
    ],
)
def test_bad_input_is_one_line_before_any_model_is_opened(
    more: list[str],
    message: str,
    desk: Desk,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "wrong.jsonl").write_text("{}\n")
    given = [part.format(tmp=tmp_path) for part in more]
    assert message in fails(capsys, *command(data, tmp_path / "out", *given))
    assert desk.opened == []


def test_nothing_is_left_behind_where_a_benchmark_is_refused(
    desk: Desk, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, *command(data, tmp_path / "out", "--methods", "dice"))
    assert not (tmp_path / "out").exists()
