"""What a candidate's page shows: the whole record, where it stands, its latencies, and how to measure it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lynxbench.leaderboard.collect import Collected
from lynxbench.leaderboard.contests import AXES, Place
from lynxbench.leaderboard.rows import host_labels, scheme_labels
from lynxbench.specs.resolve import builtin_suites


def details(collected: Collected, placed: Sequence[Place]) -> Any:
    """The records with `id` and `trust`, and in columns beside them what the site found out."""
    import pyarrow as pa

    records = collected.records
    shown = [collected.histograms.get(key) for key in records["key"].to_pylist()]
    hosts = host_labels(records)
    columns: dict[str, Any] = {
        "scheme_label": scheme_labels(records),
        "host_label": [hosts[host] for host in records["host_id"].to_pylist()],
        "load": [place.load for place in placed],
        "unranked": pa.array([place.unranked for place in placed], pa.string()),
        "command": commands(records),
        "histogram_from_ns": pa.array([None if one is None else one.from_ns for one in shown], pa.float64()),
        "histogram_step_ratio": pa.array([None if one is None else one.step_ratio for one in shown], pa.float64()),
        "histogram_counts": pa.array([None if one is None else one.counts for one in shown], pa.list_(pa.int32())),
        "histogram_beyond_n": pa.array([None if one is None else one.beyond_n for one in shown], pa.int32()),
    }
    for axis in AXES:
        stand = [place.standing[axis] for place in placed]
        columns[f"{axis}_rank"] = pa.array([None if one is None else one.rank for one in stand], pa.int32())
        columns[f"{axis}_class"] = pa.array([None if one is None else one.standing for one in stand], pa.string())
    whole = records.drop_columns(["key"])
    for name, values in columns.items():
        whole = whole.append_column(name, values if isinstance(values, pa.Array) else pa.array(values, pa.string()))
    return whole


def commands(records: Any) -> list[str]:
    """What measures each row again, for a shell; a suite that is not built in must be there as a file."""
    names = ("suite", "workload", "model", "scheme", "calibration", "executor", "scenario", "protocol")
    built_in = set(builtin_suites())
    budgets: dict[str, str] = {}
    found = []
    for row in zip(*(records[name].to_pylist() for name in names), strict=True):
        suite, *axes, protocol = row
        if protocol not in budgets:
            budgets[protocol] = _budget(protocol)
        only = [f"{axis}={value}" for axis, value in zip(names[1:-1], axes, strict=True) if value is not None]
        where = suite if suite in built_in else f"{suite}.toml"
        words = ["lynxbench", "sweep", where, *(["--budget", "quick"] if budgets[protocol] == "quick" else [])]
        found.append(shlex.join([*words, "--only", ",".join(only)]))
    return found


def _budget(protocol: str) -> str:
    try:
        read = json.loads(protocol)
    except ValueError:
        return ""
    return str(read.get("test_set", "")) if isinstance(read, Mapping) else ""
