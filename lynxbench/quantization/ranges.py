"""The range of each activation: what static quantization needs to know about the data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lynxbench.quantization.artifacts import digest_of, write_durably

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """What calibration found.

    ranges      tensor → (lowest, highest), finite, exact values of the tensor's own type
    undefined   tensor → why it has no range: it held infinities or NaN, or was empty in every batch
    types       tensor → "float32" or "float16"
    """

    ranges: Mapping[str, Range]
    undefined: Mapping[str, str]
    types: Mapping[str, str]


def write_for_onnxruntime(ranges: Ranges, path: Path) -> None:
    """Write the ranges as ONNX Runtime's calibration cache, as if found by MinMax: only the ends are used."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData, save_tensors_data

    data = {}
    for name, (lowest, highest) in sorted(ranges.ranges.items()):
        dtype = np.dtype(ranges.types[name])
        data[name] = TensorData(lowest=np.array(lowest, dtype), highest=np.array(highest, dtype))
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), path)


def kept_ranges(path: Path) -> Ranges | None:
    """Ranges written by `keep_ranges`; None when there are none, or damaged ones."""
    try:
        content = json.loads(path.read_text("utf-8"))
        body = content["body"]
        if digest_of(body) != content["sha256"]:
            return None
        ranges = {name: (low, high) for name, (low, high) in body["ranges"].items()}
        return Ranges(ranges, body["undefined"], body["types"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def keep_ranges(ranges: Ranges, path: Path) -> None:
    """Write ranges durably, with their own hash inside. Raises `StoreError`."""
    body = {"ranges": dict(ranges.ranges), "undefined": dict(ranges.undefined), "types": dict(ranges.types)}
    # Through JSON once, so that the hash is over what a reader sees: pairs are lists there.
    body = json.loads(json.dumps(body))
    text = json.dumps({"sha256": digest_of(body), "body": body}, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ranges-", dir=path.parent) as scratch:
        write_durably(path, text.encode(), Path(scratch))
