"""Whole tables are held to the rules of a single record, by `Record` itself as the judge."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lynxbench.leaderboard.checks import complaints
from lynxbench.records.record import Record
from lynxbench.records.schema import FIELDS, arrow_schema
from tests.records.rows import whole


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=arrow_schema())


def refused_by_record(row: dict[str, Any]) -> bool:
    try:
        Record(row)
    except ValueError:
        return True
    return False


def test_sound_rows_have_no_complaint() -> None:
    assert list(complaints(table(whole(), whole(cell_id="b"), whole(primary_value_low=None)))) == []
    assert list(complaints(arrow_schema().empty_table())) == []


PLAIN = [field for field in FIELDS if field.type in {"string", "int64", "float64", "bool"}]
# What rules about several fields at once look at, which chance would seldom pick together.
TOGETHER = {
    "status",
    "reason",
    "is_reference",
    "primary_value",
    "primary_delta",
    "p50_ns",
    "p90_ns",
    "p95_ns",
    "p99_ns",
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["", "ok", "failed", "robust", "odd", "0" * 64, "0" * 63, "0" * 64 + "\n", None]),
    "int64": st.sampled_from([-1, 0, 1, 10**6, None]),
    "float64": st.sampled_from([-1.0, 0.0, 0.1, 0.5, 1.0, 1.5, 2.5, 1e9, math.inf, math.nan, None]),
    "bool": st.sampled_from([True, False, None]),
}
BENT = (st.sampled_from(PLAIN) | st.sampled_from([field for field in PLAIN if field.name in TOGETHER])).flatmap(
    lambda field: st.tuples(st.just(field.name), VALUES[field.type])
)


@settings(max_examples=400)
@given(st.lists(BENT, min_size=1, max_size=4))
def test_it_complains_exactly_where_a_record_does(bent: list[tuple[str, Any]]) -> None:
    row = whole(**dict(bent))
    found = list(complaints(table(whole(), row)))
    assert bool(found) == refused_by_record(row), (bent, found)
    assert all("(row 1, cell " in complaint for complaint in found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p99_ns": 3.5}, "p99_ns: below p95_ns"),
        ({"p90_ns": None, "p95_ns": 1.5}, "p95_ns: below p90_ns"),
        ({"status": "failed"}, "reason: status is not ok and needs one"),
        ({"primary_value": None}, "scores: a speed without its accuracy"),
        ({"scores": []}, "scores: a speed without its accuracy"),
        ({"primary_delta": None, "primary_delta_low": None, "primary_delta_high": None}, "primary_delta: missing"),
        ({"throughput_ratio": None}, "throughput_ratio: an interval without its estimate"),
        ({"throughput_ratio_low": 0.9}, "throughput_ratio_low: above throughput_ratio_high"),
        ({"rubric_digest": "x"}, "rubric_digest: no SHA-256"),
    ],
)
def test_the_complaint_names_the_rule(changes: dict[str, Any], said: str) -> None:
    assert refused_by_record(whole(**changes))
    assert any(complaint.startswith(said) for complaint in complaints(table(whole(**changes))))
