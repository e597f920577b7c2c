"""What a column of `lynxbench show` is called, which fields it shows, and how: by a short name, or any field's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lynxbench.cli.findings import speed_of
from lynxbench.cli.output import as_text
from lynxbench.cli.text import change, duration, fraction, ratio, size
from lynxbench.errors import UsageError
from lynxbench.records.field import interval_names
from lynxbench.records.fields import BY_NAME
from lynxbench.records.record import MEASURED, Record
from lynxbench.specs.base import did_you_mean

Twins = Mapping[str, Record | None]  # the same candidate in the other scenarios, by the scenario's name
OTHERS = "others"


@dataclass(frozen=True)
class Shown:
    """A column: the fields behind it, its text for a measured row, how soon it is left out for lack of room."""

    name: str
    fields: tuple[str, ...]
    text: Callable[[Record], str]
    heading: str = ""
    right: bool = True
    expendable: int = 0


def unit_of(record: Record) -> str:
    """The unit of the primary metric."""
    scores: Sequence[Mapping[str, Any]] = record["scores"] or ()
    return str(next((s["unit"] for s in scores if s["role"] == "primary"), "fraction"))


def speed(record: Record) -> str:
    """How fast a row is beside its reference: a ratio; a rate where that was searched."""
    if record["scenario_kind"] == "server-search":
        return f"{record['rate_per_s']:.4g}/s"
    said = "1×" if record["is_reference"] else ratio(*speed_of(record))
    if record["scenario_kind"] == "offline" and record["searched"] is not None:
        lanes = "" if record["in_flight"] == 1 else f"×{record['in_flight']}"
        return f"{said} @{record['batch_size']}{lanes}"
    return said


def _delta(record: Record) -> str:
    if record["is_reference"]:
        return ""
    return change(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], unit_of(record))


def _worst(record: Record) -> str:
    loss = record["worst_stratum_loss"]
    if record["is_reference"] or loss is None or loss <= 0:
        return ""
    higher = record["primary_direction"] == "higher-is-better"
    return f"{record['worst_stratum']} {change(-loss if higher else loss, None, None, unit_of(record))}"


def _verdict(record: Record) -> str:
    return str(record["verdict"]) + ("" if record["status"] == "ok" else f" ({record['status']})")


def _with_ends(name: str) -> tuple[str, ...]:
    return tuple(field for field in (name, *interval_names(name)) if field in BY_NAME)


NAMED: Mapping[str, Shown] = {
    shown.name: shown
    for shown in (
        Shown("p50", _with_ends("p50_ns"), lambda r: duration(r["p50_ns"]), expendable=5),
        Shown("p99", _with_ends("p99_ns"), lambda r: duration(r["p99_ns"]), expendable=3),
        Shown("first-token", ("first_token_p50_ns",), lambda r: duration(r["first_token_p50_ns"]), "first token"),
        Shown("per-token", ("output_token_p50_ns",), lambda r: duration(r["output_token_p50_ns"]), "per token"),
        Shown("speed", _with_ends("throughput_ratio"), speed),
        Shown("score", _with_ends("primary_value"), lambda r: fraction(r["primary_value"], unit_of(r)), expendable=6),
        Shown("delta", _with_ends("primary_delta"), _delta),
        Shown(
            "worst", ("worst_stratum", *_with_ends("worst_stratum_loss")), _worst, "worst stratum", False, expendable=4
        ),
        Shown("size", ("artifact_bytes",), lambda r: size(r["artifact_bytes"]), expendable=1),
        Shown("verdict", ("verdict", "status"), _verdict, right=False),
    )
}
DEFAULT = ("p50", "p99", "speed", "delta", "worst", "verdict")
# What a user of a generating model waits for, where it was timed token by token.
BY_TOKEN = ("first-token", "per-token", "speed", "delta", "worst", "verdict")


def by_default(records: Sequence[Record]) -> tuple[Shown, ...]:
    """At most six columns beside the candidate's name."""
    timed = any(record["first_token_p50_ns"] is not None for record in records)
    return tuple(NAMED[name] for name in (BY_TOKEN if timed else DEFAULT))


def columns_named(given: str) -> tuple[Shown | str, ...]:
    """``p50,delta,peak_rss_bytes`` → columns; `OTHERS` stands for a column of speeds for each other scenario.

    Raises `UsageError` with the nearest name.
    """
    found: list[Shown | str] = []
    for name in (part.strip() for part in given.split(",") if part.strip()):
        if name == OTHERS:
            found.append(OTHERS)
        elif name in NAMED:
            found.append(NAMED[name])
        elif name in BY_NAME:
            found.append(_field(name))
        else:
            hint = did_you_mean(name, [*NAMED, *BY_NAME, OTHERS]) or f"one of {', '.join(NAMED)}, {OTHERS}"
            raise UsageError(f"--columns {name}: no such column; {hint}; lynxbench query --schema lists every field")
    if not found:
        raise UsageError(f"--columns {given!r}: names no column")
    return tuple(found)


def _field(name: str) -> Shown:
    """Any field of the table, by its unit, with its interval where it has one."""
    field = BY_NAME[name]
    ends = [end for end in interval_names(name) if end in BY_NAME]

    def text(record: Record) -> str:
        value = record[name]
        low, high = (record[end] for end in ends) if ends else (None, None)
        if value is None or field.type not in {"int64", "float64"}:
            return as_text(value)
        if field.unit == "ns":
            return duration(value) + (f" [{duration(low)}, {duration(high)}]" if low is not None and high else "")
        if field.unit == "bytes":
            return size(value)
        if name.endswith("_ratio") and ends:
            return ratio(value, low, high)
        if name.startswith(("primary_delta", "primary_loss", "worst_stratum_loss")):
            return change(value, low, high, unit_of(record))
        if name.startswith("primary_value"):
            return fraction(value, unit_of(record))
        return as_text(value)

    return Shown(name, (name, *ends), text, right=field.type in {"int64", "float64"})


def other_speed(scenario: str, heading: str, twins: Callable[[Record], Twins]) -> Shown:
    """The speed of the same candidate in another scenario."""

    def text(record: Record) -> str:
        twin = twins(record)[scenario]
        return speed(twin) if twin is not None and twin["status"] in MEASURED else "–"

    return Shown(f"speed {scenario}", (), text, heading, expendable=2)
