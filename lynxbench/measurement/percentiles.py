"""Percentiles of latencies: the value, its interval, and MLPerf's early-stopping estimate beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "EARLY_STOPPING_CONFIDENCE",
    "IntervalMethod",
    "Percentile",
    "early_stopping_samples",
    "least_samples",
    "order_statistic_ranks",
    "percentile_estimate",
    "percentile_of_sorted",
]

# MLPerf inference rules, "Early stopping criterion": c = 0.99, tolerance d = 0.
EARLY_STOPPING_CONFIDENCE = 0.99

# Fewer blocks say too little about how blocks vary: with three, Student's t already asks for 4.3 standard errors.
LEAST_BLOCKS = 4

IntervalMethod = Literal["order-statistic", "blocks"]
Latencies = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Percentile:
    """One percentile of n latencies, in ns.

    value_ns           NumPy's default ("linear") percentile; None where n cannot support a two-sided interval
    low_ns, high_ns    interval at `confidence`, two order statistics; `high_ns` alone is None where the blocks
                       differ so much that the upper end would lie beyond the largest latency
    method             which interval is reported: the wider of the two, see `percentile_estimate`
    early_stopping_ns  MLPerf's estimate, an upper limit at 99 %; None where n is too small for it
    reason             why something is None
    """

    q: float
    n: int
    confidence: float
    value_ns: float | None
    low_ns: float | None
    high_ns: float | None
    method: IntervalMethod | None
    early_stopping_ns: float | None
    reason: str | None


def percentile_estimate(
    latencies_ns: npt.ArrayLike, q: float, confidence: float = 0.95, *, block_sizes: Sequence[int] | None = None
) -> Percentile:
    """The `q` quantile (0 < q < 1) of `latencies_ns` [n] with an interval at `confidence`.

    The value is ``np.quantile(latencies, q)``, linear between order statistics, as pandas and DuckDB compute it.
    The interval is made of order statistics by the binomial distribution (David and Nagaraja, Order Statistics, 7.1),
    with equal tails; it assumes independent runs. Where `block_sizes` says how many consecutive latencies belong to
    each block, and there are four blocks or more, Woodruff's interval (JASA 1952) with the spread of whole blocks is
    formed as well: the share of latencies at or below the value varies from block to block, its standard error times
    Student's t gives an interval of shares, and order statistics turn it back into times. The wider one is reported,
    stretched to hold the other. It stands in for a block bootstrap, whose standard error it matches (a test shows
    it), at a thousandth of the cost.
    Where n supports no finite two-sided interval, everything but the early-stopping estimate is None, with a reason.
    """
    unsorted = np.asarray(latencies_ns, dtype=np.int64)
    return percentile_of_sorted(np.sort(unsorted), q, confidence, unsorted=unsorted, block_sizes=block_sizes)


def percentile_of_sorted(
    ascending: Latencies,
    q: float,
    confidence: float,
    *,
    unsorted: Latencies | None = None,
    block_sizes: Sequence[int] | None = None,
) -> Percentile:
    """`percentile_estimate` for latencies that are sorted already; `unsorted` and `block_sizes` are for the blocks."""
    n = len(ascending)
    early_stopping_ns = _early_stopping(ascending, q)
    ranks = order_statistic_ranks(n, q, confidence)
    if ranks is None:
        reason = f"{n} runs; a {confidence:.0%} interval of p{100 * q:g} needs {least_samples(q, confidence)}"
        return Percentile(q, n, confidence, None, None, None, None, early_stopping_ns, reason)

    value = float(_linear(ascending, q))
    low, high = float(ascending[ranks[0] - 1]), float(ascending[ranks[1] - 1])
    estimate = Percentile(q, n, confidence, value, low, high, "order-statistic", early_stopping_ns, None)
    if unsorted is None or block_sizes is None or len(block_sizes) < LEAST_BLOCKS:
        return estimate

    half_share = _share_half_width(unsorted, block_sizes, value, confidence)
    low_rank = max(1, math.floor(n * (q - half_share)))
    high_rank = math.ceil(n * (q + half_share)) + 1
    if high_rank - low_rank <= ranks[1] - ranks[0]:
        return estimate
    low = min(low, float(ascending[low_rank - 1]))
    if high_rank > n:
        reason = f"p{100 * q:g} differs so much between blocks that {n} runs give it no upper limit"
        return Percentile(q, n, confidence, value, low, None, "blocks", early_stopping_ns, reason)
    high = max(high, float(ascending[high_rank - 1]))
    return Percentile(q, n, confidence, value, low, high, "blocks", early_stopping_ns, None)


def order_statistic_ranks(n: int, q: float, confidence: float) -> tuple[int, int] | None:
    """Ranks (from 1) of the two order statistics that hold the `q` quantile with `confidence`, or None.

    The number B of n independent latencies below the quantile is binomial(n, q). The lower rank l is the largest with
    P(B < l) ≤ α/2, the upper u the smallest with P(B ≥ u) ≤ α/2; then P(l ≤ B < u) ≥ 1 − α, whatever the
    distribution. None where l < 1 or u > n.
    """
    from scipy.special import bdtr, bdtrc

    _check(q, confidence)
    tail = (1 - confidence) / 2
    # bdtrc(k, n, q) = P(B > k); both are cheap, so a bisection beats any closed approximation.
    low = _first_true(0, n + 1, lambda k: bool(bdtr(k, n, q) > tail))  # P(B ≤ l−1) ≤ α/2 < P(B ≤ l)
    high = _first_true(1, n + 1, lambda u: bool(bdtrc(u - 1, n, q) <= tail))
    if low < 1 or high > n:
        return None
    return low, high


def least_samples(q: float, confidence: float = 0.95) -> int:
    """Least n for which a two-sided order-statistic interval of the `q` quantile is finite (p95 72, p99 368).

    Both (1−q)ⁿ ≤ α/2 and qⁿ ≤ α/2 must hold.
    """
    _check(q, confidence)
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def early_stopping_samples(q: float, overlatency: int = 1) -> int:
    """Least n for MLPerf's early-stopping estimate of the `q` quantile with `overlatency` ≥ 1 runs set aside.

    n = h + t with t = `overlatency` and the smallest h for which I_q(h, t+1) ≤ 1 − c; c = 0.99
    (MLPerf inference rules, Early stopping criterion; p50 11, p90 64, p95 130, p99 662, p99.9 6,636).
    """
    _check(q, EARLY_STOPPING_CONFIDENCE)
    highest = 2
    while not _early_stopping_holds(highest + overlatency, overlatency, q):
        highest *= 2
    fewest = _first_true(1, highest, lambda h: _early_stopping_holds(h + overlatency, overlatency, q))
    return fewest + overlatency


def _early_stopping(ascending: Latencies, q: float) -> float | None:
    """The largest latency that is left when the t−1 worst are set aside, for the largest t that n allows, or None."""
    n = len(ascending)
    beyond = _first_true(1, n, lambda t: not _early_stopping_holds(n, t, q))
    if beyond == 1:
        return None
    return float(ascending[n - (beyond - 1)])


def _early_stopping_holds(n: int, overlatency: int, q: float) -> bool:
    from scipy.special import betainc

    h = n - overlatency
    return h >= 1 and bool(betainc(h, overlatency + 1, q) <= 1 - EARLY_STOPPING_CONFIDENCE)


def _share_half_width(unsorted: Latencies, block_sizes: Sequence[int], value_ns: float, confidence: float) -> float:
    """Half-width of the interval of the share of latencies ≤ `value_ns`, from the spread over blocks.

    The standard error is that of a ratio of block totals (Cochran, Sampling Techniques, 6.3; blocks with replacement).
    """
    from scipy.special import stdtrit

    sizes = np.asarray(block_sizes, dtype=np.int64)
    below = block_counts_at_most(unsorted, sizes, value_ns)
    n, blocks = int(sizes.sum()), len(sizes)
    residuals = below - sizes * (below.sum() / n)
    error = math.sqrt(blocks / (blocks - 1) * float(residuals @ residuals)) / n
    return float(stdtrit(blocks - 1, (1 + confidence) / 2)) * error


def block_counts_at_most(unsorted: Latencies, sizes: npt.NDArray[np.int64], value_ns: float) -> npt.NDArray[np.int64]:
    """How many latencies of each block are at most `value_ns`; `sizes` [b] are the lengths of blocks in a row, ≥ 1."""
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    return np.add.reduceat((unsorted <= value_ns).astype(np.int64), starts)


def _linear(ascending: Latencies, q: float) -> float:
    position = q * (len(ascending) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ascending) - 1)
    return float(ascending[below]) + (position - below) * float(ascending[above] - ascending[below])


def _first_true(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest k in [low, high) at which the monotone predicate holds, or `high`."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _check(q: float, confidence: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"q is a share between 0 and 1, not {q}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share between 0 and 1, not {confidence}")
