"""Verdicts against tolerances of each kind, and the number of samples that would decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lynxbench.scoring import Scores, score
from lynxbench.scoring.intervals import Interval
from lynxbench.scoring.verdict import required_n
from tests.scoring.build import classified, metric, predictions, rubric
from tests.scoring.simulation import WORLDS, simulate


def counted(both: int, only_candidate: int, only_reference: int, neither: int, **tolerance: Any) -> Scores:
    """Scores of a two-class task with so many samples right on both sides, on one, on none."""
    counts = (both, only_candidate, only_reference, neither)
    candidate = np.repeat([True, True, False, False], counts)
    reference = np.repeat([True, False, True, False], counts)
    asked = rubric(metric("top-1"), tolerance=tolerance or {"kind": "absolute", "value": 0.02})
    return score(asked, classified(candidate), classified(reference))


@pytest.mark.parametrize(
    ("lost", "expected"), [(0, "robust"), (10, "robust"), (36, "inconclusive"), (50, "inconclusive"), (80, "fragile")]
)
def test_absolute_tolerance_of_two_points(lost: int, expected: str) -> None:
    scores = counted(1800, 20, 20 + lost, 180 - lost)
    assert scores.primary.loss == pytest.approx(lost / 2020)
    verdict = scores.verdict
    assert verdict.verdict == expected
    assert verdict.tolerance_loss == 0.02
    assert verdict.excess == pytest.approx(lost / 2020 - 0.02)
    assert (verdict.required_n is None) == (expected != "inconclusive")


def test_a_gain_is_robust_and_a_small_set_decides_nothing() -> None:
    assert counted(1800, 100, 20, 80).verdict.verdict == "robust"
    small = counted(18, 0, 0, 2)
    # No difference among 20 samples says little about two points.
    assert small.primary.delta == 0
    assert small.verdict.verdict == "inconclusive"
    assert small.verdict.required_n is not None
    assert 150 <= small.verdict.required_n <= 250  # z² (1 − t) ∕ t is 188


def test_relative_tolerance_is_a_share_of_the_reference() -> None:
    scores = counted(960, 10, 40, 990, kind="relative", value=0.2)
    assert scores.primary.reference_value == 0.5
    assert scores.verdict.tolerance_loss == pytest.approx(0.1)
    assert scores.verdict.verdict == "robust"
    # The same loss is a tenth of a point in fifty, and beyond 1 % of the reference.
    assert counted(960, 10, 40, 990, kind="relative", value=0.001).verdict.verdict == "fragile"


def test_error_ratio_sees_what_points_hide() -> None:
    # 99.5 % → 98.5 %: one point, within two points, and three times the wrong answers.
    counts = (9840, 10, 110, 40)
    assert counted(*counts).verdict.verdict == "robust"
    triple = counted(*counts, kind="error-ratio", value=1.5)
    assert triple.verdict.verdict == "fragile"
    assert triple.verdict.tolerance_loss == pytest.approx(0.5 * 0.005)
    assert counted(*counts, kind="error-ratio", value=5.0).verdict.verdict == "robust"
    assert counted(*counts, kind="error-ratio", value=3.0).verdict.verdict == "inconclusive"


def test_error_ratio_carries_the_uncertainty_of_the_reference() -> None:
    # The excess is error − 3 · reference error: its spread, by the plain formula for a mean of these four outcomes.
    both, gain, loss, neither = 9840, 10, 110, 40
    verdict = counted(both, gain, loss, neither, kind="error-ratio", value=3.0).verdict
    values = np.repeat([0.0, -3.0, 1.0, -2.0], (both, gain, loss, neither))
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert verdict.excess == pytest.approx(values.mean())
    assert verdict.excess_low is not None
    assert verdict.excess_high is not None
    assert (verdict.excess_high - verdict.excess_low) / 2 == pytest.approx(half, rel=0.1)


def test_error_ratio_of_an_error_rate_is_on_the_rate_itself() -> None:
    n = 400
    targets = np.array(["abcd"] * n, dtype=object)
    texts = np.where(np.arange(n) < 40, "abcx", "abcd").astype(object)
    worse = np.where(np.arange(n) < 100, "abcx", "abcd").astype(object)
    asked = rubric(metric("character-error-rate"), task="generation", tolerance={"kind": "error-ratio", "value": 1.5})
    scores = score(asked, predictions(n, texts=worse, targets=targets), predictions(n, texts=texts, targets=targets))
    assert scores.primary.reference_value == pytest.approx(0.025)
    assert scores.primary.loss == pytest.approx(0.0375)
    assert scores.verdict.tolerance_loss == pytest.approx(0.0125)
    assert scores.verdict.verdict == "fragile"


def test_required_n_decides_when_the_shares_stay_as_they_are() -> None:
    first = counted(1700, 40, 70, 190, kind="absolute", value=0.022)
    assert first.verdict.verdict == "inconclusive"
    assert first.verdict.required_n is not None
    factor = first.verdict.required_n / 2000
    assert 1 < factor < 10
    more = counted(*(round(count * factor) for count in (1700, 40, 70, 190)), kind="absolute", value=0.022)
    assert more.verdict.verdict == "robust"


def test_required_n_decides_four_times_in_five() -> None:
    world = WORLDS["top-1"]
    asked = 0.025  # the true loss is 0.015; the counts below are its expectation
    expected = counted(850, 20, 35, 95, kind="absolute", value=asked).verdict
    assert expected.required_n is not None
    sized = type(world)(world.name, world.task, world.use, world.loss, world.draw, expected.required_n)
    outcome = simulate(sized, 150, tolerance=asked)
    assert outcome.fragile == 0
    assert 0.7 <= outcome.robust / outcome.runs <= 0.9


def test_required_n_formula() -> None:
    # Half-width four times the distance, at 95 % and 80 % power: n · 16 · ((1.96 + 0.84) ∕ 1.96)².
    assert required_n(-0.01, Interval(-0.05, 0.03), 100, 0.95) == (3270, None)
    assert required_n(0.01, Interval(-0.03, 0.05), 100, 0.95) == (3270, None)
    assert required_n(-0.01, Interval(-0.05, 0.03), 100, 0.95, sparse=True) == (400, None)
    number, reason = required_n(0.0, Interval(-1, 1), 100, 0.95)
    assert number is None
    assert reason is not None
    number, reason = required_n(1e-9, Interval(-1, 1), 100, 0.95)
    assert number is None
    assert reason is not None


def test_the_reference_itself() -> None:
    answers = classified(np.arange(40) % 4 > 0)
    scores = score(rubric(metric("top-1"), metric("ece")), answers, answers)
    assert scores.verdict.verdict == "reference"
    assert scores.worst_stratum is None
    for item in (*scores.metrics, *scores.strata):
        assert (item.delta, item.delta_low, item.delta_high, item.loss, item.p_value, item.test) == (
            0,
            0,
            0,
            0,
            None,
            None,
        )
        assert item.value == item.reference_value
    again = classified(np.arange(40) % 4 > 0)
    assert score(rubric(metric("top-1")), answers, again).verdict.verdict == "inconclusive"
    assert score(rubric(metric("top-1")), answers, again, is_reference=True).verdict.verdict == "reference"
