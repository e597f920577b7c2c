"""A summary recomputed with NumPy, SciPy and statsmodels, and each warning brought about on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lynxbench.measurement import TimingWarning, select_blocks, summarise, time_block
from tests.fakes import ScriptedClock, make_block

latencies = st.lists(st.integers(1, 10**9), min_size=1, max_size=40)


def quiet_blocks(count: int = 10, runs: int = 500, seed: int = 1) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(1_000_000, 1_100_000, size=(count, runs)))


@given(st.lists(latencies, min_size=1, max_size=8), st.integers(1, 16))
def test_plain_numbers_are_those_of_numpy(parts: list[list[int]], samples_per_query: int) -> None:
    summary = summarise([make_block(part, cpu_ratio=1.5) for part in parts], samples_per_query=samples_per_query)
    every = np.concatenate(parts)
    assert summary.n_runs == len(every)
    assert summary.mean_ns == pytest.approx(every.mean())
    assert (summary.min_ns, summary.max_ns) == (every.min(), every.max())
    assert summary.throughput.value_per_s == pytest.approx(samples_per_query * len(every) / every.sum() * 1e9)
    assert summary.cpu_over_wall_ratio == pytest.approx(1.5, abs=1)
    assert summary.blocks_used == len(parts)
    for name, q in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)]:
        value = summary.percentiles[name].value_ns
        assert value is None or value == pytest.approx(np.quantile(every, q))


def test_a_lost_or_shifted_sample_shows_through_clock_loop_and_summary() -> None:
    """1, 2, …, 400 µs in four blocks: every figure is known in closed form."""
    clock = ScriptedClock()
    query = clock.query(range(1_000, 401_000, 1_000))
    blocks = [time_block([query], 0, clock_ns=clock, min_runs=100) for _ in range(4)]
    summary = summarise(blocks)
    assert summary.n_runs == 400
    assert summary.mean_ns == 200_500
    assert (summary.min_ns, summary.max_ns) == (1_000, 400_000)
    assert summary.percentiles["p50"].value_ns == 200_500
    assert summary.percentiles["p99"].value_ns == pytest.approx(396_010)
    assert summary.percentiles["p99_9"].value_ns is None
    assert summary.throughput.value_per_s == pytest.approx(1e9 / 200_500)
    assert TimingWarning.FEW_SAMPLES in summary.warnings


def test_throughput_interval_covers_where_blocks_differ() -> None:
    """Blocks of 0.1 s whose speed varies by 5 %: the interval holds the long-run rate in about 95 % of 1,000 sets."""
    rng = np.random.default_rng(17)
    held = 0
    for _ in range(1_000):
        means = 1e6 * (1 + 0.05 * rng.uniform(-1, 1, 20))
        blocks = [make_block(np.full(int(1e8 / mean) + 1, round(mean))) for mean in means]
        throughput = summarise(blocks).throughput
        # Blocks last equally long, so the rate is the mean of the blocks' rates: E[1/(1+u)] = ln(1.05/0.95)/0.1.
        truth = 1e3 * np.log(1.05 / 0.95) / 0.1
        held += throughput.low_per_s <= truth <= throughput.high_per_s  # type: ignore[operator]
    assert 0.93 <= held / 1_000 <= 0.97


def test_dispersion_and_drift_agree_with_scipy() -> None:
    parts = quiet_blocks(count=12, runs=50)
    summary = summarise([make_block(part) for part in parts])
    medians = [np.median(part) for part in parts]
    expected = stats.spearmanr(np.arange(12), medians)
    assert summary.drift is not None
    assert summary.drift.rho == pytest.approx(expected.statistic)
    assert summary.drift.p_value == pytest.approx(expected.pvalue)
    overall = np.median(np.concatenate(parts))
    below = [(part <= overall).sum() for part in parts]
    table = np.array([below, [50 - b for b in below]])
    assert summary.design_effect == pytest.approx(stats.chi2_contingency(table, correction=False).statistic / 11)
    assert summary.block_variation_ratio == pytest.approx(stats.variation(medians, ddof=1))


@given(st.lists(st.integers(1, 5), min_size=5, max_size=30))
def test_drift_handles_ties_as_scipy_does(levels: list[int]) -> None:
    summary = summarise([make_block([level * 1_000]) for level in levels])
    assert summary.drift is not None
    if len(set(levels)) == 1:
        assert (summary.drift.rho, summary.drift.p_value) == (0.0, 1.0)
        return
    expected = stats.spearmanr(np.arange(len(levels)), levels)
    assert summary.drift.rho == pytest.approx(expected.statistic, abs=1e-9)
    assert summary.drift.p_value == pytest.approx(expected.pvalue, abs=1e-6)


def test_a_quiet_measurement_has_no_warnings() -> None:
    assert summarise([make_block(part) for part in quiet_blocks()]).warnings == ()


def test_steady_independent_runs_hardly_ever_warn() -> None:
    """Two tests at 1 % each, both with a least size besides."""
    summaries = [summarise([make_block(part) for part in quiet_blocks(seed=seed)]) for seed in range(300)]
    assert sum(bool(summary.warnings) for summary in summaries) <= 9
    assert np.mean([summary.design_effect for summary in summaries]) == pytest.approx(1, abs=0.1)  # type: ignore[arg-type]


def test_steady_warming_is_called_drift() -> None:
    blocks = [make_block(part * (100 + 3 * i) // 100) for i, part in enumerate(quiet_blocks())]
    summary = summarise(blocks)
    assert TimingWarning.DRIFT in summary.warnings
    assert summary.drift is not None
    assert summary.drift.rho == pytest.approx(1)
    assert summary.drift.change_ratio == pytest.approx(0.15, abs=0.02)
    assert TimingWarning.DRIFT not in summarise([blocks[i] for i in (3, 8, 1, 6, 9, 0, 5, 2, 7, 4)]).warnings


def test_blocks_that_differ_are_called_autocorrelated_and_the_interval_comes_from_them() -> None:
    levels = [100, 103, 101, 104, 100, 102, 104, 101, 103, 102]
    summary = summarise([make_block(part * level // 100) for part, level in zip(quiet_blocks(), levels, strict=True)])
    assert TimingWarning.AUTOCORRELATED in summary.warnings
    assert TimingWarning.UNSTEADY_BLOCKS not in summary.warnings
    assert summary.percentiles["p50"].method == "blocks"
    assert summary.design_effect is not None
    assert summary.design_effect > 2


def test_medians_that_vary_by_more_than_a_tenth_are_unsteady() -> None:
    levels = [100, 140, 100, 135, 110, 90, 140, 100, 130, 95]
    summary = summarise([make_block(part * level // 100) for part, level in zip(quiet_blocks(), levels, strict=True)])
    assert TimingWarning.UNSTEADY_BLOCKS in summary.warnings


def test_starved_blocks_are_left_out_and_counted() -> None:
    ratios = [0.0, 0.03, 0.0, 0.2, 0.0, 0.06, 0.0, 0.0, 0.0, 0.0]
    blocks = [
        make_block(part * (50 if ratio > 0.05 else 1), delay_ratio=ratio)
        for part, ratio in zip(quiet_blocks(), ratios, strict=True)
    ]
    selection = select_blocks(blocks, 8)
    assert selection.used == (0, 1, 2, 4, 6, 7, 8, 9)
    assert (selection.starved, selection.excluded, selection.kept_despite) == (3, 2, 0)
    summary = summarise(blocks, minimum_blocks=8)
    assert (summary.n_runs, summary.max_ns < 1_100_000) == (4_000, True)
    assert (summary.blocks_used, summary.blocks_starved, summary.blocks_excluded) == (8, 3, 2)
    assert summary.warnings == (TimingWarning.STARVED_BLOCKS, TimingWarning.EXCLUDED_BLOCKS)


def test_starved_blocks_are_kept_with_a_warning_where_too_few_would_remain() -> None:
    blocks = [make_block(part, delay_ratio=0.1 * (i % 3 == 0)) for i, part in enumerate(quiet_blocks())]
    selection = select_blocks(blocks, 8)
    assert selection.used == tuple(range(10))
    assert (selection.excluded, selection.kept_despite) == (0, 4)
    summary = summarise(blocks, minimum_blocks=8)
    assert summary.n_runs == 5_000
    assert summary.scheduler_delay_ratio == pytest.approx(0.04, rel=0.01)
    assert summary.warnings == (TimingWarning.STARVED_BLOCKS_KEPT,)
    everything_starved = [make_block(part, delay_ratio=0.5) for part in quiet_blocks()]
    assert summarise(everything_starved, minimum_blocks=0).blocks_used == 10


def test_unreadable_counters_are_none_and_said() -> None:
    summary = summarise([make_block(part, delay_ratio=None, steal_ns=None) for part in quiet_blocks()])
    assert (summary.scheduler_delay_ratio, summary.steal_ns) == (None, None)
    assert summary.warnings == (TimingWarning.SCHEDULER_DELAY_UNREADABLE,)


def test_stolen_time_is_judged_against_the_whole_machine() -> None:
    blocks = [make_block(part, steal_ns=30_000_000) for part in quiet_blocks()]  # each block lasts 0.52 s
    assert summarise(blocks, cpus=1).warnings == (TimingWarning.STOLEN_TIME,)
    assert summarise(blocks, cpus=4).warnings == ()
    assert summarise(blocks).steal_ns == 300_000_000


def test_harness_overhead_is_compared_never_subtracted() -> None:
    blocks = [make_block(part) for part in quiet_blocks()]
    assert summarise(blocks, harness_overhead_ns=40_000).warnings == ()
    with_overhead = summarise(blocks, harness_overhead_ns=60_000)
    assert with_overhead.warnings == (TimingWarning.HARNESS_OVERHEAD,)
    assert with_overhead.mean_ns == summarise(blocks).mean_ns


def test_few_blocks_are_said_and_give_no_throughput_interval() -> None:
    summary = summarise([make_block(part) for part in quiet_blocks(count=3, runs=2_000)])
    assert summary.warnings == (TimingWarning.FEW_BLOCKS,)
    assert (summary.throughput.low_per_s, summary.throughput.high_per_s) == (None, None)
    assert (summary.design_effect, summary.drift) == (None, None)


def test_no_blocks_or_an_empty_one_are_refused() -> None:
    for blocks in ([], [make_block([1]), make_block([])]):
        with pytest.raises(ValueError, match="at least one block"):
            summarise(blocks)


@pytest.mark.parametrize("warning", list(TimingWarning))
def test_every_warning_has_one_sentence_of_advice(warning: TimingWarning) -> None:
    assert warning.advice.endswith(".")
    assert warning.advice.count(". ") == 0
    assert 40 < len(warning.advice) < 260
