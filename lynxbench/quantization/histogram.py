"""A histogram that takes its values batch by batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

# As many as ONNX Runtime's percentile calibrator has; see `thresholds` for what it means to entropy.
BINS = 2048
_CHUNK = 1 << 16
_LANES = 4
_STRIDE = BINS + 2
# Neighbours are counted in different lanes: a run of equal values would wait for its own counter each time.
_OFFSETS = ((np.arange(_CHUNK) % _LANES) * _STRIDE + BINS // 2).astype(np.float32)


class Histogram:
    """Counts in `BINS` equal bins over [-largest, largest], equal to those of a collector fed all at once.

    Two times faster than `numpy.histogram`, which looks each value's edges up again: here a value within a
    thousandth of a bin of an edge may be counted on its other side.
    """

    def __init__(self, largest: float) -> None:
        self.largest = np.float32(largest)
        self._lanes = np.zeros(_LANES * _STRIDE, dtype=np.int64)

    def add(self, values: npt.NDArray[np.generic]) -> None:
        """Count the values of a float array of any shape. NaN is not counted; what is beyond counts as at the end."""
        flat = values.reshape(-1)
        if flat.dtype != np.float32:
            flat = flat.astype(np.float32)
        size = min(_CHUNK, flat.size)
        scaled, index = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.intp)
        per_bin = np.float32(BINS / 2) / self.largest
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK]
            n = chunk.size
            np.multiply(chunk, per_bin, out=scaled[:n])
            # Now and then a run differs by a rounding from the one that found `largest`; NaN stays NaN here.
            np.minimum(np.maximum(scaled[:n], -BINS / 2, out=scaled[:n]), BINS / 2, out=scaled[:n])
            np.add(scaled[:n], _OFFSETS[:n], out=scaled[:n])
            with np.errstate(invalid="ignore"):
                np.copyto(index[:n], scaled[:n], casting="unsafe")
            try:
                self._lanes += np.bincount(index[:n], minlength=self._lanes.size)
            except ValueError:  # a NaN became a negative number
                self.add(chunk[~np.isnan(chunk)])

    @property
    def counts(self) -> Counts:
        """[BINS] int64."""
        lanes: Counts = self._lanes.reshape(_LANES, _STRIDE).sum(axis=0)
        counts = lanes[:BINS].copy()
        counts[-1] += lanes[BINS]  # the last bin includes its upper edge
        return counts


def edges(largest: float) -> npt.NDArray[np.float32]:
    """The edges of a histogram, [BINS + 1] float32."""
    return np.linspace(-np.float32(largest), np.float32(largest), BINS + 1, dtype=np.float32)
