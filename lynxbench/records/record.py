"""A record: one cell's row, which cannot be constructed unless it is whole and makes sense."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from lynxbench.records.field import Check, Field, interval_names
from lynxbench.records.fields import BY_NAME, FIELDS, SECTIONS, STATUSES, STRUCTURES, VERDICTS

MEASURED = frozenset({"ok", "partial"})
_PERCENTILES = ("latency_min_ns", "p50_ns", "p90_ns", "p95_ns", "p99_ns", "p99_9_ns", "latency_max_ns")
# Every field with an interval, with the names of its ends.
_INTERVALS = tuple(
    (field.name, *interval_names(field.name)) for field in FIELDS if interval_names(field.name)[0] in BY_NAME
)
_TIMING = tuple(field.name for section in SECTIONS if section.title == "Timing" for field in section.fields)


@dataclass(frozen=True)
class Record:
    """One validated row. Fields left out are null. Raises `ValueError` naming each field that is wrong.

    Beyond single fields it holds that a speed comes with its accuracy, that percentiles are in order, that an
    interval has its estimate, and that a row that is not ``ok`` says why.
    """

    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        full = {field.name: self.values.get(field.name) for field in FIELDS}
        wrong = [f"{name}: no such field" for name in self.values if name not in BY_NAME]
        measured = full["status"] in MEASURED
        for field in FIELDS:
            complaint = _complaint(field, full[field.name], measured)
            if complaint:
                wrong.append(f"{field.name}: {complaint}")
        if not wrong:
            wrong = _disagreements(full, measured)
        if wrong:
            raise ValueError("not a record: " + "; ".join(wrong))
        object.__setattr__(self, "values", MappingProxyType(full))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def _complaint(field: Field, value: Any, measured: bool) -> str | None:
    if value is None:
        if field.need == "always" or (field.need == "measured" and measured):
            return f"missing ({field.meaning})"
        return None
    if not _is_type(field.type, value):
        return f"is {type(value).__name__}, not {field.type}"
    fits, complaint = _CHECKS[field.check]
    return None if fits(value) else f"{value!r} {complaint}"


_CHECKS: dict[Check, tuple[Callable[[Any], bool], str]] = {
    "any": (lambda value: True, ""),
    "non-negative": (lambda value: bool(value >= 0), "is negative"),
    "positive": (lambda value: bool(value > 0), "is not positive"),
    "share": (lambda value: bool(0 <= value <= 1), "lies outside [0, 1]"),
    "status": (lambda value: value in STATUSES, "is no status"),
    "verdict": (lambda value: value in VERDICTS, "is no verdict"),
    "sha256": (lambda value: re.fullmatch(r"[0-9a-f]{64}", value) is not None, "is no SHA-256"),
}


def _is_type(type_: str, value: Any) -> bool:
    if type_ == "bool":
        return isinstance(value, bool)
    if type_ == "int64":
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if type_ == "float64":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if type_ == "timestamp":
        return isinstance(value, datetime) and value.tzinfo is not None
    if type_ == "strings":
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if type_ in STRUCTURES:
        members = {name: member for name, member, _ in STRUCTURES[type_]}
        return isinstance(value, list | tuple) and all(
            isinstance(item, Mapping)
            and all(name in members and (part is None or _is_type(members[name], part)) for name, part in item.items())
            for item in value
        )
    return isinstance(value, str)


def _disagreements(full: Mapping[str, Any], measured: bool) -> list[str]:
    wrong = []
    if full["status"] != "ok" and not full["reason"]:
        wrong.append(f"reason: status {full['status']} needs one")
    timed = any(full[name] is not None for name in _TIMING)
    scored = full["primary_value"] is not None and bool(full["scores"])
    if timed and not scored:
        wrong.append("scores: a speed without its accuracy cannot be stored")
    if measured and not full["is_reference"] and full["primary_delta"] is None and not full["reason"]:
        wrong.append("primary_delta: missing, and no reason says why")
    present = [(name, full[name]) for name in _PERCENTILES if full[name] is not None]
    for (low_name, low), (high_name, high) in itertools.pairwise(present):
        if low > high:
            wrong.append(f"{low_name} {low} exceeds {high_name} {high}")
    for name, low, high in _INTERVALS:
        if full[name] is None:
            if full[low] is not None or full[high] is not None:
                wrong.append(f"{name}: an interval without its estimate")
        elif full[low] is not None and full[high] is not None and not full[low] <= full[high]:
            wrong.append(f"{low} {full[low]} exceeds {high} {full[high]}")
    for name in ("scores", "strata_scores"):
        for score in full[name] or ():
            if score.get("value") is None and not score.get("reason"):
                wrong.append(f"{name}: {score.get('metric')} has neither a value nor a reason")
    return wrong
