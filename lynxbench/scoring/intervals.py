"""Closed-form intervals and tests for right-or-wrong answers, and Holm's correction.

The bootstrap is poor where few answers differ: with none, its interval is a single point however small the set. Score
intervals are not: they are used for every 0/1 metric, and as a lower limit to the width where few samples differ.
Where samples share a source, counts are divided by the design effect (Rao and Scott 1992), measured from the sources.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from lynxbench.scoring.statistic import Floats, Ints

BISECTIONS = 60
SMALLEST_P = sys.float_info.min  # below it a p-value would round to 0, which no test can give


class Interval(NamedTuple):
    """Both ends, in the unit of what it is an interval of."""

    low: float
    high: float


def normal_quantile(confidence: float) -> float:
    """z such that a standard normal lies in ±z with this probability."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(share: float, n: float, confidence: float) -> Interval:
    """Interval of a proportion (Wilson 1927); `n` may be an effective, fractional number of samples."""
    z = normal_quantile(confidence)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def tango(gains: float, losses: float, n: float, confidence: float) -> Interval:
    """Interval of the difference of two paired proportions, (gains − losses) ∕ n (Tango 1998, score interval).

    `gains` of n pairs are right only the first time, `losses` only the second. Counts may be fractional: for
    differences within [−1, 1] their positive and negative sums give an interval that is never too short, because of
    all differences with these sums those at the ends of the range vary most.
    """
    z = normal_quantile(confidence)
    estimate = (gains - losses) / n

    def statistic(difference: float) -> float:
        # Constrained maximum-likelihood estimate of the probability of a loss, given the difference.
        b = -gains - losses + (2 * n - gains + losses) * difference
        c = -losses * difference * (1 - difference)
        loss = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * loss + difference * (1 - difference))
        away = gains - losses - n * difference
        return away / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, away)

    low = _crossing(statistic, -1.0, estimate, z)
    high = _crossing(statistic, estimate, 1.0, -z)
    return Interval(low, high)


def _crossing(falling: Callable[[float], float], low: float, high: float, level: float) -> float:
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if falling(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def design_effect(values: Floats, sources: Ints, count: int) -> float:
    """How many times wider the variance of the mean of values [n] is because samples share `count` sources; at least 1.

    Where all values are equal nothing can be measured, so samples of one source are taken to be copies of each other.
    """
    n = len(values)
    if count == n:
        return 1.0
    sizes = np.bincount(sources, minlength=count)
    independent = float(values.var()) / n
    if independent == 0 or count < 2:
        return float((sizes**2).sum() / n)
    residuals = np.bincount(sources, weights=values - values.mean(), minlength=count)
    clustered = float((residuals**2).sum()) / n**2 * count / (count - 1)
    return max(1.0, clustered / independent)


def mcnemar_exact(gains: int, losses: int) -> float:
    """Two-sided exact p-value of as many gains as losses (McNemar's test by the binomial distribution)."""
    from scipy.special import bdtr

    if gains + losses == 0:
        return 1.0
    return min(1.0, max(SMALLEST_P, 2 * float(bdtr(min(gains, losses), gains + losses, 0.5))))


def mcnemar_clustered(gains: float, losses: float, effect: float) -> float:
    """Two-sided p-value of McNemar's score test with counts divided by a design effect (Rao and Scott 1992)."""
    if gains + losses == 0:
        return 1.0
    return max(SMALLEST_P, math.erfc(abs(gains - losses) / math.sqrt(2 * (gains + losses) * effect)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for having looked at all of them (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
