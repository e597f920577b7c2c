"""Everything that the blocks of one candidate say about its timing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lynxbench.measurement.advice import TimingWarning
from lynxbench.measurement.blocks import Block
from lynxbench.measurement.percentiles import LEAST_BLOCKS, Percentile, block_counts_at_most, percentile_of_sorted

__all__ = ["PERCENTILES", "Drift", "Selection", "Throughput", "TimingSummary", "select_blocks", "summarise"]

PERCENTILES: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}

# A drift is worth a warning where it is hardly chance and larger than the 2 % to which ratios are measured.
DRIFT_P_VALUE = 0.01
DRIFT_CHANGE_RATIO = 0.02

# Runs resemble their neighbours where the spread of the blocks is hardly chance (Pearson's dispersion test) and
# at least doubles the variance, that is halves the number of runs that count (Kish, Survey Sampling, 1965, 8.2).
DISPERSION_P_VALUE = 0.01
DESIGN_EFFECT = 2.0

# Block medians of a 1 ms model varied by 4.6 % in a quiet hour on a shared machine, by 40.7 % for a 13 ms model.
UNSTEADY_VARIATION_RATIO = 0.10

# Above this share of the machine's CPU time, taken by the hypervisor; as for a single starved block.
STOLEN_RATIO = 0.02

# 0.07 µs of clock against 1 µs, the fastest model's run: a share that pulls a ratio of 2 to 1.95.
HARNESS_OVERHEAD_RATIO = 0.05


@dataclass(frozen=True)
class Selection:
    """Which blocks a summary uses: `used` are positions in the list that was given.

    starved: blocks above the 2 % flag (excluded ones too); excluded: blocks left out; kept_despite: blocks above
    5 % that were kept, because too few would have remained.
    """

    used: tuple[int, ...]
    starved: int
    excluded: int
    kept_despite: int


@dataclass(frozen=True)
class Throughput:
    """Samples a second of timed run time: samples / Σ latencies, with an interval from the spread over blocks.

    low and high are None with fewer than four blocks.
    """

    value_per_s: float
    low_per_s: float | None
    high_per_s: float | None


@dataclass(frozen=True)
class Drift:
    """Whether latency moved with time over the blocks.

    rho: Spearman's rank correlation of block median and order; p_value two-sided, by Student's t;
    change_ratio: median of the last half of block medians over that of the first half, minus 1.
    """

    rho: float
    p_value: float
    change_ratio: float


@dataclass(frozen=True)
class TimingSummary:
    """The timing of one candidate, from the blocks that were used. Times in ns.

    percentiles                p50, p90, p95, p99, p99_9
    cpu_over_wall_ratio        CPU time of the process over the blocks' wall time: the cores that it kept busy
    scheduler_delay_ratio      time ready but waiting for a CPU over wall time; None where unreadable
    steal_ns                   taken by the hypervisor during all blocks; None where unreadable
    block_variation_ratio      standard deviation of block medians over their mean; None with one block
    design_effect              variance of a block's share below the median, over that of independent runs; None with
                               fewer than four blocks
    drift                      None with fewer than five blocks
    """

    n_runs: int
    mean_ns: float
    min_ns: int
    max_ns: int
    percentiles: dict[str, Percentile]
    throughput: Throughput
    blocks_used: int
    blocks_starved: int
    blocks_excluded: int
    cpu_over_wall_ratio: float
    scheduler_delay_ratio: float | None
    involuntary_switches: int
    steal_ns: int | None
    block_variation_ratio: float | None
    design_effect: float | None
    drift: Drift | None
    warnings: tuple[TimingWarning, ...]


def select_blocks(blocks: Sequence[Block], minimum_blocks: int) -> Selection:
    """Leave out blocks starved of CPU time for more than 5 %, unless fewer than `minimum_blocks` would remain."""
    starved = sum(block.starved for block in blocks)
    good = tuple(position for position, block in enumerate(blocks) if not block.excluded)
    bad = len(blocks) - len(good)
    if bad and len(good) < max(1, minimum_blocks):
        return Selection(tuple(range(len(blocks))), starved, 0, bad)
    return Selection(good, starved, bad, 0)


def summarise(
    blocks: Sequence[Block],
    confidence: float = 0.95,
    *,
    minimum_blocks: int = LEAST_BLOCKS,
    samples_per_query: int = 1,
    harness_overhead_ns: float = 0.0,
    cpus: int = 1,
) -> TimingSummary:
    """Summarise the timing of one candidate from its blocks, at least one with at least one run each.

    `minimum_blocks` is how many must remain for starved ones to be left out (the protocol's minimum rounds);
    `harness_overhead_ns` is compared with the median, never subtracted; `cpus` is how many the machine has, to turn
    stolen time into a share. Raises ValueError for no blocks or an empty one.
    """
    if not blocks or any(len(block) == 0 for block in blocks):
        raise ValueError("a summary needs at least one block, each with at least one run")
    selection = select_blocks(blocks, minimum_blocks)
    used = [blocks[position] for position in selection.used]
    unsorted = np.concatenate([block.latencies_ns for block in used])
    ascending = np.sort(unsorted)
    sizes = [len(block) for block in used]
    percentiles = {
        name: percentile_of_sorted(ascending, q, confidence, unsorted=unsorted, block_sizes=sizes)
        for name, q in PERCENTILES.items()
    }
    medians = np.array([np.median(block.latencies_ns) for block in used])
    wall_ns = sum(block.wall_ns for block in used)
    delays = [block.scheduler_delay_ns for block in used if block.scheduler_delay_ns is not None]
    steals = [block.steal_ns for block in blocks if block.steal_ns is not None]
    steal_ns = sum(steals) if len(steals) == len(blocks) else None
    variation = float(medians.std(ddof=1) / medians.mean()) if len(medians) > 1 and medians.mean() > 0 else None
    design_effect, dispersion_p_value = _dispersion(unsorted, sizes)
    drift = _drift(medians)
    median_ns = float(np.median(ascending))

    found = {
        TimingWarning.FEW_SAMPLES: any(percentile.value_ns is None for percentile in percentiles.values()),
        TimingWarning.FEW_BLOCKS: len(used) < LEAST_BLOCKS,
        TimingWarning.STARVED_BLOCKS: selection.starved > selection.excluded + selection.kept_despite,
        TimingWarning.EXCLUDED_BLOCKS: selection.excluded > 0,
        TimingWarning.STARVED_BLOCKS_KEPT: selection.kept_despite > 0,
        TimingWarning.SCHEDULER_DELAY_UNREADABLE: len(delays) < len(used),
        TimingWarning.STOLEN_TIME: steal_ns is not None
        and steal_ns > STOLEN_RATIO * cpus * sum(block.wall_ns for block in blocks),
        TimingWarning.DRIFT: drift is not None
        and drift.p_value < DRIFT_P_VALUE
        and abs(drift.change_ratio) > DRIFT_CHANGE_RATIO,
        TimingWarning.AUTOCORRELATED: design_effect is not None
        and design_effect >= DESIGN_EFFECT
        and dispersion_p_value < DISPERSION_P_VALUE,
        TimingWarning.UNSTEADY_BLOCKS: variation is not None and variation > UNSTEADY_VARIATION_RATIO,
        TimingWarning.HARNESS_OVERHEAD: harness_overhead_ns > HARNESS_OVERHEAD_RATIO * median_ns,
    }
    return TimingSummary(
        n_runs=len(unsorted),
        mean_ns=float(unsorted.mean()),
        min_ns=int(ascending[0]),
        max_ns=int(ascending[-1]),
        percentiles=percentiles,
        throughput=_throughput(used, samples_per_query, confidence),
        blocks_used=len(used),
        blocks_starved=selection.starved,
        blocks_excluded=selection.excluded,
        cpu_over_wall_ratio=sum(block.cpu_ns for block in used) / wall_ns if wall_ns else 0.0,
        scheduler_delay_ratio=sum(delays) / wall_ns if wall_ns and len(delays) == len(used) else None,
        involuntary_switches=sum(block.involuntary_switches for block in used),
        steal_ns=steal_ns,
        block_variation_ratio=variation,
        design_effect=design_effect,
        drift=drift,
        warnings=tuple(warning for warning, is_so in found.items() if is_so),
    )


def _throughput(blocks: Sequence[Block], samples_per_query: int, confidence: float) -> Throughput:
    """Runs over time as a ratio of block totals, its standard error by linearisation (Cochran, 6.3), times t."""
    runs = np.array([len(block) for block in blocks], dtype=np.float64)
    seconds = np.array([block.busy_ns for block in blocks], dtype=np.float64) / 1e9
    if seconds.sum() <= 0:
        return Throughput(math.inf, None, None)
    rate = float(runs.sum() / seconds.sum())
    if len(blocks) < LEAST_BLOCKS:
        return Throughput(rate * samples_per_query, None, None)
    from scipy.special import stdtrit

    residuals = runs - rate * seconds
    error = math.sqrt(len(blocks) / (len(blocks) - 1) * float(residuals @ residuals)) / float(seconds.sum())
    # On the log scale, so that the lower end stays above zero.
    spread = math.exp(float(stdtrit(len(blocks) - 1, (1 + confidence) / 2)) * error / rate)
    value = rate * samples_per_query
    return Throughput(value, value / spread, value * spread)


def _dispersion(unsorted: npt.NDArray[np.int64], block_sizes: Sequence[int]) -> tuple[float | None, float]:
    """Design effect of blocks on the share at or below the median, and the p-value of Pearson's dispersion test."""
    if len(block_sizes) < LEAST_BLOCKS:
        return None, 1.0
    from scipy.special import chdtrc

    sizes = np.asarray(block_sizes, dtype=np.int64)
    below = block_counts_at_most(unsorted, sizes, float(np.median(unsorted)))
    share = float(below.sum() / sizes.sum())
    if share == 1.0:  # every latency is the same
        return 0.0, 1.0
    statistic = float((((below - share * sizes) ** 2) / (sizes * share * (1 - share))).sum())
    degrees = len(sizes) - 1
    return statistic / degrees, float(chdtrc(degrees, statistic))


def _drift(medians: npt.NDArray[np.float64]) -> Drift | None:
    """Spearman's correlation with order, ties by mean rank; p-value by t with n−2 degrees of freedom."""
    n = len(medians)
    if n < LEAST_BLOCKS + 1:
        return None
    from scipy.special import stdtr

    _, places, counts = np.unique(medians, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    half = n // 2
    change = float(np.median(medians[-half:]) / np.median(medians[:half]) - 1) if medians[:half].min() > 0 else 0.0
    if len(counts) == 1:
        return Drift(0.0, 1.0, change)
    rho = float(np.corrcoef(np.arange(n), ranks)[0, 1])
    statistic = math.inf if abs(rho) >= 1 else abs(rho) * math.sqrt((n - 2) / (1 - rho * rho))
    return Drift(rho, float(2 * stdtr(n - 2, -statistic)), change)
