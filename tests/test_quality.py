"""Quality of evaluators: figures against ones worked out by hand, and how chains are scored."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from forethought.bench.quality import Quality, auc, best_of, cross_fitted, quality, reliability
from forethought.bench.quality_report import sections, write_report
from forethought.bench.scoring import StepScores, score_chains
from forethought.bench.tables import DASH, as_markdown, as_table
from forethought.chains import Chain, Step
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError, EvaluatorError, MissingExtra
from forethought.evaluators import Judge
from forethought.model import RunStopped, Scope, Usage, record_usage, run_scope
from forethought.prompts import MATH
from forethought.thoughts import Source, Thought


def chain(
    problem: str,
    right: bool,
    *,
    steps: int = 1,
    source: Source = "draft",
    stated: str | None = "",
    mark: str = "",
) -> Chain:
    """A chain whose texts tell its problem, outcome, step and `mark`."""
    answer = ("7" if right else "8") if stated == "" else stated
    texts = [f"{problem} {right} {step} {mark}\n\n" for step in range(steps)]
    made = [Step(text, [ord(character) for character in text]) for text in texts]
    return Chain(problem, f"{problem}?", "7", source, "small", "code points", made, answer, right)


def scored(rows: list[tuple[Chain, list[float]]]) -> StepScores:
    chains = [chain for chain, _ in rows]
    num_thoughts = sum(len(chain.steps) for chain in chains)
    scores = [scores for _, scores in rows]
    usage = {"large": Usage(prompt_tokens=90, cached_tokens=1000)}
    return StepScores("stated", chains, scores, num_thoughts, 0.2, usage)


class Noted:
    """An evaluator that notes what it was asked, and gives what a function says."""

    name = "noted"

    def __init__(self, give: Callable[[list[Thought]], float]) -> None:
        self._give = give
        self.asked: list[tuple[str, list[list[str]]]] = []

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        self.asked.append((question, [[thought.text for thought in path] for path in paths]))
        record_usage("large", Usage(prompt_tokens=10 * len(paths)))
        return [self._give(path) for path in paths]


# Ranking

PAIRED = scored(
    [
        (chain("a", True, steps=2), [0.9, 0.8]),
        (chain("a", False), [0.8]),
        (chain("a", False, source="target"), [0.3]),
        (chain("b", True, source="target"), [0.2]),
        (chain("b", False), [0.6]),
        (chain("c", True), [0.1]),
        (chain("c", True), [0.1]),
    ]
)


def test_pairs_are_right_against_wrong_answers_to_the_same_question_ties_half() -> None:
    ranking = quality(PAIRED).ranking
    # a: 0.8 ties with 0.8 and beats 0.3; b: 0.2 loses to 0.6; c has no pair
    assert (ranking["all"].pairs, ranking["all"].num_pairs) == (pytest.approx(1.5 / 3), 3)
    assert (ranking["draft"].pairs, ranking["draft"].num_pairs) == (0.5, 1)
    assert (ranking["target"].pairs, ranking["target"].num_pairs) == (None, 0)
    assert [ranking[group].num_chains for group in ("all", "draft", "target")] == [7, 5, 2]


def test_areas_are_over_last_steps_and_over_all_steps() -> None:
    ranking = quality(PAIRED).ranking["all"]
    wrong = [0.8, 0.3, 0.6]

    def by_hand(right: list[float]) -> float:
        wins = [1.0 if r > w else 0.5 if r == w else 0.0 for r, w in product(right, wrong)]
        return sum(wins) / len(wins)

    assert ranking.auc_last == pytest.approx(by_hand([0.8, 0.2, 0.1, 0.1]))
    assert ranking.auc_steps == pytest.approx(by_hand([0.9, 0.8, 0.2, 0.1, 0.1]))


def test_the_area_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draws = np.random.default_rng(3)
    scores, labels = draws.uniform(size=200).round(1), draws.uniform(size=200) < 0.3
    assert auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores))


@pytest.mark.parametrize("right", [True, False])
def test_what_one_outcome_cannot_tell_is_none(right: bool) -> None:
    found = quality(scored([(chain("a", right), [0.4]), (chain("b", right), [0.6])]))
    ranking = found.ranking["all"]
    assert (ranking.auc_steps, ranking.auc_last, ranking.pairs) == (None, None, None)
    assert ranking.interval is None
    assert found.calibrated is None
    assert found.best_of is None


def test_a_source_without_chains_has_no_ranking() -> None:
    assert set(quality(scored([(chain("a", True), [0.4])])).ranking) == {"all", "draft"}


def pairs_of(num: int, won: Callable[[int], bool]) -> StepScores:
    rows = []
    for number in range(num):
        high, low = (0.8, 0.2) if won(number) else (0.2, 0.8)
        rows += [(chain(f"q{number}", True), [high]), (chain(f"q{number}", False), [low])]
    return scored(rows)


def test_the_interval_holds_the_share_and_narrows_with_questions() -> None:
    widths = []
    for num in (20, 320):
        ranking = quality(pairs_of(num, lambda number: number % 4 != 0)).ranking["all"]
        assert ranking.pairs == 0.75
        assert ranking.interval is not None
        low, high = ranking.interval
        assert low < 0.75 < high
        widths.append(high - low)
    # a binomial share's interval is 3.92 * sqrt(p (1 - p) / n) wide
    assert widths[0] == pytest.approx(0.38, abs=0.05)  # in steps of 1/20
    assert widths[1] == pytest.approx(0.095, abs=0.02)


def test_the_interval_is_by_question_not_by_pair() -> None:
    rows = []
    for number in range(20):  # as many pairs a question as wished say nothing new
        high, low = (0.8, 0.2) if number % 4 else (0.2, 0.8)
        rows += [(chain(f"q{number}", True, mark=str(i)), [high]) for i in range(10)]
        rows += [(chain(f"q{number}", False, mark=str(i)), [low]) for i in range(10)]
    few = quality(pairs_of(20, lambda number: number % 4 != 0)).ranking["all"]
    many = quality(scored(rows)).ranking["all"]
    assert (few.num_pairs, many.num_pairs) == (20, 2000)
    assert few.interval == pytest.approx(many.interval)


# Reliability


def test_brier_and_calibration_error_by_hand() -> None:
    scores = np.array([0.05, 0.95, 0.95, 1.0, 0.0])
    labels = np.array([False, True, False, True, True])
    found = reliability(scores, labels)
    assert found.brier == pytest.approx((0.05**2 * 2 + 0.95**2 + 0 + 1) / 5)
    low, high = found.bins
    assert (low.score, low.share_right, low.count) == (pytest.approx(0.025), 0.5, 2)
    assert (high.score, high.share_right, high.count) == (
        pytest.approx(2.9 / 3),
        pytest.approx(2 / 3),
        3,
    )
    assert found.calibration_error == pytest.approx(0.4 * 0.475 + 0.6 * 0.3)


def test_calibration_is_never_fitted_on_the_questions_it_is_judged_on() -> None:
    # within each question scores tell all, but the next question's say the opposite
    questions = np.repeat(np.arange(10), 4)
    labels = np.tile([True, True, False, False], 10)
    scores = np.where(labels, 0.9, 0.1)
    turned = questions == 3
    scores[turned] = 1 - scores[turned]
    mapped = cross_fitted(scores, labels, questions, kind="isotonic")
    assert mapped is not None
    # question 3 is judged by a map that never saw it: fully wrong; 8 shares its fold
    assert mapped[turned] == pytest.approx(np.where(labels[turned], 0.0, 1.0), abs=2e-3)
    assert mapped[questions == 8] == pytest.approx([1.0, 1.0, 0.0, 0.0], abs=2e-3)
    # all others are judged by maps that saw question 3
    assert np.abs(mapped[questions == 0] - labels[questions == 0]).min() > 0.05


def test_calibration_of_one_question_is_undefined() -> None:
    found = cross_fitted(
        np.array([0.1, 0.9]), np.array([False, True]), np.zeros(2, int), kind="platt"
    )
    assert found is None


def test_calibration_improves_scores_that_exaggerate() -> None:
    draws = np.random.default_rng(5)
    rows = []
    for number in range(300):
        for mark in "abc":
            probability = float(draws.uniform())
            right = bool(draws.uniform() < 0.2 + 0.3 * probability)
            rows.append((chain(f"q{number}", right, mark=mark), [probability]))
    for kind in ("isotonic", "platt"):
        found = quality(scored(rows), kind=kind)
        assert found.calibrated is not None
        assert found.calibrated.brier < found.raw.brier - 0.02
        assert found.calibrated.calibration_error < found.raw.calibration_error / 2


# Best of n


def drafts(problem: str, *rows: tuple[str | None, float]) -> list[tuple[Chain, list[float]]]:
    """A question's drafts by answer and last score; 7 is right."""
    return [
        (chain(problem, stated == "7", stated=stated, mark=str(mark)), [score])
        for mark, (stated, score) in enumerate(rows)
    ]


def test_ways_to_choose_among_drafts() -> None:
    found = best_of(scored(drafts("a", ("8", 0.5), ("8.0", 0.3), ("7", 0.7), (None, 0.6))), 8)
    assert found is not None
    assert (found.num_questions, found.num_samples) == (1, 4)
    # 0.7 is highest; 8 has 0.5 + 0.3 and two votes; none states no answer
    assert (found.highest, found.weighted, found.majority) == (1.0, 0.0, 0.0)
    assert (found.mean, found.any) == (0.25, 1.0)


def test_a_weighted_vote_is_not_the_majority() -> None:
    found = best_of(scored(drafts("a", ("8", 0.1), ("8", 0.2), ("7", 0.4), ("9", 0.3))), 8)
    assert found is not None
    assert (found.weighted, found.majority) == (1.0, 0.0)


def test_ties_count_by_the_share_that_is_right() -> None:
    found = best_of(scored(drafts("a", ("8", 0.5), ("7", 0.5), ("9", 0.5), ("9", 0.1))), 3)
    assert found is not None
    assert found.num_samples == 3
    thirds = [found.highest, found.weighted, found.majority]
    assert thirds == pytest.approx([1 / 3] * 3)


def test_where_nothing_is_stated_a_vote_is_wrong() -> None:
    found = best_of(scored(drafts("a", (None, 0.5), (None, 0.2))), 8)
    assert found is not None
    assert (found.weighted, found.majority, found.any) == (0.0, 0.0, 0.0)


def test_the_targets_chains_and_lonely_drafts_are_not_chosen_among() -> None:
    rows = [
        *drafts("a", ("8", 0.9), ("7", 0.2)),
        (chain("a", True, source="target"), [1.0]),
        *drafts("b", ("7", 0.9)),
    ]
    found = best_of(scored(rows), 8)
    assert found is not None
    assert (found.num_questions, found.highest, found.mean) == (1, 0.0, 0.5)


def test_the_number_of_drafts_must_make_sense() -> None:
    with pytest.raises(ConfigError, match="num_samples must be at least 1, not 0"):
        quality(PAIRED, num_samples=0)


# Scoring


def by_depth(path: list[Thought]) -> float:
    return len(path) / 10


def test_every_prefix_of_every_chain_is_scored_in_one_call_a_question() -> None:
    evaluator = Noted(by_depth)
    chains = [chain("a", True, steps=2), chain("b", False), chain("a", False, steps=3)]
    found = score_chains(evaluator, chains)
    assert [question for question, _ in evaluator.asked] == ["a?", "b?"]
    assert evaluator.asked[0][1] == [
        [step.text for step in one.steps[:depth]]
        for one in (chains[0], chains[2])
        for depth in range(1, len(one.steps) + 1)
    ]
    assert found.chains == [chains[0], chains[2], chains[1]]
    assert found.scores == [[0.1, 0.2], [0.1, 0.2, 0.3], [0.1]]


def test_what_chains_have_in_common_is_scored_and_charged_once() -> None:
    longer = chain("a", True, steps=3)
    shorter = replace(longer, steps=longer.steps[:2])
    evaluator = Noted(by_depth)
    found = score_chains(evaluator, [longer, shorter, longer])
    # the second step is one thought where the path goes on, another where it ends
    assert [len(paths) for _, paths in evaluator.asked] == [4]
    assert found.num_thoughts == 4
    assert found.scores == [[0.1, 0.2, 0.3], [0.1, 0.2], [0.1, 0.2, 0.3]]
    cost = quality(found).cost
    assert cost.tokens_per_thought == 10
    assert cost.tokens_by_model == {"large": 10}
    assert cost.ms_per_thought == pytest.approx(1000 * found.seconds / 4)


def test_cost_is_what_was_computed_not_what_was_cached() -> None:
    cost = quality(PAIRED).cost
    assert cost.tokens_per_thought == pytest.approx(90 / 8)
    assert cost.ms_per_thought == pytest.approx(200 / 8)


def test_the_callers_scope_is_charged_and_can_stop() -> None:
    model = ScriptedModel(lambda *_: "", name="large")
    with run_scope(Scope()) as scope:
        score_chains(Judge(model, MATH), [chain("a", True)])
        assert scope.meter.totals()["large"].prompt_tokens > 0
        scope.cancel.set()
        with pytest.raises(RunStopped):
            score_chains(Judge(model, MATH), [chain("a", True)])


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan")])
def test_a_score_out_of_range_is_an_error(bad: float) -> None:
    with pytest.raises(EvaluatorError, match="noted gave the score"):
        score_chains(Noted(lambda _: bad), [chain("a", True)])


def test_chains_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(ConfigError, match="no chains"):
        score_chains(Noted(by_depth), [])
    with pytest.raises(ConfigError, match="without steps"):
        score_chains(Noted(by_depth), [chain("a", True, steps=0)])
    with pytest.raises(ConfigError, match="'a' names two questions"):
        score_chains(Noted(by_depth), [chain("a", True), replace(chain("a", True), question="b?")])


def test_progress_counts_questions() -> None:
    seen: list[tuple[int, int]] = []
    chains = [chain("a", True), chain("b", True), chain("a", False)]
    score_chains(Noted(by_depth), chains, progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]


def test_what_was_scored_before_is_not_scored_again(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    chains = [chain("a", True, steps=2), chain("b", False)]

    class Dies(Noted):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            if question == "b?":
                raise EvaluatorError("the power is out")
            return super().score(question, paths)

    with pytest.raises(EvaluatorError, match="power"):
        score_chains(Dies(by_depth), chains, path=path)
    evaluator = Noted(by_depth)
    found = score_chains(evaluator, chains, path=path)
    assert [question for question, _ in evaluator.asked] == ["b?"]
    assert found.scores == [[0.1, 0.2], [0.1]]
    assert found.usage == {"large": Usage(prompt_tokens=30)}
    again = score_chains(Noted(lambda _: 0.0), chains, path=path)
    assert again == found


def test_scores_of_other_evaluators_and_other_chains_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    score_chains(Noted(by_depth), [chain("a", True)], path=path)
    other = Noted(by_depth)
    other.name = "other"
    score_chains(other, [chain("a", True)], path=path)
    assert len(other.asked) == 1
    more = Noted(by_depth)
    score_chains(more, [chain("a", True), chain("a", False)], path=path)
    assert len(more.asked) == 1


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"evaluator": "noted", "usage": {"m": 3}}'])
def test_a_line_that_holds_no_scores_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    score_chains(Noted(by_depth), [chain("a", True)], path=path)
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigError, match=r"scores\.jsonl:2 holds no scores"):
        score_chains(Noted(by_depth), [chain("a", True)], path=path)


# Reports

UNDEFINED = scored([(chain("x", True), [0.4])])


def test_undefined_figures_are_dashes() -> None:
    ranks, probabilities, choices, costs = sections([quality(UNDEFINED)])
    assert ranks.rows == [("stated", f"{DASH} (0)", DASH, f"{DASH} (0)", DASH, DASH, DASH)]
    assert probabilities.rows == [("stated", "0.360", DASH, "0.600", DASH)]
    assert choices.rows == [("stated", *[DASH] * 7)]
    assert costs.rows == [("stated", "200.0", "90.0")]


def test_figures_stand_in_their_columns() -> None:
    ranks = sections([quality(PAIRED)])[0]
    assert ranks.rows[0][:2] == ("stated", "0.500 (3)")
    assert ranks.rows[0][3:5] == ("0.500 (1)", f"{DASH} (0)")
    for section in sections([quality(PAIRED)]):
        assert all(len(row) == len(section.columns) for row in section.rows)
        assert as_table(section).row_count == 1
        assert as_markdown(section).count("\n| stated |") == 1


def written(folder: Path, qualities: list[Quality], *, has_plots: bool) -> set[str]:
    write_report(folder, qualities, facts={"seed": 3}, has_plots=has_plots)
    return {path.name for path in folder.iterdir()}


def test_the_report_is_a_page_and_a_document(tmp_path: Path) -> None:
    names = written(tmp_path, [quality(PAIRED), quality(UNDEFINED)], has_plots=False)
    assert names == {"report.md", "results.json"}
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert (results["schema"], results["seed"]) == (1, 3)
    first, second = results["evaluators"]
    assert first["ranking"]["all"]["num_pairs"] == 3
    assert second["ranking"]["all"]["pairs"] is None
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert page.count("\n## ") == 4
    assert "reliability.png" not in page


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_plots_are_drawn_for_any_number_of_evaluators(tmp_path: Path) -> None:
    many = [quality(PAIRED)] * 5 + [quality(UNDEFINED)]
    names = written(tmp_path, many, has_plots=True)
    assert names == {"report.md", "results.json", "reliability.png", "reliability.svg"}
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert "reliability.png" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"forethought\[bench\]"):
        written(tmp_path, [quality(PAIRED)], has_plots=True)
