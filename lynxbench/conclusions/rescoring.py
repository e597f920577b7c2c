"""Another question to the same answers: stored predictions scored by another rubric, without running a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lynxbench import __version__
from lynxbench.conclusions.rounds import ratio_between
from lynxbench.datasets.predictions import Predictions
from lynxbench.records.fields import SECTIONS
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.scored import score_fields
from lynxbench.scoring import Scores, disclosure_fields, score
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.rubric import Rubric, TestSet

if TYPE_CHECKING:
    import pyarrow as pa

Why = Literal[
    "other-task", "other-test-set", "no-such-stratum", "not-measured", "no-predictions", "no-reference", "no-score"
]

# What of a declared test set can move a number. Its name and what is said of its composition cannot.
_SAMPLES = (
    "source", "target", "image", "audio", "corpus", "selection", "stratify_by", "seed", "fields", "class_names", "part",
)  # fmt: skip
# Who answered the same samples beside whom.
_BESIDE = ("sweep", "host_id", "workload", "model", "model_sha256", "scenario")
_FROM_SCORES = frozenset(
    field.name for section in SECTIONS if section.title == "Scores" for field in section.fields
) - {"predictions_id", "recheck_difference"}
_RATIOS = tuple(f"{name}{end}" for name in ("p50_ratio", "throughput_ratio") for end in ("", "_low", "_high"))


@dataclass(frozen=True)
class Change:
    """One row before, and as the other rubric scores it."""

    before: Record
    after: Record


@dataclass(frozen=True)
class Unanswered:
    """One row that the other rubric cannot be asked of, and why."""

    record: Record
    why: Why
    reason: str


@dataclass(frozen=True)
class Rescored:
    """Every row once: scored anew, or with the reason why not; each in the plan's order."""

    rubric: Rubric
    changes: tuple[Change, ...]
    unanswered: tuple[Unanswered, ...]

    @property
    def flipped(self) -> tuple[Change, ...]:
        """Rows whose verdict is another one under this rubric, where neither is the reference's."""
        return tuple(
            change
            for change in self.changes
            if change.before["verdict"] != change.after["verdict"]
            and "reference" not in (change.before["verdict"], change.after["verdict"])
        )


def rescored(
    records: Sequence[Record],
    predictions: Mapping[str, Predictions],
    rubric: Rubric,
    *,
    measured_by: Mapping[str, Rubric],
    latencies: pa.Table | None = None,
) -> Rescored:
    """Score every row of a results folder by `rubric`, as far as its answers allow.

    `predictions` are by `predictions_id`; `measured_by` holds the rubrics that the rows were measured by, by digest.
    What a rubric may change: metrics, strata, tolerance, confidence, the reference (one that was measured beside the
    candidate on the same host), the bootstrap, the calibration rule. What it may not: the task and the samples.
    Timing is left as it was measured. Ratios are relative to the reference: where that is another one, they are
    formed anew from `latencies`, or null where both were not timed in the same rounds.
    Raises `UsageError` for a metric that there is not.
    """
    changes, unanswered = [], []
    known: dict[tuple[str, str], Scores] = {}
    for record in sorted(records, key=lambda r: int(r["position"])):
        found = _unanswerable(record, predictions, rubric, measured_by.get(record["rubric_digest"]))
        reference = None if found else reference_of(record, records, rubric)
        if found is None and (reference is None or reference["predictions_id"] not in predictions):
            found = Unanswered(record, "no-reference", _no_reference(record, records, rubric))
        if found is not None or reference is None:
            unanswered += [found] if found else []
            continue
        key = (record["predictions_id"], reference["predictions_id"])
        if key not in known:
            known[key] = score(rubric, *(predictions[name] for name in key), is_reference=key[0] == key[1])
        if known[key].primary.value is None:
            unanswered.append(Unanswered(record, "no-score", str(known[key].primary.reason)))
            continue
        scored = scored_record(record, reference, rubric, known[key])
        if _candidate(reference) != _candidate_of_old_reference(record, records):
            scored |= _ratios(record, reference, latencies)
        changes.append(Change(record, Record({**scored, **_as_another_row(record, rubric)})))
    return Rescored(rubric, tuple(changes), tuple(unanswered))


def reference_of(record: Record, records: Sequence[Record], rubric: Rubric) -> Record | None:
    """The row of the rubric's reference beside `record`: same sweep, host, workload, model and scenario."""
    beside = [
        other
        for other in records
        if other["status"] in MEASURED
        and (other["scheme"], other["executor"]) == (rubric.reference.scheme, rubric.reference.executor)
        and all(other[name] == record[name] for name in _BESIDE)
    ]
    # Of a scheme with several calibrations the first is the reference, as in a sweep.
    return min(beside, key=lambda other: int(other["position"])) if beside else None


def scored_record(record: Record, reference: Record, rubric: Rubric, scores: Scores) -> dict[str, Any]:
    """The record's fields with everything that the rubric says, its scores give, and a reader may conclude of both."""
    is_reference = record["cell_id"] == reference["cell_id"]
    values = {
        **record.values,
        **dict.fromkeys(_FROM_SCORES),
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "rubric_digest": rubric.digest(),
        "test_set": rubric.test_set.name,
        "test_set_composition": list(rubric.test_set.composition),
        "strata": list(rubric.strata),
        "reference_scheme": rubric.reference.scheme,
        "reference_executor": rubric.reference.executor,
        "is_reference": is_reference,
        "tolerance_kind": rubric.tolerance.kind,
        "tolerance": rubric.tolerance.value,
        "calibration_minimum_n": None if record["calibration"] is None else rubric.calibration.minimum_count,
        **score_fields(scores, is_reference=is_reference),
    }
    return {**values, **disclosure_fields(values)}


def _as_another_row(record: Record, rubric: Rubric) -> dict[str, Any]:
    asked = f"rescored\0{record['cell_id']}\0{rubric.digest()}"
    return {
        "cell_id": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "rescored_from": f"{record['sweep']}/{record['cell_id']}",
        "lynxbench_version": __version__,
    }


def _unanswerable(
    record: Record, predictions: Mapping[str, Predictions], rubric: Rubric, measured: Rubric | None
) -> Unanswered | None:
    """Why a row cannot be scored by `rubric`, as far as it is about the row itself."""
    if record["task"] != rubric.task:
        return Unanswered(record, "other-task", f"its answers are to {record['task']}, the rubric asks {rubric.task}")
    if measured is None:
        reason = f"which samples rubric {record['rubric']} asked is not kept in this folder"
        return Unanswered(record, "other-test-set", reason)
    changed = _changed_samples(record, measured.test_set, rubric.test_set)
    if changed:
        hint = (
            '; to leave views out, restrict the metric: on = { view = ["…"] }' if changed == ["test_set.views"] else ""
        )
        reason = f"other samples would have to be asked: {', '.join(changed)} differ from {measured.name}{hint}"
        return Unanswered(record, "other-test-set", reason)
    if record["status"] not in MEASURED:
        return Unanswered(record, "not-measured", f"{record['status']}: {record['reason']}")
    if record["predictions_id"] not in predictions:
        return Unanswered(record, "no-predictions", "its predictions are not in this folder")
    fields = predictions[record["predictions_id"]].strata
    for name in [*rubric.strata, *(field for use in rubric.metrics for field in use.on)]:
        if name not in fields:
            hint = did_you_mean(name, fields) or "none is kept"
            return Unanswered(record, "no-such-stratum", f"its samples have no field {name!r}; {hint}")
    return None


def _changed_samples(record: Record, before: TestSet, now: TestSet) -> list[str]:
    """Keys by which the two declarations select other samples."""
    changed = [f"test_set.{name}" for name in _SAMPLES if getattr(before, name) != getattr(now, name)]
    size = json.loads(record["protocol"]).get("test_set", "standard")
    if now.selection != "all" and _count(before, size) != _count(now, size):
        changed.append("test_set.count")
    if before.views != now.views:
        changed.append("test_set.views")
    return changed


def _count(declared: TestSet, size: str) -> int:
    sizes = {"quick": declared.quick_count, "thorough": declared.thorough_count}
    return sizes.get(size) or declared.count


def _no_reference(record: Record, records: Sequence[Record], rubric: Rubric) -> str:
    wanted = f"{rubric.reference.scheme} on {rubric.reference.executor}"
    beside = {
        f"{other['scheme']} on {other['executor']}": other["status"]
        for other in records
        if all(other[name] == record[name] for name in _BESIDE)
    }
    if wanted in beside:
        return f"its reference, {wanted}, has no answers ({beside[wanted]})"
    hint = did_you_mean(wanted, [name for name, status in beside.items() if status in MEASURED])
    return f"its reference, {wanted}, was not measured beside it on this host" + (f"; {hint}" if hint else "")


def _candidate(record: Record) -> tuple[Any, ...]:
    return record["scheme"], record["executor"], record["calibration"]


def _candidate_of_old_reference(record: Record, records: Sequence[Record]) -> tuple[Any, ...] | None:
    old = [r for r in records if r["is_reference"] and all(r[name] == record[name] for name in _BESIDE)]
    return _candidate(old[0]) if old else None


def _ratios(record: Record, reference: Record, latencies: pa.Table | None) -> dict[str, Any]:
    """Ratios to another reference than the measured one."""
    fields: dict[str, Any] = dict.fromkeys(_RATIOS)
    if record["cell_id"] == reference["cell_id"]:
        # What a sweep gives no ratio (a search of the highest rate) has none to itself either.
        return {name: None if record[name] is None else 1.0 for name in _RATIOS}
    confidence = json.loads(record["protocol"])["confidence"]
    for name in ("p50_ratio", "throughput_ratio"):
        if latencies is None or record[name] is None:
            continue
        ratio = ratio_between(record, reference, latencies, name, confidence)
        if ratio is not None:
            fields |= {name: ratio.value, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
    return fields
