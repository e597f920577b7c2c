"""Frontiers and ranks beside a brute force that follows the written rule word by word."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.conclusions.tradeoff import Estimate, Mean, Offer, geometric_mean, standings

# Few values, so that equal ones and touching intervals come up.
VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
WIDTHS = st.sampled_from([None, 0.0, 0.25, 0.5, 2.0])


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    value, below, above = draw(VALUES), draw(WIDTHS), draw(WIDTHS)
    return Estimate(value, None if below is None else value - below, None if above is None else value + above)


OFFERS = st.lists(st.builds(Offer, estimates(), estimates()), max_size=9)


def at_least_as_good(one: Offer, other: Offer) -> bool:
    return one.loss.value <= other.loss.value and one.cost.value <= other.cost.value


def better_by_estimates(one: Offer, other: Offer) -> bool:
    return at_least_as_good(one, other) and (one.loss.value, one.cost.value) != (other.loss.value, other.cost.value)


def apart(one: Estimate, other: Estimate) -> bool:
    """All of `one` lies below all of `other`."""
    return one.high is not None and other.low is not None and one.high < other.low


def dominates(one: Offer, other: Offer) -> bool:
    return at_least_as_good(one, other) and (apart(one.loss, other.loss) or apart(one.cost, other.cost))


def longest_chain_above(row: Offer, offers: list[Offer]) -> int:
    return max((1 + longest_chain_above(other, offers) for other in offers if dominates(other, row)), default=0)


@given(OFFERS)
def test_standings_follow_the_written_rule(offers: list[Offer]) -> None:
    for row, found in zip(offers, standings(offers), strict=True):
        frontier = not any(better_by_estimates(other, row) for other in offers)
        beaten = any(dominates(other, row) for other in offers)
        assert found.standing == ("frontier" if frontier else "dominated" if beaten else "tied")
        assert found.rank == 1 + longest_chain_above(row, offers)


@given(OFFERS)
def test_who_dominates_ranks_better_and_no_rank_is_left_out(offers: list[Offer]) -> None:
    found = standings(offers)
    for one, mine in zip(offers, found, strict=True):
        for other, its in zip(offers, found, strict=True):
            assert not dominates(one, other) or mine.rank < its.rank
    ranks = sorted({standing.rank for standing in found})
    assert ranks == list(range(1, len(ranks) + 1))
    assert not offers or any(standing.standing == "frontier" for standing in found)


@given(OFFERS, st.randoms())
def test_the_order_in_which_rows_are_given_changes_nothing(offers: list[Offer], random: object) -> None:
    order = np.random.default_rng(len(offers)).permutation(len(offers)).tolist()
    shuffled = standings([offers[place] for place in order])
    assert shuffled == [standings(offers)[place] for place in order]


def test_a_faster_twin_in_accuracy_dominates_and_a_noisy_one_ties() -> None:
    fp32 = Offer(Estimate(0.0, 0.0, 0.0), Estimate(100, 98, 102))
    int8 = Offer(Estimate(-0.001, -0.005, 0.003), Estimate(60, 59, 61))
    noisy = Offer(Estimate(0.002, -0.002, 0.006), Estimate(61, 55, 70))
    lossy = Offer(Estimate(0.2, 0.18, 0.22), Estimate(40, 39, 41))
    found = standings([fp32, int8, noisy, lossy])
    assert [(one.standing, one.rank) for one in found] == [
        ("dominated", 2), ("frontier", 1), ("tied", 1), ("frontier", 1),
    ]  # fmt: skip


def test_a_thousand_rows_of_growing_cost_and_falling_loss_are_all_frontier() -> None:
    offers = [Offer(Estimate(-float(n)), Estimate(float(n))) for n in range(1000)]
    assert {one.standing for one in standings(offers)} == {"frontier"}


def test_a_long_chain_is_ranked_through() -> None:
    offers = [Offer(Estimate(x, x - 0.1, x + 0.1), Estimate(x, x - 0.1, x + 0.1)) for x in map(float, range(1200))]
    order = np.random.default_rng(0).permutation(len(offers)).tolist()
    found = standings([offers[place] for place in order])
    assert [one.rank for one in found] == [place + 1 for place in order]
    assert sum(one.standing == "frontier" for one in found) == 1


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(0, 5))
def test_the_geometric_mean_is_numpys(values: list[float], missing: int) -> None:
    mean = geometric_mean([Estimate(v, v * 0.9, v * 1.1) for v in values], len(values) + missing)
    assert mean.ratio.value == pytest.approx(float(np.exp(np.mean(np.log(values)))))
    assert mean.ratio.low is not None
    assert mean.ratio.high is not None
    assert mean.ratio.low <= mean.ratio.value <= mean.ratio.high
    # k equal distances shrink as the square root of k.
    assert math.log(mean.ratio.high / mean.ratio.value) == pytest.approx(math.log(1.1) / math.sqrt(len(values)))
    assert (mean.covered, mean.of) == (len(values), len(values) + missing)


def test_its_interval_holds_the_truth_as_often_as_those_of_its_parts() -> None:
    random, held = np.random.default_rng(0), 0
    truths = np.log([0.5, 1.0, 1.5, 3.0])
    for _ in range(4000):
        logs = truths + random.normal(0, 0.1, 4)
        parts = [Estimate(math.exp(x), math.exp(x - 0.196), math.exp(x + 0.196)) for x in logs]
        ratio = geometric_mean(parts, 4).ratio
        assert ratio.low is not None
        assert ratio.high is not None
        held += ratio.low <= math.exp(truths.mean()) <= ratio.high
    assert 0.94 < held / 4000 < 0.96


def test_what_is_unknown_stays_unknown() -> None:
    assert geometric_mean([Estimate(2.0, 1.9, 2.1), Estimate(2.0, None, 2.1)], 2) == Mean(
        Estimate(pytest.approx(2.0), None, pytest.approx(2.0 * 1.05 ** math.sqrt(0.5))), 2, 2
    )


@pytest.mark.parametrize("values", [[], [0.0], [-1.0]])
def test_no_mean_of_nothing_or_of_what_is_no_ratio(values: list[float]) -> None:
    with pytest.raises(ValueError, match="geometric mean"):
        geometric_mean([Estimate(value) for value in values], 3)


def test_ranks_are_whole_and_start_at_one() -> None:
    offers = [Offer(Estimate(x, x - 0.01, x + 0.01), Estimate(x, x - 0.01, x + 0.01)) for x in (1.0, 2.0, 3.0)]
    ranks = [one.rank for one in standings(offers)]
    assert ranks[0] == 1
    assert all(later == earlier + 1 for earlier, later in pairwise(ranks))
