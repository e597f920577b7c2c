"""Passes over the calibration data, in memory that does not grow with the number of samples.

The first reduces each tensor inside the graph, so that no activation leaves it. Histograms take a second: bins have to
be known before the first value is counted, or the histogram is another one than that of a collector which sees all
values at once. Of activations, no more than two batches' are ever alive: one being computed, one being counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import CellError
from lynxbench.quantization.augment import MAXIMA, MINIMA, SIZES, with_extremes, with_outputs
from lynxbench.quantization.calibration import CalibrationData, Feed
from lynxbench.quantization.check import session
from lynxbench.quantization.failures import failing_as
from lynxbench.quantization.histogram import BINS, Counts, Histogram

# What the observed activations of one batch may take; where they take more, the data is read several times.
ACTIVATION_BYTES = 1 << 30


@dataclass(frozen=True)
class Extremes:
    """What the first pass finds about n tensors.

    lowest, highest  [n] float32, over all batches, NaN left out; lowest > highest where no batch held a value
    batch_bytes      [n] int64, of the largest batch
    infinite         [n] bool, whether a batch held an infinity
    """

    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    batch_bytes: npt.NDArray[np.int64]
    infinite: npt.NDArray[np.bool_]

    @property
    def largest(self) -> npt.NDArray[np.float32]:
        """[n] float32, the largest magnitude; 0 where there is no histogram to be had."""
        largest = np.maximum(-self.lowest, self.highest)
        return np.where(self.infinite | (self.lowest > self.highest), np.float32(0), largest)


def find_extremes(prepared: Any, tensors: Sequence[str], data: CalibrationData, threads: int) -> Extremes:
    """The first pass. Without graph optimization, as in ONNX Runtime's own calibrators: the same values to the bit.

    Raises `CellError` when there is no data or the model does not take it.
    """
    n = len(tensors)
    lowest = np.full(n, np.inf, dtype=np.float32)
    highest = np.full(n, -np.inf, dtype=np.float32)
    largest = np.zeros(n, dtype=np.int64)
    infinite = np.zeros(n, dtype=np.bool_)
    batches = 0
    for low, high, size in _answers(
        with_extremes(prepared, tensors), [MINIMA, MAXIMA, SIZES], data, threads, optimize=False
    ):
        infinite |= (size > 0) & (np.isinf(low) | np.isinf(high))
        lowest, highest = np.fmin(lowest, low), np.fmax(highest, high)
        largest = np.maximum(largest, size * 4)
        batches += 1
    if not batches:
        raise CellError("failed", "the calibration set yields no batch")
    return Extremes(lowest, highest, largest, infinite)


def count_values(
    prepared: Any,
    tensors: Sequence[str],
    extremes: Extremes,
    data: CalibrationData,
    threads: int,
    *,
    activation_bytes: int = ACTIVATION_BYTES,
) -> Counts:
    """The second pass: histograms of `tensors` ([n, BINS] int64) over plus and minus `extremes.largest`.

    Rows of tensors without a largest magnitude are 0. With graph optimization: a value may differ by a rounding.
    """
    counts = np.zeros((len(tensors), BINS), dtype=np.int64)
    largest = extremes.largest
    wide = np.flatnonzero(largest)
    for run in _within(wide, extremes.batch_bytes, activation_bytes):
        names = [tensors[index] for index in run]
        histograms = {name: Histogram(largest[index]) for name, index in zip(names, run, strict=True)}
        _count(prepared, histograms, data, threads)
        for name, index in zip(names, run, strict=True):
            counts[index] = histograms[name].counts
    return counts


def _within(indexes: npt.NDArray[np.intp], sizes: npt.NDArray[np.int64], limit: int) -> Iterator[list[int]]:
    """The indexes in runs whose sizes sum to `limit` at most (one index at least)."""
    run: list[int] = []
    for index in indexes.tolist():
        if run and sizes[run].sum() + sizes[index] > limit:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _count(prepared: Any, histograms: dict[str, Histogram], data: CalibrationData, threads: int) -> None:
    """Count a pass over the data; one batch is counted while the next is computed."""
    inputs = {item.name for item in prepared.graph.input}
    given = [name for name in histograms if name in inputs]
    computed = [name for name in histograms if name not in inputs]
    counting: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:

        def count(values: dict[str, npt.NDArray[np.generic]]) -> None:
            for future in counting:
                future.result()
            counting[:] = [pool.submit(histograms[name].add, array) for name, array in values.items()]

        if computed:
            for feed, values in _answered(with_outputs(prepared, computed), computed, data, threads, optimize=True):
                count({**dict(zip(computed, values, strict=True)), **{name: feed[name] for name in given}})
        else:
            for feed in data.feeds():
                count({name: feed[name] for name in given})
        count({})


def _answers(
    model: Any, outputs: list[str], data: CalibrationData, threads: int, *, optimize: bool
) -> Iterator[list[Any]]:
    for _, values in _answered(model, outputs, data, threads, optimize=optimize):
        yield values


def _answered(
    model: Any, outputs: list[str], data: CalibrationData, threads: int, *, optimize: bool
) -> Iterator[tuple[Feed, list[Any]]]:
    """Each batch, and the model's answer to it."""
    with failing_as("building the calibration graph"):
        runner = session(model.SerializeToString(), threads, optimize=optimize, varied_shapes=True)
    needed = [item.name for item in runner.get_inputs()]
    for number, feed in enumerate(data.feeds()):
        missing = [name for name in needed if name not in feed]
        if missing:
            raise CellError("failed", f"calibration batch {number} has no input {', '.join(missing)}")
        with failing_as(f"calibration batch {number}"):
            values = runner.run(outputs, {name: feed[name] for name in needed})
        yield feed, values
