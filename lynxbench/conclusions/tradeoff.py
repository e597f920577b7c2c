"""Who offers the best trade of accuracy for speed: frontier, tied and dominated rows, their ranks, and what aggregates.

Two axes: a loss (positive is worse) and a cost (a latency, or the inverse of a throughput ratio; less is better), each
an estimate with an interval. Only rows that may be compared are given: one question, one model, one scenario, one host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

# Rows that are compared with all others at once: what that takes in memory grows with the rows, not their square.
_BLOCK = 512

Class = Literal["frontier", "tied", "dominated"]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval. A missing end is taken as unknown: nothing is beyond doubt on that side."""

    value: float
    low: float | None = None
    high: float | None = None

    def ends(self) -> tuple[float, float]:
        """The interval, never narrower than the value itself."""
        low = -math.inf if self.low is None else min(self.low, self.value)
        high = math.inf if self.high is None else max(self.high, self.value)
        return low, high


@dataclass(frozen=True)
class Offer:
    """What a row costs on either axis; less is better on both."""

    loss: Estimate
    cost: Estimate


@dataclass(frozen=True)
class Standing:
    """Where a row stands among the rows it was compared with. Rank 1 is best; rows that share a rank are tied."""

    rank: int
    standing: Class


def standings(offers: Sequence[Offer]) -> list[Standing]:
    """Where each of `offers` stands, in their order. O(n²) comparisons, a block of rows at a time.

    - *Frontier*: no other row is at least as good on both axes and better on one, by the estimates (Pareto).
    - *Dominated*: some row is at least as good on both axes by the estimates, and on one of them beyond doubt: the two
      intervals do not overlap.
    - *Tied*: neither; what beats it by the estimates does so on no axis beyond doubt.

    The rank is one more than the longest chain of rows above, each dominating the next: non-dominated sorting
    (Goldberg 1989) with that relation. A row's rank is worse than that of every row that dominates it.
    """
    if not offers:
        return []
    loss, cost = (_columns([getattr(offer, axis) for offer in offers]) for axis in ("loss", "cost"))
    # Whatever dominates a row comes before it in this order, so that one pass finds the longest chains.
    order = np.lexsort((loss[0], cost[0]))
    loss, cost = loss[:, order], cost[:, order]
    ranks = np.ones(len(offers), dtype=np.int64)
    frontier = np.ones(len(offers), dtype=np.bool_)
    for start in range(0, len(offers), _BLOCK):
        rows = slice(start, start + _BLOCK)
        (value, low, _), (cost_value, cost_low, _) = loss[:, rows], cost[:, rows]
        as_good = (loss[0][:, None] <= value) & (cost[0][:, None] <= cost_value)
        better = as_good & ((loss[0][:, None] < value) | (cost[0][:, None] < cost_value))
        frontier[rows] = ~better.any(axis=0)
        sure = as_good & ((loss[2][:, None] < low) | (cost[2][:, None] < cost_low))
        for place in np.flatnonzero(sure.any(axis=0)).tolist():
            ranks[start + place] = 1 + ranks[sure[:, place]].max()
    found: list[Standing] = [Standing(1, "tied")] * len(offers)
    for position, row in enumerate(order.tolist()):
        standing: Class = "frontier" if frontier[position] else "tied" if ranks[position] == 1 else "dominated"
        found[row] = Standing(int(ranks[position]), standing)
    return found


def _columns(estimates: Sequence[Estimate]) -> npt.NDArray[np.float64]:
    """[3, n]: values, lower ends, upper ends."""
    return np.array([(one.value, *one.ends()) for one in estimates], dtype=np.float64).T


@dataclass(frozen=True)
class Mean:
    """The geometric mean of ratios over contests, and how many of the contests it covers."""

    ratio: Estimate
    covered: int
    of: int


def geometric_mean(ratios: Sequence[Estimate], of: int) -> Mean:
    """The geometric mean of `ratios`, one a contest, out of `of` contests. Raises `ValueError` for none or ratios ≤ 0.

    Contests are measured apart from each other, so the distances from the logarithms of the estimates to the ends of
    their intervals are added as squares, each side for itself (Zou & Donner 2008, MOVER). Unknown as soon as one is.
    """
    if not ratios or any(one.value <= 0 for one in ratios):
        raise ValueError("a geometric mean takes at least one ratio, and all of them positive")
    if not len(ratios) <= of:
        raise ValueError(f"{len(ratios)} ratios of {of} contests")
    logs = [math.log(one.value) for one in ratios]
    mean = math.fsum(logs) / len(logs)

    def end(sign: int) -> float | None:
        ends = [one.low if sign < 0 else one.high for one in ratios]
        if any(one is None or one <= 0 for one in ends):
            return None
        distances = [math.log(one) - log for one, log in zip(ends, logs, strict=True) if one is not None]
        return math.exp(mean + sign * math.sqrt(math.fsum(d * d for d in distances)) / len(logs))

    return Mean(Estimate(math.exp(mean), end(-1), end(1)), len(ratios), of)
