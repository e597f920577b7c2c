"""Passes over the calibration data, in memory that does not grow with the number of samples.

The first reduces each tensor inside the graph, so that no activation leaves it. Histograms take a second: bins have to
be known before the first value is counted, or the histogram is another one than that of a collector which sees all
values at once. Of activations, no more than two batches' are ever alive: one being computed, one being counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from lynxbench.quantization.histogram import BINS, Counts, Floats, Histogram
from lynxbench.quantization.tails import Tails

# What the observed activations of one batch may take; where they take more, the data is read several times.
ACTIVATION_BYTES = 1 << 30


@dataclass(frozen=True)
class Reading:
    """What is read: a prepared model (onnx.ModelProto) run over data, on so many threads."""

    prepared: Any
    data: CalibrationData
    threads: int = 1
    activation_bytes: int = ACTIVATION_BYTES


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


def find_extremes(reading: Reading, tensors: Sequence[str]) -> Extremes:
    """The first pass. Without graph optimization, as in ONNX Runtime's own calibrators: the same values to the bit.

    Raises `CellError` when there is no data or the model does not take it.
    """

    def widest(low: Floats, high: Floats, lowest: Floats, highest: Floats, _: Any) -> tuple[Floats, Floats]:
        return np.fmin(lowest, low), np.fmax(highest, high)

    return _merged(reading, tensors, widest)


def find_averages(reading: Reading, tensors: Sequence[str], constant: float) -> Extremes:
    """As `find_extremes`, but each end starts at the first batch's and moves towards every later batch's, by `constant`
    of the distance: what ONNX Runtime's moving average gives when it is fed batch by batch. In batches without a value
    a tensor's ends stay where they are.
    """
    share = np.float32(constant)

    def moved(low: Floats, high: Floats, lowest: Floats, highest: Floats, held: Any) -> tuple[Floats, Floats]:
        begun = lowest <= highest
        ends = []
        with np.errstate(invalid="ignore"):
            for old, new in ((lowest, low), (highest, high)):
                ends.append(np.where(held, np.where(begun, old + share * (new - old), new), old))
        return ends[0], ends[1]

    return _merged(reading, tensors, moved)


def _merged(reading: Reading, tensors: Sequence[str], merge: Callable[..., tuple[Floats, Floats]]) -> Extremes:
    """One pass; `merge` is given a batch's lowest and highest, those so far, and which tensors held a value."""
    n = len(tensors)
    lowest = np.full(n, np.inf, dtype=np.float32)
    highest = np.full(n, -np.inf, dtype=np.float32)
    largest = np.zeros(n, dtype=np.int64)
    infinite = np.zeros(n, dtype=np.bool_)
    batches = 0
    model = with_extremes(reading.prepared, tensors)
    for _, (low, high, size) in answered(reading, model, [MINIMA, MAXIMA, SIZES], optimize=False):
        infinite |= (size > 0) & (np.isinf(low) | np.isinf(high))
        lowest, highest = merge(low, high, lowest, highest, (size > 0) & (low <= high))
        largest = np.maximum(largest, size * 4)
        batches += 1
    if not batches:
        raise CellError("failed", "the calibration set yields no batch")
    return Extremes(lowest, highest, largest, infinite)


def count_values(
    reading: Reading, tensors: Sequence[str], extremes: Extremes, percentile: float | None = None
) -> Counts:
    """The second pass: histograms of `tensors` ([n, BINS] int64) over plus and minus `extremes.largest`.

    Rows of tensors without a largest magnitude are 0. With `percentile`, only the bins are exact that decide on it,
    which is faster, and the graph is optimized: values may then differ from the first pass's by a rounding, which moves
    a percentile by a bin at most. Whole histograms are of the very values that the first pass saw.
    """
    counts = np.zeros((len(tensors), BINS), dtype=np.int64)
    largest = extremes.largest
    wide = np.flatnonzero(largest).tolist()
    if percentile is not None:
        tails = {index: Tails(largest[index], percentile) for index in wide}
        _count_in_runs(reading, tensors, extremes, tails, optimize=True)
        for index, tail in tails.items():
            counts[index] = tail.counts
        wide = [index for index, tail in tails.items() if not tail.certain]
    histograms = {index: Histogram(largest[index]) for index in wide}
    _count_in_runs(reading, tensors, extremes, histograms, optimize=False)
    for index, histogram in histograms.items():
        counts[index] = histogram.counts
    return counts


def _count_in_runs(
    reading: Reading,
    tensors: Sequence[str],
    extremes: Extremes,
    counters: Mapping[int, Histogram | Tails],
    *,
    optimize: bool,
) -> None:
    """Read the data as often as it takes to keep each run's activations within bounds (one tensor at least)."""
    run: dict[str, Histogram | Tails] = {}
    total = 0
    for index, counter in counters.items():
        size = int(extremes.batch_bytes[index])
        if run and total + size > reading.activation_bytes:
            _count(reading, run, optimize)
            run, total = {}, 0
        run[tensors[index]] = counter
        total += size
    if run:
        _count(reading, run, optimize)


def _count(reading: Reading, counters: Mapping[str, Histogram | Tails], optimize: bool) -> None:
    """Count one pass over the data: a batch is counted while the next is computed."""
    inputs = {item.name for item in reading.prepared.graph.input}
    given = [name for name in counters if name in inputs]
    computed = [name for name in counters if name not in inputs]
    counting: list[Future[None]] = []
    with ThreadPoolExecutor(reading.threads) as pool:

        def count(values: Mapping[str, npt.NDArray[np.generic]]) -> None:
            for future in counting:
                future.result()
            counting[:] = [pool.submit(counters[name].add, array) for name, array in values.items()]

        if computed:
            model = with_outputs(reading.prepared, computed)
            for feed, values in answered(reading, model, computed, optimize=optimize):
                count({**dict(zip(computed, values, strict=True)), **{name: feed[name] for name in given}})
        else:
            for feed in reading.data.feeds():
                count({name: feed[name] for name in given})
        count({})


def answered(
    reading: Reading, model: Any, outputs: Sequence[str], *, optimize: bool
) -> Iterator[tuple[Feed, list[Any]]]:
    """Each batch, and the model's answer to it."""
    with failing_as("building the calibration graph"):
        runner = session(model.SerializeToString(), reading.threads, optimize=optimize, varied_shapes=True)
    needed = [item.name for item in runner.get_inputs()]
    for number, feed in enumerate(reading.data.feeds()):
        missing = [name for name in needed if name not in feed]
        if missing:
            raise CellError("failed", f"calibration batch {number} has no input {', '.join(missing)}")
        with failing_as(f"calibration batch {number}"):
            values = runner.run(list(outputs), {name: feed[name] for name in needed})
        yield feed, values
