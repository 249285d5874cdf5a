"""The graphs that write whole chains as methods of the benchmark, with scripted models."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from scripted_cot import Noted, choosing, is_selection, stated, writing
from think_templates import TaggedModel

from forethought.bench.alone import Alone
from forethought.bench.compare import warm_up
from forethought.bench.entrants import Bench, Entrant
from forethought.bench.figures import Figures, figures
from forethought.bench.methods import parse_methods
from forethought.bench.problems import Posed
from forethought.bench.report import sections
from forethought.bench.results import opened_log
from forethought.bench.runs import Chosen, Run, measured, parsed_run
from forethought.bench.selections import Choices, counted
from forethought.bench.statistics import Ratio
from forethought.chains import Problem
from forethought.config import SearchConfig
from forethought.config_cot import CotConfig
from forethought.config_thinking import ThinkingConfig
from forethought.engine import ScriptedModel
from forethought.model import Model, Reader, Usage

POSED = Posed(Problem("p", "What is 2 + 2?", "4"))


def entrant(label: str, **given: Any) -> Entrant:
    (method,) = parse_methods(label, "judge")
    return Entrant(method, method.config(given))


def bench(draft: Model, target: Model, **more: Any) -> Bench:
    return Bench({"draft": draft, "target": target}, 2, **more)


# Runs


def test_a_chain_is_thought_in_turns_under_the_methods_settings() -> None:
    draft = ScriptedModel(lambda *_: "So it is \\boxed{4}.", name="small")
    target = ScriptedModel(lambda *_: "First, think.\n\n", name="large")
    asked = entrant("speculative-thinking:not-reasoning[begin_tokens=5]")
    solution = bench(draft, target).solve(asked, "2 + 2?", seed=3)
    assert solution.config == ThinkingConfig(not_reasoning=True, begin=True, begin_tokens=5, seed=3)
    run = measured("label", POSED, solution)
    assert run.on_path == {"draft": 19, "target": 5}
    assert run.is_right
    assert (run.chosen, run.depths) == (None, [])


def test_a_run_says_which_chains_were_right_and_which_was_picked() -> None:
    texts = (stated(1, "5"), stated(2, "4"), "No answer in it.")
    for shares, choice in (([0.1, 0.6, 0.2, 0.1], 2), ([0.1, 0.2, 0.1, 0.6], 4)):
        draft, target = writing(*texts), choosing(shares)
        asked = entrant("speculative-cot[num_chains=3]")
        run = measured("label", POSED, bench(draft, target).solve(asked, "2 + 2?", seed=0))
        assert run.chosen == Chosen([False, True, False], [len(text) for text in texts], choice)
        assert run.depths == []  # shares of a choice are no scores of thoughts
        assert parsed_run(json.loads(json.dumps(asdict(run)))) == run


def test_a_log_from_before_chains_were_picked_is_read(tmp_path: Path) -> None:
    solution = bench(writing("\\boxed{4}"), choosing([])).solve(
        entrant("draft-greedy"), "2 + 2?", seed=0
    )
    run = measured("draft-greedy", POSED, solution)
    with opened_log(tmp_path, {}) as log:
        log.add(run)
    path = tmp_path / "runs.jsonl"
    path.write_text(path.read_text().replace('"chosen": null, ', ""))
    with opened_log(tmp_path, {}) as log:
        assert log.runs == [run]


@pytest.mark.parametrize(
    ("label", "drafted_by", "picked_by"),
    [
        ("speculative-cot", "aligned", "trained"),
        ("speculative-cot:untrained", "aligned", "large"),
        ("speculative-cot:majority", "aligned", None),
        ("speculative-cot:single", "aligned", None),
        ("speculative-thinking", "small", None),
    ],
)
def test_adapters_go_with_the_methods_that_they_were_trained_for(
    label: str, drafted_by: str, picked_by: str | None
) -> None:
    models = {
        name: Noted(
            lambda *_: stated(1, "4"),
            judge=lambda _: [0.5] * 6,
            name=name,
        )
        for name in ("small", "large", "aligned", "trained")
    }
    ready = bench(
        models["small"],
        models["large"],
        aligned=models["aligned"],
        selector=models["trained"],
    )
    ready.solve(entrant(label), "2 + 2?", seed=0)
    assert [n for n in ("small", "aligned") if models[n].written] == [drafted_by]
    reading = [name for name, model in models.items() if model.read]
    assert reading == ([picked_by] if picked_by else [])


def test_the_speculating_target_writes_one_greedy_solution() -> None:
    both = Noted(lambda *_: "It is \\boxed{4}.", name="both")
    ready = Bench({"speculating": both}, 2)
    solution = ready.solve(entrant("sps-greedy"), "2 + 2?", seed=0)
    ((prompts, params),) = both.written
    assert (len(prompts), params.temperature) == (1, 0.0)
    assert [(e.model, e.role) for e in solution.answer.ledger.entries] == [("both", "revised")]


def test_warming_up_is_short_for_every_kind_of_method() -> None:
    def endless(prompt: str, seed: int, index: int) -> str:
        return "" if is_selection(prompt) else "word " * 5000

    draft = Noted(endless, name="small")
    target = Noted(endless, judge=lambda prompt: [0.5] * 6, name="large")
    asked = [entrant(label) for label in ("speculative-thinking", "speculative-cot")]
    warm_up(bench(draft, target), asked)
    assert target.read
    most = [params.max_tokens for model in (draft, target) for _, params in model.written]
    assert most
    assert max(most) <= 64


def test_a_reasoning_model_alone_thinks_first_and_answers_behind_it() -> None:
    def reply(prompt: str, seed: int, index: int) -> str:
        if prompt.endswith("</think>\n\n"):
            return "It is \\boxed{4}."
        return "Is it \\boxed{5}?\n\nNo.\n</think>\n\nunread"

    model = TaggedModel("qwen3", reply, name="large")
    config = SearchConfig(max_depth=1, thought_tokens=60)
    solution = Alone(model, "target", config).solve("2 + 2?", 1)
    text = "Is it \\boxed{5}?\n\nNo.\n</think>\n\nIt is \\boxed{4}."
    assert solution.answer.text == text
    assert solution.answer.answer == "4"
    assert model.decode(solution.answer.path[0].tokens) == text
    ledger = solution.answer.ledger
    assert [entry.role for entry in ledger.entries] == ["revised", "answered"]
    assert ledger.entries[1].usage.generated_tokens == len("It is \\boxed{4}.")


def test_thinking_that_fills_the_context_is_all_that_there_is() -> None:
    model = TaggedModel("qwen3", lambda *_: "on and " * 900, context_size=2000)
    solution = Alone(model, "target", SearchConfig(max_depth=19, thought_tokens=100)).solve(
        "2 + 2?", 1
    )
    assert solution.answer.finish_reason == "limit"
    assert "</think>" not in solution.answer.text


# Figures


def run_of(method: str, problem: str, **changes: Any) -> Run:
    solution = bench(writing("\\boxed{4}"), choosing([])).solve(
        entrant("draft-greedy"), "2 + 2?", seed=0
    )
    run = replace(measured(method, POSED, solution), problem=problem, seconds=2.0)
    return replace(run, **changes)


def rows() -> list[Figures]:
    think = {"drafted": Usage(seconds=1.0), "answered": Usage(seconds=5.0)}
    again = think | {"revised": Usage(generated_tokens=50, seconds=2.0)}
    chosen = [Chosen([True, False], [8, 9], 1), Chosen([False, False], [4, 2], 3)]
    runs = [
        run_of("target-greedy", "p", spent={"revised": Usage(seconds=4.0)}, on_path={"target": 40}),
        run_of("target-greedy", "q", spent={"revised": Usage(seconds=4.0)}, on_path={"target": 20}),
        run_of(
            "speculative-cot", "p", spent=think, chosen=chosen[0], on_path={"draft": 6, "target": 2}
        ),
        run_of("speculative-cot", "q", spent=again, chosen=chosen[1], on_path={"target": 12}),
    ]
    return figures(
        parse_methods("target-greedy,speculative-cot,speculative-thinking", "judge"), runs
    )


def test_chains_are_told_by_length_pace_thinking_and_choice() -> None:
    alone, cot = rows()
    assert (alone.graph, cot.graph) == (None, "speculative-cot")
    assert alone.chains is not None
    assert (alone.chains.output_tokens, alone.chains.tokens_per_second) == (30.0, 15.0)
    assert (alone.chains.think_seconds, alone.chains.think_speed_up) == (4.0, None)
    assert (alone.chains.choices, alone.chains.longest_draft) == (None, None)
    found = cot.chains
    assert found is not None
    assert (found.output_tokens, found.tokens_per_second, found.think_seconds) == (10.0, 5.0, 2.0)
    assert isinstance(found.think_speed_up, Ratio)
    assert (found.think_speed_up.value, found.think_speed_up.num_pairs) == (2.0, 2)
    assert found.choices == Choices(1, 1, 1, 1)
    assert (found.longest_draft, found.thought_again) == (6.5, 25.0)
    assert cot.target_share_of_paths == 14 / 20
    assert list(cot.speed_ups) == ["target-greedy"]
    json.dumps(asdict(cot))


def test_a_choice_that_was_not_made_counts_in_neither_rate() -> None:
    run = run_of("speculative-cot", "p", chosen=Chosen([True], [3], None), spent={})
    (row,) = figures(parse_methods("speculative-cot", "judge"), [run])
    assert row.chains is not None
    assert row.chains.choices == Choices(0, 0, 0, 0)
    assert row.chains.think_speed_up is None


def test_sections_on_chains_are_there_only_where_a_graph_wrote_some() -> None:
    titles = [section.title for section in sections(rows())]
    assert titles[-2:] == ["Chains of thought", "Which chain was picked"]
    found = sections(rows())
    assert found[-2].rows == [
        ("target-greedy", "30.0", "100.0%", "15.0", "4.00", "-", "-"),
        ("speculative-cot", "10.0", "70.0%", "5.0", "2.00", "2.00", "1.33..4.00"),
    ]
    assert found[-1].rows == [("speculative-cot", "1/1", "100%", "1/1", "100%", "6.5", "25.0")]
    alone = rows()[:1]
    assert "Chains of thought" not in [section.title for section in sections(alone)]


def test_choices_are_counted_by_whether_there_was_a_right_chain() -> None:
    outcomes = [
        ([True, False], 1),
        ([True, False], 2),
        ([True, True], 3),
        ([False], 2),
        ([False], 1),
    ]
    found = counted(outcomes)
    assert found == Choices(num_solvable=3, num_right=1, num_unsolvable=2, num_recognised=1)
    assert (found.picked_right, found.recognised) == (1 / 3, 1 / 2)
    assert (counted([]).picked_right, counted([]).recognised) == (None, None)


def test_a_stopped_run_has_chosen_nothing() -> None:
    class Late(Noted):
        def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
            raise AssertionError("there is no time to read")

    asked = entrant("speculative-cot[num_chains=1]", deadline=1e-9)
    target: Reader = Late(lambda *_: "7}", name="large")
    solution = bench(writing(stated(1, "4")), target).solve(asked, "2 + 2?", seed=0)  # type: ignore[arg-type]
    assert isinstance(solution.config, CotConfig)
    assert solution.choice is None
