"""`forethought solve --graph`: any graph of the registry, with settings of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scripted_cot import Noted
from scripted_thinking import Called, Speaker, in_order

from forethought.bench.selection_bias import Rates, SelectionBias
from forethought.cli.live import LiveTree
from forethought.cli.main import run
from forethought.cli.opening import Opened
from forethought.config import SearchConfig
from forethought.config_cot import CotConfig
from forethought.config_thinking import ThinkingConfig
from forethought.engine import EngineStats, ScriptedModel
from forethought.errors import ConfigError
from forethought.evaluators.registry import Parts
from forethought.graphs import GRAPHS, Live, graph_named, graph_of
from forethought.model import Reader
from forethought.prompts import MATH
from forethought.report import SolutionDocument
from forethought.solve import recursion_limit, solve

THINKING = ["solve", "How many?", "--graph", "speculative-thinking"]
END = "It is \\boxed{4}."


class CountedSpeaker(Speaker):
    """A speaker that counts like an engine."""

    def stats(self) -> EngineStats:
        return EngineStats()


@pytest.fixture(autouse=True)
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Options that models were opened with; they are scripted."""
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path / "data"))
    seen: list[dict[str, Any]] = []

    @contextmanager
    def open_models(roles: Any, options: dict[str, Any], *, with_states: Any) -> Iterator[Opened]:
        assert roles == {"draft", "target"}
        assert with_states == frozenset()
        seen.append(options)
        calls: list[Called] = []
        draft: Any = CountedSpeaker("small", in_order(["A.\n\n", "Wait…", END]), calls)
        target: Any = CountedSpeaker("large", in_order(["No, [bold]4…"]), calls)
        yield Opened({"draft": draft, "target": target}, Parts(draft, target, MATH))

    monkeypatch.setattr("forethought.cli.solve.open_models", open_models)
    return seen


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> SolutionDocument:
    assert run([*THINKING, "--json", *arguments]) == 0
    return SolutionDocument.model_validate_json(capsys.readouterr().out)


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a refusal is."""
    assert run(arguments) == 1
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    return line


def test_a_chain_is_thought_with_the_graphs_own_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = document(capsys)
    assert (found.graph, found.answer, found.finish_reason) == (
        "speculative-thinking",
        "4",
        "answer",
    )
    assert found.settings == asdict(ThinkingConfig())
    assert found.thresholds == {}
    assert [t.source for t in found.thoughts if t.id in found.path] == ["draft", "target", "draft"]


def test_options_that_both_graphs_have_and_settings_by_name_reach_the_chain(
    capsys: pytest.CaptureFixture[str], opened: list[dict[str, Any]]
) -> None:
    found = document(
        capsys,
        *["--seed", "7", "--temperature", "0.1", "--task", "code", "--deadline", "60"],
        *["--set", "not-reasoning=true", "--set", "takeover_tokens=5", "--set", "hint=Look: a=b"],
        *["--set", "cues=any", "--set", "seed=8", "--set", "task=math"],
    )
    wanted = ThinkingConfig(
        seed=8,
        temperature=0.1,
        task="math",
        deadline=60.0,
        not_reasoning=True,
        takeover_tokens=5,
        hint="Look: a=b",
        cues="any",
    )
    assert found.settings == asdict(wanted)
    assert opened[0]["task"] == "math"


COT = ["solve", "How many?", "--graph", "speculative-cot", "--json", "--set", "num_chains=1"]


@dataclass
class Adapters:
    """Opens adapters: another scripted model under the name of both."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def model(self, file: str) -> Reader:
        raise AssertionError(file)

    def adapted(self, base: Reader, adapter: Path) -> Reader:
        self.asked.append((base.name, adapter.stem))
        return Picking(f"{base.name}+{adapter.stem}")


class Picking(Noted):
    """Writes a chain, and trusts none that it reads by half."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda *_: "It is \\boxed{4}.", judge=lambda _: [0.6, 0.4], name=name)

    def stats(self) -> EngineStats:
        return EngineStats()


@pytest.fixture
def picking(monkeypatch: pytest.MonkeyPatch) -> Adapters:
    """A pair whose selector trusts the draft, and what opens adapters for it."""
    adapters = Adapters()

    @contextmanager
    def open_models(roles: Any, options: Any, *, with_states: Any) -> Iterator[Opened]:
        draft, target = Picking("small"), Picking("large")
        yield Opened({"draft": draft, "target": target}, Parts(draft, target, MATH, adapters))

    monkeypatch.setattr("forethought.cli.solve.open_models", open_models)
    return adapters


def fitted(path: Path, *, selector: str = "large", draft: str = "small") -> str:
    rates = Rates(0.5, 0.5)
    bias = SelectionBias(selector, draft, 1, 2.0, rates, rates, 9, 4)
    path.write_text(json.dumps(bias.document()))
    return str(path)


def roles(found: SolutionDocument) -> list[tuple[str, str]]:
    return [(entry.model, entry.role) for entry in found.ledger.entries]


def solved(capsys: pytest.CaptureFixture[str], *arguments: str) -> SolutionDocument:
    assert run([*COT, *arguments]) == 0
    return SolutionDocument.model_validate_json(capsys.readouterr().out)


def test_a_calibration_is_the_bias_that_a_run_has(
    picking: Adapters, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = solved(capsys)
    assert plain.settings["all_wrong_bias"] == 0.0
    assert ("large", "revised") not in roles(plain)
    found = solved(capsys, "--calibration", fitted(tmp_path / "scot.json"))
    assert found.settings["all_wrong_bias"] == 2.0
    assert ("large", "revised") in roles(found)


def test_adapters_write_the_chains_and_pick_them(
    picking: Adapters,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "forethought.cli.graphs.check_adapter", lambda path, kind: checked.append((path.stem, kind))
    )
    for name in ("thinks", "picks"):
        (tmp_path / f"{name}.gguf").write_bytes(b"")
    given = [
        *("--draft-adapter", str(tmp_path / "thinks.gguf")),
        *("--selector-adapter", str(tmp_path / "picks.gguf")),
    ]
    found = solved(capsys, *given)
    assert checked == [("thinks", "draft"), ("picks", "selector")]
    assert picking.asked == [("small", "thinks"), ("large", "picks")]
    assert roles(found)[:2] == [("small+thinks", "drafted"), ("large+picks", "scored")]
    own = fitted(tmp_path / "scot.json", selector="large+picks", draft="small+thinks")
    assert solved(capsys, *given, "--calibration", own).settings["all_wrong_bias"] == 2.0


@pytest.mark.parametrize("option", ["--draft-adapter", "--selector-adapter"])
def test_a_file_that_is_no_adapter_is_refused_before_any_model_is_opened(
    option: str,
    opened: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "note.gguf"
    path.write_bytes(b"a note")
    assert run([*COT, option, str(path)]) == 2
    assert "note.gguf" in capsys.readouterr().err
    assert opened == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--graph", "speculative-cot"], "was fitted for 1 chains of small under large, not for 5"),
        (["--graph", "speculative-thinking"], "speculative-thinking takes no adapter and no"),
        (["--graph", "spec-search"], "the graph spec-search takes no adapter and no calibration"),
        (
            ["--graph", "speculative-cot", "--set", "all_wrong_bias=1"],
            "all_wrong_bias is set, and a calibration sets it too",
        ),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(
    picking: Adapters,
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = fitted(tmp_path / "scot.json")
    assert words in error(capsys, "solve", "q", "--calibration", path, *arguments)


def test_settings_of_a_search_can_be_set_by_name_too(capsys: pytest.CaptureFixture[str]) -> None:
    line = error(capsys, "solve", "q", "--set", "theta=1.5")
    assert "theta must lie in 0.0..1.0, not 1.5" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "takeover_tokens=0"], "takeover_tokens must be at least 1, not 0"),
        (["--set", "takeover_tokens=many"], "takeover_tokens cannot be 'many'"),
        (["--set", "begin=perhaps"], "begin cannot be 'perhaps'"),
        (["--set", "cues=all"], "cues cannot be 'all'"),
        (["--set", "begin"], "--set of speculative-thinking takes KEY=VALUE, not 'begin'"),
        (
            ["--set", "tree_width=3"],
            "has no setting 'tree_width'; it has task",
        ),
        (["--tree-width", "3"], "the graph speculative-thinking has no --tree-width"),
        (["--evaluator", "judge"], "the graph speculative-thinking has no --evaluator"),
        (["--preset", "rsd"], "the graph speculative-thinking has no --"),
        (["--graph", "tree-of-guesses"], "'tree-of-guesses' is not one of"),
    ],
)
def test_what_a_graph_does_not_know_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
    opened: list[dict[str, Any]],
    arguments: list[str],
    words: str,
) -> None:
    assert words in error(capsys, *THINKING, *arguments)
    assert opened == []


def test_plain_prints_every_turn_and_the_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*THINKING, "--plain"]) == 0
    out = capsys.readouterr().out
    turns = [
        line.split()[1:3]
        for line in out.splitlines()
        if line.startswith("  1.  ") or line.startswith("  2.  ") or line.startswith("  3.  ")
    ]
    assert turns == [
        ["draft", "accepted"],
        ["draft", "rejected"],
        ["target", "revised"],
        ["draft", "final"],
    ]
    assert "[bold]4" in out
    for words in ("draft kept", "draft rejected", "revised", "answer  4"):
        assert words in out
    assert "threshold" not in out


def test_the_live_tree_shows_who_wrote_what(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Called] = []
    small: Any = CountedSpeaker("small", in_order(["A.\n\n", "Wait…", END]), calls)
    large: Any = CountedSpeaker("large", in_order(["No, it is…"]), calls)
    with LiveTree() as view:
        view.watch(small, large)
        graph = graph_named("speculative-thinking").build(Live(small, large))
        solve("How many?", graph, listen=view.receive)
    shown = " ".join(capsys.readouterr().out.split())
    assert "draft rejected … Wait....." in shown
    assert "target revised … No, it is" in shown


def test_the_registry_tells_graphs_by_name_and_by_settings() -> None:
    assert {name: graph.settings for name, graph in GRAPHS.items()} == {
        "spec-search": SearchConfig,
        "speculative-thinking": ThinkingConfig,
        "speculative-cot": CotConfig,
    }
    for name, graph in GRAPHS.items():
        assert graph_named(name) is graph
        assert graph_of(graph.settings()) is graph
        assert recursion_limit(graph.settings()) >= 5
    with pytest.raises(ConfigError, match="not 'tree-of-guesses'"):
        graph_named("tree-of-guesses")


def test_every_graph_is_built_of_the_same_parts_and_knows_its_default_settings() -> None:
    class Sure:
        name = "sure"

        def score(self, question: str, paths: list[Any]) -> list[float]:
            return [0.5] * len(paths)

    for graph in GRAPHS.values():
        model = ScriptedModel(lambda *_: END)
        built = graph.build(Live(model, model, Sure()))
        solution = solve("2 + 2?", built)
        assert solution.answer.answer == "4"
        assert solution.config == graph.settings()


def test_a_run_that_was_stopped_goes_on_by_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(self: LiveTree, event: dict[str, Any]) -> None:
        if event["event"] == "revising":
            raise KeyboardInterrupt

    kept = ["--run", "farm", "--runs", str(tmp_path / "farms.sqlite")]
    with monkeypatch.context() as patched:
        patched.setattr("forethought.cli.live.PlainTree.receive", stop)
        assert run([*THINKING, "--json", *kept]) == 1
        capsys.readouterr()
    # the scripted draft begins anew in every process: what it has said already must stand
    found = SolutionDocument.model_validate_json(resumed(capsys, kept))
    assert found.question == "How many?"
    assert found.thoughts[0].text == "A.\n\n"
    again = SolutionDocument.model_validate_json(resumed(capsys, kept))
    assert again.thoughts == found.thoughts
    assert "another question" in error(capsys, "solve", "Why?", *THINKING[2:], *kept)


def resumed(capsys: pytest.CaptureFixture[str], kept: list[str]) -> str:
    """The document of a run that is named, and not asked again."""
    assert run(["solve", *THINKING[2:], "--json", *kept]) == 0
    return capsys.readouterr().out
