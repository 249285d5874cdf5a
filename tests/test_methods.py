"""How methods are named: a system, settings of its own, sweeps over them, and an evaluator."""

from __future__ import annotations

from typing import Any

import pytest

from forethought.bench.methods import parse_methods
from forethought.config import SearchConfig
from forethought.config_cot import CotConfig
from forethought.config_thinking import ThinkingConfig
from forethought.errors import ConfigError


def labels(text: str) -> list[str]:
    return [method.label for method in parse_methods(text, "judge")]


def config(text: str, **given: Any) -> Any:
    (method,) = parse_methods(text, "judge")
    return method.config(given)


def test_settings_stand_in_brackets_and_are_read_as_their_types() -> None:
    text = "speculative-cot[num_chains=3;correction=false], ar-beam[theta=0.5]@judge+equations"
    cot, beam = parse_methods(text, "judge")
    assert (cot.system.name, cot.spec, dict(cot.settings)) == (
        "speculative-cot",
        None,
        {"num_chains": 3, "correction": False},
    )
    assert (beam.system.name, beam.spec, dict(beam.settings)) == (
        "ar-beam",
        "judge+equations",
        {"theta": 0.5},
    )
    assert beam.label == "ar-beam[theta=0.5]@judge+equations"


def test_alternatives_are_one_method_each_in_every_combination() -> None:
    assert labels(
        "target-greedy,spec-search-beam[theta=0.8|0.9;theta_estimator=max|mean]@judge"
    ) == [
        "target-greedy",
        "spec-search-beam[theta=0.8;theta_estimator=max]@judge",
        "spec-search-beam[theta=0.8;theta_estimator=mean]@judge",
        "spec-search-beam[theta=0.9;theta_estimator=max]@judge",
        "spec-search-beam[theta=0.9;theta_estimator=mean]@judge",
    ]


def test_commas_in_brackets_part_no_methods() -> None:
    (method,) = parse_methods("speculative-thinking[hint=So, again: ]", "judge")
    assert method.settings == {"hint": "So, again: "}


def test_brackets_come_before_the_line_and_the_line_before_options() -> None:
    assert config("fixed-beam", policy="ema", threshold=0.1).policy == "fixed"
    assert config("fixed-beam", threshold=0.1) == SearchConfig(policy="fixed", threshold=0.1)
    assert config("fixed-beam[threshold=0.2]", threshold=0.1).threshold == 0.2
    assert config("speculative-cot:single[correction=true]").correction is True


def test_options_count_for_every_method_that_has_such_a_setting() -> None:
    given = {"temperature": 0.1, "tree_width": 7, "deadline": 9.0}
    assert config("speculative-cot", **given) == CotConfig(temperature=0.1, deadline=9.0)
    assert config("speculative-thinking", **given) == ThinkingConfig(temperature=0.1, deadline=9.0)
    assert config("sps-greedy", **given).tree_width == 7
    assert config("speculative-cot") == CotConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ar-beam[theta=0.5", "'ar-beam\\[theta=0.5' is not of the form NAME"),
        ("ar-beam[]", "method ar-beam takes KEY=VALUE, not ''"),
        ("ar-beam[theta]", "method ar-beam takes KEY=VALUE, not 'theta'"),
        ("ar-beam[num_chains=3]", "method ar-beam has no setting 'num_chains'; it has task, "),
        ("speculative-cot[num_chains=few]", "num_chains cannot be 'few'"),
        (
            "speculative-cot[num_chains=1|1]",
            r"\['speculative-cot\[num_chains=1\]'\] is given twice",
        ),
        ("speculative-cot@judge", "method speculative-cot asks no evaluator: leave @judge out"),
        ("speculative-thinking[begin=true]@judge", "asks no evaluator"),
    ],
)
def test_what_names_no_method_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_methods(text, "judge")


def test_a_value_out_of_range_is_refused_where_settings_are_made() -> None:
    with pytest.raises(ConfigError, match=r"num_chains must lie in 1..8, not 9"):
        config("speculative-cot[num_chains=9]")
