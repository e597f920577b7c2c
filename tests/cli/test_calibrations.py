"""Rows by calibration set: told apart by name, and the sentences that say what the choice of set costs."""

from __future__ import annotations

from typing import Any

from lynxbench.cli.calibrations import by_calibration, told_apart, undisclosed
from lynxbench.records.record import Record
from tests.records.rows import whole


def row(calibration: str | None, loss: float, verdict: str, **changes: Any) -> Record:
    ends = {
        "primary_loss": loss,
        "primary_loss_low": loss - 0.01,
        "primary_loss_high": loss + 0.01,
        "primary_delta": -loss,
        "primary_delta_low": -loss - 0.01,
        "primary_delta_high": -loss + 0.01,
    }
    scores = [{"metric": "top-1", "role": "primary", "unit": "fraction", "value": 0.5}]
    given = {"calibration": calibration, "verdict": verdict, "scheme": "int8-static", "model": "net"}
    return Record(whole(**{**given, "is_reference": False, "scores": scores, **ends, **changes}))


def test_one_set_needs_no_name_and_two_do() -> None:
    plain, other = row("train", 0.0, "robust"), row(None, 0.0, "robust", scheme="fp16")
    assert [r["scheme"] for r in told_apart([plain, other])] == ["int8-static", "fp16"]
    names = [r["scheme"] for r in told_apart([plain, row("noise", 0.2, "fragile"), other])]
    assert names == ["int8-static (train)", "int8-static (noise)", "fp16"]


def test_another_workload_with_another_set_is_no_second_set() -> None:
    rows = [row("images", 0.0, "robust"), row("sums", 0.0, "robust", workload="reason")]
    assert [r["scheme"] for r in told_apart(rows)] == ["int8-static", "int8-static"]


def test_a_set_that_changes_the_verdict_is_said_with_both_ends() -> None:
    rows = [row("noise", 0.2, "fragile"), row("train", 0.0, "robust"), row("tiny", 0.02, "inconclusive")]
    (sentence,) = by_calibration(rows)
    assert sentence.startswith(
        "int8-static on net depends on its calibration: train Δ 0.0 [−1.0, +1.0] points (robust)"
    )
    assert "noise Δ −20.0 [−21.0, −19.0] points (fragile)" in sentence


def test_nothing_is_said_where_all_sets_agree_or_there_is_one() -> None:
    assert not list(by_calibration([row("a", 0.0, "robust"), row("b", 0.001, "robust")]))
    assert not list(by_calibration([row("a", 0.0, "robust"), row("a", 0.2, "fragile", model="other")]))


def test_what_is_not_disclosed_is_said_once_with_its_rows() -> None:
    missing = [{"item": "calibration", "held": False, "why": "3 of its samples are also scored"}]
    held = [{"item": "task", "held": True, "why": "said"}]
    rows = [row("a", 0.0, "robust", disclosure=missing)] * 2 + [row("b", 0.0, "robust", disclosure=held)]
    assert list(undisclosed(rows)) == [
        "Not decision-grade: int8-static on net (calibration: 3 of its samples are also scored)."
    ]
