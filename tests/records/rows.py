"""A whole record's values, to be bent by tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lynxbench.records.schema import FIELDS, SCHEMA_VERSION, STRUCTURES, Field

_WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_SAMPLES: dict[str, Any] = {
    "string": "text",
    "int64": 3,
    "float64": 0.5,
    "bool": False,
    "strings": ["a", "b"],
    "timestamp": _WHEN,
}
_FIXED: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "status": "ok",
    "reason": None,
    "verdict": "robust",
    "latency_min_ns": 1.0,
    "p50_ns": 2.0,
    "p90_ns": 3.0,
    "p95_ns": 4.0,
    "p99_ns": 5.0,
    "p99_9_ns": 6.0,
    "latency_max_ns": 7.0,
}


def _value(field: Field) -> Any:
    if field.name in _FIXED:
        return _FIXED[field.name]
    if field.check == "sha256":
        return "0" * 64
    if field.type in STRUCTURES:
        return [{name: _SAMPLES[type_] for name, type_, _ in STRUCTURES[field.type]}]
    return _SAMPLES[field.type]


def whole(**changes: Any) -> dict[str, Any]:
    """Every field filled with something that is allowed, then `changes`."""
    values = {field.name: _value(field) for field in FIELDS}
    for name in values:
        if name.endswith(("_low", "_low_ns")) and name not in _FIXED:
            values[name] = 0.25
    return {**values, **changes}
