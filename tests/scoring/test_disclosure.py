"""The checklist: every item is computed, none can be missed, and a wide interval decides nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.records.fields import BY_NAME
from lynxbench.records.record import Record
from lynxbench.scoring import disclose, disclosure_fields
from tests.records.rows import whole

ITEMS = ("task", "model", "metric", "reference", "calibration", "strata")
# A field without which the item of this name cannot hold.
NEEDED = {
    "rubric_digest": "task",
    "test_set_digest": "task",
    "test_set_composition": "task",
    "model_sha256": "model",
    "artifact_sha256": "model",
    "model_version": "model",
    "primary_metric": "metric",
    "primary_direction": "metric",
    "primary_value_low": "metric",
    "reference_scheme": "reference",
    "primary_loss_high": "reference",
    "calibration_digest": "calibration",
    "calibration_split": "calibration",
    "calibration_seed": "calibration",
    "strata": "strata",
    "strata_scores": "strata",
}


def good(**changes: Any) -> dict[str, Any]:
    """A record that discloses everything, with a loss of 0.1 in an interval 0.02 wide."""
    return whole(
        is_reference=False,
        scheme_kind="int8-static",
        calibration_overlap_n=0,
        calibration_n=100,
        calibration_minimum_n=100,
        strata=["view"],
        strata_scores=[{"metric": "top-1", "stratum_field": "view", "stratum": "clean", "value": 0.5}],
        primary_loss=0.1,
        primary_loss_low=0.09,
        primary_loss_high=0.11,
        tolerance_loss=0.01,
        **{"tuning_untouched": True, **changes},
    )


def failing(record: dict[str, Any]) -> list[str]:
    return [item.item for item in disclose(record).items if not item.held]


def test_all_six_hold_and_the_record_keeps_them() -> None:
    found = disclose(good())
    assert tuple(item.item for item in found.items) == ITEMS
    assert failing(good()) == []
    assert found.decision_grade is True
    kept = disclosure_fields(good())
    assert set(kept) <= set(BY_NAME)
    assert [one["item"] for one in Record(whole(**kept))["disclosure"]] == list(ITEMS)


@given(gone=st.sets(st.sampled_from(sorted(NEEDED)), min_size=1), empty=st.booleans())
def test_what_is_missing_is_named_and_ends_decision_grade(gone: set[str], empty: bool) -> None:
    record = good()
    for name in gone:
        record[name] = ([] if isinstance(record[name], list) else "") if empty and "loss" not in name else None
    assert set(failing(record)) == {NEEDED[name] for name in gone}
    found = disclose(record)
    assert found.decision_grade is False
    for name in gone:
        assert NEEDED[name] in found.why


def test_an_empty_record_discloses_nothing() -> None:
    assert failing({}) == list(ITEMS)
    assert disclose({}).decision_grade is False


@pytest.mark.parametrize("changes", [{"calibration_overlap_n": 1}, {"calibration_n": 99}])
def test_overlap_and_too_few_samples_end_decision_grade(changes: dict[str, int]) -> None:
    record = good() | changes
    assert failing(record) == ["calibration"]
    assert disclose(record).decision_grade is False
    # A scheme that is not calibrated cannot be spoilt by it.
    assert disclose(record | {"scheme_kind": "fp16"}).decision_grade is True
    assert disclose(record | {"scheme_kind": "weights-only", "calibration": None}).decision_grade is True
    for kind in ("fp8", "weights-only"):
        assert failing(record | {"scheme_kind": kind}) == ["calibration"]


def test_a_declared_stratum_without_a_score_is_not_disclosed() -> None:
    record = good() | {"strata": ["view", "class"]}
    assert failing(record) == ["strata"]
    assert "class" in disclose(record).why


def test_the_reference_claims_nothing() -> None:
    record = good() | {"is_reference": True, "primary_loss": None, "primary_loss_low": None, "primary_loss_high": None}
    assert disclose(record).decision_grade is None
    assert failing(record) == []


@given(
    loss=st.floats(-1, 1),
    below=st.floats(0, 1),
    above=st.floats(0, 1),
    tolerance=st.one_of(st.none(), st.floats(0.001, 1)),
)
def test_the_interval_is_narrower_than_the_effect_or_the_tolerance(
    loss: float, below: float, above: float, tolerance: float | None
) -> None:
    ends = {"primary_loss": loss, "primary_loss_low": loss - below, "primary_loss_high": loss + above}
    width = ends["primary_loss_high"] - ends["primary_loss_low"]
    expected = width < max(abs(loss), tolerance or 0.0)
    assert disclose(good() | ends | {"tolerance_loss": tolerance}).decision_grade is expected
    # A better metric direction or sign changes nothing.
    mirrored = {"primary_loss": -loss, "primary_loss_low": -loss - above, "primary_loss_high": -loss + below}
    if abs((mirrored["primary_loss_high"] - mirrored["primary_loss_low"]) - width) == 0:
        assert disclose(good() | mirrored | {"tolerance_loss": tolerance}).decision_grade is expected


@pytest.mark.parametrize("untouched", [None, True])
def test_a_scheme_that_was_picked_on_scored_samples_is_flattered(untouched: bool | None) -> None:
    assert failing(good(tuning_untouched=untouched)) == []
    assert failing(good(tuning_untouched=False)) == ["task"]
