"""The ratio's interval against SciPy's signed-rank test and t, and its coverage under drift and heavy tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lynxbench.measurement import ratio_interval
from lynxbench.measurement.ratios import signed_rank_depth, sittings_interval

logs = st.floats(-1, 1, allow_nan=False, width=64)


@pytest.mark.parametrize(("n", "depth"), [(5, 0), (6, 1), (7, 3), (8, 4), (10, 9), (15, 26), (20, 53), (25, 90)])
def test_depths_are_the_published_critical_values(n: int, depth: int) -> None:
    """Wilcoxon's two-sided 5 % critical values (0, 2, 3, 8, 25, 52, 89 for n = 6 7 8 10 15 20 25), plus one."""
    assert signed_rank_depth(n, 0.95) == depth


def test_the_normal_approximation_joins_the_counted_distribution() -> None:
    depths = [signed_rank_depth(n, 0.95) for n in range(55, 75)]
    steps = np.diff(depths)
    assert (steps > 0).all()
    assert (np.abs(np.diff(steps)) <= 2).all()


@given(st.lists(logs, min_size=6, max_size=30, unique=True))
def test_the_interval_holds_exactly_the_shifts_that_the_test_accepts(values: list[float]) -> None:
    """A shift inside the interval is not rejected by scipy.stats.wilcoxon at 5 %, one outside is."""
    estimate = ratio_interval(values, 0.95)
    assert estimate.method == "signed-rank"
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high
    averages = np.array([(a + b) / 2 for i, a in enumerate(values) for b in values[i:]])
    assert math.log(estimate.value) == pytest.approx(np.median(averages), abs=1e-12)

    def p_value(shift: float) -> float:
        return float(stats.wilcoxon(np.array(values) - shift, method="exact").pvalue)

    low, high = math.log(estimate.low), math.log(estimate.high)
    gaps = np.diff(np.unique(np.round(averages, 12)))
    step = float(gaps[gaps > 1e-9].min()) / 4 if (gaps > 1e-9).any() else 0.0
    differences = np.abs(np.subtract.outer(np.abs(values), np.abs(values)))[np.triu_indices(len(values), 1)]
    if step > 1e-8 and differences.min() > 1e-8:  # no ties, so that the exact test applies
        assert p_value(low - step) <= 0.05
        assert p_value(high + step) <= 0.05
        if high - low > 2 * step:
            assert p_value(low + step) > 0.05
            assert p_value(high - step) > 0.05


@given(st.lists(logs, min_size=2, max_size=5))
def test_few_rounds_use_students_interval(values: list[float]) -> None:
    estimate = ratio_interval(values)
    assert estimate.method == "t"
    assert estimate.low is not None
    assert estimate.high is not None
    mean, error = np.mean(values), stats.sem(values)
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert math.log(estimate.low) == pytest.approx(mean - half, abs=1e-12)
    assert math.log(estimate.high) == pytest.approx(mean + half, abs=1e-12)


def test_one_round_has_a_value_and_no_interval() -> None:
    estimate = ratio_interval([math.log(2)])
    assert estimate.value == pytest.approx(2)
    assert (estimate.low, estimate.high, estimate.half_width_ratio, estimate.method) == (
        None,
        None,
        None,
        "single-round",
    )


@given(st.lists(logs, min_size=2, max_size=40))
def test_swapping_the_sides_inverts_the_ratio(values: list[float]) -> None:
    one, two = ratio_interval(values), ratio_interval([-value for value in values])
    assert one.value * two.value == pytest.approx(1)
    assert one.low is not None
    assert two.high is not None
    assert one.low * two.high == pytest.approx(1)
    assert one.half_width_ratio == pytest.approx(two.half_width_ratio, abs=1e-12)


def test_half_width_is_relative() -> None:
    estimate = ratio_interval([math.log(3 * 1.02), math.log(3 / 1.02)] * 3)
    assert estimate.value == pytest.approx(3)
    assert estimate.half_width_ratio == pytest.approx(0.02)


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")], [[1.0, 2.0]]])
def test_what_is_no_list_of_finite_logs_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite log ratio"):
        ratio_interval(values)


def drifting_round_logs(rng: np.random.Generator, rounds: int, tail: str) -> np.ndarray:
    """Log p50 of (reference, candidate) with true ratio 1.5: a drift that both share, and noise of each block's own."""
    drift = np.cumsum(rng.normal(0, 0.1, rounds))
    own = rng.standard_t(2, (2, rounds)) if tail == "t2" else rng.normal(0, 0.3, (2, rounds))
    if tail == "bursts":
        own = own + (rng.random((2, rounds)) < 0.15) * rng.exponential(10, (2, rounds))
    reference, candidate = drift + 0.02 * own
    return np.stack([reference, candidate - math.log(1.5)])


@pytest.mark.parametrize("tail", ["normal", "t2", "bursts"])
@pytest.mark.parametrize("rounds", [8, 20])
def test_coverage_under_drift_and_heavy_tails(tail: str, rounds: int) -> None:
    rng = np.random.default_rng([len(tail), rounds])
    sets = 1_500
    held = 0
    for _ in range(sets):
        reference, candidate = drifting_round_logs(rng, rounds, tail)
        estimate = ratio_interval(reference - candidate)
        held += estimate.low <= 1.5 <= estimate.high  # type: ignore[operator]
    assert 0.935 <= held / sets <= 0.98  # 8 rounds: 96.1 % is the exact level that the steps of the test allow


def test_bursts_widen_students_interval_far_more() -> None:
    rng = np.random.default_rng(2)
    ours, students = [], []
    for _ in range(200):
        reference, candidate = drifting_round_logs(rng, 20, "bursts")
        values = reference - candidate
        estimate = ratio_interval(values)
        assert estimate.half_width_ratio is not None
        ours.append(estimate.half_width_ratio)
        students.append(stats.t.ppf(0.975, 19) * stats.sem(values))
    assert np.median(ours) < np.median(students) / 2


def test_over_sittings_it_is_students_interval_of_their_estimates() -> None:
    rng = np.random.default_rng(7)
    logs, sittings = rng.standard_normal(24) / 50, [0] * 8 + [1] * 8 + [2] * 8
    centres = [math.log(ratio_interval(logs[i : i + 8], 0.95).value) for i in (0, 8, 16)]
    low, high = stats.t.interval(0.95, 2, np.mean(centres), stats.sem(centres))
    found = sittings_interval(logs, sittings, 0.95)
    assert (found.method, found.rounds) == ("sittings", 24)
    assert math.log(found.value) == pytest.approx(np.mean(centres))
    assert [math.log(found.low or 0), math.log(found.high or 0)] == pytest.approx([low, high])
    assert sittings_interval(logs, [4] * 24, 0.95) == ratio_interval(logs, 0.95)


@pytest.mark.parametrize("between", [0.0, 0.01, 0.05])
def test_coverage_where_processes_differ(between: float) -> None:
    """Three sittings of ten rounds: 95 % hold the truth, where the rounds alone would claim far too much."""
    rng = np.random.default_rng([3, round(1000 * between)])
    sets, sittings = 1_500, np.repeat([0, 1, 2], 10)
    held = held_alone = 0
    for _ in range(sets):
        logs = math.log(1.5) + between * rng.standard_normal(3)[sittings] + 0.01 * rng.standard_normal(30)
        found, alone = sittings_interval(logs, sittings.tolist(), 0.95), ratio_interval(logs, 0.95)
        held += found.low <= 1.5 <= found.high  # type: ignore[operator]
        held_alone += alone.low <= 1.5 <= alone.high  # type: ignore[operator]
    # Four standard deviations of a binomial share around the nominal level.
    assert abs(held / sets - 0.95) < 4 * math.sqrt(0.95 * 0.05 / sets)
    if between >= 0.01:
        assert held_alone / sets < 0.8
