"""What `lynxbench diagnose --json` wrote, read again for the page of the candidate that it is about.

Only what a page shows is read, and each of it is checked: the files may come from anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from lynxbench.errors import UntrustedInput, UsageError
from lynxbench.leaderboard.documents import newer, parse, parse_as
from lynxbench.specs.base import Spec

FORMAT = 1
# Of hundreds of tensors, weights and parts those that say most; the file has all of them.
MOST_ROWS = 40


class _Read(Spec):
    model_config = ConfigDict(extra="ignore")


class ShownCause(_Read):
    """A cause with its evidence and advice."""

    cause: str
    where: str
    said: str
    advice: str
    others: tuple[str, ...] = ()
    is_about_time: bool


class ShownPart(_Read):
    """A node or an op type."""

    kind: Literal["node", "op-type"]
    name: str
    op_type: str
    nodes: tuple[str, ...]


class ShownTrial(_Read):
    """A part quantized alone, or left in float."""

    part: ShownPart
    how: Literal["alone", "left-in-float"]
    loss: float | None
    loss_low: float | None
    loss_high: float | None
    flip_rate: float | None
    reason: str | None


class ShownAttempt(_Read):
    """What there was no time for."""

    part: ShownPart
    how: Literal["alone", "left-in-float"]


class ShownSensitivity(_Read):
    """Which parts the loss comes from."""

    metric: str
    unit: str
    confidence: float
    n: int
    time_limit_s: float
    spent_s: float
    trials: tuple[ShownTrial, ...]
    not_tried: tuple[ShownAttempt, ...]


class ShownTensor(_Read):
    """An activation beside fp32's."""

    name: str
    producer: str
    sqnr_db: float | None
    cosine: float | None
    low: float
    high: float
    represented_low: float | None
    represented_high: float | None
    outside_share: float | None
    worst_field: str | None
    worst_stratum: str | None
    worst_outside_share: float | None
    distance: float | None


class ShownWeight(_Read):
    """A weight and what is left of it."""

    name: str
    node: str
    shape: tuple[int, ...]
    scales: int | None
    sqnr_db: float | None
    outlier_ratio: float | None
    channel_range_ratio: float | None
    top_share: float | None


class ShownOp(_Read):
    """The kernels of one op type."""

    op_type: str
    kernels: int
    ns: float
    reads: tuple[str, ...]


class ShownTime(_Read):
    """Where the time of a run goes."""

    run_ns: float
    profiled_ns: float
    kernels_ns: float
    runs: int
    batch_size: int
    ops: tuple[ShownOp, ...]


class ShownDiagnosis(_Read):
    """One diagnosis; `candidate_id` and `workload` say of which records."""

    format: Literal[1]
    candidate: str
    candidate_id: str
    workload: str
    cpu: str
    samples: int
    test_set_n: int
    calibration_samples: int
    loss: float | None
    causes: tuple[ShownCause, ...]
    sensitivity: ShownSensitivity | None
    sensitivity_reason: str | None
    tensors: tuple[ShownTensor, ...]
    weights: tuple[ShownWeight, ...]
    time: ShownTime | None
    reference_time: ShownTime | None
    time_reason: str | None


def read_diagnosis(path: Path) -> ShownDiagnosis:
    """The diagnosis in a file. Raises `UsageError` when it cannot be read, `UntrustedInput` when it is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    value = parse(content, path.name)
    if not isinstance(value, dict) or "candidate_id" not in value or "causes" not in value:
        raise UntrustedInput(f"{path.name} is no diagnosis\n  try       lynxbench diagnose … --json > {path.name}")
    newer(value, "format", FORMAT, path.name)
    return parse_as(ShownDiagnosis, value, path.name)


def diagnoses_by_id(paths: Sequence[Path], records: Any) -> dict[str, dict[str, Any]]:
    """Row id → the diagnosis of its candidate, as its page shows it.

    Every scenario and host of a candidate gets it. Raises `UsageError` for a diagnosis of no record among these, and
    for two of one candidate.
    """
    columns = (records[name].to_pylist() for name in ("workload", "candidate_id", "id"))
    ids: dict[tuple[str, str], list[str]] = {}
    for workload, candidate, row in zip(*columns, strict=True):
        ids.setdefault((workload, candidate), []).append(row)
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        read = read_diagnosis(path)
        rows = ids.get((read.workload, read.candidate_id), [])
        if not rows:
            raise UsageError(
                f"{path}: {read.candidate} of workload {read.workload} is in none of these results, or was measured "
                "with another model, calibration or batch"
            )
        if found.keys() & set(rows):
            raise UsageError(f"{path}: another file is about {read.candidate}, too; give one")
        found |= dict.fromkeys(rows, _trimmed(read))
    return found


def _trimmed(read: ShownDiagnosis) -> dict[str, Any]:
    """As JSON holds it, with what says most of the long lists and how long they were."""
    plain: dict[str, Any] = read.model_dump(mode="json")
    plain["tensors"] = [one for one in plain["tensors"] if one["sqnr_db"] is not None]
    plain["tensors"].sort(key=lambda one: one["sqnr_db"])
    plain["weights"].sort(key=lambda one: -(one["outlier_ratio"] or 0.0))
    for name in ("tensors", "weights"):
        plain[f"{name}_n"] = len(plain[name])
        plain[name] = plain[name][:MOST_ROWS]
    parts = plain["sensitivity"]
    if parts is not None:
        for trial in (*parts["trials"], *parts["not_tried"]):
            trial["part"]["nodes"] = len(trial["part"]["nodes"])
        parts["not_tried_n"] = len(parts["not_tried"])
        parts["not_tried"] = parts["not_tried"][:MOST_ROWS]
    return plain
