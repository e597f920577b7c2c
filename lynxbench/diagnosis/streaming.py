"""Statistics of values that are seen once and forgotten: what they take does not grow with the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

# A bin is a float32's sign, exponent and first six bits of its fraction: 64 an octave, so that a magnitude read from
# one is off by 0.8 % at most, and finding the bin costs a shift.
_SHIFT = 17
_HALF = 1 << (31 - _SHIFT)  # bins of one sign, by magnitude; those of negative numbers come after
# Values that are widened to float64 at a time: what they take stays in a processor's cache.
_BLOCK = 1 << 15


@dataclass
class Moments:
    """Count, mean and central moments up to the fourth, merged batch by batch.

    Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments"
    (Sandia report SAND2008-6212), equations 2.1 and 3.1.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0

    def add(self, values: Floats) -> None:
        """Count `values` (any shape, finite) in."""
        flat = values.ravel()
        for start in range(0, flat.size, _BLOCK):
            self._add_block(flat[start : start + _BLOCK].astype(np.float64))

    def _add_block(self, wide: npt.NDArray[np.float64]) -> None:
        """Count a few values in; they are overwritten."""
        n = wide.size
        mean = float(wide.mean())
        wide -= mean
        squares = wide * wide
        m2, m3, m4 = float(squares.sum()), float(squares @ wide), float(squares @ squares)
        total, delta = self.n + n, mean - self.mean
        a, b = self.n, n
        self.m4 += (
            m4
            + delta**4 * a * b * (a * a - a * b + b * b) / total**3
            + 6 * delta**2 * (a * a * m2 + b * b * self.m2) / total**2
            + 4 * delta * (a * m3 - b * self.m3) / total
        )
        self.m3 += m3 + delta**3 * a * b * (a - b) / total**2 + 3 * delta * (a * m2 - b * self.m2) / total
        self.m2 += m2 + delta**2 * a * b / total
        self.mean += delta * b / total
        self.n = total

    @property
    def kurtosis(self) -> float | None:
        """The fourth standardized moment, 3 for a normal distribution; None where the values do not differ."""
        return None if self.m2 <= 0 else self.n * self.m4 / self.m2**2


@dataclass
class Histogram:
    """Counts of float32 values by sign and magnitude."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * _HALF, dtype=np.int64))

    def add(self, values: Floats) -> None:
        """Count `values` (any shape, finite) in."""
        bits = np.ascontiguousarray(values, dtype=np.float32).ravel().view(np.uint32)
        self.counts += np.bincount(bits >> _SHIFT, minlength=2 * _HALF)

    def magnitude(self, percentile: float) -> float:
        """The magnitude that `percentile` per cent of the values do not exceed, to 0.8 %; 0.0 without values."""
        folded = self.counts[:_HALF] + self.counts[_HALF:]
        total = int(folded.sum())
        if total == 0:
            return 0.0
        step = int(np.searchsorted(np.cumsum(folded), math.ceil(total * percentile / 100)))
        ends = (np.array([step, step + 1], dtype=np.uint32) << _SHIFT).view(np.float32)
        return 0.0 if step == 0 else float(ends.mean())

    def distance(self, other: Histogram) -> float | None:
        """Kolmogorov–Smirnov distance of two sets of values, over the bins, in [0, 1]; None where one is empty."""
        mine, theirs = int(self.counts.sum()), int(other.counts.sum())
        if mine == 0 or theirs == 0:
            return None
        # Negative numbers from the largest magnitude up, then positive ones.
        ordered = [np.concatenate([one.counts[_HALF:][::-1], one.counts[:_HALF]]) for one in (self, other)]
        gap = np.cumsum(ordered[0]) / mine - np.cumsum(ordered[1]) / theirs
        return float(np.abs(gap).max())


@dataclass
class Error:
    """How far values are from those they stand for."""

    signal: float = 0.0
    noise: float = 0.0
    product: float = 0.0
    other: float = 0.0

    def add(self, reference: Floats, values: Floats) -> None:
        """Count a pair of arrays of one shape in, finite both."""
        mine, theirs = reference.ravel(), values.ravel()
        for start in range(0, mine.size, _BLOCK):
            a = mine[start : start + _BLOCK].astype(np.float64)
            b = theirs[start : start + _BLOCK].astype(np.float64)
            self.signal += float(a @ a)
            self.other += float(b @ b)
            self.product += float(a @ b)
            a -= b
            self.noise += float(a @ a)

    @property
    def sqnr_db(self) -> float | None:
        """10·log10(Σ reference² ∕ Σ (reference − value)²) in dB; infinite when equal, None without a signal."""
        if self.signal == 0.0:
            return None
        return math.inf if self.noise == 0.0 else 10 * math.log10(self.signal / self.noise)

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the two; None where one of them is zero."""
        length = math.sqrt(self.signal) * math.sqrt(self.other)
        return None if length == 0.0 else max(-1.0, min(1.0, self.product / length))
