"""From what a group's workers and the scoring gave to records: one place where names meet the field table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lynxbench import __version__
from lynxbench.execution import Caution, HostFacts, products_saturate
from lynxbench.execution.placement import CPU
from lynxbench.measurement import RoundsResult
from lynxbench.records.record import Record
from lynxbench.records.schema import SCHEMA_VERSION
from lynxbench.records.scored import score_fields
from lynxbench.scoring import Scores, disclosure_fields
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Scheme
from lynxbench.sweep.plan import Cell, Deployment, Group, Skip
from lynxbench.sweep.prepare import Material
from lynxbench.sweep.timing import invalid_load, timing_fields

if TYPE_CHECKING:
    from lynxbench.datasets.predictions import Predictions
    from lynxbench.sweep.artifacts import Artifact
    from lynxbench.sweep.group import Seat

# Answers after timing may differ in this share from the accuracy pass before the row is refused: none may.
RECHECK_TOLERANCE = 0.0


@dataclass(frozen=True)
class Context:
    """What all rows of a group share."""

    resolved: ResolvedSuite
    material: Material
    group: Group
    sweep: str
    host: HostFacts
    started_at: datetime
    part: int = 0  # of a group that did not fit into memory at once, or on one host
    node: str | None = None  # this machine's name in a fleet


def predictions_id(context: Context, cell: Cell, predictions: Predictions) -> str:
    """The key of a candidate's answers, which they decide themselves: the same for every scenario at one batch size.

    Another host, or another run on this one, may answer otherwise: such answers neither replace these nor pass for
    them.
    """
    whose = f"{context.group.workload.name}\0{cell.candidate_id}\0{predictions.fingerprint}"
    return hashlib.sha256(whose.encode()).hexdigest()[:16]


def skipped_record(context: Context, cell: Cell, skip: Skip) -> Record:
    """The row of a cell that cannot run here."""
    return Record({**_declared(context, cell), "status": skip.status, "reason": skip.reason})


def cell_record(context: Context, cell: Cell, seat: Seat, scores: Scores | None, result: RoundsResult | None) -> Record:
    """The row of a cell that was to run: measured, or with the reason why not."""
    declared = {**_declared(context, cell), "ended_at": datetime.now(UTC)}
    trouble = _trouble(cell, seat, scores, result)
    if trouble is None and scores is not None and result is not None:
        try:
            values = {**declared, **_opened(seat), **_measured(context, cell, seat, scores, result)}
            return Record({**values, **disclosure_fields(values)})
        except ValueError as error:
            # A row that contradicts itself is a defect of ours; it costs this cell, not the sweep.
            trouble = ("failed", str(error))
    status, reason = trouble or ("failed", "nothing came back")
    return Record({**declared, "status": status, "reason": reason, **_opened(seat)})


def _trouble(cell: Cell, seat: Seat, scores: Scores | None, result: RoundsResult | None) -> tuple[str, str] | None:
    """Status and reason of a cell that has no measurement; None for one that has."""
    if scores is None and seat.predictions.get(seat.batch_size(cell.scenario)) is not None:
        return "failed", "the reference gave no predictions to compare with, so no score goes with the speed"
    limit_ms, search = cell.scenario.latency_limit_ms, seat.searched.get(cell.scenario.name)
    if limit_ms is not None and search is not None and search["rate_per_s"] is None:
        return "rejected", f"no rate was found whose p99 holds {limit_ms:g} ms: {search['reason']}"
    entrant = None if result is None else result.entrants.get(cell.cell_id)
    difference = seat.rechecked.get(cell.scenario.name)
    if scores is None or entrant is None or entrant.error is not None or not entrant.blocks or difference is None:
        return ("failed", "no timed block came back") if seat.error is None else (seat.error.status, seat.error.reason)
    if scores.primary.value is None:
        return "failed", f"no score goes with the speed: {scores.primary.reason}"
    if difference > RECHECK_TOLERANCE:
        return "rejected", f"after timing, {difference:.1%} of the answers differed from the accuracy pass"
    invalid = invalid_load(cell, seat, entrant)
    return None if invalid is None else ("rejected", invalid)


def _measured(context: Context, cell: Cell, seat: Seat, scores: Scores, result: RoundsResult) -> dict[str, Any]:
    """The fields of a cell that was timed and scored."""
    assert seat.artifact is not None
    timing, warnings = timing_fields(context, cell, seat, result.entrants[cell.cell_id], result)
    status = str(seat.opened["status"])
    return {
        **timing,
        **score_fields(scores, is_reference=cell.is_reference),
        "status": status,
        "reason": seat.opened["reason"] if status != "ok" else None,
        "warnings": [
            *_quantizer_notes(seat.artifact),
            *_saturation(context, cell.deployment),
            *_flattered(context, cell.deployment.scheme),
            *warnings,
        ],
        "predictions_id": predictions_id(context, cell, seat.predictions[seat.batch_size(cell.scenario)]),
        "part": context.part,
        "recheck_difference": seat.rechecked[cell.scenario.name],
        "artifact_sha256": seat.artifact.sha256,
        "artifact_bytes": seat.artifact.size_bytes,
        "peak_rss_bytes": seat.peak_rss_bytes,
        **seat.sensed[cell.scenario.name],
    }


def _quantizer_notes(artifact: Artifact) -> list[dict[str, str]]:
    return [{"code": "quantizer_note", "advice": str(note)} for note in artifact.manifest["warnings"]]


def _saturation(context: Context, deployment: Deployment) -> list[dict[str, str]]:
    """The caution that the processor does not compute what the scheme says, where that may be."""
    provider = context.resolved.executors[deployment.executor].spec.provider
    if provider != CPU or not deployment.scheme.multiplies_u8_by_s8 or not products_saturate(context.host):
        return []
    caution = Caution.PRODUCTS_SATURATE
    return [{"code": caution.value, "advice": caution.advice}]


def _flattered(context: Context, scheme: Scheme) -> list[dict[str, str]]:
    """What a reader must know where a scheme is scored on samples that it was picked on."""
    part = context.resolved.rubrics[context.group.workload.name].spec.test_set.part
    if scheme.tuned is None or scheme.tuned.spared_by(part, context.resolved.suite.protocol.test_set):
        return []
    advice = (
        f"The scheme was picked among {scheme.tuned.tried} on samples that may be scored here: its loss is flattered. "
        "Ask the untouched part (test_set.part), at the size that was tuned on."
    )
    return [{"code": "tuned_on_these_samples", "advice": advice}]


def _declared(context: Context, cell: Cell) -> dict[str, Any]:
    """Everything that is known before anything runs."""
    resolved, group, deployment = context.resolved, context.group, cell.deployment
    suite, rubric = resolved.suite, resolved.rubrics[group.workload.name]
    executor = resolved.executors[deployment.executor]
    test_set = context.material.test_sets[group.workload.name]
    return {
        "schema_version": SCHEMA_VERSION,
        "lynxbench_version": __version__,
        "sweep": context.sweep,
        "suite": suite.name,
        "suite_version": suite.version,
        "suite_digest": suite.digest(),
        "cell_id": cell.cell_id,
        "candidate_id": cell.candidate_id,
        "position": cell.position,
        "group_id": group.group_id,
        "started_at": context.started_at,
        "node": context.node,
        "warnings": [],
        "workload": group.workload.name,
        "task": rubric.spec.task,
        "rubric": rubric.spec.name,
        "rubric_version": rubric.spec.version,
        "rubric_digest": rubric.digest,
        "test_set": rubric.spec.test_set.name,
        "test_set_digest": test_set.fingerprint,
        "test_set_composition": list(rubric.spec.test_set.composition),
        "test_set_n": len(test_set.samples),
        "strata": list(rubric.spec.strata),
        "reference_scheme": rubric.spec.reference.scheme,
        "reference_executor": rubric.spec.reference.executor,
        "is_reference": cell.is_reference,
        "tolerance_kind": rubric.spec.tolerance.kind,
        "tolerance": rubric.spec.tolerance.value,
        "model": deployment.model.name,
        "model_version": deployment.model.version,
        "model_sha256": context.material.models[deployment.model.name].sha256,
        "scheme": deployment.scheme.name,
        "scheme_kind": deployment.scheme.kind,
        "scheme_options": json.dumps(deployment.scheme.options(), sort_keys=True),
        **_calibration(context, deployment),
        **_tuning(deployment.scheme, rubric.spec, suite.protocol.test_set),
        "executor": executor.spec.name,
        "executor_digest": executor.digest,
        "provider": executor.spec.provider,
        "simulated": executor.spec.simulated,
        "scenario": cell.scenario.name,
        "scenario_kind": cell.scenario.kind,
        "batch_size": cell.scenario.given_batch_size,
        "rate_per_s": cell.scenario.rate_per_s,
        "p99_limit_ms": cell.scenario.latency_limit_ms,
        "protocol": json.dumps(suite.protocol.model_dump(mode="json"), sort_keys=True),
        **_host(context.host),
    }


def _calibration(context: Context, deployment: Deployment) -> dict[str, Any]:
    calibration = deployment.calibration
    if calibration is None:
        return {}
    chosen = context.material.calibrations[context.group.workload.name, calibration.name]
    return {
        "calibration": calibration.name,
        "calibration_digest": chosen.digest,
        "calibration_split": calibration.split,
        "calibration_selection": calibration.selection,
        "calibration_n": calibration.count,
        "calibration_seed": calibration.seed,
        "calibration_batch_size": calibration.batch_size,
        "calibration_options": json.dumps(calibration.options(), sort_keys=True),
        "calibration_overlap_n": chosen.overlap_n,
        "calibration_minimum_n": chosen.minimum_n,
    }


def _tuning(scheme: Scheme, rubric: Rubric, size: str) -> dict[str, Any]:
    """How the scheme was picked, where it was."""
    tuned = scheme.tuned
    if tuned is None:
        return {}
    return {
        "tuning_tried_n": tuned.tried,
        "tuning_picked": tuned.picked,
        "tuning_split": json.dumps(tuned.split(), sort_keys=True),
        "tuning_n": tuned.samples,
        "tuning_untouched": tuned.spared_by(rubric.test_set.part, size),
        "tuning_limit_s": tuned.time_limit_s,
        "tuning_spent_s": tuned.spent_s,
        "tuning_max_loss": tuned.max_loss,
        "tuning_loss": tuned.loss,
        "tuning_loss_low": tuned.loss_low,
        "tuning_loss_high": tuned.loss_high,
    }


def host_id(host: HostFacts) -> str:
    """The host's fingerprint: a digest of what its records say of it, without its load."""
    return hashlib.sha256(json.dumps(_facts(host), sort_keys=True).encode()).hexdigest()[:16]


def _host(host: HostFacts) -> dict[str, Any]:
    return {"host_id": host_id(host), **_facts(host), "load_1min": host.load_1min}


def _facts(host: HostFacts) -> dict[str, Any]:
    return {
        "cpu": host.cpu_model,
        "isa_flags": list(host.isa_flags),
        "cores_logical": host.logical_cores,
        "cores_usable": float(host.usable_cores),
        "memory_bytes": host.memory_bytes,
        "memory_limit_bytes": host.memory_limit_bytes,
        "governor": host.governor,
        "os": host.os,
        "kernel": host.kernel,
        "python": host.python,
    }


def _opened(seat: Seat) -> dict[str, Any]:
    """What opening the session told, where it came that far."""
    opened = seat.opened
    if not opened:
        return {}
    differences = [difference for difference in opened["differences"] if difference is not None]
    return {
        "provider_options": json.dumps(opened["options"], sort_keys=True),
        "onnxruntime_version": opened["onnxruntime_version"],
        "wheel": opened["wheel"],
        "device": opened["device"],
        "precision": opened["precision"],
        "threads": opened["threads"],
        "nodes": opened["nodes"],
        "first_run_difference": max(differences) if differences else None,
        "import_ns": opened["import_ns"],
        "register_ns": opened["register_ns"],
        "create_ns": opened["create_ns"],
        "engine_build_ns": opened["engine_build_ns"],
        "first_run_ns": opened["first_run_ns"],
    }
