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


def percentile_range(counts: Counts, largest: float, percentile: float) -> tuple[float, float]:
    """The range that leaves (100 - percentile) per cent out, half of it on each side.

    Its right end is the lower edge of the bin in which the quantile falls.
    """
    shares = np.cumsum(counts / counts.sum())
    cut = (100.0 - percentile) / 200.0
    ends = edges(largest)
    return float(ends[np.searchsorted(shares, cut)]), float(ends[np.searchsorted(shares, 1.0 - cut)])


def entropy_range(counts: Counts, largest: float) -> tuple[float, float]:
    """The range around zero whose quantization to `LEVELS` levels loses least information about the values.

    Kullback-Leibler divergence between the clipped distribution and its quantized form, for every half width from
    `LEVELS`/2 bins to all of them (S. Migacz, "8-bit inference with TensorRT", GTC 2017).
    """
    widths = np.arange(LEVELS // 2, BINS // 2 + 1)
    merged = _sizes(widths) // LEVELS
    # Half widths that merge equally many bins into a level are computed as one matrix.
    runs = np.split(widths, np.flatnonzero(np.diff(merged)) + 1)
    divergences = np.concatenate([_divergences(counts, run) for run in runs])
    best = int(widths[int(np.argmin(divergences))])
    ends = edges(largest)
    return float(ends[BINS // 2 - best]), float(ends[min(BINS // 2 + best + 1, BINS)])


def _sizes(widths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many bins a half width spans: one more on the right, except where there is none."""
    return np.minimum(BINS // 2 + widths + 1, BINS) - (BINS // 2 - widths)


def _divergences(counts: Counts, widths: npt.NDArray[np.int64]) -> Floats:
    """The divergence of each half width in `widths` ([c]), all of which merge equally many bins into a level."""
    starts, sizes = BINS // 2 - widths, _sizes(widths)
    ends, merged = starts + sizes, int(sizes[0]) // LEVELS
    before = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(len(widths))
    columns = np.arange(int(sizes.max()))
    inside = columns < sizes[:, None]
    sliced = np.where(inside, counts[np.minimum(starts[:, None] + columns, BINS - 1)], 0)
    reference = sliced.copy()
    reference[:, 0] += before[starts]
    reference[rows, sizes - 1] += before[-1] - before[ends]
    # Merge the bins of the slice into levels; what is left over goes to the last.
    covered = LEVELS * merged
    levels = sliced[:, :covered].reshape(len(widths), LEVELS, merged).sum(axis=2)
    levels[:, -1] += before[ends] - before[starts + covered]
    occupied = (reference[:, :covered] != 0).reshape(len(widths), LEVELS, merged).sum(axis=2)
    # Expand again: each bin of a level gets the mean over its occupied bins, cut to a whole number.
    means = np.where(occupied > 0, levels // np.maximum(occupied, 1), 0)
    quantized = np.zeros_like(reference)
    quantized[:, :covered] = np.repeat(means, merged, axis=1)
    p, q = _smoothed(reference, inside), _smoothed(quantized, inside)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(inside, p * np.log(p / q), 0.0)
    divergences: Floats = terms.sum(axis=1)
    return np.where(np.isfinite(divergences), divergences, np.inf)


def _smoothed(counts: Counts, inside: npt.NDArray[np.bool_]) -> Floats:
    """Rows as probabilities, without zeros: each gets a little, taken evenly from the others."""
    empty = (counts == 0) & inside
    n_empty = empty.sum(axis=1)
    n_filled = inside.sum(axis=1) - n_empty
    taken = _SMOOTHING * n_empty / np.maximum(n_filled, 1)
    smooth = np.where(empty, _SMOOTHING, counts - taken[:, None])
    total = np.where(inside, smooth, 0.0).sum(axis=1)
    total[n_filled == 0] = np.nan  # nothing there to compare with
    probabilities: Floats = smooth / total[:, None]
    return probabilities
