"""The range of each activation: what static quantization has to know about the data."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.quantization.artifacts import METHOD_VERSION, OnDamage, digest_of, ignored, keep, kept, libraries
from lynxbench.quantization.calibration import CalibrationData
from lynxbench.quantization.collect import Extremes, Reading, count_values, find_averages, find_extremes
from lynxbench.quantization.histogram import Counts
from lynxbench.quantization.observe import Observation, Range
from lynxbench.quantization.thresholds import entropy_range, percentile_range, spread


@dataclass(frozen=True)
class Ranges:
    """What calibration found.

    ranges      tensor → (lowest, highest), finite
    undefined   tensor → why it has no range
    types       tensor → "float32" or "float16"
    spreads     tensor → standard deviation, where asked for
    """

    ranges: Mapping[str, Range]
    undefined: Mapping[str, str]
    types: Mapping[str, str]
    spreads: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """Where passes over the data are kept for other schemes: a folder, and the digest of the prepared model."""

    folder: Path
    prepared_sha256: str
    on_damage: OnDamage = ignored


def calibrated_ranges(
    prepared: Any,
    observed: Observation,
    data: CalibrationData,
    *,
    method: str,
    percentile: float | None = None,
    averaging_constant: float | None = None,
    spreads: bool = False,
    threads: int = 1,
    cache: Kept | None = None,
) -> Ranges:
    """The range of every tensor that the quantizer may ask about.

    `method` is minmax, moving-average (with `averaging_constant`), distribution, percentile (with `percentile` in per
    cent) or entropy; with `spreads`, standard deviations are found, too. Percentile, entropy and spreads read the data
    twice, the others once; what a pass found is kept in `cache` for every scheme that asks the same (the first pass is
    the same for all methods but moving-average). Raises `CellError` when there is no data or the model refuses it.
    """
    if not observed.tensors:
        return Ranges(observed.fixed, {}, observed.types)
    reading, tensors = Reading(prepared, data, threads), observed.tensors
    asked: tuple[Any, ...] = (data.digest, tensors)
    if method == "moving-average":
        share = averaging_constant or 0.01
        asked = (*asked, share)
        averages = _kept_arrays(cache, "averages", asked, lambda: vars(find_averages(reading, tensors, share)))
        return ranges_from(observed, Extremes(**averages), None, method=method, percentile=None)
    extremes = Extremes(**_kept_arrays(cache, "extremes", asked, lambda: vars(find_extremes(reading, tensors))))
    counts = None
    if method != "percentile":
        percentile = None  # decides which bins are counted one by one, and entropy needs them all
    if method in ("percentile", "entropy") or spreads:
        # Whole histograms are the same for all who need every bin; their name is entropy's, who was there first.
        asked = (*asked, "percentile" if percentile is not None else "entropy", percentile)
        arrays = _kept_arrays(
            cache, "counts", asked, lambda: {"counts": count_values(reading, tensors, extremes, percentile)}
        )
        counts = arrays["counts"]
    found = ranges_from(observed, extremes, None if spreads else counts, method=method, percentile=percentile)
    return _with_spreads(found, observed, extremes, counts) if spreads and counts is not None else found


def _with_spreads(ranges: Ranges, observed: Observation, extremes: Extremes, counts: Counts) -> Ranges:
    """With standard deviations; tensors of nothing but one value have none that a float8 scale can be made of."""
    roots = {
        name: spread(counts[index], extremes.largest[index])
        for index, name in enumerate(observed.tensors)
        if extremes.largest[index] > 0
    }
    spreads, undefined = {}, dict(ranges.undefined)
    for name, derived in observed.derived.items():
        found = roots.get(derived.root, 0.0)
        if name in ranges.ranges and found > 0:
            spreads[name] = derived.range_from((0.0, found))[1]
        else:
            undefined.setdefault(name, "its values do not differ")
    kept = {name: ends for name, ends in ranges.ranges.items() if name in spreads}
    return replace(ranges, ranges=kept, undefined=undefined, spreads=spreads)


def ranges_from(
    observed: Observation, extremes: Extremes, counts: Counts | None, *, method: str, percentile: float | None
) -> Ranges:
    """The ranges that a method reads from what the passes found; `counts` ([n, BINS]) is None where none is needed."""
    roots: dict[str, Range] = {}
    why: dict[str, str] = {}
    largest = extremes.largest
    for index, name in enumerate(observed.tensors):
        low, high = float(extremes.lowest[index]), float(extremes.highest[index])
        if extremes.infinite[index]:
            why[name] = "it held an infinity"
        elif low > high:
            why[name] = "it held no number in any batch"
        elif method == "distribution":
            # The ends of the histogram, which is all that ONNX Runtime takes from it for integers.
            roots[name] = (-float(largest[index]), float(largest[index]))
        elif counts is None or largest[index] == 0.0:
            roots[name] = (low, high)
        elif method == "entropy":
            roots[name] = _clipped(entropy_range(counts[index], largest[index]), low, high)
        else:
            roots[name] = _clipped(percentile_range(counts[index], largest[index], percentile or 100.0), low, high)
    ranges: dict[str, Range] = dict(observed.fixed)
    undefined: dict[str, str] = {}
    for name, derived in observed.derived.items():
        if derived.root in why:
            undefined[name] = why[derived.root]
            continue
        ends = derived.range_from(roots[derived.root])
        if np.isfinite(ends).all():
            ranges[name] = ends
        else:
            undefined[name] = "it held an infinity"
    return Ranges(ranges, undefined, observed.types)


def write_for_onnxruntime(ranges: Ranges, path: Path) -> None:
    """Write the ranges as ONNX Runtime's calibration cache, as if found by MinMax: only the ends are used.

    With spreads as if found by Distribution, the only method that float8 takes: only the spreads are used.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData, save_tensors_data

    data = {}
    for name, (lowest, highest) in sorted(ranges.ranges.items()):
        dtype = np.dtype(ranges.types[name])
        given = {"lowest": np.array(lowest, dtype), "highest": np.array(highest, dtype)}
        if ranges.spreads:
            given |= {"avg": np.array(0, dtype), "std": np.array(ranges.spreads[name], dtype)}
        data[name] = TensorData(**given)
    method = CalibrationMethod.Distribution if ranges.spreads else CalibrationMethod.MinMax
    save_tensors_data(TensorsData(method, data), path)


def _clipped(ends: Range, lowest: float, highest: float) -> Range:
    return max(ends[0], lowest), min(ends[1], highest)


def _kept_arrays(
    cache: Kept | None, what: str, asked: tuple[Any, ...], find: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Arrays by name: kept from an earlier build that asked the same, or found now and kept."""
    path, before = None, None
    if cache is not None:
        content = {
            "method_version": METHOD_VERSION,
            "prepared": cache.prepared_sha256,
            "libraries": libraries(),
            "what": what,
            "asked": asked,
        }
        path = cache.folder / f"{digest_of(content)}.{what}"
        before = kept(path, cache.on_damage)
        if before is not None:
            with np.load(io.BytesIO(before), allow_pickle=False) as arrays:
                return dict(arrays)
    found = find()
    if path is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **found)
        keep(path, buffer.getvalue())
    return found
