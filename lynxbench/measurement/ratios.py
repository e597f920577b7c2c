"""The ratio of two candidates' speeds: one value a round, and an interval that outlives a few spoiled rounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["RatioEstimate", "ratio_interval", "signed_rank_depth", "sittings_interval"]

RatioMethod = Literal["signed-rank", "t", "single-round", "sittings", "reference"]

# Up to here the null distribution of the signed-rank statistic is counted out; beyond, the normal approximation gives
# the same depth to within one of n²/4 averages.
_EXACT_ROUNDS = 64


@dataclass(frozen=True)
class RatioEstimate:
    """How many times faster a candidate is than the reference, over `rounds` rounds.

    value              > 1: the candidate is faster
    low, high          interval at `confidence`; None where one round alone gives none
    half_width_ratio   half the interval's width on the log scale, 0.02 means ×/÷ 1.02; None without an interval
    method             how the interval came about, see `ratio_interval`; "reference": 1 by definition
    """

    value: float
    low: float | None
    high: float | None
    rounds: int
    confidence: float
    method: RatioMethod

    @property
    def half_width_ratio(self) -> float | None:
        """Relative half-width of the interval: sqrt(high / low) − 1."""
        if self.low is None or self.high is None:
            return None
        return math.expm1((math.log(self.high) - math.log(self.low)) / 2)


def ratio_interval(log_ratios: npt.ArrayLike, confidence: float = 0.95) -> RatioEstimate:
    """The typical ratio and its interval from natural logarithms of one ratio a round, [n], n ≥ 1.

    From six rounds on (at 95 %) the Hodges–Lehmann estimate, the median of all pairwise averages, with the interval
    that inverts Wilcoxon's signed-rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3.2–3.3).
    Random order within a round makes the log ratio of two equal candidates symmetric about 0, whatever the noise,
    so its coverage is exact there; and where one round in seven is hit by a burst it is a third as wide as Student's
    interval, which covers 98–99 % instead of 95 %. With fewer rounds Student's t on the logs, with one no interval.
    Raises ValueError for no rounds or logs that are not finite.
    """
    logs = np.asarray(log_ratios, dtype=np.float64)
    if logs.ndim != 1 or len(logs) == 0 or not np.isfinite(logs).all():
        raise ValueError("ratio_interval needs a list of at least one finite log ratio")
    n = len(logs)
    if n == 1:
        return RatioEstimate(math.exp(logs[0]), None, None, n, confidence, "single-round")
    depth = signed_rank_depth(n, confidence)
    if depth == 0:
        from scipy.special import stdtrit

        half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(logs.std(ddof=1)) / math.sqrt(n)
        centre = float(logs.mean())
        return RatioEstimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), n, confidence, "t")
    first, second = np.triu_indices(n)
    averages = np.sort((logs[first] + logs[second]) / 2)
    return RatioEstimate(
        value=math.exp(float(np.median(averages))),
        low=math.exp(float(averages[depth - 1])),
        high=math.exp(float(averages[-depth])),
        rounds=n,
        confidence=confidence,
        method="signed-rank",
    )


def sittings_interval(log_ratios: Sequence[float], sittings: Sequence[int], confidence: float) -> RatioEstimate:
    """The ratio from rounds of several sittings, each with fresh processes; `sittings[i]` is that of `log_ratios[i]`.

    Rounds of one sitting share its processes, so they are no independent tries: each sitting gives one estimate (that
    of `ratio_interval`), and the interval is Student's over those, with as many degrees of freedom as there are
    sittings less one. It holds what processes and what rounds differ by. With one sitting this is `ratio_interval`.
    Raises ValueError as that does.
    """
    names = sorted(set(sittings))
    if len(names) < 2:
        return ratio_interval(log_ratios, confidence)
    from scipy.special import stdtrit

    centres = np.array(
        [
            math.log(ratio_interval([x for x, s in zip(log_ratios, sittings, strict=True) if s == n], confidence).value)
            for n in names
        ]
    )
    count = len(centres)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * float(centres.std(ddof=1)) / math.sqrt(count)
    centre = float(centres.mean())
    return RatioEstimate(
        math.exp(centre), math.exp(centre - half), math.exp(centre + half), len(log_ratios), confidence, "sittings"
    )


@functools.lru_cache(maxsize=4096)
def signed_rank_depth(n: int, confidence: float) -> int:
    """How far in from either end of the sorted pairwise averages the interval's ends lie (1: the extremes; 0: none).

    The largest d with P(W < d) ≤ α/2, W being the signed-rank statistic of n values under symmetry.
    """
    tail = (1 - confidence) / 2
    if n > _EXACT_ROUNDS:
        from scipy.special import ndtri

        mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
        return math.floor(mean + 0.5 + float(ndtri(tail)) * math.sqrt(variance))
    # Each rank is in the sum or not: convolve the n fair coins.
    shares = np.zeros(n * (n + 1) // 2 + 1)
    shares[0] = 1.0
    for rank in range(1, n + 1):
        shares[rank:] = (shares[rank:] + shares[:-rank]) / 2
        shares[:rank] /= 2
    return int(np.searchsorted(np.cumsum(shares), tail, side="right"))
