"""Calibration that streams: ranges from data in memory that does not grow with the number of samples.

MinMax reduces each tensor inside the graph, so that no activation leaves it. The histogram methods then read the data a
second time: bins have to be known before the first value is counted, or the histogram is another one than a
collector has that sees all values at once. Only one batch's activations are ever alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import CellError
from lynxbench.quantization.calibration import CalibrationData, Feed
from lynxbench.quantization.check import session
from lynxbench.quantization.failures import failing_as
from lynxbench.quantization.histogram import Histogram, entropy_range, percentile_range
from lynxbench.quantization.observe import MAXIMA, MINIMA, SIZES, Observation, with_extremes, with_outputs
from lynxbench.quantization.ranges import Range, Ranges

# What the observed activations of one batch may take at once; more are read in several passes.
ACTIVATION_BYTES = 1 << 30


@dataclass(frozen=True)
class Extremes:
    """What the first pass finds about n tensors: lowest, highest [n] float32; bytes [n], largest over the batches.

    `broken` names tensors that held an infinity. An empty tensor has lowest > highest.
    """

    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    batch_bytes: npt.NDArray[np.int64]
    broken: npt.NDArray[np.bool_]


def collect_ranges(
    prepared: Any,
    observed: Observation,
    data: CalibrationData,
    *,
    method: str,
    percentile: float | None,
    threads: int = 1,
    activation_bytes: int = ACTIVATION_BYTES,
) -> Ranges:
    """The range of every tensor in `observed.same_as`.

    `method` is minmax, percentile (with `percentile` in per cent) or entropy. Unoptimized, as ONNX Runtime's own
    calibrators run it. Raises `CellError` when there is no data or the model does not take it.
    """
    if not observed.tensors:
        return Ranges({}, {}, {})
    extremes = find_extremes(prepared, observed.tensors, data, threads)
    found: dict[str, Range] = {}
    undefined: dict[str, str] = {}
    for index, name in enumerate(observed.tensors):
        if extremes.broken[index]:
            undefined[name] = "it held an infinity"
        elif extremes.lowest[index] > extremes.highest[index]:
            undefined[name] = "it was empty in every batch"
        else:
            found[name] = (float(extremes.lowest[index]), float(extremes.highest[index]))
    if method != "minmax":
        wide = {name: max(-low, high) for name, (low, high) in found.items() if low != high or low != 0.0}
        sizes = dict(zip(observed.tensors, extremes.batch_bytes.tolist(), strict=True))
        for names in _within(wide, sizes, activation_bytes):
            for name, histogram in _histograms(prepared, names, wide, data, threads).items():
                low, high = (
                    entropy_range(histogram)
                    if method == "entropy"
                    else percentile_range(histogram, percentile or 100.0)
                )
                found[name] = (max(low, found[name][0]), min(high, found[name][1]))
    return Ranges(
        ranges={name: found[root] for name, root in observed.same_as.items() if root in found},
        undefined={name: undefined[root] for name, root in observed.same_as.items() if root in undefined},
        types={name: observed.types[name] for name in observed.same_as},
    )


def find_extremes(prepared: Any, tensors: tuple[str, ...], data: CalibrationData, threads: int) -> Extremes:
    """The first pass: extremes of each tensor over all batches, NaN left out, reduced inside the graph."""
    with failing_as("building the calibration graph"):
        runner = session(with_extremes(prepared, tensors).SerializeToString(), threads, optimize=False)
    n = len(tensors)
    lowest = np.full(n, np.inf, dtype=np.float32)
    highest = np.full(n, -np.inf, dtype=np.float32)
    largest = np.zeros(n, dtype=np.int64)
    broken = np.zeros(n, dtype=np.bool_)
    batches = 0
    for low, high, size in _runs(runner, [MINIMA, MAXIMA, SIZES], data):
        filled = size > 0
        broken |= filled & (np.isinf(low) | np.isinf(high))
        lowest = np.fmin(lowest, low)
        highest = np.fmax(highest, high)
        largest = np.maximum(largest, size * 4)
        batches += 1
    if not batches:
        raise CellError("failed", "the calibration set yields no batch")
    return Extremes(lowest, highest, largest, broken)


def _within(wide: dict[str, float], sizes: dict[str, int], limit: int) -> Iterator[list[str]]:
    """Tensors in runs whose activations of one batch stay under `limit` bytes (one tensor at least)."""
    run: list[str] = []
    total = 0
    for name in wide:
        if run and total + sizes[name] > limit:
            yield run
            run, total = [], 0
        run.append(name)
        total += sizes[name]
    if run:
        yield run


def _histograms(
    prepared: Any, names: list[str], wide: dict[str, float], data: CalibrationData, threads: int
) -> dict[str, Histogram]:
    """A pass over the data that counts the values of `names`."""
    histograms = {name: Histogram(wide[name]) for name in names}
    inputs = {item.name for item in prepared.graph.input}
    computed = [name for name in names if name not in inputs]
    given = [name for name in names if name in inputs]
    if not computed:
        for feed in data.feeds():
            for name in given:
                histograms[name].add(feed[name])
        return histograms
    with failing_as("building the calibration graph"):
        runner = session(with_outputs(prepared, computed).SerializeToString(), threads, optimize=False)
    needed = {item.name for item in runner.get_inputs()}
    with _pool(threads) as each, failing_as("calibrating"):
        for feed in data.feeds():
            values = runner.run(computed, {name: array for name, array in feed.items() if name in needed})
            batch = [*zip(computed, values, strict=True), *((name, feed[name]) for name in given)]
            each(lambda item: histograms[item[0]].add(item[1]), batch)
            del values, batch
    return histograms


@contextmanager
def _pool(threads: int) -> Iterator[Any]:
    """A function that does something to each item of a list, on as many threads as the session has."""
    if threads == 1:
        yield lambda act, items: [act(item) for item in items]
        return
    with ThreadPoolExecutor(threads) as pool:
        yield lambda act, items: list(pool.map(act, items))


def _runs(runner: Any, outputs: list[str], data: CalibrationData) -> Iterator[list[Any]]:
    needed = {item.name for item in runner.get_inputs()}
    feed: Feed
    for number, feed in enumerate(data.feeds()):
        missing = sorted(needed - set(feed))
        if missing:
            raise CellError("failed", f"calibration batch {number} has no input {', '.join(missing)}")
        with failing_as(f"calibration batch {number}"):
            yield runner.run(outputs, {name: array for name, array in feed.items() if name in needed})
