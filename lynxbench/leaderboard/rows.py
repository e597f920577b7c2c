"""What the overview draws: a flat row a record, in workloads that are never mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lynxbench.leaderboard.collect import Collected
from lynxbench.leaderboard.contests import AXES, Place

# A scenario that asks for a rate has no latency worth a chart's axis.
_SCENARIO_AXIS = {
    "single-stream": "latency", "multi-stream": "latency", "server": "latency", "server-search": "speed",
    "offline": "speed",
}  # fmt: skip
_COPIED = {
    "id": "id", "model": "model", "kind": "scheme_kind", "executor": "executor", "provider": "provider",
    "status": "status", "verdict": "verdict", "trust": "trust", "simulated": "simulated",
    "reference": "is_reference", "p50": "p50_ns", "p50_low": "p50_low_ns", "p50_high": "p50_high_ns", "p99": "p99_ns",
    "delta": "primary_delta", "delta_low": "primary_delta_low", "delta_high": "primary_delta_high",
    "value": "primary_value", "worst": "worst_stratum", "worst_loss": "worst_stratum_loss", "bytes": "artifact_bytes",
    "rate": "rate_per_s",
}  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """One rubric in one version on one test set; `rows` is an Arrow table with the columns that the page names."""

    about: Mapping[str, Any]
    rows: Any


def workloads(collected: Collected, placed: Sequence[Place]) -> list[Workload]:
    """Every workload, by name and newest version first, its rows by scenario, model, host and rank."""
    records = collected.records
    names = ("rubric", "rubric_version", "rubric_digest", "test_set_digest")
    mine: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, key in enumerate(zip(*(records[name].to_pylist() for name in names), strict=True)):
        mine[key].append(number)
    rows = _rows(records, placed)
    found = [Workload(_about(records, numbers, collected.titles), _ordered(rows, numbers)) for numbers in mine.values()]
    return sorted(found, key=lambda w: (w.about["rubric"], _newest_first(w.about["version"]), -w.about["n"]))


def host_labels(records: Any) -> dict[str, str]:
    """A host's name for people, by its id, whose beginning tells equal machines apart."""
    columns = (records[name].to_pylist() for name in ("host_id", "cpu", "cores_usable"))
    return {host: f"{cpu}, {cores:g} cores, {host[:4]}" for host, cpu, cores in zip(*columns, strict=True)}


def scheme_labels(records: Any) -> list[str]:
    """Each row's scheme, with its calibration set where a rubric has several for that scheme."""
    columns = [records[name].to_pylist() for name in ("rubric_digest", "scheme", "calibration")]
    sets: dict[tuple[str, str], set[str]] = defaultdict(set)
    for rubric, scheme, calibration in zip(*columns, strict=True):
        if calibration is not None:
            sets[rubric, scheme].add(calibration)
    return [
        f"{scheme} ({calibration})" if calibration is not None and len(sets[rubric, scheme]) > 1 else scheme
        for rubric, scheme, calibration in zip(*columns, strict=True)
    ]


def _rows(records: Any, placed: Sequence[Place]) -> Any:
    import pyarrow as pa

    hosts = host_labels(records)
    scenarios = records["scenario"].to_pylist()
    columns: dict[str, Any] = {name: records[source] for name, source in _COPIED.items()}
    columns |= {
        "scheme": scheme_labels(records),
        "host": [hosts[host] for host in records["host_id"].to_pylist()],
        "scenario": [f"{name}, {place.load}" for name, place in zip(scenarios, placed, strict=True)],
        "contest": pa.array([place.contest for place in placed], pa.int32()),
        "tolerance": pa.array([place.tolerance for place in placed], pa.float64()),
        "unranked": pa.array([place.unranked for place in placed], pa.string()),
        "grade": [
            "reference" if reference else "yes" if grade else "no"
            for reference, grade in zip(
                records["is_reference"].to_pylist(), records["decision_grade"].to_pylist(), strict=True
            )
        ],
    }
    for end in ("value", "low", "high"):
        name = "speed" if end == "value" else f"speed_{end}"
        columns[name] = pa.array(
            [None if place.speed is None else getattr(place.speed, end) for place in placed], pa.float64()
        )
    for axis in AXES:
        stand = [place.standing[axis] for place in placed]
        columns[f"{axis}_rank"] = pa.array([None if s is None else s.rank for s in stand], pa.int32())
        columns[f"{axis}_class"] = pa.array([None if s is None else s.standing for s in stand], pa.string())
    order = {kind: place for place, kind in enumerate(_SCENARIO_AXIS)}
    columns["kind_order"] = [order.get(kind, len(order)) for kind in records["scenario_kind"].to_pylist()]
    columns["position"] = records["position"]
    return pa.table(columns).combine_chunks()


def _ordered(rows: Any, numbers: Sequence[int]) -> Any:
    import pyarrow as pa

    mine = rows.take(pa.array(numbers, pa.int64()))
    keys = ("kind_order", "scenario", "model", "host", "contest", "latency_rank", "position")
    return mine.sort_by([(key, "ascending") for key in keys]).drop_columns(["kind_order", "position"])


def _about(records: Any, numbers: Sequence[int], titles: Mapping[str, str]) -> dict[str, Any]:
    import pyarrow as pa

    mine = records.select(
        ["rubric", "rubric_version", "rubric_digest", "test_set", "test_set_digest", "test_set_n", "task", "tolerance",
         "tolerance_kind", "primary_metric", "primary_direction", "scores", "scenario", "scenario_kind"]
    ).take(pa.array(numbers, pa.int64()))  # fmt: skip
    first = mine.slice(0, 1).to_pylist()[0]
    measured = mine.filter(mine["primary_metric"].is_valid()).slice(0, 1).to_pylist()
    lead = measured[0] if measured else first
    unit = next((score["unit"] for score in lead["scores"] or () if score["role"] == "primary"), "fraction")
    digests = first["rubric_digest"], first["test_set_digest"]
    return {
        "slug": f"{first['rubric']}-{first['rubric_version']}-{digests[0][:4]}{digests[1][:2]}",
        "rubric": first["rubric"],
        "version": first["rubric_version"],
        "digest": digests[0],
        "title": titles.get(digests[0], ""),
        "task": first["task"],
        "test_set": first["test_set"],
        "test_set_digest": digests[1],
        "n": first["test_set_n"],
        "metric": lead["primary_metric"] or "score",
        "higher_is_better": lead["primary_direction"] != "lower-is-better",
        "unit": unit,
        "tolerance": _tolerance(first["tolerance_kind"], first["tolerance"], unit),
    }


def scenarios_of(rows: Any, records: Any) -> list[dict[str, str]]:
    """The scenarios of a workload's rows in their order, with the axis that a chart of them starts with."""
    kinds = dict(zip(records["scenario"].to_pylist(), records["scenario_kind"].to_pylist(), strict=True))
    names = rows["scenario"].unique().to_pylist()
    return [
        {"name": name, "axis": _SCENARIO_AXIS.get(kinds.get(name.rpartition(", ")[0], ""), "latency")} for name in names
    ]


def _tolerance(kind: str, value: float, unit: str) -> str:
    if kind == "absolute":
        return f"{100 * value:g} point{'' if value == 0.01 else 's'}" if unit == "fraction" else f"{value:g} {unit}"
    return (
        f"{100 * value:g} % of the reference's score" if kind == "relative" else f"{value:g} × the reference's errors"
    )


def _newest_first(version: str) -> tuple[Any, ...]:
    return tuple((-int(part), "") if part.isdigit() else (1, part) for part in version.split("."))
