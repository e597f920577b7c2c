"""The range that a method reads from a histogram. Both equal ONNX Runtime's `HistogramCollector`, quirks included."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lynxbench.quantization.histogram import BINS, Counts, edges

Floats = npt.NDArray[np.float64]

# ONNX Runtime's entropy calibrator defaults to 128 bins, as many as it has levels, which leaves one candidate: the
# MinMax range. With 2048 bins there are 961.
LEVELS = 128
_SMOOTHING = 1e-4
# Divergences closer than this may be in either order in float32: a sum of some thousand terms below 1.
_ROUNDING = 1e-5


def percentile_range(counts: Counts, largest: float, percentile: float) -> tuple[float, float]:
    """The range that leaves (100 - percentile) per cent out, half of it on each side.

    Its right end is the lower edge of the bin in which the quantile falls.
    """
    shares = np.cumsum(counts / counts.sum())
    cut = (100.0 - percentile) / 200.0
    ends = edges(largest)
    return float(ends[np.searchsorted(shares, cut)]), float(ends[np.searchsorted(shares, 1.0 - cut)])


def spread(counts: Counts, largest: float) -> float:
    """The standard deviation of what was counted, each value taken for the middle of its bin."""
    ends = edges(largest)
    middles = (ends[:-1] + ends[1:]) * 0.5
    mean = (counts * middles).sum() / counts.sum()
    return float(((counts * middles**2).sum() / counts.sum() - mean**2) ** 0.5)


def entropy_range(counts: Counts, largest: float) -> tuple[float, float]:
    """The range around zero whose quantization to `LEVELS` levels loses least information about the values.

    Kullback-Leibler divergence between the clipped distribution and its quantized form, for every half width from
    `LEVELS`/2 bins to all of them (S. Migacz, "8-bit inference with TensorRT", GTC 2017). Where several lose equally
    little, which happens when the bins between them are empty, the one that ONNX Runtime's rounding makes the least.
    """
    widths = np.arange(LEVELS // 2, BINS // 2 + 1)
    merged = _sizes(widths) // LEVELS
    # Half widths that merge equally many bins into a level are computed as one matrix.
    runs = np.split(widths, np.flatnonzero(np.diff(merged)) + 1)
    divergences = np.concatenate([_divergences(counts, run) for run in runs])
    least = divergences.min()
    tied = widths[divergences <= least + _ROUNDING * (1.0 + least)] if np.isfinite(least) else widths[:1]
    if len(tied) > 1:
        tied = tied[int(np.argmin([_rounded_divergence(counts, int(width)) for width in tied]))]
    best = int(np.ravel(tied)[0])
    ends = edges(largest)
    return float(ends[BINS // 2 - best]), float(ends[min(BINS // 2 + best + 1, BINS)])


def _rounded_divergence(counts: Counts, width: int) -> np.float32:
    """One divergence, summed bin by bin in float32 as ONNX Runtime sums it."""
    start, size = BINS // 2 - width, int(_sizes(np.array([width]))[0])
    merged, sliced = size // LEVELS, counts[start : start + size]
    covered = LEVELS * merged
    p = sliced.copy()
    p[0] += counts[:start].sum()
    p[-1] += counts[start + size :].sum()
    levels = sliced[:covered].reshape(LEVELS, merged).sum(axis=1)
    levels[-1] += sliced[covered:].sum()
    occupied = (p[:covered] != 0).reshape(LEVELS, merged).sum(axis=1)
    q = np.zeros_like(p)
    q[:covered] = np.repeat(np.where(occupied > 0, levels // np.maximum(occupied, 1), 0), merged)
    shares = []
    for values in (p, q):
        empty = values == 0
        taken = _SMOOTHING * int(empty.sum()) / max(int(size - empty.sum()), 1)
        smooth = values.astype(np.float32)
        smooth += np.float32(_SMOOTHING) * empty.astype(np.float32) + np.float32(-taken) * (~empty).astype(np.float32)
        shares.append(smooth / smooth.sum())
    rounded: np.float32 = np.sum(shares[0] * np.log(shares[0] / shares[1]))
    return rounded


def _sizes(widths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many bins a half width spans: one more on the right, except where there is none."""
    return np.minimum(BINS // 2 + widths + 1, BINS) - (BINS // 2 - widths)


def _divergences(counts: Counts, widths: npt.NDArray[np.int64]) -> Floats:
    """The divergence of each half width in `widths` ([c]), all of which merge equally many bins into a level.

    With p the clipped distribution, outliers counted at its ends, and q its quantized form, which is constant within a
    level: sum p log p over the bins, less sum p log q over the levels. Both are smoothed: every empty bin gets a
    little, taken evenly from the others.
    """
    starts, sizes = BINS // 2 - widths, _sizes(widths)
    ends, merged = starts + sizes, int(sizes[0]) // LEVELS
    covered = LEVELS * merged
    before = np.concatenate([[0], np.cumsum(counts)])
    rows, columns = np.arange(len(widths)), np.arange(int(sizes.max()))
    p = np.where(columns < sizes[:, None], counts[np.minimum(starts[:, None] + columns, BINS - 1)], 0)
    # Bins merged into levels, without the outliers; what is left over at the end goes to the last level.
    levels = p[:, :covered].reshape(len(widths), LEVELS, merged).sum(axis=2)
    levels[:, -1] += before[ends] - before[starts + covered]
    p[:, 0] += before[starts]
    p[rows, sizes - 1] += before[-1] - before[ends]

    filled = p != 0
    n_filled = filled.sum(axis=1)
    n_empty = sizes - n_filled
    taken = _SMOOTHING * n_empty / np.maximum(n_filled, 1)
    smooth = np.where(filled, p - taken[:, None], 1.0)  # of empty bins below; here they add nothing
    total = before[-1] - taken * n_filled + _SMOOTHING * n_empty
    own = ((smooth * np.log(smooth)).sum(axis=1) + n_empty * _SMOOTHING * np.log(_SMOOTHING)) / total - np.log(total)

    in_levels = p[:, :covered].reshape(len(widths), LEVELS, merged).sum(axis=2)
    occupied = filled[:, :covered].reshape(len(widths), LEVELS, merged).sum(axis=2)
    in_levels = in_levels - taken[:, None] * occupied + _SMOOTHING * (merged - occupied)
    # A level's bins, empty ones too, get the mean over its occupied bins, cut to a whole number.
    q = np.where(occupied > 0, levels // np.maximum(occupied, 1), 0)
    q_empty = merged * (q == 0).sum(axis=1) + sizes - covered
    q_filled = sizes - q_empty
    q_taken = _SMOOTHING * q_empty / np.maximum(q_filled, 1)
    q_smooth = np.where(q == 0, _SMOOTHING, q - q_taken[:, None])
    q_total = merged * q.sum(axis=1) - q_taken * q_filled + _SMOOTHING * q_empty
    left_over = total - in_levels.sum(axis=1)
    crossed = ((in_levels * np.log(q_smooth)).sum(axis=1) + left_over * np.log(_SMOOTHING)) / total - np.log(q_total)
    return np.where((n_filled > 0) & (q_filled > 0), own - crossed, np.inf)
