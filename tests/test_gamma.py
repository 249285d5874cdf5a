"""How many tokens to propose: the formula, and what it is fed with."""

from __future__ import annotations

import pytest

from forethought.engine.gamma import (
    MAX_GAMMA,
    AdaptiveGamma,
    Costs,
    Plain,
    Round,
    best_gamma,
    expected_tokens,
)


@pytest.mark.parametrize("gamma", [0, 1, 5, 16])
@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.9])
def test_expected_tokens_are_those_of_the_paper(acceptance: float, gamma: int) -> None:
    closed = (1 - acceptance ** (gamma + 1)) / (1 - acceptance)
    assert expected_tokens(acceptance, gamma) == pytest.approx(closed)


def test_when_everything_is_accepted_a_round_gives_all_and_one_more() -> None:
    assert expected_tokens(1.0, 7) == 8


@pytest.mark.parametrize(
    ("acceptance", "costs", "gamma"),
    [
        (1.0, Costs(plain=1.0, draft=0.01, row=0.0), MAX_GAMMA),
        (0.9, Costs(plain=1.0, draft=0.5, row=0.5), 0),  # as dear as the target's own tokens
        (0.0, Costs(plain=1.0, draft=0.01, row=0.0), 0),
        (0.5, Costs(plain=1.0, draft=0.1, row=0.0), 2),  # 1.75 / 1.2 above 1.5 / 1.1, 1.875 / 1.3
        (0.8, Costs(plain=1.0, draft=0.1, row=0.05), 5),  # 3.69 / 1.75 above 3.36 / 1.6, 3.95 / 1.9
        (0.99, Costs(plain=1.0, draft=0.3, row=0.9), 0),  # verifying a row costs nearly a step
    ],
)
def test_gamma_brings_the_most_tokens_per_second(
    acceptance: float, costs: Costs, gamma: int
) -> None:
    assert best_gamma(acceptance, costs) == gamma


def saw(adaptive: AdaptiveGamma, count: int, *, seconds: tuple[float, float] | None) -> None:
    """Rounds of four proposals to two sequences, three of four accepted."""
    for _ in range(count):
        adaptive.saw_round(Round(2, 8, 8, 6, seconds))


def test_it_tries_both_ways_before_it_chooses() -> None:
    adaptive = AdaptiveGamma()
    gammas = []
    while gamma := adaptive.choose(2):
        gammas.append(gamma)
        saw(adaptive, 1, seconds=(0.04, 0.12))
    assert gammas == [4] * 4  # and then 0, to see what the target alone takes
    adaptive.saw_plain(Plain(2, 10, 20, seconds=1.0))
    expected = best_gamma(adaptive.acceptance, Costs(plain=0.1, draft=0.01, row=0.005))
    assert adaptive.choose(2) == expected > 0


def test_where_it_loses_it_stays_plain_but_for_a_few_rounds_once_in_a_while() -> None:
    adaptive = AdaptiveGamma()
    rounds = 0
    for _ in range(300):
        if adaptive.choose(2):
            rounds += 1
            saw(adaptive, 1, seconds=(0.4, 0.5))
        else:
            adaptive.saw_plain(Plain(2, 20, 40, seconds=2.0))
    assert 4 < rounds <= 4 * (1 + 300 * 20 // 512)


def test_it_notices_that_a_draft_has_become_good() -> None:
    adaptive = AdaptiveGamma()
    adaptive.saw_plain(Plain(1, 10, 10, seconds=1.0))
    for _ in range(40):
        adaptive.saw_round(Round(1, 4, 1, 0, (0.04, 0.11)))
    assert adaptive.choose(1) == 0
    assert adaptive.acceptance < 0.1
    for _ in range(60):
        adaptive.saw_round(Round(1, 4, 4, 4, (0.04, 0.11)))
    assert adaptive.acceptance > 0.9
    assert adaptive.choose(1) > 4


def test_batches_of_other_sizes_are_measured_on_their_own() -> None:
    adaptive = AdaptiveGamma()
    saw(adaptive, 4, seconds=(0.04, 0.1))
    adaptive.saw_plain(Plain(2, 10, 20, seconds=1.0))
    assert adaptive.choose(2) == adaptive.choose(3) > 4
    assert adaptive.choose(4) == adaptive.choose(1) == 4  # not measured yet


def test_rounds_that_computed_prompts_do_not_count_as_costs() -> None:
    adaptive = AdaptiveGamma()
    saw(adaptive, 4, seconds=None)
    adaptive.saw_plain(Plain(2, 10, 20, seconds=1.0))
    assert adaptive.choose(2) == 0
    saw(adaptive, 1, seconds=(0.04, 0.1))
    assert adaptive.choose(2) > 0
    adaptive.saw_plain(Plain(2, 10, 20, seconds=None))
    assert adaptive.choose(2) > 0
