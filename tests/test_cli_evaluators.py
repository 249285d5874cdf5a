"""`forethought evaluators` from the command line, and what a spec of an evaluator means."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forethought.chains import Chain, Problem, Step, append_chains
from forethought.cli.evaluators import evaluators
from forethought.cli.main import forethought, run
from forethought.cli.opening import Opened, Served
from forethought.engine import EngineStats, ScriptedModel
from forethought.errors import ConfigError, UnknownModel
from forethought.evaluators.calibration import read_calibration
from forethought.evaluators.heads import Head, Layer, save_head
from forethought.evaluators.registry import (
    ENTRIES,
    Parts,
    Role,
    build_evaluator,
    roles_needed,
)
from forethought.model import Reader
from forethought.prompts import MATH, TASKS
from forethought.thoughts import Source
from forethought.training import ChainSampler, sample_chains

forethought.add_command(evaluators)
QUESTIONS = ["How many apples?", "How many pears?", "How many plums?"]


def chain(question: str, right: bool, *, source: Source = "draft", mark: str = "") -> Chain:
    """A chain of two steps; `judged` likes right ones, and later steps better."""
    word = "good" if right else "bad"
    texts = [
        f"A {word} start{mark}.\n\n",
        f"A {word} end{mark}: \\boxed{{{7 if right else 8}}}.\n\n",
    ]
    steps = [Step(text, [ord(character) for character in text]) for text in texts]
    stated = "7" if right else "8"
    problem = f"fruit/{question}"
    return Chain(problem, question, "7", source, source, "code points", steps, stated, right)


def chains_of(question: str) -> list[Chain]:
    """Two drafts and one of the target; the second draft is wrong."""
    return [
        chain(question, True),
        chain(question, False),
        chain(question, True, source="target", mark="!"),
    ]


def judged(prompt: str) -> list[float]:
    """The probabilities of yes and no words, by the words of the path."""
    path = prompt.rpartition("assistant: ")[2]
    score = 0.1 + 0.6 * ("good" in path) + 0.2 * ("end" in path)
    return [score, 1 - score]


def answered(prompt: str, seed: int, index: int) -> str:
    """A one-step solution that is right where its place in the batch is even."""
    return "A bad end: \\boxed{8}." if index % 2 else "A good end: \\boxed{7}."


class CountedModel(ScriptedModel):
    """A scripted model in an engine's place."""

    def stats(self) -> EngineStats:
        return EngineStats()


@dataclass
class Desk:
    """A command line whose models are scripted; notes what was opened, read and written."""

    opened: list[list[str]] = field(default_factory=list)
    sampled: list[tuple[str, int, int]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    fails_at: str = "no question"

    def judge(self, prompt: str) -> list[float]:
        if self.fails_at in prompt:
            raise KeyboardInterrupt
        self.read.append(prompt)
        return judged(prompt)

    @contextmanager
    def open_models(
        self, roles: set[Role], options: dict[str, Any], *, with_states: set[Role]
    ) -> Iterator[Opened]:
        self.opened.append(sorted(roles))
        models: dict[Role, Served] = {
            role: CountedModel(answered, judge=self.judge, name=options[role]) for role in roles
        }
        yield Opened(models, Parts(models.get("draft"), models.get("target"), MATH))

    def sample_chains(self, sampler: ChainSampler, problems: list[Problem], **options: Any) -> None:
        self.sampled.append((sampler.source, options["num_chains"], sampler.seed))
        for number, problem in enumerate(problems, 1):
            own = [one for one in chains_of(problem.question) if one.source == sampler.source]
            append_chains(options["path"], own)
            options["progress"](number, len(problems))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr("forethought.cli.evaluators.open_models", made.open_models)
    monkeypatch.setattr("forethought.cli.evaluators.sample_chains", made.sample_chains)
    return made


@pytest.fixture
def chains(tmp_path: Path) -> Path:
    path = tmp_path / "some.jsonl"
    append_chains(path, [one for question in QUESTIONS for one in chains_of(question)])
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    rows = [json.dumps({"question": question, "answer": "7"}) for question in QUESTIONS]
    path.write_text("\n".join(rows))
    return path


def results_of(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    """The results of `evaluators test` into a folder."""
    given = ["evaluators", "test", "--no-plots", "--out", str(folder), *map(str, arguments)]
    assert run(given) == 0
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results


def fails(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The error, which must be one line on stderr and nothing on stdout."""
    assert run(["evaluators", *map(str, arguments)]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("forethought: ")
    assert err.count("\n") == 1
    return err


# list


def test_the_list_has_every_entry_with_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluators", "list"]) == 0
    out = capsys.readouterr().out
    for entry in ENTRIES:
        assert entry.form in out
        assert entry.about.split()[0] in out


# test


def test_figures_are_of_the_chains_in_the_file(desk: Desk, chains: Path, tmp_path: Path) -> None:
    (found,) = results_of(tmp_path / "out", "--chains", chains)["evaluators"]
    assert found["evaluator"] == "judge:qwen2.5-coder-1.5b"
    assert (found["num_questions"], found["num_chains"], found["num_steps"]) == (3, 9, 18)
    assert found["ranking"]["all"]["pairs"] == 1.0
    assert found["ranking"]["all"]["num_pairs"] == 6
    assert found["best_of"]["highest"] == 1.0
    assert desk.opened == [["target"]]
    assert desk.sampled == []


def test_the_report_is_printed_and_written(
    desk: Desk, chains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of(tmp_path / "out", "--chains", chains)
    out, err = capsys.readouterr()
    assert "Right against wrong answers" in out
    assert "3 questions, 9 chains" in out
    assert "judge:qwen2.5-coder-1.5b: 3 of 3 questions" in err
    assert (tmp_path / "out" / "report.md").exists()


def test_several_evaluators_open_only_the_models_that_read(
    desk: Desk, chains: Path, tmp_path: Path
) -> None:
    specs = ["judge:draft", "judge:draft@min", "likelihood:logprob:draft", "judge:draft"]
    given = [part for spec in specs for part in ("--evaluator", spec)]
    found = results_of(tmp_path, "--chains", chains, "--draft", "small", *given)["evaluators"]
    names = [one["evaluator"] for one in found]
    assert names == ["judge:small", "min(judge:small)", "likelihood:small:logprob"]
    assert desk.opened == [["draft"]]


def test_chains_that_are_missing_are_written_first(desk: Desk, data: Path, tmp_path: Path) -> None:
    given = ["--data", data, "--samples-draft", "6", "--samples-target", "2", "--seed", "5"]
    (found,) = results_of(tmp_path / "out", *given)["evaluators"]
    assert desk.sampled == [("draft", 6, 5), ("target", 2, 5)]
    assert desk.opened == [["draft", "target"]]
    assert found["num_chains"] == 9
    assert (tmp_path / "out" / "chains.jsonl").exists()


def test_what_the_models_write_is_graded_and_measured(
    desk: Desk, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forethought.cli.evaluators.sample_chains", sample_chains)
    given = ["--data", data, "--samples-draft", "4", "--samples-target", "2"]
    (found,) = results_of(tmp_path / "out", *given)["evaluators"]
    assert (found["num_questions"], found["num_chains"]) == (3, 18)
    # of four drafts and two of the target, half are right: 3 * 3 pairs a question
    assert found["ranking"]["all"]["num_pairs"] == 27
    assert found["ranking"]["all"]["pairs"] == 1.0
    assert found["best_of"]["mean"] == 0.5


def test_only_who_has_not_written_writes(desk: Desk, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "chains.jsonl"
    append_chains(path, [one for q in QUESTIONS for one in chains_of(q) if one.source == "draft"])
    results_of(tmp_path / "out", "--data", data, "--chains", path)
    assert [source for source, *_ in desk.sampled] == ["target"]


def test_the_target_need_not_write(desk: Desk, data: Path, tmp_path: Path) -> None:
    given = ["--data", data, "--samples-target", "0", "--evaluator", "judge:draft"]
    results_of(tmp_path, *given)
    assert [source for source, *_ in desk.sampled] == ["draft"]
    assert desk.opened == [["draft"]]


@pytest.mark.parametrize("has_data", [True, False])
def test_the_limit_counts_questions(
    has_data: bool, desk: Desk, data: Path, chains: Path, tmp_path: Path
) -> None:
    given = ["--data", data] if has_data else []
    (found,) = results_of(tmp_path, "--chains", chains, "--limit", "2", *given)["evaluators"]
    assert found["num_questions"] == 2
    assert not any(QUESTIONS[2] in prompt for prompt in desk.read)


def test_an_interrupted_run_goes_on_where_it_was(
    desk: Desk, chains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.fails_at = QUESTIONS[1]
    given = ["evaluators", "test", "--no-plots", "--out", str(tmp_path), "--chains", str(chains)]
    assert run(given) == 1
    assert capsys.readouterr().err.endswith("forethought: stopped\n")
    assert len(desk.read) == 6
    desk.fails_at = "no question"
    (found,) = results_of(tmp_path, "--chains", chains)["evaluators"]
    assert len(desk.read) == 18
    assert found["cost"]["tokens_per_thought"] == sum(map(len, desk.read)) / 18


def test_without_matplotlib_the_extra_is_told_before_anything_is_done(
    desk: Desk,
    chains: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "[bench]" in fails(capsys, "test", "--chains", chains, "--out", tmp_path / "out")
    assert desk.opened == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no file"),
        (["--chains", "{tmp}/nothing.jsonl"], "there is no file"),
        (["--chains", "{tmp}"], "is a directory"),
        (["--data", "{tmp}/nothing.jsonl"], "does not exist"),
        (["--data", "{tmp}/text.txt"], "text.txt:1 is no JSON object"),
        (["--data", "{tmp}/bytes.txt"], "bytes.txt is not valid UTF-8"),
        (["--chains", "{tmp}/text.txt"], "text.txt:1 is no chain"),
        (["--chains", "{tmp}/bytes.txt"], "bytes.txt is not valid UTF-8"),
        (["--chains", "{tmp}/empty.txt"], "empty.txt"),
        (["--chains", "{tmp}/right.jsonl"], "all 2 chains of"),
        (["--chains", "{chains}", "--evaluator", "dice"], "there is no evaluator 'dice'"),
        (["--chains", "{chains}", "--evaluator", "likelihood"], "not of the form likelihood:"),
        (["--chains", "{chains}", "--limit", "0"], "limit"),
        (["--chains", "{chains}", "--out", "{chains}/x"], "cannot make the folder"),
        (["--chains", "{tmp}/no/no.jsonl", "--data", "{data}"], "there is no folder"),
        (["--chains", "{chains}", "--calibration", "{chains}"], "is no calibration"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    desk: Desk,
    chains: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.txt").write_text("no JSON\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.txt").touch()
    append_chains(tmp_path / "right.jsonl", [chain(QUESTIONS[0], True), chain(QUESTIONS[1], True)])
    names = {"tmp": tmp_path, "chains": chains, "data": data}
    given = [argument.format(**names) for argument in arguments]
    out = [] if "--out" in given else ["--out", tmp_path / "out"]
    assert message in fails(capsys, "test", "--no-plots", *out, *given)
    assert desk.read == []


# calibrate


def calibrated(chains: Path, out: Path, *arguments: str) -> None:
    given = ["--chains", str(chains), "--evaluator", "judge", "--out", str(out), *arguments]
    assert run(["evaluators", "calibrate", *given]) == 0


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_a_calibration_is_written_for_its_evaluator(
    kind: str, desk: Desk, chains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "judge.json"
    calibrated(chains, file, "--kind", kind)
    calibration = read_calibration(file)
    assert (calibration.kind, calibration.evaluator) == (kind, "judge:qwen2.5-coder-1.5b")
    low, high = calibration.apply([0.3, 0.9])
    assert low < 0.4
    assert high > 0.8
    out = capsys.readouterr().out
    assert f"judge:qwen2.5-coder-1.5b~{kind}:{calibration.digest}: fitted on 18 steps" in out
    assert "on questions it was not fitted on: Brier 0.0" in out


def test_scores_that_a_test_kept_are_used_again(desk: Desk, chains: Path, tmp_path: Path) -> None:
    results_of(tmp_path, "--chains", chains)
    num_read = len(desk.read)
    calibrated(chains, tmp_path / "judge.json", "--scores", str(tmp_path / "scores.jsonl"))
    assert len(desk.read) == num_read > 0


def test_a_calibration_is_tested_beside_its_evaluator_at_no_cost(
    desk: Desk, chains: Path, tmp_path: Path
) -> None:
    file = tmp_path / "judge.json"
    calibrated(chains, file)
    desk.read.clear()
    found = results_of(tmp_path / "out", "--chains", chains, "--calibration", file)["evaluators"]
    assert len(desk.read) == 18
    raw, mapped = found
    assert mapped["evaluator"].startswith(raw["evaluator"] + "~isotonic:")
    assert mapped["raw"]["brier"] < raw["raw"]["brier"]
    assert mapped["ranking"]["all"] == raw["ranking"]["all"]


def test_another_evaluators_calibration_is_refused_before_scoring(
    desk: Desk, chains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "judge.json"
    calibrated(chains, file)
    desk.read.clear()
    capsys.readouterr()
    given = ["--no-plots", "--chains", chains, "--calibration", file, "--target", "other"]
    err = fails(capsys, "test", *given, "--out", tmp_path / "out")
    assert "belongs to judge:qwen2.5-coder-1.5b, not to judge:other" in err
    assert desk.read == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chains", "{tmp}/nothing.jsonl"], "does not exist"),
        (["--chains", "{tmp}/wrong.jsonl"], "are wrong, so nothing can be told apart"),
        (["--evaluator", "dice"], "there is no evaluator 'dice'"),
        (["--kind", "linear"], "'linear' is not one of"),
        (["--out", "{tmp}/no/file.json"], "there is no folder"),
        (["--scores", "{tmp}/no/file.json"], "there is no folder"),
        (["--scores", "{chains}"], "some.jsonl:1 holds no scores"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(
    arguments: list[str],
    message: str,
    desk: Desk,
    chains: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_chains(tmp_path / "wrong.jsonl", [chain(QUESTIONS[0], False)])
    file = tmp_path / "judge.json"
    given = [argument.format(tmp=tmp_path, chains=chains) for argument in arguments]
    usual = ["--chains", chains, "--evaluator", "judge", "--out", file]
    assert message in fails(capsys, "calibrate", *usual, *given)
    assert not file.exists()


# Specs

MODELS = {
    role: ScriptedModel(lambda *_: "", name=name)
    for role, name in (("draft", "small"), ("target", "large"))
}
PARTS = Parts(MODELS["draft"], MODELS["target"], MATH)


@dataclass
class Opener:
    """Opens what it is told to, and adapts nothing."""

    model: Callable[[str], Reader]

    def adapted(self, base: Reader, adapter: Path) -> Reader:
        raise AssertionError(f"{base.name} {adapter}")


@pytest.mark.parametrize(
    ("spec", "name", "roles"),
    [
        ("auto", "judge:large", {"draft", "target"}),
        ("judge", "judge:large", {"target"}),
        ("judge:target", "judge:large", {"target"}),
        ("judge:draft", "judge:small", {"draft"}),
        ("digit-judge", "digit_judge:large:average", {"target"}),
        ("digit-judge:greedy:draft", "digit_judge:small:greedy", {"draft"}),
        ("likelihood:entropy:draft", "likelihood:small:entropy", {"draft"}),
        ("judge@product", "product(judge:large)", {"target"}),
        ("judge@last", "judge:large", {"target"}),
        ("equations", "equations", set()),
        ("judge+equations@mean", "mean(judge:large, mean(equations))", {"target"}),
        ("judge:draft@min+judge", "mean(min(judge:small), judge:large)", {"draft", "target"}),
    ],
)
def test_what_a_spec_means(spec: str, name: str, roles: set[str]) -> None:
    assert build_evaluator(spec, PARTS).name == name
    assert roles_needed(spec) == roles


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "there is no evaluator ''; known: auto.*, judge"),
        ("dice", "there is no evaluator 'dice'; known: auto.*, judge"),
        ("judge+dice", "there is no evaluator 'judge[+]dice'"),
        ("judge@median", "there is no evaluator 'judge@median'"),
        ("judge:", "'judge:' is not of the form judge"),
        ("judge:loud", "'judge:loud' is not of the form judge"),
        ("likelihood:draft", "'likelihood:draft' is not of the form likelihood:logprob"),
        ("likelihood:luck", "not 'luck'"),
        ("prm:math-shepherd", "'prm:math-shepherd' is not of the form prm:FORMAT:FILE"),
        ("prm:guess:a.gguf", "format must be one of math-shepherd, .*, not 'guess'"),
        ("head-prm:math-shepherd:a:b", "format must be one of qwen-math-prm, .*, not 'math-shep"),
        (
            "prm:math-psa:a.gguf",
            "no model is opened here: give an evaluator that reads",
        ),
    ],
)
def test_a_spec_that_means_nothing_is_refused_with_what_is_known(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_evaluator(spec, PARTS)


def test_a_model_that_is_not_open_is_named() -> None:
    with pytest.raises(ConfigError, match="judge reads with the draft"):
        build_evaluator("judge:draft", replace(PARTS, draft=None))
    assert build_evaluator("judge", replace(PARTS, draft=None)).name == "judge:large"


class Adapts:
    """An opener whose adapted models bear the adapter's name."""

    def model(self, file: str) -> Reader:
        raise AssertionError(file)

    def adapted(self, base: Reader, adapter: Path) -> Reader:
        return ScriptedModel(lambda *_: "", name=f"{base.name}+{adapter.stem}")


def test_auto_scores_math_by_the_small_prm_that_ships_for_the_draft(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = "forethought.evaluators.entries"
    monkeypatch.setattr(
        f"{entries}.ships", lambda *asked: (asked[0], asked[1].name) == ("prm", "small")
    )
    monkeypatch.setattr(f"{entries}.shipped", lambda kind, _: Path(f"{kind}-x.gguf"))
    monkeypatch.setattr(f"{entries}.check_adapter", lambda *_: None)
    parts = replace(PARTS, opener=Adapts())
    expected = build_evaluator("small-prm+equations@min", parts)
    assert build_evaluator("auto", parts).name == expected.name
    assert expected.name == "mean(small-prm:small+prm-x, min(equations))"
    assert build_evaluator("auto", replace(parts, task=TASKS["code"])).name == "judge:large"
    assert build_evaluator("auto", replace(parts, draft=parts.target)).name == "judge:large"


@pytest.mark.parametrize("file", ["c:/a+b/prm@1.gguf", "some+judged.gguf", "x@min.d/y.gguf"])
def test_a_files_path_may_hold_the_marks_of_a_spec(file: str) -> None:
    asked: list[str] = []

    def opens(name: str) -> Reader:
        asked.append(name)
        return ScriptedModel(lambda *_: "", name="opened")

    found = build_evaluator(f"prm:math-psa:{file}@mean+judge", replace(PARTS, opener=Opener(opens)))
    assert asked == [file]
    assert found.name == "mean(mean(math-psa:opened), judge:large)"
    assert roles_needed(f"prm:math-psa:{file}") == set()


def test_a_head_is_read_before_its_model_is_opened(tmp_path: Path) -> None:
    layer = Layer(np.ones((1, 8), dtype=np.float32), np.zeros(1, dtype=np.float32))
    save_head(Head((layer,), output="sigmoid"), tmp_path / "head.safetensors")
    spec = "head-prm:trl-prm:{}:model.gguf"
    parts = replace(PARTS, opener=Opener(lambda _: MODELS["draft"]))
    found = build_evaluator(spec.format(tmp_path / "head.safetensors"), parts)
    assert found.name.startswith("trl-prm:small:")
    with pytest.raises(UnknownModel):
        build_evaluator(spec.format(tmp_path / "none.safetensors"), PARTS)


def test_names_of_evaluators_tell_them_apart_in_a_spec() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert not any(mark in name for name in names for mark in ":@+")
