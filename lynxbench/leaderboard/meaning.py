"""Do the numbers of a bundle fit together? What its files say of each other, and what no run can have measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lynxbench.errors import UntrustedInput
from lynxbench.leaderboard.documents import check_free_text, check_name, newer, parse, parse_as
from lynxbench.leaderboard.system import system_description
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.schema import FIELDS, SCHEMA_VERSION, STRUCTURES
from lynxbench.specs.base import Name, Sha256, Spec
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite

CLOCK_SLACK = timedelta(minutes=10)  # how far two machines' clocks may be apart
MOST_RESAMPLES = 100_000

# Texts that libraries wrote or that explain: they may hold anything, and are stripped where they are shown.
_FREE = frozenset({"reason", "decision_grade_why", "energy_reason", "device_memory_reason"})
_FREE_MEMBERS = frozenset({"advice", "why", "reason"})
_DOCUMENTS = ("scheme_options", "provider_options", "searched", "protocol", "calibration_options")


class Declarations(Spec):
    """The suite and the rubrics, whole."""

    suite: Suite
    rubrics: tuple[Rubric, ...]


class SweepFile(Spec):
    """`sweep.json`, as a sweep leaves it in its folder."""

    suite_file: Name
    digests: dict[str, Sha256]
    planned: tuple[str, ...]
    declarations: Declarations


@dataclass
class Contents:
    """What was counted while a bundle's large tables went by."""

    answers: Counter[str] = field(default_factory=Counter)  # rows by predictions_id
    timed: dict[str, list[int]] = field(default_factory=dict)  # cell → latencies: count, sum, least, most


def checked_sweep(content: bytes) -> SweepFile:
    """`sweep.json` of a stranger. Raises `UntrustedInput`."""
    return parse_as(SweepFile, parse(content, "sweep.json"), "sweep.json")


def checked_records(rows: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Rows as records, each obeying the field table, with texts that may be shown. Raises `UntrustedInput`."""
    records = []
    for number, row in enumerate(rows):
        what = f"records.parquet: row {number}"
        newer(row, "schema_version", SCHEMA_VERSION, what)
        try:
            records.append(Record(row))
        except ValueError as error:
            raise UntrustedInput(f"{what}: {' '.join(str(error).split())}"[:400]) from None
        _check_texts(row, what)
    if not records:
        raise UntrustedInput("records.parquet: no rows")
    return records


def check_meaning(records: Sequence[Record], sweep: SweepFile, system: Any, contents: Contents, now: datetime) -> None:
    """Raise `UntrustedInput` for the first thing that cannot be, or that two files say differently."""
    suite, rubrics = sweep.declarations.suite, {rubric.digest(): rubric for rubric in sweep.declarations.rubrics}
    if any(rubric.resamples > MOST_RESAMPLES for rubric in rubrics.values()):
        raise UntrustedInput(f"sweep.json: a rubric asks for more than {MOST_RESAMPLES:,} resamples")
    for name in ("cell_id", "position"):
        most, times = Counter(record[name] for record in records).most_common(1)[0]
        if times > 1:
            raise UntrustedInput(f"records.parquet: {name} {most} {times} times")
    if system != system_description(records):
        raise UntrustedInput("system.json does not describe the hosts of the records")
    for record in records:
        what = f"record {record['cell_id']}"
        if record["started_at"] > now + CLOCK_SLACK:
            raise UntrustedInput(f"{what}: started_at {record['started_at']:%Y-%m-%d %H:%M} lies in the future")
        rubric = rubrics.get(record["rubric_digest"])
        if rubric is None:
            raise UntrustedInput(f"{what}: rubric {record['rubric']} is not in sweep.json")
        if record["suite_digest"] != suite.digest():
            raise UntrustedInput(f"{what}: suite {record['suite']} is not the one in sweep.json")
        _check_declared(record, sweep, rubric, what)
        _check_scores(record, rubric, what)
        if record["status"] in MEASURED:
            _check_answers(record, contents, what)
            _check_times(record, contents, what)
    strays = contents.timed.keys() - {record["cell_id"] for record in records}
    strays |= contents.answers.keys() - {record["predictions_id"] for record in records}
    if strays:
        raise UntrustedInput(f"{min(strays)[:80]!r}: answers or latencies of no record")


def _check_texts(row: Mapping[str, Any], what: str) -> None:
    for spec in FIELDS:
        value = row[spec.name]
        if value is None:
            continue
        where = f"{what}: {spec.name}"
        if spec.name in _DOCUMENTS:
            parse(value.encode("utf-8", "surrogatepass"), where)
        elif spec.type == "string":
            (check_free_text if spec.name in _FREE else check_name)(value, where)
        elif spec.type == "strings":
            for item in value:
                check_name(item, where)
        elif spec.type in STRUCTURES:
            if len(value) > 10_000:
                raise UntrustedInput(f"{where}: {len(value):,} entries")
            for item in value:
                for member, text in item.items():
                    if isinstance(text, str):
                        (check_free_text if member in _FREE_MEMBERS else check_name)(text, f"{where}.{member}")


def _check_declared(record: Record, sweep: SweepFile, rubric: Rubric, what: str) -> None:
    """What a row was asked is what the suite and its rubric say."""
    suite, digests = sweep.declarations.suite, sweep.digests
    said = {
        "suite": suite.name,
        "suite_version": suite.version,
        "task": rubric.task,
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "test_set": rubric.test_set.name,
        "tolerance": rubric.tolerance.value,
        "tolerance_kind": rubric.tolerance.kind,
        "strata": list(rubric.strata),
        "test_set_digest": digests.get(f"test set of {record['workload']}"),
        "model_sha256": digests.get(f"model file {record['model']}"),
        "executor_digest": digests.get(f"executor {record['executor']}"),
    }
    for name, value in said.items():
        if record[name] != value:
            shown = "nothing of it" if value is None else f"{value!r:.80}"
            raise UntrustedInput(f"{what}: {name} is {record[name]!r:.80}, sweep.json says {shown}")
    for kind, names in (
        ("workload", {workload.name for workload in suite.workloads}),
        ("model", {model.name for model in suite.models}),
        ("scheme", {scheme.name for scheme in suite.schemes}),
    ):
        if record[kind] not in names:
            raise UntrustedInput(f"{what}: {kind} {record[kind]!r:.80} is not in the suite")
    protocol = json.dumps(suite.protocol.model_dump(mode="json"), sort_keys=True)
    if record["protocol"] != protocol:
        raise UntrustedInput(f"{what}: protocol is not the suite's")


def _check_scores(record: Record, rubric: Rubric, what: str) -> None:
    """Fractions lie in [0, 1]; the strata of each field are all the samples, each once."""
    for name in ("scores", "strata_scores"):
        for number, item in enumerate(record[name] or ()):
            where = f"{what}: {name}[{number}]"
            for value, low, high in (
                ("value", "low", "high"),
                ("delta", "delta_low", "delta_high"),
                ("loss", "loss_low", "loss_high"),
            ):
                ends = [item[end] for end in (low, high) if item.get(end) is not None]
                if item.get(value) is None and ends:
                    raise UntrustedInput(f"{where}: an interval of {value} without its estimate")
                if len(ends) == 2 and ends[0] > ends[1]:
                    raise UntrustedInput(f"{where}: {low} exceeds {high}")
                bound = 0.0 if value == "value" else -1.0
                for number_found in (item.get(value), *ends):
                    if number_found is not None and item["unit"] == "fraction" and not bound <= number_found <= 1:
                        raise UntrustedInput(
                            f"{where}: {value} {number_found:g} of a fraction lies outside [{bound:g}, 1]"
                        )
            if item["n"] is None or not 0 <= item["n"] <= record["test_set_n"]:
                raise UntrustedInput(f"{where}: n {item['n']} of {record['test_set_n']} samples")
    if record["status"] not in MEASURED:
        return
    if record["primary_n"] > record["test_set_n"]:
        raise UntrustedInput(f"{what}: primary_n {record['primary_n']} of {record['test_set_n']} samples")
    restricted = rubric.primary.on
    for name in rubric.strata:
        counted = [
            item["n"]
            for item in record["strata_scores"]
            if item["stratum_field"] == name and (name not in restricted or item["stratum"] in restricted[name])
        ]
        if sum(counted) != record["primary_n"]:
            raise UntrustedInput(
                f"{what}: primary_n is {record['primary_n']}, its strata by {name} have {sum(counted)} samples"
            )


def _check_answers(record: Record, contents: Contents, what: str) -> None:
    answered = contents.answers[record["predictions_id"]]
    if not record["primary_n"] <= answered <= record["test_set_n"]:
        raise UntrustedInput(f"{what}: {answered} predictions for {record['primary_n']} scored samples")


def _check_times(record: Record, contents: Contents, what: str) -> None:
    """Count, mean and ends are those of the raw latencies."""
    count, total, least, most = contents.timed.get(record["cell_id"], (0, 0, 0, 0))
    found = {"latency_n": count, "latency_min_ns": least, "latency_max_ns": most}
    for name, value in found.items():
        if record[name] != value:
            raise UntrustedInput(f"{what}: {name} is {record[name]:g}, its latencies say {value:g}")
    if abs(record["latency_mean_ns"] - total / count) > 1e-6 * record["latency_mean_ns"]:
        raise UntrustedInput(
            f"{what}: latency_mean_ns is {record['latency_mean_ns']:g}, its latencies say {total / count:g}"
        )
