"""What crosses the pipe between a sweep and its workers, beyond plain JSON: timed blocks and predictions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import ANSWERS, Predictions
from lynxbench.measurement import Block

_TIMES = ("latencies_ns", "scheduled_ns", "issued_ns")


def block_to_wire(block: Block) -> dict[str, Any]:
    """A block as JSON; its latencies, schedule and issue times as base64 of little-endian int64."""
    plain = {field.name: getattr(block, field.name) for field in fields(block) if field.name not in _TIMES}
    return {**plain, **{name: _packed(getattr(block, name)) for name in _TIMES}}


def block_from_wire(wire: Mapping[str, Any]) -> Block:
    """The block that `block_to_wire` wrote."""
    return Block(**{**wire, **{name: _unpacked(wire[name]) for name in _TIMES}})


def _packed(times: npt.NDArray[np.int64] | None) -> str | None:
    return None if times is None else base64.b64encode(times.astype("<i8").tobytes()).decode()


def _unpacked(text: str | None) -> npt.NDArray[np.int64] | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), dtype="<i8").astype(np.int64)


def save_predictions(predictions: Predictions, file: Path) -> None:
    """Predictions to an uncompressed `.npz`."""
    arrays: dict[str, Any] = {
        "sample_ids": predictions.sample_ids,
        "source_ids": predictions.source_ids,
        "failed": predictions.failed,
    }
    arrays.update({f"strata.{name}": column for name, column in predictions.strata.items()})
    for name in ANSWERS:
        column = getattr(predictions, name)
        if column is not None:
            arrays[name] = column
    with file.open("wb") as handle:
        np.savez(handle, **arrays)


def load_predictions(file: Path) -> Predictions:
    """The predictions that `save_predictions` wrote."""
    with np.load(file, allow_pickle=False) as archive:
        strata = {name.removeprefix("strata."): archive[name] for name in archive.files if name.startswith("strata.")}
        plain = {name: archive[name] for name in archive.files if not name.startswith("strata.")}
    return Predictions(strata=strata, **plain)
