"""The bootstrap: resample sources with replacement, recompute, and read intervals off the values.

Candidate and reference get the same resamples, so their differences are paired. Samples that share a source go
together. Where there are more than `MOST_GROUPS` sources these are first added up in that many random groups of equal
size, which are resampled instead: the expected variance is the same (Wolter, *Introduction to Variance Estimation*,
random groups), its own error of 1 % is below that of the resamples, and a million samples cost what 5,000 do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lynxbench.scoring.intervals import SMALLEST_P, Interval, normal_quantile
from lynxbench.scoring.statistic import Floats, Ints, Statistic

MOST_GROUPS = 5_000
MOST_SUMS = 8_000_000  # groups × sums held at once, 64 MB
WEIGHTS_AT_ONCE = 1_000_000
MOST_UNDEFINED_SHARE = 0.05
LARGEST_BIAS = 1 / (math.sqrt(2) - 1)  # bias of |noise| over the shift that resampling shows of it


@dataclass(frozen=True)
class Draws:
    """An estimate, its value in each resample [R], and without each group [m] (None where that was too dear)."""

    estimate: float
    resampled: Floats
    left_out: Floats | None = None

    def __sub__(self, other: Draws) -> Draws:
        """The draws of the difference, resample by resample."""
        both = self.left_out is not None and other.left_out is not None
        return Draws(
            self.estimate - other.estimate,
            self.resampled - other.resampled,
            self.left_out - other.left_out if both else None,  # type: ignore[operator]
        )


def generator(seed: int, *names: str) -> np.random.Generator:
    """A stream that depends on the seed and the names only, not on how many other streams there are."""
    digest = hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
    return np.random.Generator(np.random.PCG64(np.frombuffer(digest, dtype="<u4")))


def draw(
    statistics: Sequence[Statistic], sources: Ints, count: int, resamples: int, random: np.random.Generator
) -> tuple[list[Draws], int]:
    """The same `resamples` for each statistic, and in how many groups the statistics differ.

    `sources` [n] in [0, count) says which samples belong together.
    """
    limit = min(MOST_GROUPS, max(200, MOST_SUMS // max(statistic.width for statistic in statistics)))
    groups = min(count, limit)
    members = sources if groups == count else (random.permutation(count) % groups)[sources]
    tables = [statistic.sums(members, groups) for statistic in statistics]
    same_shape = all(table.shape == tables[0].shape for table in tables)
    differing = int((tables[0] != tables[-1]).any(axis=1).sum()) if same_shape else groups
    values = [np.empty(resamples) for _ in statistics]
    step = max(1, WEIGHTS_AT_ONCE // groups)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picked = random.integers(groups, size=(rows, groups)) + np.arange(rows)[:, None] * groups
        weights = np.bincount(picked.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)
        for statistic, table, value in zip(statistics, tables, values, strict=True):
            value[start : start + rows] = statistic.finish(weights @ table)
    draws = []
    for statistic, table, value in zip(statistics, tables, values, strict=True):
        total = table.sum(axis=0)
        draws.append(Draws(float(statistic.finish(total)), value, statistic.finish(total - table)))
    return draws, differing


def draw_by_calls(
    functions: Sequence[Callable[[Ints], float]],
    sources: Ints,
    count: int,
    resamples: int,
    random: np.random.Generator,
) -> list[Draws]:
    """As `draw`, for functions that can only be called on the samples at an index [m]: one call a resample."""
    order = np.argsort(sources, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(sources, minlength=count))[:-1])
    everything = np.arange(len(sources))
    values = np.empty((len(functions), resamples))
    for place in range(resamples):
        picked = random.integers(count, size=count)
        index = order[picked] if count == len(sources) else np.concatenate([members[source] for source in picked])
        for row, function in enumerate(functions):
            values[row, place] = function(index)
    return [Draws(function(everything), values[row]) for row, function in enumerate(functions)]


def bca(draws: Draws, confidence: float) -> tuple[Interval | None, str]:
    """Bias-corrected and accelerated percentiles (Efron 1987), or plain ones where the correction is undefined."""
    kept = _defined(draws.resampled)
    if kept is None:
        return None, "bootstrap-percentile"
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    method = "bootstrap-percentile"
    below = (np.mean(kept < draws.estimate) + np.mean(kept <= draws.estimate)) / 2
    if draws.left_out is not None and 0 < below < 1 and np.isfinite(draws.left_out).all():
        away = draws.left_out.mean() - draws.left_out
        spread = float((away**2).sum())
        if spread > 0:
            normal = NormalDist()
            bias = normal.inv_cdf(float(below))
            acceleration = float((away**3).sum()) / (6 * spread**1.5)
            shifted = [bias + normal.inv_cdf(end) for end in ends]
            if all(acceleration * shift < 1 for shift in shifted):
                ends = [normal.cdf(bias + shift / (1 - acceleration * shift)) for shift in shifted]
                method = "bootstrap-bca"
    low, high = np.quantile(kept, ends)
    return Interval(float(low), float(high)), method


def bias_aware(draws: Draws, confidence: float) -> Interval | None:
    """z standard errors by the jackknife around the estimate, reaching on over the bias that noise may have given it.

    For sums of absolute values, as in a calibration error. Noise makes them too large and resampling adds noise a
    second time, so percentiles are off by twice the bias; the jackknife moves each sum too little to change its sign,
    so it does not see the kink at zero. Where a sum is nothing but noise its bias is E|N(0, 1)|, of which resampling
    shows E|N(0, 2)| − E|N(0, 1)|, one part in `LARGEST_BIAS`; where it is clear of zero it has no bias, and shows none.
    """
    error, biased = _jackknife_error(draws), _bias(draws)
    if error is None or biased is None:
        return None
    half = normal_quantile(confidence) * error
    return Interval(draws.estimate - max(0.0, biased) - half, draws.estimate - min(0.0, biased) + half)


def p_value(differences: Draws, biased: bool) -> float | None:
    """Two-sided p-value of a difference of 0, by inverting percentiles or, when `biased`, `bias_aware`.

    Percentiles end at 2 ∕ (resamples + 1), too coarse to survive Holm's correction over many strata. Where no resample
    lies beyond 0 a normal with the jackknife's error says how much smaller it is.
    """
    kept = _defined(differences.resampled)
    if kept is None:
        return None
    error = _jackknife_error(differences)
    if biased:
        most = _bias(differences)
        if error is None or most is None:
            return None
        ends = sorted((differences.estimate, differences.estimate - most))
        return _normal_p(max(ends[0], -ends[1], 0.0), error)
    beyond = int(min(np.count_nonzero(kept <= 0), np.count_nonzero(kept >= 0)))
    by_percentiles = min(1.0, 2 * (1 + beyond) / (1 + len(kept)))
    return by_percentiles if beyond or not error else min(by_percentiles, _normal_p(differences.estimate, error))


def correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Pearson's correlation of two [R] arrays over the places where both are defined; 0 where it is undefined."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 2:
        return 0.0
    x, y = first[both] - first[both].mean(), second[both] - second[both].mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float(np.clip((x * y).sum() / scale, -1.0, 1.0)) if scale > 0 else 0.0


def _normal_p(distance: float, error: float) -> float:
    if error == 0:
        return 1.0 if distance == 0 else SMALLEST_P
    return max(SMALLEST_P, math.erfc(abs(distance) / error / math.sqrt(2)))


def _jackknife_error(draws: Draws) -> float | None:
    if draws.left_out is None or not np.isfinite(draws.left_out).all():
        return None
    m = len(draws.left_out)
    return float(np.sqrt((m - 1) / m * ((draws.left_out - draws.left_out.mean()) ** 2).sum()))


def _bias(draws: Draws) -> float | None:
    kept = _defined(draws.resampled)
    return None if kept is None else LARGEST_BIAS * (float(kept.mean()) - draws.estimate)


def _defined(values: Floats) -> Floats | None:
    finite = values[np.isfinite(values)]
    return finite if len(finite) >= max(2.0, (1 - MOST_UNDEFINED_SHARE) * len(values)) else None
