"""A record: one cell's row, which cannot be constructed unless it is whole and makes sense."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from lynxbench.records.schema import BY_NAME, FIELDS, STATUSES, STRUCTURES, VERDICTS, Field

MEASURED = frozenset({"ok", "partial"})
_PERCENTILES = ("latency_min_ns", "p50_ns", "p90_ns", "p95_ns", "p99_ns", "p99_9_ns", "latency_max_ns")
_INTERVALS = ("p50", "p90", "p95", "p99", "p99_9")
_ESTIMATES = ("throughput_per_s", "throughput_ratio", "primary_value", "primary_delta", "primary_loss")


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
    problems = {
        "non-negative": lambda: value < 0 and "is negative",
        "positive": lambda: value <= 0 and "is not positive",
        "share": lambda: not 0 <= value <= 1 and "lies outside [0, 1]",
        "status": lambda: value not in STATUSES and "is no status",
        "verdict": lambda: value not in VERDICTS and "is no verdict",
        "sha256": lambda: not re.fullmatch(r"[0-9a-f]{64}", value) and "is no SHA-256",
        "any": lambda: False,
    }
    found = problems[field.check]()
    return f"{value!r} {found}" if found else None


def _is_type(type_: str, value: Any) -> bool:
    if type_ == "bool":
        return isinstance(value, bool)
    if type_ == "int64":
        return isinstance(value, int) and not isinstance(value, bool)
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
    timed = any(full[name] is not None for name in ("latency_n", "p50_ns", "throughput_per_s"))
    scored = full["primary_value"] is not None and bool(full["scores"])
    if timed and not scored:
        wrong.append("scores: a speed without its accuracy cannot be stored")
    if measured and not full["is_reference"] and full["primary_delta"] is None and not full["reason"]:
        wrong.append("primary_delta: missing, and no reason says why")
    present = [(name, full[name]) for name in _PERCENTILES if full[name] is not None]
    for (low_name, low), (high_name, high) in zip(present, present[1:], strict=False):
        if low > high:
            wrong.append(f"{low_name} {low} exceeds {high_name} {high}")
    triples = [(f"{p}_ns", f"{p}_low_ns", f"{p}_high_ns") for p in _INTERVALS]
    triples += [(name, f"{name}_low", f"{name}_high") for name in _ESTIMATES]
    for name, low, high in triples:
        if full[name] is None:
            if full[low] is not None or full[high] is not None:
                wrong.append(f"{name}: an interval without its estimate")
        elif full[low] is not None and full[high] is not None and not full[low] <= full[high]:
            wrong.append(f"{low} {full[low]} exceeds {high} {full[high]}")
    return wrong
