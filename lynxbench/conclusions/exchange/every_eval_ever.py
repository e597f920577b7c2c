"""Every Eval Ever, schema 0.3.0: one file a row, each metric, each stratum, each delta and each speed a result in it.

    OUT/data/RUBRIC/ORG/MODEL/UUID.json

The layout and the meaning of every key are those of the schema's own text. Numbers that it has no key for are
strings under ``details``, in the names of results/README.md.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lynxbench.conclusions.exchange.terms import (
    Exported,
    Terms,
    confidence_of,
    known_names,
    measured,
    new_folder,
    place_of,
    rows_of,
    safe,
)
from lynxbench.conclusions.material import Material
from lynxbench.records.field import interval_names
from lynxbench.records.record import Record
from lynxbench.specs.rubric import MetricUse, Rubric

SCHEMA_VERSION = "0.3.0"

# What the schema calls metrics that everybody has.
_GLOBAL = {"top-1": "accuracy", "accuracy": "accuracy", "exact-match": "exact_match", "mae": "mae", "rmse": "rmse"}
# Speeds that travel: field → (id, name, unit, divisor, lower is better).
_SPEEDS: Mapping[str, tuple[str, str, str, float, bool]] = {
    "p50_ns": ("latency_p50", "median latency of a query", "ms", 1e6, True),
    "p90_ns": ("latency_p90", "90th percentile of the latency", "ms", 1e6, True),
    "p99_ns": ("latency_p99", "99th percentile of the latency", "ms", 1e6, True),
    "throughput_per_s": ("throughput", "samples a second", "1/s", 1.0, False),
    "throughput_ratio": ("throughput_ratio", "throughput over the reference's", "ratio", 1.0, False),
    "p50_ratio": ("latency_ratio", "the reference's median latency over this row's", "ratio", 1.0, False),
}
_HOST = (
    "host_id", "cpu", "isa_flags", "cores_logical", "cores_usable", "memory_bytes", "memory_limit_bytes", "governor",
    "load_1min", "os", "kernel", "python", "device",
)  # fmt: skip
_RUN = (
    "sweep", "suite", "suite_version", "suite_digest", "cell_id", "candidate_id", "rescored_from", "protocol",
    "rounds", "processes", "stopped_by",
)  # fmt: skip
_MODEL = (
    "model_version", "model_sha256", "scheme", "scheme_kind", "scheme_options", "artifact_sha256", "artifact_bytes",
    "calibration", "calibration_digest", "calibration_split", "calibration_selection", "calibration_n",
    "calibration_seed", "calibration_overlap_n", "executor", "executor_digest", "provider", "provider_options",
    "precision", "wheel", "threads", "peak_rss_bytes",
)  # fmt: skip
_VERDICT = (
    "verdict", "required_n", "tolerance_kind", "tolerance", "decision_grade", "decision_grade_why", "worst_stratum",
    "worst_stratum_loss", "flip_rate",
)  # fmt: skip
_SCORE = (
    "failed_n", "reference_value", "delta", "delta_low", "delta_high", "loss", "loss_low", "loss_high", "test",
    "p_value", "p_value_holm", "interval_method", "seed",
)  # fmt: skip
_LOAD = ("scenario", "scenario_kind", "batch_size", "in_flight", "rate_per_s", "p99_limit_ms", "latency_n", "simulated")


def export(material: Material, out: Path, terms: Terms, only: Sequence[str] = ()) -> Exported:
    """Write every measured row to the new folder `out`. Raises `UsageError` where there is none, or `out` is in use."""
    known_names(material, terms)
    rows, skipped = measured(rows_of(material, only))
    new_folder(out)
    files = []
    for record in rows:
        document = log(record, material.rubrics.get(record["rubric_digest"]), terms)
        organization, _, name = terms.model_id(record).partition("/")
        path = Path("data", safe(record["rubric"]), safe(organization), safe(name), f"{_uuid(record)}.json")
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        (out / path).write_text(text + "\n", encoding="utf-8")
        files.append(path.as_posix())
    return Exported(out, tuple(files), len(rows), tuple(skipped))


def log(record: Record, rubric: Rubric | None, terms: Terms) -> dict[str, Any]:
    """One row as an evaluation log. `rubric`: what it was measured by, where that was kept."""
    ended = record["ended_at"] or record["started_at"]
    created = f"{ended.timestamp():.0f}"
    model_id = terms.model_id(record)
    return {
        "schema_version": SCHEMA_VERSION,
        # The scheme and the cell beside what the schema asks for: one model has many candidates.
        "evaluation_id": f"{record['rubric']}/{model_id}/{created}/{record['scheme']}/{record['cell_id']}",
        "evaluation_timestamp": record["started_at"].isoformat(),
        "retrieved_timestamp": created,
        "source_metadata": {
            "source_name": f"LynxBench sweep {record['sweep']}",
            "source_type": "evaluation_run",
            "source_organization_name": terms.organization or "unknown",
            **({"source_organization_url": terms.url} if terms.url else {}),
            "evaluator_relationship": terms.relationship,
            "additional_details": _strings(record, (*_RUN, *_HOST)),
        },
        "eval_library": {"name": "lynxbench", "version": record["lynxbench_version"]},
        "model_info": {
            "name": f"{record['model']} {record['model_version']}, {record['scheme']} by {record['executor']}",
            "id": model_id,
            "inference_platform": record["provider"],
            "inference_engine": {"name": "ONNX Runtime", "version": record["onnxruntime_version"]},
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                **_strings(record, _MODEL),
            },
        },
        "evaluation_results": [*_scores(record, rubric, terms), *_speeds(record, rubric, terms)],
    }


def _scores(record: Record, rubric: Rubric | None, terms: Terms) -> Iterator[dict[str, Any]]:
    for score in (*record["scores"], *record["strata_scores"]):
        if score["value"] is None:
            continue
        use = None if rubric is None else next((one for one in rubric.metrics if one.name == score["metric"]), None)
        details = {name: _text(score[name]) for name in _SCORE if score[name] is not None}
        details |= {"reference": f"{record['reference_scheme']} on {record['reference_executor']}"}
        primary = score["role"] == "primary" and score["stratum_field"] is None
        if primary:
            details |= _strings(record, _VERDICT)
        confidence = None if rubric is None else rubric.confidence
        bounds = (score["low"], score["high"])
        config = _metric(score, use, delta=False)
        yield _result(record, rubric, terms, score, "score", config, score["value"], bounds, confidence, details)
        if score["delta"] is not None and not record["is_reference"]:
            bounds = (score["delta_low"], score["delta_high"])
            config = _metric(score, use, delta=True)
            yield _result(record, rubric, terms, score, "delta", config, score["delta"], bounds, confidence, details)


def _result(
    record: Record, rubric: Rubric | None, terms: Terms, score: Mapping[str, Any], kind: str,
    config: Mapping[str, Any], value: float, bounds: tuple[Any, Any], confidence: float | None,
    details: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    where = f"{score['stratum_field']}={score['stratum']}" if score["stratum_field"] else ""
    uncertainty: dict[str, Any] = {"num_samples": score["n"]}
    if kind == "delta" and score["resamples"]:
        uncertainty["num_bootstrap_samples"] = score["resamples"]
    method = f"paired by sample: {score['interval_method']}" if kind == "delta" and score["interval_method"] else None
    uncertainty |= _interval(bounds, confidence, method)
    return {
        "evaluation_result_id": "/".join(filter(None, (record["cell_id"], score["metric"], where, kind))),
        "evaluation_name": f"{record['rubric']} {record['rubric_version']}{f', {where}' if where else ''}",
        "source_data": _source(record, rubric, terms),
        "metric_config": dict(config),
        "score_details": {"score": value, "details": dict(details), "uncertainty": uncertainty},
    }


def _metric(score: Mapping[str, Any], use: MetricUse | None, *, delta: bool) -> dict[str, Any]:
    kind = _GLOBAL.get(use.metric, use.metric) if use is not None else score["metric"]
    share = score["unit"] == "fraction"
    # Its own validator wants ends of every scale; of a unit that is no share none is known.
    lowest, highest = ((-1.0 if delta else 0.0), 1.0) if share else ("-Infinity", "Infinity")
    found: dict[str, Any] = {
        "metric_id": f"lynxbench.delta.{kind}" if delta else kind,
        "metric_name": f"change of {score['metric']} from the reference" if delta else score["metric"],
        "metric_kind": kind,
        "metric_unit": "proportion" if share else score["unit"],
        # A delta is the score less the reference's, so its better side is the score's.
        "lower_is_better": score["direction"] == "lower-is-better",
        "score_type": "continuous",
        "min_score": lowest,
        "max_score": highest,
    }
    if use is not None and use.parameters:
        found["metric_parameters"] = {
            name: value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
            for name, value in use.parameters.items()
        }
    if use is not None and use.on:
        found["additional_details"] = {name: ", ".join(values) for name, values in use.on.items()}
    return found


def _speeds(record: Record, rubric: Rubric | None, terms: Terms) -> Iterator[dict[str, Any]]:
    """What is simulated says so in its details; no leaderboard may rank it."""
    for field, (name, title, unit, divisor, lower) in _SPEEDS.items():
        value = record[field]
        if value is None or (record["is_reference"] and field.endswith("_ratio")):
            continue
        bounds = [None if record[end] is None else record[end] / divisor for end in interval_names(field)]
        uncertainty = {"num_samples": record["latency_n"]} | _interval(
            (bounds[0], bounds[1]), confidence_of(record), "between interleaved rounds"
        )
        config = {
            "metric_id": f"lynxbench.{name}", "metric_name": title, "metric_kind": name, "metric_unit": unit,
            "lower_is_better": lower, "score_type": "continuous", "min_score": 0.0, "max_score": "Infinity",
        }  # fmt: skip
        yield {
            "evaluation_result_id": f"{record['cell_id']}/{name}",
            "evaluation_name": f"{record['rubric']} {record['rubric_version']}, {record['scenario']}",
            "source_data": _source(record, rubric, terms),
            "metric_config": config,
            "score_details": {
                "score": value / divisor, "details": _strings(record, _LOAD), "uncertainty": uncertainty,
            },
        }  # fmt: skip


def _interval(bounds: tuple[Any, Any], confidence: float | None, method: str | None) -> dict[str, Any]:
    if None in bounds:
        return {}
    interval: dict[str, Any] = {"lower": bounds[0], "upper": bounds[1]}
    if confidence is not None:
        interval["confidence_level"] = confidence
    if method is not None:
        interval["method"] = method
    return {"confidence_interval": interval}


def _source(record: Record, rubric: Rubric | None, terms: Terms) -> dict[str, Any]:
    details = {
        "task": record["task"], "rubric": record["rubric"], "rubric_version": record["rubric_version"],
        "rubric_digest": record["rubric_digest"], "test_set_digest": record["test_set_digest"],
        "test_set_composition": ", ".join(record["test_set_composition"]), "test_set_n": str(record["test_set_n"]),
    }  # fmt: skip
    place = place_of(record, terms, "" if rubric is None else rubric.test_set.source)
    if place is None:
        return {"dataset_name": record["test_set"], "source_type": "other", "additional_details": details}
    if place.revision:
        details["revision"] = place.revision
    return {
        "dataset_name": record["test_set"], "source_type": "hf_dataset", "hf_repo": place.repository,
        "samples_number": record["test_set_n"], "additional_details": details,
    }  # fmt: skip


def _strings(record: Record, names: Sequence[str]) -> dict[str, str]:
    """The schema's extra details are strings, and null is no string."""
    return {name: _text(record[name]) for name in names if record[name] is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _uuid(record: Record) -> str:
    """The same row has the same name whenever it is exported; a version 4 in form, as the layout wants."""
    name = f"{record['cell_id']}\0{record['host_id']}\0{record['started_at'].isoformat()}"
    return str(uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4))
