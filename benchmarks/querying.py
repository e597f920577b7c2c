"""A leaderboard's queries over millions of records in hive-partitioned Parquet, through `lynxbench query`.

    python benchmarks/querying.py [--records 5000000] [--keep FOLDER]

Makes records of a fleet (every field of the table filled, by suite and host), asks two questions of them in processes
of their own, and prints how long each took and the most memory that it held (VmHWM of /proc).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lynxbench.records.places import find_places
from lynxbench.records.record import Record
from lynxbench.records.results import kept_records
from lynxbench.records.schema import BY_NAME, FIELDS, SCHEMA_VERSION, STRUCTURES, arrow_schema

SUITES = ("starter", "stress", "views", "calibration", "vision", "text", "speech", "retrieval", "tabular", "generation")
HOSTS = 10
MODELS, SCENARIOS = 25, ("single-stream", "offline")
SCHEMES = (
    "fp32", "fp16", "int8-dynamic", "int8-static", "int8-static-pct", "w4", "w8", "bf16", "fp8", "int8-static-mm",
)  # fmt: skip
EXECUTORS = ("cpu", "openvino-cpu")
PAGE_ROWS = 20_000

LATEST = """
with latest as (
  select workload, scenario, model, scheme, executor, host_id,
         max_by(throughput_ratio, started_at) as speed, max_by(throughput_ratio_low, started_at) as speed_low,
         max_by(primary_loss_high, started_at) as loss_high, max_by(tolerance, started_at) as tolerance,
         max_by(verdict, started_at) as verdict, max(started_at) as measured, count(*) as runs
  from records where status = 'ok' and not simulated
  group by rubric_digest, candidate_id, workload, scenario, model, scheme, executor, host_id)
select * from latest where verdict = 'robust' and loss_high <= tolerance order by speed_low desc limit 20"""
SUMMARY = """
select scheme, executor, scenario, count(*) as records,
       quantile_cont(p50_ns, [0.5, 0.9, 0.99]) as p50_ns_quantiles,
       exp(avg(ln(throughput_ratio))) as mean_speed,
       avg((verdict = 'robust')::int) as robust_share
from records where status = 'ok' and not is_reference group by all order by mean_speed desc"""
QUERIES = {
    "latest record per candidate and question, best first": LATEST,
    "percentiles by scheme and executor": SUMMARY,
}


@dataclass(frozen=True)
class Asked:
    """How a query went: rows that came back, seconds, and the most that its process held."""

    rows: int
    seconds: float
    peak_bytes: int


def fleet(folder: Path, records: int, progress: Callable[[str], None] = print) -> Path:
    """Write about `records` records below `folder`; returns it."""
    rows = max(1, records // (len(SUITES) * HOSTS))
    rng = np.random.default_rng(20261125)
    begun = time.perf_counter()
    schema = arrow_schema()
    inside = pa.schema([field for field in schema if field.name not in {"suite", "host_id"}], metadata=schema.metadata)
    nested = {name: _nested(name, rows) for name in STRUCTURES}
    for number, suite in enumerate(SUITES):
        for host in range(HOSTS):
            part = folder / "records" / f"suite={suite}" / f"host_id={host:016x}"
            part.mkdir(parents=True)
            table = _block(inside, rng, rows, number, host, nested)
            pq.write_table(
                table,
                part / "part-0.parquet",
                compression="zstd",
                write_page_checksum=True,
                row_group_size=100_000,
                max_rows_per_page=PAGE_ROWS,
            )
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    progress(
        f"{rows * len(SUITES) * HOSTS:,} records of {len(schema)} fields in {len(SUITES) * HOSTS} files, "
        f"{size / 1e9:.2f} GB, written in {time.perf_counter() - begun:.0f} s"
    )
    return folder


def _block(
    schema: pa.Schema, rng: np.random.Generator, rows: int, suite: int, host: int, nested: dict[str, pa.Array]
) -> pa.Table:
    """The records of one suite on one host: every candidate measured again and again over a year."""
    cell = np.arange(rows) % (MODELS * len(SCHEMES) * len(EXECUTORS) * len(SCENARIOS))
    scenario, rest = cell % 2, cell // 2
    executor, rest = rest % len(EXECUTORS), rest // len(EXECUTORS)
    scheme, model = rest % len(SCHEMES), rest // len(SCHEMES)
    quick = np.linspace(1.0, 2.5, len(SCHEMES))[scheme]
    p50 = 1e5 * (1 + model) / quick * rng.lognormal(0, 0.05, rows)
    ratio = quick * rng.lognormal(0, 0.03, rows)
    loss = rng.normal(0.004, 0.006, rows)
    is_reference = (scheme == 0) & (executor == 0)
    verdict = np.where(is_reference, 0, np.where(loss + 0.006 <= 0.01, 1, np.where(loss - 0.006 > 0.01, 2, 3)))
    began = np.datetime64("2026-01-01T00:00:00", "us") + rng.integers(0, 365 * 86_400, rows) * np.timedelta64(
        10**6, "us"
    )
    told: dict[str, Any] = {
        "cell_id": _named([f"{n:016x}" for n in range(cell.max() + 1)], cell),
        "candidate_id": _named([f"{suite:04x}{n:012x}" for n in range(cell.max() + 1)], cell),
        "position": cell,
        "started_at": began,
        "status": _named(["ok"], np.zeros(rows, dtype=int)),
        "reason": None,
        "workload": _named([f"workload-{suite}"], np.zeros(rows, dtype=int)),
        "rubric_digest": _named([f"{suite:064x}"], np.zeros(rows, dtype=int)),
        "model": _named([f"model-{n}" for n in range(MODELS)], np.minimum(model, MODELS - 1)),
        "scheme": _named(SCHEMES, scheme),
        "executor": _named(EXECUTORS, executor),
        "scenario": _named(SCENARIOS, scenario),
        "scenario_kind": _named(SCENARIOS, scenario),
        "batch_size": np.where(scenario == 0, 1, 32),
        "is_reference": is_reference,
        "verdict": _named(("reference", "robust", "fragile", "inconclusive"), verdict),
        "tolerance": np.full(rows, 0.01),
        "simulated": np.zeros(rows, dtype=bool),
        **_around("throughput_ratio", ratio, ratio * 0.03),
        **_around("p50_ratio", ratio * 1.001, ratio * 0.03),
        **_around("primary_loss", loss, 0.006),
        **_around("primary_delta", -loss, 0.006),
        **{
            name: p50 * factor
            for name, factor in (
                ("latency_min_ns", 0.9), ("latency_mean_ns", 1.02), ("p50_ns", 1.0), ("p50_low_ns", 0.99),
                ("p50_high_ns", 1.01), ("p90_ns", 1.1), ("p90_low_ns", 1.09), ("p90_high_ns", 1.12), ("p95_ns", 1.2),
                ("p95_low_ns", 1.18), ("p95_high_ns", 1.25), ("p99_ns", 1.5), ("p99_low_ns", 1.4), ("p99_high_ns", 1.8),
                ("p99_9_ns", 2.0), ("p99_9_low_ns", 1.9), ("p99_9_high_ns", 2.5), ("latency_max_ns", 3.0),
            )
        },
    }  # fmt: skip
    return pa.Table.from_arrays([_column(field, told, rows, nested) for field in schema], schema=schema)


def _column(field: pa.Field, told: dict[str, Any], rows: int, nested: dict[str, pa.Array]) -> pa.Array:
    """What was told of a field, else the same plausible value in every row."""
    if field.name in told:
        values = told[field.name]
        return pa.nulls(rows, field.type) if values is None else pa.array(values).cast(field.type)
    known = BY_NAME[field.name]
    if known.type in nested:
        return nested[known.type]
    if known.type == "strings":
        return pa.array([["a", "b"]] * rows, field.type)
    plain: dict[str, Any] = {
        "string": "0" * 64 if known.check == "sha256" else json.dumps({"confidence": 0.95}),
        "int64": SCHEMA_VERSION if field.name == "schema_version" else 3,
        "float64": 0.5,
        "bool": False,
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return pa.repeat(pa.scalar(plain[known.type], field.type), rows)


def _around(name: str, value: np.ndarray, half: np.ndarray | float) -> dict[str, np.ndarray]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def _named(names: Sequence[str], which: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(which, pa.int32()), pa.array(list(names), pa.string())).cast(
        pa.string()
    )


def _nested(type_: str, rows: int) -> pa.Array:
    """Three entries of a list of structures in every row."""
    sample = {"string": "some words", "int64": 3, "float64": 0.5, "bool": True}
    entry = {member: sample[plain] for member, plain, _ in STRUCTURES[type_]}
    field = next(field for field in FIELDS if field.type == type_)
    return pa.repeat(pa.scalar([entry] * 3, arrow_schema().field(field.name).type), rows)


def asked(folder: Path, sql: str) -> Asked:
    """Ask in a process of its own, as a user would."""
    command = [sys.executable, "-m", "lynxbench", "query", sql, str(folder), "--csv"]
    begun, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as answer:
        running = subprocess.Popen(command, stdout=answer)
        while running.poll() is None:
            with suppress(OSError, StopIteration):
                status = Path(f"/proc/{running.pid}/status").read_text().splitlines()
                peak = max(peak, 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1]))
            time.sleep(0.005)
        seconds = time.perf_counter() - begun
        if running.returncode:
            raise SystemExit(f"the query ended with exit code {running.returncode}")
        answer.seek(0)
        return Asked(sum(1 for _ in answer) - 1, seconds, peak)


def main() -> None:
    """Make, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--keep", type=Path, help="make them here, or ask those that are here already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        if not (folder / "records").exists():
            fleet(folder, options.records)
        (place,) = find_places([folder])
        first: Record = next(kept_records(place)).record  # a sound record, every rule held
        print(f"the first: {first['model']} {first['scheme']} on {first['executor']}, {first['suite']}")
        for title, sql in QUERIES.items():
            found = asked(folder, sql)
            print(f"{title}: {found.rows} rows in {found.seconds:.1f} s, at most {found.peak_bytes / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
