"""`forethought solve` from the command line: what it reads, what it prints, and how it exits."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from counted_model import CountedModel
from scripted_search import Call, Pair, Script, Writer, never, scores, stated_score, step

from forethought.cli.live import LiveTree, thought_tree
from forethought.cli.main import forethought, run
from forethought.cli.opening import Opened
from forethought.cli.options import HELP, engine_config
from forethought.cli.solve import cancel_on_interrupt, solve
from forethought.config import EngineConfig, SearchConfig
from forethought.errors import ForethoughtError
from forethought.evaluators.registry import Parts, Role
from forethought.model import current_scope
from forethought.prompts import MATH
from forethought.report import SolutionDocument, document
from forethought.thoughts import Thought

DOCS = Path(__file__).parent.parent / "docs"
ENDS = scores({1: [0.6, 0.5, 0.4, 0.3]}, ends=1)
GOES_ON = scores({1: [0.6, 0.5, 0.4, 0.3], 2: [0.9]})


def judged(prompt: str) -> list[float]:
    score = stated_score(prompt[prompt.rindex("V=") :])
    return [score, 1 - score]


@dataclass
class Desk:
    """A command line whose models are scripted."""

    draft: Script = never
    target: Script = ENDS
    opened: list[tuple[str, str, str, EngineConfig]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def _noted(self, script: Script) -> Callable[[str, int, int], str]:
        def reply(prompt: str, seed: int, index: int) -> str:
            question = prompt.rpartition("user: ")[2].partition("\nassistant: ")[0]
            self.questions.append(question)
            return Writer(name, script)(prompt, seed, index)

        name = "draft" if script is self.draft else "target"
        return reply

    @contextmanager
    def open_models(
        self, roles: frozenset[Role], options: dict[str, Any], *, with_states: set[Role]
    ) -> Iterator[Opened]:
        assert roles == {"draft", "target"}
        assert not with_states
        names = options["draft"], options["target"], options["quant"]
        self.opened.append((*names, engine_config(options)))
        judging: dict[str, Any] = {"judge": judged} | self.settings
        draft = CountedModel(self._noted(self.draft), name="small", **self.settings)
        target = CountedModel(self._noted(self.target), name="large", **judging)
        yield Opened({"draft": draft, "target": target}, Parts(draft, target, MATH))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FORETHOUGHT_MODELS", str(tmp_path / "models"))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr("forethought.cli.solve.open_models", made.open_models)
    return made


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the error, which must be one line on stderr and nothing on stdout."""
    code = run(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("forethought: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return code, err


def solution(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, SolutionDocument]:
    """Exit code and the document of `solve --json`."""
    code = run(["solve", "--json", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return code, SolutionDocument.model_validate_json(out)


def give_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# Exit codes


def test_an_answer_exits_with_0(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "How many?"]) == 0
    out, err = capsys.readouterr()
    assert "answer  target0" in out
    assert err == ""


def test_a_limit_without_an_answer_exits_with_3(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.target = GOES_ON
    assert run(["solve", "How many?", "--max-depth", "1"]) == 3
    out, err = capsys.readouterr()
    assert "answer  7  (limit reached)" in out
    assert err == ""


def test_a_deadline_exits_with_3_and_the_best_so_far(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(call: Call) -> str:
        threading.Event().wait(0.03)
        return GOES_ON(call)

    desk.target = slow
    code, found = solution(capsys, "How many?", "--deadline", "0.1", "--tree-width", "4")
    assert (code, found.finish_reason) == (3, "deadline")
    assert found.answer


@pytest.mark.parametrize(
    "arguments",
    [
        ["solve"],
        ["solve", "one", "two"],
        ["solve", ""],
        ["solve", " \n "],
        ["solve", "q", "--no-such-option"],
        ["solve", "q", "--tree-width", "0"],
        ["solve", "q", "--tree-width", "three"],
        ["solve", "q", "--theta", "1.5"],
        ["solve", "q", "--theta", "nan"],
        ["solve", "q", "--policy", "sometimes"],
        ["solve", "q", "--evaluator", "dice"],
        ["solve", "q", "--task", "poetry"],
        ["solve", "q", "--seed", "-1"],
        ["solve", "q", "--deadline", "0"],
        ["solve", "q", "--context", "-1"],
        ["solve", "q", "--kv-type", "q1"],
        ["solve", "q", "--file", "question.txt"],
        ["solve", "--file", "no-such-file.txt"],
        ["solve", "--file", "."],
        ["no-such-command"],
        ["models", "no-such-command"],
        ["models", "pull"],
        ["--no-such-option"],
        [],
        ["models"],
        ["thresholds"],
        ["bench"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_1_and_one_line_before_any_model_is_loaded(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(capsys, *arguments)[0] == 1


def test_a_usage_error_says_what_is_wrong_and_where_to_read_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "theta must lie in 0.0..1.0, not 1.5" in fails(capsys, "solve", "q", "--theta", "1.5")[1]
    assert "(see forethought solve --help)" in fails(capsys, "solve")[1]
    assert "'sometimes'" in fails(capsys, "solve", "q", "--policy", "sometimes")[1]


def test_a_missing_model_exits_with_2_and_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, error = fails(capsys, "solve", "How many?")
    assert code == 2
    assert "`forethought models pull qwen2.5-coder-0.5b`" in error


@pytest.mark.parametrize("name", ["no-such-model", "./no-such-file.gguf"])
def test_an_unknown_model_exits_with_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, error = fails(capsys, "solve", "How many?", "--draft", name)
    assert code == 2
    assert name in error


def test_a_file_that_is_no_model_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"not a model")
    code, error = fails(capsys, "solve", "How many?", "--draft", str(wrong))
    assert code == 2
    assert "is no GGUF file" in error


def test_a_question_that_does_not_fit_the_context_exits_with_2(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.settings = {"context_size": 50}
    code, error = fails(capsys, "solve", "How many?", "--plain")
    assert code == 2
    assert "does not fit 50" in error


def test_an_evaluator_that_cannot_score_exits_with_2(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.settings = {"judge": lambda _: [0.0, 0.0]}
    code, error = fails(capsys, "solve", "How many?", "--plain")
    assert code == 2
    assert "use another judge model" in error


def test_a_damaged_threshold_store_exits_with_2(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thresholds.sqlite").write_bytes(b"some other kind of file" * 99)
    code, error = fails(capsys, "solve", "How many?")
    assert code == 2
    assert "thresholds.sqlite" in error


def _leaves(error: type[ForethoughtError]) -> list[type[ForethoughtError]]:
    return [error] + [leaf for sub in error.__subclasses__() for leaf in _leaves(sub)]


@pytest.mark.parametrize("error", _leaves(ForethoughtError), ids=lambda error: error.__name__)
def test_every_error_of_ours_is_one_line_and_an_exit_code(
    error: type[ForethoughtError],
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def target(call: Call) -> str:
        raise error("what happened")

    desk.target = target
    code, line = fails(capsys, "solve", "How many?", "--plain")
    assert line == "forethought: what happened\n"
    assert code == (1 if error.__name__ in ("ConfigError", "SearchError") else 2)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["solve", "-h"], ["models", "--help"], ["--version"]]
)
def test_help_and_version_exit_with_0(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    assert "forethought" in capsys.readouterr().out


# The question


def test_the_question_is_an_argument(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = solution(capsys, "Wie viele Äpfel? 🍎")
    assert found.question == "Wie viele Äpfel? 🍎"
    assert set(desk.questions) == {"Wie viele Äpfel? 🍎"}


def test_the_question_comes_from_standard_input(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, "Wie viele\nÄpfel?\n".encode())
    assert solution(capsys, "-")[1].question == "Wie viele\nÄpfel?\n"


def test_the_question_comes_from_a_file(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "question.txt"
    file.write_text("Wie viele Äpfel?", encoding="utf-8")
    assert solution(capsys, "--file", str(file))[1].question == "Wie viele Äpfel?"


@pytest.mark.parametrize("source", ["argument", "-", "--file"])
@pytest.mark.parametrize(
    ("data", "message"), [(b"caf\xe9", "not valid UTF-8 (byte 3)"), (b" \n", "is empty")]
)
def test_what_is_no_question_is_refused_wherever_it_comes_from(
    source: str,
    data: bytes,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "question.txt"
    file.write_bytes(data)
    give_input(monkeypatch, data)
    arguments = {"argument": [os.fsdecode(data)], "-": ["-"], "--file": ["--file", str(file)]}
    code, error = fails(capsys, "solve", *arguments[source])
    assert code == 1
    assert message in error


def test_an_argument_that_can_be_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, error = fails(capsys, "solve", "half a character: \ud83c")
    assert code == 1
    assert "not valid UTF-8" in error


# The JSON document


def test_json_prints_one_valid_document_and_nothing_else(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.target, desk.draft = GOES_ON, scores({2: [0.9, 0.8, 0.1, 0.2]}, ends=2)
    code, found = solution(capsys, "How many?", "--max-depth", "3")
    assert code == 0
    assert (found.answer, found.finish_reason) == ("draft0", "answer")
    by_id = {thought.id: thought for thought in found.thoughts}
    assert len(by_id) == len(found.thoughts)
    assert [by_id[number].source for number in found.path] == ["target", "draft"]
    assert "".join(by_id[number].text for number in found.path).strip() == found.text
    assert found.thresholds[2] == pytest.approx(0.45)
    assert {(entry.model, entry.role) for entry in found.ledger.entries} == {
        ("large", "revised"),
        ("large", "scored"),
        ("small", "drafted"),
    }
    sampled = sum(entry.usage.generated_tokens for entry in found.ledger.entries)
    assert found.ledger.total.generated_tokens == sampled
    assert found.ledger.wall_seconds > 0
    assert found.versions["python"].count(".") == 2
    assert found.versions["langgraph"] != "not installed"


def test_json_of_a_run_that_reached_a_limit_is_a_document_too(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.target = GOES_ON
    code, found = solution(capsys, "How many?", "--max-depth", "1")
    assert (code, found.finish_reason, found.answer) == (3, "limit", "7")
    assert found.path[-1] in {thought.id for thought in found.thoughts}


def test_the_document_refuses_what_it_does_not_know() -> None:
    run_ = Pair(never, scores({1: [0.5]}, ends=1)).run()
    good = document(run_.solution).model_dump(mode="json")
    assert SolutionDocument.model_validate(good)
    with pytest.raises(ValueError, match="surprise"):
        SolutionDocument.model_validate({**good, "surprise": 1})
    with pytest.raises(ValueError, match="schema_version"):
        SolutionDocument.model_validate({**good, "schema_version": 2})


def test_the_schema_in_the_documents_is_that_of_the_document() -> None:
    text = (DOCS / "solution.schema.json").read_text(encoding="utf-8")
    advice = "run `python -m forethought.report > docs/solution.schema.json`"
    assert json.loads(text) == SolutionDocument.model_json_schema(), advice


# What a reader sees


def test_plain_prints_a_line_for_every_decision(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.target = scores({1: [0.6, 0.5, 0.4, 0.3], 2: [0.7]}, ends=2)
    desk.draft = scores({2: [0.9, 0.1]}, ends=2)
    widths = ["--beam-width", "1", "--tree-width", "2", "--refill", "width"]
    assert run(["solve", "How many?", "--plain", *widths]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.rstrip() for line in out.splitlines()]
    decisions = [" ".join(line.split()[1:4]) for line in lines if re.match(r"  \d\. ", line)]
    assert decisions == [
        "target revised 0.600",
        "target revised 0.500",
        "target pruned 0.500",
        "draft accepted 0.900",
        "draft rejected 0.100",
        "target revised 0.700",
        "draft final 0.900",
        "target pruned 0.700",
    ]
    assert sum("threshold 0.5" in line and "tokens/s" in line for line in lines) == 2
    for words in ("draft kept", "draft rejected", "scored", "total", "1 of 2 drafts accepted"):
        assert words in out
    assert "\x1b" not in out


def test_what_models_write_is_never_read_as_markup(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.target = lambda call: "[bold]V=0.5[/nope] :smile: \\boxed{[red]4}\n\n"
    assert run(["solve", "How many?", "--plain"]) == 0
    assert capsys.readouterr().out.count("[bold]V=0.5[/nope] :smile: \\boxed{[red]4}") >= 3


def test_the_live_tree_leaves_the_whole_tree_behind(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Pair(scores({2: [0.9, 0.1]}, ends=2), scores({1: [0.6, 0.5], 2: [0.3]})).run()
    with LiveTree() as view:
        view.watch(CountedModel(lambda *_: ""))  # pyright: ignore[reportArgumentType]
        for event in seen.events:
            view.receive(event)
    out = capsys.readouterr().out
    assert all(f"{t.source:6} {t.status:8} {t.score:.3f}" in out for t in seen.solution.thoughts)


def test_a_tree_that_is_too_long_shows_the_newest_thoughts_with_their_paths() -> None:
    seen = Pair(scores({2: [0.9], 3: [0.9]}, ends=3), scores({1: [0.6, 0.5]})).run()
    thoughts: dict[int, Thought] = {t.id: t for t in seen.solution.thoughts}
    tree = thought_tree(thoughts, newest=1)
    shown = []
    while tree.children:
        (tree,) = tree.children
        shown.append(str(tree.label))
    assert len(shown) == 3
    assert "target1.0" in shown[0]
    assert "draft3.1" in shown[2]


def test_a_thought_without_a_score_can_be_drawn() -> None:
    (first, *_) = Pair(never, scores({1: [0.6]}, ends=1)).run().solution.thoughts
    drawn = thought_tree({first.id: replace(first, score=None)})
    assert "…" in str(drawn.children[0].label)


# Options


def options() -> dict[str, click.Parameter]:
    return {str(option.name): option for option in solve.params}


@pytest.mark.parametrize("name", [f.name for f in fields(SearchConfig)])
def test_every_setting_of_a_search_is_an_option_with_its_default_and_help(name: str) -> None:
    option = options()[name]
    assert isinstance(option, click.Option)
    assert option.opts == ["--" + name.replace("_", "-")]
    assert option.default == getattr(SearchConfig(), name)
    assert option.help == HELP[name]
    assert HELP[name].endswith(".")


def test_there_is_no_help_for_options_that_do_not_exist() -> None:
    assert set(HELP) <= set(options())


GIVEN: dict[str, Any] = {
    "task": "general",
    "tree_width": 3,
    "beam_width": 1,
    "max_depth": 5,
    "search": "mcts",
    "num_paths": 3,
    "policy": "never",
    "threshold": 0.6,
    "draft_share": 0.25,
    "controller": "on",
    "min_agreement": 0.2,
    "theta": 0.8,
    "theta_estimator": "ucb",
    "estimator_pool": "large_plus_accepted",
    "init_estimator": "max",
    "init": "store",
    "ucb_c": 0.5,
    "draft_multiplier": 2,
    "refill": "width",
    "extra_large_thoughts": 1,
    "thought_tokens": 99,
    "max_tokens": 999,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 41,
    "min_p": 0.05,
    "seed": 11,
    "answer_by": "vote",
    "early_commits": 1,
    "early_width": 2,
    "deadline": 60.0,
}


def test_a_preset_sets_what_no_option_sets(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.draft = scores({1: [0.9]}, ends=1)
    code, found = solution(capsys, "How many?", "--preset", "rsd", "--threshold", "0.4")
    assert (code, found.answer) == (0, "draft0")
    expected = {"policy": "fixed", "tree_width": 1, "temperature": 0.0, "threshold": 0.4}
    assert {name: found.settings[name] for name in expected} == expected


def test_the_plans_of_steps_stand_in_the_document(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = solution(capsys, "How many?")[1].ledger.plans
    assert [(plan.depth, plan.num_drafts, plan.seconds) for plan in plans] == [(1, 0, None)]


def test_every_option_reaches_the_search(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(GIVEN[f.name] != f.default for f in fields(SearchConfig))
    desk.target = lambda _: "Answer: V=0.5"
    given = [f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items()]
    code, found = solution(capsys, "How many?", *given)
    assert code == 0
    assert found.settings == GIVEN


def test_options_that_are_not_given_have_the_settings_own_defaults(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = solution(capsys, "How many?")
    assert found.settings == asdict(SearchConfig())
    assert desk.opened == [("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "auto", EngineConfig())]


def test_models_and_their_placement_are_options(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--draft", "a", "--target", "b.gguf", "--quant", "q4_0", "--context", "4096"]
    arguments += ["--threads", "3", "--gpu-layers", "-1", "--split-mode", "row", "--main-gpu", "1"]
    solution(capsys, "How many?", *arguments, "--kv-type", "bf16")
    placement = EngineConfig(
        context_size=4096, threads=3, gpu_layers=-1, split_mode="row", main_gpu=1, kv_type="bf16"
    )
    assert desk.opened == [("a", "b.gguf", "q4_0", placement)]


def test_the_target_writes_with_as_many_proposals_as_the_option_says(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gammas = []

    def speculating(opened: Opened, gamma: str) -> Any:
        gammas.append(gamma)
        return CountedModel(lambda *_: "spoken for V=0.9 \\boxed{5}", name="large")

    monkeypatch.setattr("forethought.cli.graphs.speculating_target", speculating)
    for arguments in ([], ["--gamma", "auto"], ["--gamma", "5"]):
        _, found = solution(capsys, "How many?", *arguments)
        assert found.answer == "5"
    assert gammas == ["0", "auto", "5"]
    assert desk.questions == []
    assert "'17' is not one of" in fails(capsys, "solve", "How many?", "--gamma", "17")[1]


# Thresholds across runs


def test_a_run_leaves_its_thresholds_and_the_next_one_may_start_from_them(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = solution(capsys, "How many?", "--beam-width", "1")
    assert run(["thresholds", "show"]) == 0
    shown = capsys.readouterr().out
    assert "small + large, evaluator judge:large, task math" in shown
    assert f"{first.thresholds[2]:.4f}" in shown
    desk.draft = scores({1: [0.9]}, ends=1)
    _, second = solution(capsys, "How many?", "--beam-width", "1", "--init", "store")
    assert second.answer == "draft0"
    assert second.thresholds[1] == pytest.approx(first.thresholds[2])


# Ctrl-C


def test_ctrl_c_stops_the_run_and_prints_the_best_so_far(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(call: Call) -> str:
        scope = current_scope()
        assert scope is not None
        if not scope.cancel.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            assert scope.cancel.wait(2.0)
        return step(call, 0.9)

    desk.target, desk.draft = GOES_ON, interrupted
    before = signal.getsignal(signal.SIGINT)
    code, found = solution(capsys, "How many?", "--beam-width", "1")
    assert (code, found.finish_reason) == (3, "cancelled")
    assert found.text == "target1.0 V=0.6"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_the_run_begins_is_one_line_too(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def open_models(*_: Any, **__: Any) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("forethought.cli.solve.open_models", open_models)
    assert run(["solve", "How many?"]) == 1
    # the terminal has shown ^C, so the line begins anew
    assert capsys.readouterr().err == "\nforethought: stopped\n"


@pytest.fixture
def _usual_interrupts() -> Iterator[None]:
    """Whoever starts the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_usual_interrupts")
def test_a_second_ctrl_c_interrupts_as_usual() -> None:
    cancel = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    with cancel_on_interrupt(cancel):
        signal.raise_signal(signal.SIGINT)
        assert cancel.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with cancel_on_interrupt(threading.Event()):
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors


def test_every_command_has_help() -> None:
    def check(group: click.Command, names: list[str]) -> None:
        assert group.help, names
        for name, command in getattr(group, "commands", {}).items():
            check(command, [*names, name])

    check(forethought, [])
