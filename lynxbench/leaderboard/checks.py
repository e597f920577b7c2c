"""The rules of a record, for whole tables at once: a hundred thousand rows in a second, where `Record` takes a minute.

What `Record` holds for one row is held here by columns, but for what is nested in lists, whose types Arrow holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from lynxbench.records.field import Field, interval_names
from lynxbench.records.schema import BY_NAME, FIELDS, SECTIONS, STATUSES, VERDICTS

_MEASURED = ("ok", "partial")
_PERCENTILES = ("latency_min_ns", "p50_ns", "p90_ns", "p95_ns", "p99_ns", "p99_9_ns", "latency_max_ns")
_TIMING = tuple(field.name for section in SECTIONS if section.title == "Timing" for field in section.fields)


def complaints(records: Any) -> Iterator[str]:
    """What is wrong with a table of records: for each broken rule, the rule and the first row that breaks it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    never = pa.array([False] * len(records), pa.bool_())

    def measured() -> Any:
        return pc.is_in(records["status"], value_set=pa.array(_MEASURED))

    def broken(field: Field) -> Iterator[tuple[str, Any]]:
        column = records[field.name]
        if field.need == "always":
            yield "missing", pc.is_null(column)
        if field.need == "measured":
            yield "missing", pc.and_(pc.is_null(column), measured())
        if field.type == "float64":
            yield "not finite", pc.invert(pc.is_finite(column))
        if field.check == "non-negative":
            yield "negative", pc.less(column, 0)
        if field.check == "positive":
            yield "not positive", pc.less_equal(column, 0)
        if field.check == "share":
            yield "outside [0, 1]", pc.or_(pc.less(column, 0), pc.greater(column, 1))
        if field.check in {"status", "verdict"}:
            known = pa.array([*(STATUSES if field.check == "status" else VERDICTS), None])
            yield f"no {field.check}", pc.invert(pc.is_in(column, value_set=known))
        if field.check == "sha256":
            yield "no SHA-256", pc.invert(pc.match_substring_regex(column, "^[0-9a-f]{64}\\z"))

    def together() -> Iterator[tuple[str, Any]]:
        no_reason = pc.equal(pc.fill_null(records["reason"], ""), "")
        yield "reason: status is not ok and needs one", pc.and_(pc.not_equal(records["status"], "ok"), no_reason)
        timed = never
        for name in _TIMING:
            timed = pc.or_(timed, pc.is_valid(records[name]))
        unscored = pc.or_(pc.is_null(records["primary_value"]), pc.equal(pc.list_value_length(records["scores"]), 0))
        yield (
            "scores: a speed without its accuracy",
            pc.and_(timed, pc.or_(pc.fill_null(unscored, True), pc.is_null(records["scores"]))),
        )
        unpaired = pc.and_(pc.is_null(records["primary_delta"]), pc.and_(measured(), no_reason))
        yield "primary_delta: missing, and no reason", pc.and_(unpaired, pc.invert(records["is_reference"]))
        # A percentile may be null: the running maximum of those before it is what it must not fall below.
        highest = records[_PERCENTILES[0]]
        for before, name in pairwise(_PERCENTILES):
            yield f"{name}: below {before}", pc.less(records[name], highest)
            highest = pc.max_element_wise(highest, records[name])
        for field in FIELDS:
            low, high = interval_names(field.name)
            if low in BY_NAME:
                ends = pc.or_(pc.is_valid(records[low]), pc.is_valid(records[high]))
                yield f"{field.name}: an interval without its estimate", pc.and_(pc.is_null(records[field.name]), ends)
                yield f"{low}: above {high}", pc.greater(records[low], records[high])

    found = [(f"{field.name}: {rule}", rows) for field in FIELDS for rule, rows in broken(field)]
    for rule, rows in [*found, *together()]:
        first = pc.index(pc.fill_null(rows, False), True).as_py()
        if first >= 0:
            yield f"{rule} (row {first}, cell {records['cell_id'][first].as_py()})"
