"""Which rows are compared with each other, where each stands, and what schemes do on the whole."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lynxbench.conclusions.tradeoff import Estimate, Mean, Offer, Standing, geometric_mean, standings

AXES = ("latency", "speed")

# What the rows of a contest share. Beside these: the load, see `_load`.
_SHARED = ("rubric_digest", "test_set_digest", "model", "model_version", "model_sha256", "host_id", "scenario")
_NEEDED = (
    *_SHARED, "id", "status", "simulated", "decision_grade", "is_reference", "scenario_kind", "searched", "batch_size",
    "rate_per_s", "p99_limit_ms", "protocol", "primary_loss", "primary_loss_low", "primary_loss_high", "p50_ns",
    "p50_low_ns", "p50_high_ns", "throughput_ratio", "throughput_ratio_low", "throughput_ratio_high", "p50_ratio",
    "p50_ratio_low", "p50_ratio_high", "tolerance_loss", "scheme", "calibration", "executor", "verdict", "rubric",
    "rubric_version", "test_set_n", "rescored_from",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One row's place: its contest, the contest's load and tolerance, what keeps it from being ranked, and by axis
    where it stands (None where it has no figure for that axis, or may not be ranked)."""

    contest: int
    load: str
    tolerance: float | None
    unranked: str | None
    standing: Mapping[str, Standing | None]
    speed: Estimate | None


@dataclass(frozen=True)
class Summary:
    """A scheme on an executor and a host in one scenario, over its contests."""

    scheme: str
    executor: str
    host_id: str
    scenario: str
    mean: Mean
    robust: int
    fragile: int


def places(records: Any) -> list[Place]:
    """The place of each row of a records table (with `id`), in its order."""
    rows = records.select(_NEEDED).to_pylist()
    contests: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    threads: dict[str, Any] = {}
    for number, row in enumerate(rows):
        protocol = row["protocol"]
        if protocol not in threads:
            threads[protocol] = _threads(protocol)
        contests[(*(row[name] for name in _SHARED), _load(row), threads[protocol])].append(number)
    found: list[Place | None] = [None] * len(rows)
    for contest, (key, members) in enumerate(contests.items()):
        tolerance = next((rows[n]["tolerance_loss"] for n in members if rows[n]["tolerance_loss"] is not None), None)
        stand = {axis: _standings(rows, members, axis) for axis in AXES}
        for number in members:
            row = rows[number]
            found[number] = Place(
                contest, key[-2], tolerance, unranked(row), {axis: stand[axis].get(number) for axis in AXES}, speed(row)
            )
    return [place for place in found if place is not None]


def unranked(row: Mapping[str, Any]) -> str | None:
    """Why a row is shown and not ranked; None where it is."""
    if row["status"] != "ok":
        return f"status is {row['status']}"
    if row["simulated"]:
        return "simulated: its times are not a device's"
    if not row["is_reference"] and row["decision_grade"] is not True:
        return "not decision-grade"
    if _loss(row) is None:
        return "no loss was measured"
    return None


def speed(row: Mapping[str, Any]) -> Estimate | None:
    """How many times as fast as the reference: by throughput, or by median latency where the rate is given."""
    name = "p50_ratio" if row["scenario_kind"] == "server" else "throughput_ratio"
    if row["is_reference"]:
        return None if row[name] is None else Estimate(1.0, 1.0, 1.0)
    return _estimate(row, name, f"{name}_low", f"{name}_high")


def summaries(records: Any, placed: Sequence[Place]) -> list[Summary]:
    """Over all contests of a host and scenario, by the rule of the method page.

    Of each rubric the newest version on its largest test set counts. Ranked rows alone have a ratio in the mean; how
    many contests there were to take part in stands beside it. Rows of stored predictions that another rubric scored do
    not count: their speed was measured once, and counts where it was.
    """
    rows = records.select(_NEEDED).to_pylist()
    newest: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        if row["rescored_from"] is not None:
            continue
        newest[row["rubric"]] = max(newest.get(row["rubric"], ()), _edition(row))
    contests: dict[tuple[str, str], set[int]] = defaultdict(set)
    schemes: dict[tuple[str, str, str, str], list[tuple[Mapping[str, Any], Place]]] = defaultdict(list)
    for row, place in zip(rows, placed, strict=True):
        if row["rescored_from"] is not None or _edition(row) != newest[row["rubric"]]:
            continue
        scenario = f"{row['scenario']}, {place.load}"
        contests[row["host_id"], scenario].add(place.contest)
        if place.unranked is None and not row["is_reference"] and place.speed is not None and place.speed.value > 0:
            schemes[row["scheme"], row["executor"], row["host_id"], scenario].append((row, place))
    found = []
    for (scheme, executor, host_id, scenario), mine in schemes.items():
        # With several calibration sets a scheme has several rows in a contest: its slowest counts.
        slowest: dict[int, tuple[Mapping[str, Any], Estimate]] = {}
        for row, place in mine:
            assert place.speed is not None
            if place.contest not in slowest or place.speed.value < slowest[place.contest][1].value:
                slowest[place.contest] = (row, place.speed)
        verdicts = [row["verdict"] for row, _ in slowest.values()]
        mean = geometric_mean([ratio for _, ratio in slowest.values()], len(contests[host_id, scenario]))
        found.append(
            Summary(
                scheme, executor, host_id, scenario, mean, verdicts.count("robust"), verdicts.count("fragile")
            )
        )  # fmt: skip
    return sorted(found, key=lambda s: (s.scenario, s.host_id, -s.mean.covered, -s.mean.ratio.value, s.scheme))


def _standings(rows: Sequence[Mapping[str, Any]], members: Sequence[int], axis: str) -> dict[int, Standing]:
    offers = {}
    for number in members:
        row = rows[number]
        loss, cost = _loss(row), _cost(row, axis)
        if unranked(row) is None and loss is not None and cost is not None:
            offers[number] = Offer(loss, cost)
    return dict(zip(offers, standings(list(offers.values())), strict=True))


def _loss(row: Mapping[str, Any]) -> Estimate | None:
    if row["is_reference"]:
        return Estimate(0.0, 0.0, 0.0)
    return _estimate(row, "primary_loss", "primary_loss_low", "primary_loss_high")


def _cost(row: Mapping[str, Any], axis: str) -> Estimate | None:
    if axis == "latency":
        return _estimate(row, "p50_ns", "p50_low_ns", "p50_high_ns")
    ratio = speed(row)
    if ratio is None:
        return None
    # More is better: its negative is a cost, and the ends change places.
    low, high = ratio.low, ratio.high
    return Estimate(-ratio.value, None if high is None else -high, None if low is None else -low)


def _estimate(row: Mapping[str, Any], value: str, low: str, high: str) -> Estimate | None:
    return None if row[value] is None else Estimate(row[value], row[low], row[high])


def _load(row: Mapping[str, Any]) -> str:
    """What the scenario loads a candidate with, as far as it was declared and not found by trying."""
    if row["p99_limit_ms"] is not None:
        return f"p99 ≤ {row['p99_limit_ms']:g} ms"
    if row["rate_per_s"] is not None:
        return f"{row['rate_per_s']:g}/s"
    return "best batch" if row["searched"] is not None or row["batch_size"] is None else f"batch {row['batch_size']}"


def _threads(protocol: str) -> Any:
    try:
        return json.loads(protocol).get("threads")
    except (ValueError, AttributeError):
        return None


def _edition(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Orders the versions of a rubric, whose numbers count as numbers, and its test sets by size."""
    version = tuple((int(part), "") if part.isdigit() else (-1, part) for part in row["rubric_version"].split("."))
    return version, row["test_set_n"], row["rubric_digest"], row["test_set_digest"]
