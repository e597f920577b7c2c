"""Rank correlation with an interval by resampling, over candidates that come in clusters: one model's are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

# Of fewer candidates a rank correlation says nothing: with 8, chance alone exceeds 0.7 one time in twenty.
LEAST_CANDIDATES = 8
# Of fewer models a bootstrap over models has too few different draws for an interval: with 5 there are 126.
LEAST_MODELS = 5
RESAMPLES = 2000
SEED = 2026

Compared = Literal["all candidates", "within models"]
Floats = npt.NDArray[np.float64]
Members = Sequence[npt.NDArray[np.intp]]


@dataclass(frozen=True)
class Correlation:
    """How far the order of `x` is that of `y`.

    rho, low, high  Spearman's, with the interval at `confidence`; tau is Kendall's tau-b
    n, models       candidates, and of how many models they are
    compared        all candidates: the interval is about other models like these. Within models: each candidate is
                    ranked among those of its model alone, and the interval is about other schemes on these very models
    """

    rho: float
    low: float
    high: float
    tau: float
    confidence: float
    n: int
    models: int
    compared: Compared

    @property
    def is_tendency(self) -> bool:
        """The interval leaves out zero."""
        return self.low > 0 or self.high < 0


def correlate(
    x: Floats, y: Floats, models: npt.NDArray[np.str_], *, confidence: float, seed: int = SEED
) -> Correlation | None:
    """Of [n] values of each of two quantities, and the model of each; None for fewer than `LEAST_CANDIDATES`, or where
    one of the two does not vary.

    Spearman's rho (ranks, ties averaged) with a percentile bootstrap interval (Efron 1979). With `LEAST_MODELS` whole
    models are drawn anew (Field & Welsh 2007, cluster bootstrap). With fewer, what tells one model from another says
    nothing, however many candidates there are: ranks are then formed within each model, and candidates drawn within it;
    what is the same for all candidates of a model has no correlation. Draws in which one of the two does not vary count
    as none.
    """
    names, codes = np.unique(models, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    by_model = len(names) >= LEAST_MODELS
    strata = [np.arange(len(x))] if by_model else members
    if len(x) < LEAST_CANDIDATES or not any(np.ptp(x[mine]) > 0 and np.ptp(y[mine]) > 0 for mine in strata):
        return None
    rng = np.random.default_rng(seed)
    if by_model:
        times = _draws(rng, len(names))[:, codes]
    else:
        times = np.empty((RESAMPLES, len(x)))
        for mine in members:
            times[:, mine] = _draws(rng, len(mine))
    tail = (1 - confidence) / 2
    low, high = np.quantile(_spearman(x, y, times, strata), [tail, 1 - tail])
    return Correlation(
        rho=float(_spearman(x, y, np.ones((1, len(x))), strata)[0]),
        low=float(low),
        high=float(high),
        tau=kendall(x, y, strata),
        confidence=confidence,
        n=len(x),
        models=len(names),
        compared="all candidates" if by_model else "within models",
    )


def kendall(x: Floats, y: Floats, strata: Members) -> float:
    """Kendall's tau-b of [n] and [n], over the pairs that lie in one of `strata` (index arrays)."""
    both = of_x = of_y = 0.0
    for mine in strata:
        a, b = (np.sign(values[mine][:, None] - values[mine][None, :]) for values in (x, y))
        both, of_x, of_y = both + (a * b).sum(), of_x + (a * a).sum(), of_y + (b * b).sum()
    return float(both / np.sqrt(of_x * of_y)) if of_x and of_y else 0.0


def _draws(rng: np.random.Generator, n: int) -> Floats:
    """[RESAMPLES, n]: how often each of n was drawn, n times with replacement."""
    drawn: Floats = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    return drawn


def _spearman(x: Floats, y: Floats, times: Floats, strata: Members) -> Floats:
    """[b] the correlation of ranks within `strata` where each of [n] pairs occurs so many `times` [b, n].

    Ranks are divided by the size of their stratum, so that a large one weighs as much as it has candidates.
    """
    both, of_x, of_y = np.zeros((3, len(times)))
    for mine in strata:
        weights = times[:, mine]
        a, b = (_centred_ranks(values[mine], weights) for values in (x, y))
        both += (weights * a * b).sum(axis=1)
        of_x += (weights * a * a).sum(axis=1)
        of_y += (weights * b * b).sum(axis=1)
    norm = np.sqrt(of_x * of_y)
    found: Floats = np.divide(both, norm, out=np.zeros(len(times)), where=norm > 1e-12)
    return found


def _centred_ranks(values: Floats, times: Floats) -> Floats:
    """[b, n] the ranks of [n] values that occur so many `times` [b, n], ties averaged, less their mean, over n."""
    _, groups = np.unique(values, return_inverse=True)
    counts = times @ (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)
    ranks = (np.cumsum(counts, axis=1) - (counts - 1) / 2)[:, groups]
    middle: Floats = (ranks - (times * ranks).sum(axis=1, keepdims=True) / times.sum(axis=1, keepdims=True)) / len(
        values
    )
    return middle
