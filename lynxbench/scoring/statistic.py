"""What every metric is reduced to: sums over samples, and a function from the sums to the value.

A mean, a ratio, an F1 and a calibration error are all functions of a few sums. That makes resampling a product of
weights and sums, the same for all of them, and lets samples be added up in groups beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class UndefinedError(Exception):
    """A metric has no value on these samples; the text says why. Never leaves this room: it becomes a `reason`."""


@dataclass(frozen=True)
class Statistic:
    """One metric of one candidate on n samples.

    width     number of sums
    entries   pairs of (column [n], amount [n]): sample i adds amount[i] to sum column[i]
    finish    [..., width] sums → [...] values, NaN where undefined
    bounds    least and greatest value the metric can take
    weakest_n samples in the smallest class that the metric averages over; n for a plain mean
    values    [n] for a plain mean: what it is the mean of
    binary    the values are 0 or 1, a right or a wrong answer
    interval  bca, or bias-aware for metrics whose estimate is biased (see `intervals`)
    """

    width: int
    entries: tuple[tuple[Ints, Floats], ...]
    finish: Callable[[Floats], Floats]
    bounds: tuple[float, float]
    weakest_n: int
    values: Floats | None = None
    binary: bool = False
    interval: Literal["bca", "bias-aware"] = "bca"

    def sums(self, groups: Ints, count: int) -> Floats:
        """The sums of each group, [count, width]; `groups` [n] says which group a sample is in."""
        total = np.zeros(count * self.width)
        for column, amount in self.entries:
            total += np.bincount(groups * self.width + column, weights=amount, minlength=count * self.width)
        return total.reshape(count, self.width)


def mean_of(
    values: npt.NDArray[np.generic], bounds: tuple[float, float] = (0.0, 1.0), binary: bool = False
) -> Statistic:
    """The mean of per-sample values [n]."""
    amounts = values.astype(np.float64)
    if len(amounts) == 0:
        raise UndefinedError("no samples")
    return Statistic(
        width=2,
        entries=_pair(amounts, np.ones(len(amounts))),
        finish=_quotient,
        bounds=bounds,
        weakest_n=len(amounts),
        values=amounts,
        binary=binary,
    )


def ratio_of(
    numerators: npt.NDArray[np.generic], denominators: npt.NDArray[np.generic], empty: str, bounds: tuple[float, float]
) -> Statistic:
    """Sum of numerators [n] over sum of denominators [n]; undefined, because `empty`, when the latter is 0."""
    below = denominators.astype(np.float64)
    if below.sum() == 0:
        raise UndefinedError(empty)
    return Statistic(
        width=2,
        entries=_pair(numerators.astype(np.float64), below),
        finish=_quotient,
        bounds=bounds,
        weakest_n=len(below),
    )


def sums_of(
    columns: npt.NDArray[np.generic],
    finish: Callable[[Floats], Floats],
    bounds: tuple[float, float],
    weakest_n: int | None = None,
) -> Statistic:
    """What `finish` makes of the sums of per-sample columns [n, width]."""
    amounts = columns.astype(np.float64)
    if len(amounts) == 0:
        raise UndefinedError("no samples")
    places = np.zeros(len(amounts), dtype=np.int64)
    entries = tuple((places + column, amounts[:, column]) for column in range(amounts.shape[1]))
    return Statistic(amounts.shape[1], entries, finish, bounds, len(amounts) if weakest_n is None else weakest_n)


def divide(above: Floats, below: Floats) -> Floats:
    """above ∕ below, NaN where below is 0."""
    quotient = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def _pair(first: Floats, second: Floats) -> tuple[tuple[Ints, Floats], ...]:
    zeros = np.zeros(len(first), dtype=np.int64)
    return (zeros, first), (zeros + 1, second)


def _quotient(sums: Floats) -> Floats:
    return divide(sums[..., 0], sums[..., 1])
