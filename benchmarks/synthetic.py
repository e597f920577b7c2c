"""Made-up records that obey every rule, as many as wanted: one host's through `Record`, the others' by columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lynxbench.records.record import Record
from lynxbench.records.schema import SCHEMA_VERSION, arrow_schema
from lynxbench.records.store import write_parquet
from lynxbench.scoring import disclosure_fields

RUBRICS = ("captions", "defects", "garments", "intents")
SCHEMES = (
    ("fp32", "fp32", 1.0, 0.0), ("fp16", "fp16", 1.05, 0.0), ("int8-dynamic", "int8-dynamic", 0.8, 0.003),
    ("int8-static", "int8-static", 1.8, 0.006), ("w4", "weights-only", 1.2, 0.02),
)  # fmt: skip
EXECUTORS = (("cpu", "CPUExecutionProvider", 1.0), ("openvino", "OpenVINOExecutionProvider", 1.3))
SCENARIOS = (("single-stream", "single-stream", 1), ("offline", "offline", 32))
STRATA = tuple(f"c{number}" for number in range(12))
OPS = ("Conv", "QuantizeLinear", "DequantizeLinear", "MatMul", "Add", "Clip", "Softmax", "Gemm")
MODELS_A_RUBRIC = 25
A_HOST = len(RUBRICS) * MODELS_A_RUBRIC * len(SCENARIOS) * len(SCHEMES) * len(EXECUTORS)  # rows
LATENCIES_A_CELL = 40
_TIMES = ("latency_mean_ns", "latency_min_ns", "latency_max_ns", "p50_ns", "p50_low_ns", "p50_high_ns", "p90_ns")


def write_results(folder: Path, n: int, seed: int = 0) -> None:
    """`n` records with their latencies, in a results folder below `folder` for each host that they need."""
    first = pa.Table.from_pylist([dict(record.values) for record in one_host(seed)], schema=arrow_schema())
    for number, start in enumerate(range(0, n, A_HOST)):
        mine = folder / f"host-{number:03d}"
        mine.mkdir(parents=True)
        records = _on_host(first, number, seed).slice(0, n - start)
        write_parquet(records, mine / "records.parquet")
        write_parquet(_latencies(records, seed + number), mine / "latencies.parquet")
        (mine / "sweep.json").write_text("{}")


def one_host(seed: int, models: int = MODELS_A_RUBRIC) -> Iterator[Record]:
    """Every rubric, model, scenario, scheme and executor on one host."""
    random = np.random.default_rng(seed)
    position = 0
    for rubric in RUBRICS:
        for model in range(models):
            size = float(np.exp(random.normal(0, 1)))
            for scenario, kind, batch in SCENARIOS:
                for scheme in SCHEMES:
                    for executor in EXECUTORS:
                        yield _record(random, position, rubric, model, size, (scenario, kind, batch), scheme, executor)
                        position += 1


def _record(
    random: np.random.Generator, position: int, rubric: str, model: int, size: float, scenario: Any, scheme: Any,
    executor: Any,
) -> Record:  # fmt: skip
    reference = scheme[0] == "fp32" and executor[0] == "cpu"
    ratio = 1.0 if reference else scheme[2] * executor[2] * float(np.exp(random.normal(0, 0.1)))
    loss = 0.0 if reference else scheme[3] * float(random.gamma(1.0)) * 2
    p50 = 1e6 * size * scenario[2] / ratio
    half = 0.0 if reference else 0.0035
    n = 2400
    verdict = "robust" if loss + half <= 0.01 else "fragile" if loss - half > 0.01 else "inconclusive"
    static = scheme[1] == "int8-static"
    names = f"{rubric}-net-{model:02d}"
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "lynxbench_version": "0.1.0", "sweep": "synthetic", "suite": "synthetic",
        "suite_version": "1", "suite_digest": _digest("suite"), "cell_id": _digest("cell", position)[:16],
        "candidate_id": _digest("candidate", position)[:16], "position": position,
        "group_id": _digest("group", names)[:16], "host_id": "0" * 16,
        "started_at": datetime(2026, 11, 20, 12, tzinfo=UTC), "status": "ok",
        "warnings": [{"code": "few_samples", "advice": "Too few runs for one or more percentiles."}],
        "workload": rubric, "task": "image-classification", "rubric": rubric, "rubric_version": "1.0",
        "rubric_digest": _digest("rubric", rubric), "test_set": f"{rubric}-test",
        "test_set_digest": _digest("test", rubric), "test_set_composition": ["clean", "stratified"], "test_set_n": n,
        "strata": ["class"], "reference_scheme": "fp32", "reference_executor": "cpu", "is_reference": reference,
        "tolerance_kind": "absolute", "tolerance": 0.01, "model": names, "model_version": "1.0",
        "model_sha256": _digest("model", names), "scheme": scheme[0], "scheme_kind": scheme[1],
        "scheme_options": json.dumps({"kind": scheme[1]}), "artifact_sha256": _digest("artifact", names, scheme[0]),
        "artifact_bytes": 300_000, "executor": executor[0], "executor_digest": _digest("executor", executor[0]),
        "provider": executor[1], "provider_options": "{}", "onnxruntime_version": "1.32.0",
        "wheel": "onnxruntime 1.32.0", "simulated": False, "threads": 1,
        "nodes": [{"provider": executor[1], "op_type": op, "count": 20} for op in OPS],
        "scenario": scenario[0], "scenario_kind": scenario[1], "batch_size": scenario[2], "in_flight": 1,
        "protocol": json.dumps({"confidence": 0.95, "test_set": "standard", "threads": 1}), "rounds": 20, "part": 0,
        "processes": 1, "stopped_by": "precision", "blocks_used": 20, "blocks_excluded": 0, "cpu": "Synthetic CPU",
        "isa_flags": ["avx2", "avx512_vnni"], "cores_logical": 8, "cores_usable": 8.0, "memory_bytes": 32 << 30,
        "load_1min": 0.1, "os": "Debian GNU/Linux 12", "kernel": "6.1", "python": "3.11.2", "import_ns": 100_000_000,
        "register_ns": 10_000, "create_ns": 20_000_000, "engine_build_ns": 0, "first_run_ns": 2_000_000,
        "warm_up_runs": 50, "warm_up_ns": 100_000_000, "latency_n": LATENCIES_A_CELL, "latency_mean_ns": p50 * 1.02,
        "latency_min_ns": p50 * 0.9, "latency_max_ns": p50 * 1.6, "p50_ns": p50, "p50_low_ns": p50 * 0.99,
        "p50_high_ns": p50 * 1.01, "p90_ns": p50 * 1.2, "throughput_per_s": 1e9 * scenario[2] / p50,
        "throughput_ratio": ratio, "throughput_ratio_low": ratio * (1 if reference else 0.98),
        "throughput_ratio_high": ratio * (1 if reference else 1.02), "harness_overhead_ns": 90.0,
        "cpu_over_wall_ratio": 0.99, "peak_rss_bytes": 120_000_000, "predictions_id": _digest("answers", position)[:16],
        "primary_metric": "top-1", "primary_direction": "higher-is-better", "primary_value": 0.85 - loss,
        "primary_value_low": 0.835 - loss, "primary_value_high": 0.865 - loss, "primary_n": n, "primary_failed_n": 0,
        "primary_delta": -loss, "primary_delta_low": -loss - half, "primary_delta_high": -loss + half,
        "primary_loss": loss, "primary_loss_low": loss - half, "primary_loss_high": loss + half,
        "verdict": "reference" if reference else verdict, "tolerance_loss": 0.01, "resolvable_loss": 0.005,
        "recheck_difference": 0.0, "scores": [_score(n, loss, half, None)],
        "strata_scores": [_score(n // len(STRATA), loss * (1 + 0.1 * place), 4 * half, name)
                          for place, name in enumerate(STRATA)],
    }  # fmt: skip
    if not reference:
        values |= {"worst_stratum": f"class={STRATA[-1]}", "worst_stratum_loss": loss * 2.1}
    if static:
        values |= {
            "calibration": f"{rubric}-train", "calibration_digest": _digest("calibration", rubric),
            "calibration_split": "train", "calibration_selection": "random", "calibration_n": 256,
            "calibration_seed": 0, "calibration_batch_size": 16, "calibration_overlap_n": 0,
            "calibration_minimum_n": 100,
        }  # fmt: skip
    return Record({**values, **disclosure_fields(values)})


def _score(n: int, loss: float, half: float, stratum: str | None) -> dict[str, Any]:
    return {
        "metric": "top-1", "role": "primary", "direction": "higher-is-better", "unit": "fraction",
        "stratum_field": None if stratum is None else "class", "stratum": stratum, "n": n, "failed_n": 0,
        "value": 0.85 - loss, "low": 0.82 - loss, "high": 0.88 - loss, "reference_value": 0.85, "delta": -loss,
        "delta_low": -loss - half, "delta_high": -loss + half, "loss": loss, "loss_low": loss - half,
        "loss_high": loss + half, "interval_method": "tango-score", "resamples": 0, "seed": 0,
    }  # fmt: skip


def _on_host(table: pa.Table, number: int, seed: int) -> pa.Table:
    """The same rows from another machine: its name, and its times."""
    random = np.random.default_rng([seed, number])
    factor = float(np.exp(random.normal(0, 0.5)))
    host = _digest("host", number)[:16]
    changed: dict[str, Any] = {
        "host_id": pa.array([host] * len(table)),
        "cpu": pa.array([f"Synthetic CPU {number // 4}"] * len(table)),
        **{name: pc.multiply(table[name], factor) for name in _TIMES},
        "throughput_per_s": pc.divide(table["throughput_per_s"], factor),
    }
    for name, column in changed.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), column)
    return table


def _latencies(records: pa.Table, seed: int) -> pa.Table:
    n = len(records) * LATENCIES_A_CELL
    random = np.random.default_rng(seed)
    spread = np.exp(random.normal(0, 0.08, n)) * np.repeat(records["p50_ns"].to_numpy(), LATENCIES_A_CELL)
    nothing = pa.nulls(n, pa.int64())
    cells = pa.array(np.repeat(records["cell_id"].to_numpy(), LATENCIES_A_CELL), pa.string())
    return pa.table(
        {
            "cell_id": cells, "round": pa.array(np.zeros(n, np.int32)),
            "process": pa.array(np.zeros(n, np.int32)), "excluded": pa.array(np.zeros(n, np.bool_)),
            "latency_ns": pa.array(spread.astype(np.int64)), "scheduled_ns": nothing, "issued_ns": nothing,
        }
    )  # fmt: skip


def _digest(*parts: Any) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
