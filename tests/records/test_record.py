"""What a record refuses."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import jsonschema
import pytest

from lynxbench.records.record import Record
from lynxbench.records.schema import BY_NAME, FIELDS, arrow_schema, json_schema, markdown
from tests.records.rows import whole


def test_a_whole_record_stands() -> None:
    record = Record(whole())
    assert record["status"] == "ok"
    assert list(record.values) == [field.name for field in FIELDS]


def test_it_cannot_be_changed() -> None:
    record = Record(whole())
    with pytest.raises(TypeError):
        record.values["status"] = "failed"  # type: ignore[index]


@pytest.mark.parametrize("gone", ["primary_value", "scores", "verdict"])
def test_a_speed_without_its_accuracy_cannot_be_constructed(gone: str) -> None:
    with pytest.raises(ValueError, match=gone):
        Record(whole(**{gone: None}))


def test_nor_with_an_empty_list_of_scores() -> None:
    with pytest.raises(ValueError, match="a speed without its accuracy"):
        Record(whole(scores=[]))


def test_nor_under_another_status() -> None:
    with pytest.raises(ValueError, match="a speed without its accuracy"):
        Record(
            whole(
                status="failed", reason="crashed", primary_value=None, primary_value_low=None, primary_value_high=None
            )
        )


@pytest.mark.parametrize("field", [field for field in FIELDS if field.need == "always"], ids=lambda field: field.name)
def test_what_every_row_needs(field: Any) -> None:
    with pytest.raises(ValueError, match=f"{field.name}: missing"):
        Record(whole(**{field.name: None}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": "blue"}, "colour: no such field"),
        ({"status": "fine"}, "is no status"),
        ({"verdict": "good"}, "is no verdict"),
        ({"model_sha256": "abc"}, "is no SHA-256"),
        ({"latency_n": -1}, "is not positive"),
        ({"warm_up_ns": 0}, "is not positive"),
        ({"create_ns": -5}, "is negative"),
        ({"flip_rate": 1.5}, r"lies outside \[0, 1\]"),
        ({"latency_n": True}, "is bool, not int64"),
        ({"p50_ns": float("nan")}, "not float64"),
        ({"p50_ns": float("inf")}, "not float64"),
        ({"started_at": datetime(2026, 1, 1)}, "not timestamp"),
        ({"warnings": [{"colour": "red"}]}, "not warnings"),
        ({"warnings": [{"code": 3}]}, "not warnings"),
        ({"status": "failed"}, "status failed needs one"),
        ({"p50_ns": 4.5}, "p50_ns 4.5 exceeds p90_ns"),
        ({"latency_min_ns": 99.0}, "exceeds"),
        ({"primary_loss_low": 0.9}, "exceeds primary_loss_high"),
        ({"p99_ns": None}, "p99_ns: an interval without its estimate"),
        ({"latency_n": 2**63}, "is int, not int64"),
        ({"worst_stratum_loss_low": 0.9}, "exceeds worst_stratum_loss_high"),
        ({"primary_value": None}, "primary_value: missing"),
        ({"scores": [{"metric": "ece", "value": None, "reason": None}]}, "ece has neither a value nor a reason"),
        ({"strata_scores": [{"metric": "top-1"}]}, "strata_scores: top-1 has neither"),
        ({"primary_delta": None, "primary_delta_low": None, "primary_delta_high": None}, "no reason says why"),
    ],
)
def test_what_makes_no_sense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Record(whole(**changes))


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"suite: missing.*flip_rate"):
        Record(whole(suite=None, flip_rate=2.0))


def test_an_open_upper_end_is_allowed() -> None:
    assert Record(whole(p99_high_ns=None))["p99_high_ns"] is None


def test_a_score_may_be_undefined_for_a_reason() -> None:
    scores = [{"metric": "ece", "value": None, "reason": "no probabilities"}]
    assert Record(whole(scores=scores))["scores"] == scores


TIMES = [name for name in BY_NAME if name.startswith(("latency_", "p50", "p99", "throughput_", "harness_"))]
TIMES.remove("p99_limit_ms")  # declared, not measured


@pytest.mark.parametrize("field", TIMES)
def test_no_single_time_gets_in_without_a_score(field: str) -> None:
    values = {name: value for name, value in whole().items() if BY_NAME[name].need == "always"}
    with pytest.raises(ValueError, match="a speed without its accuracy"):
        Record({**values, "status": "failed", "reason": "crashed", field: whole()[field]})


def test_a_failed_cell_needs_no_measurement() -> None:
    values = {name: value for name, value in whole().items() if BY_NAME[name].need == "always"}
    record = Record({**values, "status": "oom", "reason": "out of memory"})
    assert record["p50_ns"] is None


def test_one_table_for_all() -> None:
    assert [field.name for field in arrow_schema()] == [field.name for field in FIELDS]
    assert len({field.name for field in FIELDS}) == len(FIELDS)
    assert all(f"| `{field.name}` |" in markdown() for field in FIELDS)
    assert all(field.meaning for field in FIELDS)


def test_the_json_schema_takes_records_and_refuses_others() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    row = json.loads(json.dumps(dict(Record(whole()).values), default=lambda value: value.isoformat()))
    jsonschema.validate(row, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**row, "colour": "blue"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**row, "suite": None}, schema)
