"""The benchmark's methods, its runs and their figures, with scripted models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from scripted_search import Stated

from forethought.bench.alone import Alone
from forethought.bench.compare import compare, missing_runs, warm_up
from forethought.bench.entrants import Bench, Entrant
from forethought.bench.figures import baseline_of, figures, spent
from forethought.bench.methods import Method, parse_methods
from forethought.bench.problems import Posed
from forethought.bench.results import RunLog, opened_log
from forethought.bench.runs import Depth, Run, measured
from forethought.bench.systems import SYSTEMS, System
from forethought.chains import Problem, solution_text
from forethought.config import SamplingParams, SearchConfig
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError
from forethought.evaluators.voting import majority
from forethought.model import Completion, Usage
from forethought.prompts import CODE, MATH
from forethought.stores import ThresholdStore
from forethought.thoughts import Answer, Ledger, LedgerEntry, Thought

CONFIG = SearchConfig(tree_width=2, beam_width=1, max_depth=4)


@dataclass
class Spoken:
    """A model's replies, with the parameters that it was asked with."""

    replies: list[str]
    asked: list[SamplingParams] = field(default_factory=list)

    def model(self, name: str = "model") -> ScriptedModel:
        spoken = self

        class Noting(ScriptedModel):
            def generate(
                self, prompts: list[list[int]], params: SamplingParams
            ) -> list[Completion]:
                spoken.asked.append(params)
                return super().generate(prompts, params)

        return Noting(lambda _, __, index: self.replies[index % len(self.replies)], name=name)


def posed(name: str, answer: str = "4") -> Posed:
    return Posed(Problem(name, f"What is {name}?", answer))


# The table


def test_every_line_of_the_table_has_a_name_of_its_own_and_settings_that_fit() -> None:
    names = [system.name for system in SYSTEMS]
    assert len(set(names)) == len(names)
    assert {"target-greedy", "draft-greedy", "self-consistency", "ar-beam"} <= set(names)
    for system in SYSTEMS:
        assert system.about
        assert "@" not in system.name
        assert "," not in system.name
        assert "[" not in system.name
        config = Method(system.name, system, None).config({"seed": 3, "beam_width": 7})
        assert config.seed == 3
        assert isinstance(config, system.run_settings)


def test_every_line_of_the_table_is_documented() -> None:
    text = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [s.name for s in SYSTEMS if f"`{s.name}`" not in text] == []


@pytest.mark.parametrize(
    ("system", "roles"),
    [
        (System("a", "", "greedy"), {"target"}),
        (System("a", "", "greedy", "draft"), {"draft"}),
        (System("a", "", "majority", "speculating"), {"draft", "target"}),
        (System("a", "", writer="speculating"), {"draft", "target"}),
        (System("a", ""), {"draft", "target"}),
    ],
)
def test_a_method_needs_the_models_that_write(system: System, roles: set[str]) -> None:
    assert system.roles == roles


def test_methods_are_named_with_the_evaluators_that_they_search_with() -> None:
    found = parse_methods("ar-beam, spec-search-beam@judge@min+equations,target-greedy", "judge")
    assert [(one.label, one.system.name, one.spec) for one in found] == [
        ("ar-beam", "ar-beam", "judge"),
        ("spec-search-beam@judge@min+equations", "spec-search-beam", "judge@min+equations"),
        ("target-greedy", "target-greedy", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dice", "there is no method 'dice'; known: target-greedy, "),
        ("", "there is no method ''"),
        ("ar-beam,,draft-greedy", "there is no method ''"),
        ("ar-beam,ar-beam", r"\['ar-beam'\] is given twice"),
        ("target-greedy@judge", "target-greedy asks no evaluator: leave @judge out"),
        ("ar-beam@", "'ar-beam@' names no evaluator"),
    ],
)
def test_a_list_that_names_no_methods_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_methods(text, "judge")


# One model alone


def test_a_greedy_solution_is_one_draw_at_temperature_0() -> None:
    spoken = Spoken(["Two and two.\n\nThe answer is \\boxed{4}.\n\nOr \\boxed{5}."])
    bench = Bench({"draft": spoken.model("small")}, 8)
    (method,) = parse_methods("draft-greedy", "judge")
    solution = bench.solve(Entrant(method, CONFIG), "2 + 2?", seed=3)
    assert [(p.temperature, p.seed, p.stop) for p in spoken.asked] == [(0.0, 3, ())]
    assert solution.answer.answer == "4"  # a search would have ended the path there
    assert solution.answer.finish_reason == "answer"
    assert [t.source for t in solution.answer.path] == ["draft"]
    (entry,) = solution.answer.ledger.entries
    assert (entry.model, entry.role) == ("small", "drafted")
    assert entry.usage.generated_tokens == len(spoken.replies[0])
    assert solution.answer.ledger.wall_seconds > 0


def test_a_majority_takes_the_answer_stated_most_often() -> None:
    texts = ["\\boxed{5}", "\\boxed{\\frac{1}{2}}", "none", "\\boxed{0.5}"]
    spoken = Spoken(texts)
    bench = Bench({"target": spoken.model("large")}, 4)
    (method,) = parse_methods("self-consistency", "judge")
    solution = bench.solve(Entrant(method, CONFIG), "Half?", seed=0)
    assert solution.answer.answer == "\\frac{1}{2}"
    assert [t.status for t in solution.thoughts] == ["pruned", "final", "pruned", "pruned"]
    assert spoken.asked[0].temperature == CONFIG.temperature
    assert solution.answer.ledger.entries[0].role == "revised"


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        (["none", "\\boxed{2}", "\\boxed{3}"], 1),
        (["\\boxed{1}", "\\boxed{2}", "\\boxed{2.0}"], 1),
        (["none", "none"], 0),
    ],
)
def test_ties_go_to_the_answer_stated_first(texts: list[str], place: int) -> None:
    assert majority(texts, MATH) == place


def test_programs_agree_where_their_text_does() -> None:
    texts = [f"```\n{code}\n```" for code in ("x = 1", "x = 1.0", "x = 1.0")]
    assert majority(texts, CODE) == 1


def test_solutions_together_may_be_as_long_as_a_search() -> None:
    config = SearchConfig(max_depth=3, thought_tokens=100, max_tokens=500)
    for count, longest in ((1, 300), (2, 250), (600, 1)):
        spoken = Spoken(["word " * 200])
        solution = Alone(spoken.model(), "target", config).solve("?", count)
        assert spoken.asked[0].max_tokens == longest
        assert solution.answer.finish_reason == "limit"


def test_a_solution_goes_to_the_end_where_it_states_no_answer() -> None:
    assert solution_text("One.\n\nTwo.", MATH) == "One.\n\nTwo."
    assert solution_text("\\boxed{1}\n\nTwo.", MATH) == "\\boxed{1}"


def test_a_majority_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_samples must be at least 1, not 0"):
        Bench({}, 0)


# Searches


def voiced(name: str) -> ScriptedModel:
    """One thought, then the answer; each says what `Stated` will score it."""

    def reply(prompt: str, seed: int, index: int) -> str:
        is_first = prompt.endswith("assistant: ")
        return (f"{name} V=0.8\n\n" if is_first else "") + f"{name} V=0.9 \\boxed{{4}}"

    return ScriptedModel(reply, name=name)


@dataclass
class Judged(Stated):
    """`Stated` on any question; notes how often it was asked."""

    def __post_init__(self) -> None:
        self.batches = []

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return super().score("How many apples are left?", paths)


def searching(*labels: str) -> tuple[Bench, list[Entrant]]:
    models: dict[Any, ScriptedModel] = {role: voiced(role) for role in ("draft", "target")}
    methods = parse_methods(",".join(labels), "judge")
    given = asdict(CONFIG)
    entrants = [Entrant(m, m.config(given), Judged() if m.spec else None) for m in methods]
    return Bench({**models, "speculating": voiced("both")}, 3), entrants


def test_the_settings_of_the_table_decide_who_writes() -> None:
    bench, entrants = searching("ar-beam", "spec-search-beam")
    alone, spec = (bench.solve(one, "2 + 2?", seed=0) for one in entrants)
    assert {t.source for t in alone.thoughts} == {"target"}
    assert {t.source for t in spec.thoughts} == {"draft", "target"}
    assert isinstance(alone.config, SearchConfig)
    assert alone.config.policy == "never"


def test_a_line_of_the_table_may_let_the_speculating_target_write() -> None:
    bench, (entrant,) = searching("ar-beam")
    system = replace(entrant.method.system, writer="speculating")
    method = replace(entrant.method, system=system)
    solution = bench.solve(replace(entrant, method=method), "2 + 2?", seed=0)
    assert {entry.model for entry in solution.answer.ledger.entries} == {"both"}


def test_scores_are_not_kept_from_one_run_to_the_next() -> None:
    bench, (entrant,) = searching("ar-beam")
    evaluator: Any = entrant.evaluator
    bench.solve(entrant, "2 + 2?", seed=0)
    first = len(evaluator.batches)
    bench.solve(entrant, "2 + 2?", seed=0)
    assert len(evaluator.batches) == 2 * first > 0


def test_warming_up_leaves_no_thresholds_behind() -> None:
    bench, (entrant,) = searching("spec-search-beam")
    store = ThresholdStore()
    warm_up(bench, [replace(entrant, store=store)])
    assert store.show() == []
    bench.solve(replace(entrant, store=store), "2 + 2?", seed=0)
    assert store.show() != []


# Runs and their file


def thought(number: int, source: Any, status: Any, **more: Any) -> Thought:
    parts = {"depth": 1, "tokens": [0] * 10, "score": 0.5, "num_draws": 1} | more
    return Thought(
        id=number,
        parent=0,
        text="t",
        vocabulary="v",
        source=source,
        is_terminal=False,
        status=status,
        **parts,
    )


def test_a_run_says_who_wrote_how_much_and_what_was_accepted() -> None:
    bench, (entrant,) = searching("spec-search-beam")
    kept = thought(1, "draft", "accepted", num_draws=2, score=0.8)
    rejected = thought(2, "draft", "rejected", tokens=[0] * 7, score=0.1)
    unscored = thought(3, "draft", "proposed", tokens=[0] * 5, score=None)
    revised = thought(4, "target", "pruned", tokens=[0] * 3, score=0.6)
    last = thought(5, "target", "final", tokens=[0] * 4, depth=2, score=0.9)
    entries = [
        LedgerEntry("small", "drafted", Usage(1, 2, 32, 0.5)),
        LedgerEntry("large", "revised", Usage(generated_tokens=7)),
        LedgerEntry("small", "revised", Usage(generated_tokens=2)),
    ]
    ledger = Ledger(entries, rejected=Usage(0, 0, 12, 0.25), wall_seconds=2.0)
    solution = replace(
        bench.solve(entrant, "2 + 2?", seed=6),
        answer=Answer("text", "4", [kept, last], "answer", ledger),
        thoughts=[kept, rejected, unscored, revised, last],
        thresholds={1: 0.7, 3: 0.6},
    )
    run = measured("label", posed("p"), solution)
    assert (run.kept, run.rejected, run.revised) == (20, 12, 7)
    assert run.on_path == {"draft": 10, "target": 4}
    assert run.spent["revised"].generated_tokens == 9
    assert (run.is_right, run.seed, run.end, run.seconds) == (True, 6, "answer", 2.0)
    assert run.outside_seconds == 1.5
    assert run.depths == [
        Depth(1, 3, 2, 2, pytest.approx(1.4), 0.7),  # type: ignore[arg-type]
        Depth(2, 0, 0, 1, 0.9, None),
    ]


def run_of(method: str, name: str, **changes: Any) -> Run:
    run = Run(
        method=method,
        problem=name,
        digest=posed(name).digest,
        seed=0,
        answer="4",
        is_right=True,
        end="answer",
        seconds=1.0,
        outside_seconds=0.1,
        spent={"drafted": Usage(3, 2, 10, 0.2), "scored": Usage(5, 0, 0, 0.1)},
        rejected_usage=Usage(1, 1, 4, 0.1),
        kept=6,
        rejected=4,
        revised=5,
        on_path={"draft": 6, "target": 2},
        depths=[Depth(1, 4, 3, 3, 2.4, 0.5)],
    )
    return replace(run, **changes)


@contextmanager
def log_in(folder: Path, **settings: Any) -> Iterator[RunLog]:
    with opened_log(folder, {"seed": 0, "pair": {"draft": "a"}, "split": (1,)} | settings) as log:
        yield log


def test_runs_are_read_again_as_they_were(tmp_path: Path) -> None:
    runs = [run_of("a", "p"), run_of("b", "q \u2028 ü", is_right=False)]
    with log_in(tmp_path / "out") as log:
        assert log.runs == []
        for run in runs:
            log.add(run)
        started = log.started
    with log_in(tmp_path / "out") as log:
        assert log.runs == runs
        assert log.started == started
        assert log.find("a", posed("p")) == runs[0]
        assert log.find("b", posed("p")) is None


def test_a_torn_last_line_is_dropped_whatever_was_cut(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.add(run_of("a", "p"))
        log.add(run_of("b", "ü"))
    path = tmp_path / "runs.jsonl"
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:size])
        with log_in(tmp_path) as log:
            assert len(log.runs) == max(0, sum(end <= size for end in ends) - 1)
            log.add(run_of("c", "r"))
        with log_in(tmp_path) as log:
            assert log.runs[-1] == run_of("c", "r")


def test_other_settings_are_refused_with_what_differs(tmp_path: Path) -> None:
    with log_in(tmp_path):
        pass
    with (
        pytest.raises(ConfigError, match=r'other settings \(pair.draft: "a" -> "b"\)'),
        log_in(tmp_path, pair={"draft": "b"}),
    ):
        pass
    with pytest.raises(ConfigError, match="new: null -> 1"), log_in(tmp_path, new=1):
        pass


@pytest.mark.parametrize(
    "text",
    ["not ours", "not ours\n", '{"schema": 2, "settings": {}, "started": ""}\n', "[]\n", "\xff\n"],
)
def test_a_file_of_somebody_else_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"give another --out"), log_in(tmp_path):
        pass
    assert path.read_text(encoding="latin-1") == text


def test_a_line_that_is_no_run_is_told_by_its_number(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.add(run_of("a", "p"))
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"method": "b"}\n')
    with pytest.raises(ConfigError, match=r"runs.jsonl:3 is no run"), log_in(tmp_path):
        pass


def test_two_benchmarks_do_not_write_to_one_folder(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match="another benchmark is writing")
    with log_in(tmp_path), refused, log_in(tmp_path):
        pass
    with log_in(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to"), log_in(tmp_path / "file" / "out"):
        pass


def test_data_that_has_changed_is_refused(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.add(run_of("a", "p"))
        with pytest.raises(ConfigError, match="the data has changed"):
            log.find("a", posed("p", answer="5"))


def test_methods_rotate_from_problem_to_problem(tmp_path: Path) -> None:
    problems = [posed(name) for name in "pqrs"]
    with log_in(tmp_path) as log:
        log.add(run_of("b", "q"))
        found = missing_runs(["a", "b", "c"], problems, log)
    orders = ["".join(label for place, label in found if place == n) for n in range(4)]
    assert orders == ["abc", "ca", "cab", "abc"]


def test_all_methods_meet_a_problem_with_one_seed_and_each_run_is_kept(tmp_path: Path) -> None:
    bench, entrants = searching("draft-greedy", "spec-search-beam")
    entrants = [replace(one, config=replace(one.config, seed=40)) for one in entrants]
    problems = [posed("p"), posed("q", "5")]
    with log_in(tmp_path) as log:
        runs = []
        for run in compare(bench, entrants, problems, log):
            runs.append(run)
            lines = log.path.read_text().splitlines()
            assert len(lines) == 1 + len(runs)
            assert json.loads(lines[-1])["method"] == run.method
        assert log.runs == runs
        assert list(compare(bench, entrants, problems, log)) == []
    assert [(run.problem, run.method, run.seed, run.is_right) for run in runs] == [
        ("p", "draft-greedy", 40, True),
        ("p", "spec-search-beam", 40, True),
        ("q", "spec-search-beam", 41, False),
        ("q", "draft-greedy", 41, False),
    ]


@pytest.mark.weights
def test_no_run_lives_on_what_another_has_computed(smollm: Engine, tmp_path: Path) -> None:
    models: Any = {"draft": smollm, "target": smollm}
    (method,) = parse_methods("target-greedy", "judge")
    alone = Entrant(method, SearchConfig(max_tokens=40))
    with log_in(tmp_path) as log:
        warm_up(Bench(models, 1), [alone])
        again = Posed(Problem("again", "What is p?", "4"))
        runs = list(compare(Bench(models, 1), [alone], [posed("p"), again], log))
    first, second = (run.spent["revised"] for run in runs)
    assert first.prompt_tokens == second.prompt_tokens > 1
    assert first.cached_tokens == second.cached_tokens > 1  # what all prompts begin with


def test_a_methods_runs_learn_from_one_another_and_from_no_other_methods(tmp_path: Path) -> None:
    bench, entrants = searching("controlled-beam", "spec-search-beam")
    entrants = [replace(one, config=replace(one.config, controller="on")) for one in entrants]
    warm_up(bench, entrants)
    trusts = [one.rules.controller.trust for one in entrants]
    assert [trust.mean("math") for trust in trusts] == [None, None]
    with log_in(tmp_path) as log:
        runs = list(compare(bench, entrants[:1], [posed(name) for name in "pqrs"], log))
    assert [trust.mean("math") for trust in trusts] == [1.0, None]
    drafted = [run.spent["drafted"].generated_tokens for run in runs]
    assert drafted[2] < drafted[0]  # two runs are gauged, and no third


def test_a_question_that_does_not_fit_is_answered_wrongly(tmp_path: Path) -> None:
    bench, entrants = searching("target-greedy", "spec-search-beam")
    small = {name: ScriptedModel(lambda *_: "", context_size=9) for name in ("draft", "target")}
    with log_in(tmp_path) as log:
        models: Any = small
        runs = list(compare(replace(bench, models=models), entrants, [posed("p")], log))
    assert [(run.is_right, run.end) for run in runs] == [(False, "limit")] * 2
    assert all("does not fit" in run.error for run in runs)
    assert all(run.seconds > 0 for run in runs)
    with log_in(tmp_path) as log:
        assert log.runs == runs
    methods = [entrant.method for entrant in entrants]
    assert [one.ends for one in figures(methods, runs)] == [{"limit": 1}] * 2


# Figures


def two_methods() -> list[Method]:
    return parse_methods("ar-beam,spec-search-beam", "judge")


def test_figures_are_over_the_runs_of_each_method() -> None:
    alone = {"kept": 0, "rejected": 0, "revised": 100, "depths": []}
    writing = {"spent": {"revised": Usage(0, 0, 100, 4.0), "scored": Usage(seconds=1.0)}}
    runs = [
        run_of("ar-beam", "p", seconds=6.0, on_path={"target": 9}, **alone, **writing),
        run_of("ar-beam", "q", seconds=6.0, on_path={"target": 1}, **alone, **writing),
        run_of("spec-search-beam", "q", seconds=4.0, is_right=False, end="limit"),
        run_of("spec-search-beam", "p", seconds=2.0),
    ]
    base, spec = figures(two_methods(), runs)
    assert (spec.method, spec.evaluator, spec.num_problems) == ("spec-search-beam", "judge", 2)
    assert (spec.num_right, spec.accuracy) == (1, 0.5)
    assert spec.accuracy_interval == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert (spec.median_seconds, spec.p90_seconds, spec.total_seconds) == (3.0, 3.8, 6.0)
    assert spec.outside_share == pytest.approx(0.2 / 6)
    assert spec.tokens["draft kept"] == Usage(4, 2, 12, pytest.approx(0.2))  # type: ignore[arg-type]
    assert spec.tokens["draft rejected"] == Usage(2, 2, 8, 0.2)
    assert spec.tokens["scored"].prompt_tokens == 10
    assert spec.tokens["answered"] == Usage()
    assert spec.acceptance == 0.75
    assert spec.mean_score == pytest.approx(0.8)
    assert spec.target_share_of_paths == 4 / 16
    assert spec.target_share_of_all == 10 / 30
    assert spec.ends == {"answer": 1, "limit": 1}
    assert spec.speed_ups["ar-beam"].value == 2.0
    assert spec.speed_ups["ar-beam"].num_pairs == 2
    (at,) = spec.by_depth
    assert (at.depth, at.num_runs, at.acceptance, at.mean_threshold) == (1, 2, 0.75, 0.5)
    assert spec.bound is not None
    assert spec.bound.measured == 2.0
    assert spec.bound.ideal == pytest.approx(200 * 0.4 / 20)
    assert (base.speed_ups, base.bound, base.acceptance, base.by_depth) == ({}, None, None, [])
    json.dumps(asdict(spec))


def test_speed_ups_and_bounds_are_over_the_problems_that_both_have_run() -> None:
    runs = [
        run_of("ar-beam", "p", seconds=6.0, kept=0, rejected=0),
        run_of("spec-search-beam", "p", seconds=3.0),
        run_of("spec-search-beam", "q", seconds=100.0),
    ]
    spec = figures(two_methods(), runs)[1]
    assert (spec.speed_ups["ar-beam"].value, spec.speed_ups["ar-beam"].interval) == (2.0, None)


def test_a_method_is_held_against_the_baseline_with_its_own_evaluator() -> None:
    text = "ar-beam,ar-beam@equations,spec-search-beam@equations,spec-search-beam,draft-greedy"
    methods = parse_methods(text, "judge")
    found = [baseline_of(method, methods, "ar-beam") for method in methods]
    labels = [one and one.label for one in found]
    assert labels == [None, None, "ar-beam@equations", "ar-beam", "ar-beam"]
    assert baseline_of(methods[0], methods, "sps-beam") is None


def test_forced_answers_count_as_written_by_the_target() -> None:
    usage = {"revised": Usage(seconds=2.0), "answered": Usage(seconds=1.0)}
    totals = spent([run_of("a", "p", spent=usage), run_of("a", "q")])
    assert (totals.writing, totals.drafting, totals.scoring, totals.wall) == (3.0, 0.2, 0.1, 2.0)
    assert (totals.kept, totals.rejected, totals.revised) == (12, 8, 10)
