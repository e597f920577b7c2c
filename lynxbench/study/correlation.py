"""Rank correlation with an interval by resampling, over candidates that come in clusters: one model's are alike."""

from __future__ import annotations

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

Resampled = Literal["models", "candidates within models"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """How far the order of `x` is that of `y`.

    rho, low, high  Spearman's, with the interval at `confidence`; tau is Kendall's tau-b
    n, models       candidates, and of how many models they are
    resampled       what the interval is about. Models: others like these. Candidates within models: other schemes on
                    these very models, and nothing beyond them
    """

    rho: float
    low: float
    high: float
    tau: float
    confidence: float
    n: int
    models: int
    resampled: Resampled

    @property
    def is_tendency(self) -> bool:
        """The interval leaves out zero."""
        return self.low > 0 or self.high < 0


def correlate(
    x: Floats, y: Floats, models: npt.NDArray[np.str_], *, confidence: float, seed: int = SEED
) -> Correlation | None:
    """Of [n] values of each of two quantities, and the model of each; None for fewer than `LEAST_CANDIDATES` or where
    one of the two does not vary.

    Spearman's rho (ranks, ties averaged) with a percentile bootstrap interval (Efron 1979), over whole models where
    there are `LEAST_MODELS` (Field & Welsh 2007, cluster bootstrap), else over the candidates within each model. Draws
    in which one of the two does not vary say nothing, and count as no correlation.
    """
    if len(x) < LEAST_CANDIDATES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy.stats import kendalltau

    names, codes = np.unique(models, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    rng = np.random.default_rng(seed)
    by_model = len(names) >= LEAST_MODELS
    if by_model:
        drawn = _draws(rng, len(names))[:, codes]
    else:
        drawn = np.empty((RESAMPLES, len(x)))
        for mine in members:
            drawn[:, mine] = _draws(rng, len(mine))
    resampled = _weighted_spearman(x, y, drawn)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Correlation(
        rho=spearman(x, y),
        low=float(low),
        high=float(high),
        tau=float(kendalltau(x, y).statistic),
        confidence=confidence,
        n=len(x),
        models=len(names),
        resampled="models" if by_model else "candidates within models",
    )


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks of [n] and [n], ties averaged; 0 where one of them does not vary."""
    return float(_weighted_spearman(x, y, np.ones((1, len(x))))[0])


def _draws(rng: np.random.Generator, n: int) -> Floats:
    """[RESAMPLES, n]: how often each of n was drawn, n times with replacement."""
    drawn: Floats = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    return drawn


def _weighted_spearman(x: Floats, y: Floats, times: Floats) -> Floats:
    """[b] Spearman's correlation where each of [n] pairs occurs so many `times` [b, n]."""
    total = times.sum(axis=1, keepdims=True)

    def centred(values: Floats) -> Floats:
        ranks = _ranks(values, times)
        middle: Floats = ranks - (times * ranks).sum(axis=1, keepdims=True) / total
        return middle

    a, b = centred(x), centred(y)
    norm = np.sqrt((times * a * a).sum(axis=1) * (times * b * b).sum(axis=1))
    found: Floats = np.divide((times * a * b).sum(axis=1), norm, out=np.zeros(len(times)), where=norm > 0)
    return found


def _ranks(values: Floats, times: Floats) -> Floats:
    """[b, n] the ranks of [n] values that occur so many `times` [b, n], ties averaged."""
    _, groups = np.unique(values, return_inverse=True)
    counts = times @ (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)
    middle: Floats = (np.cumsum(counts, axis=1) - (counts - 1) / 2)[:, groups]
    return middle
