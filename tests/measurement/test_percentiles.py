"""Percentiles against NumPy, SciPy's binomial, published least sample sizes and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lynxbench.measurement import early_stopping_samples, least_samples, percentile_estimate
from lynxbench.measurement.percentiles import order_statistic_ranks

QUANTILES = [0.5, 0.9, 0.95, 0.99, 0.999]


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3_688)])
def test_least_samples_for_a_two_sided_interval_at_95_percent(q: float, n: int) -> None:
    """p95 72, p99 368 and p99.9 3,688 are the published figures."""
    assert least_samples(q) == n
    assert order_statistic_ranks(n - 1, q, 0.95) is None
    assert order_statistic_ranks(n, q, 0.95) is not None


@pytest.mark.parametrize(("q", "n"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6_636)])
def test_least_samples_for_early_stopping(q: float, n: int) -> None:
    """The figures of the MLPerf inference rules."""
    assert early_stopping_samples(q) == n
    assert percentile_estimate(np.arange(n - 1), q).early_stopping_ns is None
    assert percentile_estimate(np.arange(n), q).early_stopping_ns == n - 1  # one is set aside in t, none discarded


@given(st.sampled_from(QUANTILES), st.integers(1, 5_000))
def test_early_stopping_discards_what_the_binomial_allows(q: float, n: int) -> None:
    """I_q(h, t+1) is P(at most t of n runs lie above the quantile); take the largest t where that is at most 1 %."""
    allowed = np.flatnonzero(stats.binom.cdf(np.arange(n), n, 1 - q) <= 0.01)
    t = int(allowed[-1]) if len(allowed) else 0
    estimate = percentile_estimate(np.arange(n), q).early_stopping_ns
    assert estimate == (n - t if t >= 1 else None)
    if t >= 2:
        assert early_stopping_samples(q, t) <= n < early_stopping_samples(q, t + 1)


@given(st.sampled_from(QUANTILES), st.sampled_from([0.8, 0.95, 0.99]), st.integers(1, 20_000))
def test_ranks_are_those_of_the_binomial(q: float, confidence: float, n: int) -> None:
    ranks = order_statistic_ranks(n, q, confidence)
    tail = (1 - confidence) / 2
    if n < least_samples(q, confidence):
        assert ranks is None
        return
    assert ranks is not None
    low, high = ranks
    assert 1 <= low < high <= n
    law = stats.binom(n, q)
    assert law.cdf(low - 1) <= tail < law.cdf(low)  # one further in and the lower tail is too heavy
    assert law.sf(high - 1) <= tail < law.sf(high - 2)
    assert law.cdf(high - 1) - law.cdf(low - 1) >= confidence - 1e-12  # the exact coverage


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=500),
    st.sampled_from(QUANTILES),
)
def test_values_are_numpy_quantiles_inside_their_interval(latencies: list[int], q: float) -> None:
    estimate = percentile_estimate(latencies, q)
    if len(latencies) < least_samples(q):
        assert (estimate.value_ns, estimate.low_ns, estimate.high_ns, estimate.method) == (None, None, None, None)
        assert estimate.reason is not None
        assert str(len(latencies)) in estimate.reason
        return
    assert estimate.value_ns == pytest.approx(np.quantile(latencies, q), rel=1e-12)
    assert estimate.low_ns is not None
    assert estimate.high_ns is not None
    assert estimate.low_ns <= estimate.value_ns <= estimate.high_ns
    assert {estimate.low_ns, estimate.high_ns} <= set(latencies)
    assert estimate.reason is None


@given(st.lists(st.integers(1, 10**6), min_size=40, max_size=300), st.integers(4, 10))
def test_the_interval_over_blocks_is_never_the_narrower_one(latencies: list[int], count: int) -> None:
    sizes = [len(part) for part in np.array_split(np.arange(len(latencies)), count)]
    alone = percentile_estimate(latencies, 0.5)
    over_blocks = percentile_estimate(latencies, 0.5, block_sizes=sizes)
    assert over_blocks.value_ns == alone.value_ns
    assert alone.low_ns is not None
    assert alone.high_ns is not None
    assert over_blocks.low_ns is not None
    assert over_blocks.low_ns <= alone.low_ns
    if over_blocks.high_ns is None:
        assert over_blocks.reason is not None
        assert over_blocks.method == "blocks"
    else:
        assert over_blocks.high_ns >= alone.high_ns


@pytest.mark.parametrize(("q", "n"), [(0.5, 1_000), (0.95, 4_000)])
def test_order_statistic_coverage_over_10_000_runs(q: float, n: int) -> None:
    """Nominal 95 %: between 94 and 96 % of 10,000 sets of independent latencies, and what the binomial says exactly."""
    rng = np.random.default_rng(5)
    truth = q * 10**9
    held = 0
    for _ in range(10_000):
        estimate = percentile_estimate(rng.integers(0, 10**9, n), q)
        assert estimate.low_ns is not None
        assert estimate.high_ns is not None
        held += estimate.low_ns <= truth <= estimate.high_ns
    low, high = order_statistic_ranks(n, q, 0.95) or (0, 0)
    exact = stats.binom.cdf(high - 1, n, q) - stats.binom.cdf(low - 1, n, q)
    assert 0.94 <= held / 10_000 <= 0.96
    assert held / 10_000 == pytest.approx(exact, abs=0.008)


def contended(rng: np.random.Generator, blocks: int, runs: int, spread: float) -> np.ndarray:
    """Latencies whose level moves from block to block: log-normal around a level that is log-normal itself."""
    level = spread * rng.standard_normal((blocks, 1))
    return (1e6 * np.exp(level + 0.05 * rng.standard_normal((blocks, runs)))).astype(np.int64)


def test_p50_interval_covers_where_blocks_differ_and_independence_would_not() -> None:
    rng = np.random.default_rng(11)
    sets, blocks, runs = 1_000, 20, 60
    held = held_alone = 0
    for _ in range(sets):
        latencies = contended(rng, blocks, runs, 0.05).ravel()
        over_blocks = percentile_estimate(latencies, 0.5, block_sizes=[runs] * blocks)
        alone = percentile_estimate(latencies, 0.5)
        held += over_blocks.low_ns <= 1e6 <= over_blocks.high_ns  # type: ignore[operator]
        held_alone += alone.low_ns <= 1e6 <= alone.high_ns  # type: ignore[operator]
    assert held_alone / sets < 0.6
    assert 0.93 <= held / sets <= 0.97


def test_interval_over_blocks_agrees_with_a_block_bootstrap() -> None:
    rng = np.random.default_rng(3)
    blocks, runs = 40, 50
    latencies = contended(rng, blocks, runs, 0.04)
    medians = np.median(latencies[rng.integers(0, blocks, size=(4_000, blocks))].reshape(4_000, -1), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    estimate = percentile_estimate(latencies.ravel(), 0.5, block_sizes=[runs] * blocks)
    assert estimate.method == "blocks"
    assert estimate.high_ns is not None
    assert estimate.low_ns is not None
    assert estimate.high_ns - estimate.low_ns == pytest.approx(high - low, rel=0.25)
    assert estimate.low_ns == pytest.approx(low, rel=0.01)
    assert estimate.high_ns == pytest.approx(high, rel=0.01)


def test_independent_runs_keep_nearly_the_order_statistic_interval() -> None:
    rng = np.random.default_rng(8)
    latencies = rng.integers(1_000, 2_000, size=4_000)
    over_blocks = percentile_estimate(latencies, 0.5, block_sizes=[100] * 40)
    alone = percentile_estimate(latencies, 0.5)
    assert over_blocks.high_ns - over_blocks.low_ns < 1.5 * (alone.high_ns - alone.low_ns)  # type: ignore[operator]


def test_a_burst_in_one_block_leaves_a_high_percentile_without_an_upper_end_not_with_a_false_one() -> None:
    latencies = np.full(1_000, 1_000) + np.arange(1_000) % 7
    latencies[300:340] += 1_000_000  # all slow runs in one of ten blocks
    estimate = percentile_estimate(latencies, 0.99, block_sizes=[100] * 10)
    assert estimate.value_ns == np.quantile(latencies, 0.99)
    assert estimate.high_ns is None
    assert estimate.method == "blocks"
    assert estimate.reason is not None
    assert "upper limit" in estimate.reason


@pytest.mark.parametrize(("q", "confidence"), [(0.0, 0.95), (1.0, 0.95), (99.0, 0.95), (0.5, 95.0), (0.5, 0.0)])
def test_percent_where_a_share_is_meant_is_refused(q: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="is a share between 0 and 1"):
        percentile_estimate([1, 2, 3], q, confidence)


def test_no_latencies_give_a_reason_and_no_number() -> None:
    estimate = percentile_estimate([], 0.5)
    assert estimate.value_ns is None
    assert estimate.early_stopping_ns is None
    assert estimate.reason == "0 runs; a 95% interval of p50 needs 6"
