"""Intervals of changes hold the truth as often as they say, and agree with other ways to the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, ttest_ind
from statsmodels.stats.multitest import multipletests

from lynxbench.conclusions.effects import Effect, Measured, corrected, difference, logarithm
from lynxbench.measurement.ratios import ratio_interval

DRAWS = 3000


def side(rng: np.random.Generator, truth: float, spread: float, rounds: int) -> Measured:
    found = ratio_interval(math.log(truth) + rng.normal(0, spread, rounds))
    assert found.low is not None
    assert found.high is not None
    return logarithm(found.value, found.low, found.high, 0.95, rounds - 1)


@pytest.mark.parametrize(
    ("rounds", "other", "spreads"), [(20, 20, (0.05, 0.05)), (8, 30, (0.1, 0.02)), (4, 4, (0.1, 0.1))]
)
def test_a_ratio_of_ratios_lies_in_its_interval(rounds: int, other: int, spreads: tuple[float, float]) -> None:
    rng = np.random.default_rng(rounds)
    truth = math.log(1.5 / 1.2)
    effects = [
        difference(side(rng, 1.5, spreads[0], rounds), side(rng, 1.2, spreads[1], other), 0.05) for _ in range(DRAWS)
    ]
    held = np.mean([effect.low <= truth <= effect.high for effect in effects])
    # Joining two intervals errs on the wide side where they rest on few rounds, never on the narrow one.
    assert 0.94 <= held <= (0.99 if min(rounds, other) < 6 else 0.975)


def test_a_change_at_the_gate_is_called_worse_as_seldom_as_it_should() -> None:
    rng = np.random.default_rng(3)
    gate = 0.05
    for rounds in (6, 25):
        effects = [
            difference(side(rng, 1.5, 0.05, rounds), side(rng, 1.5 * math.exp(-gate), 0.05, rounds), gate)
            for _ in range(DRAWS)
        ]
        assert np.mean([effect.alone == "worse" for effect in effects]) <= 0.033
        p = np.array([effect.p_worse for effect in effects])
        assert ((p < 0.025) == [effect.alone == "worse" for effect in effects]).all()
        # What Holm's correction over twenty effects looks at.
        assert np.mean(p < 0.025 / 20) <= 0.004


def test_the_interval_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(5)
    before, after = rng.normal(math.log(1.5), 0.06, 40), rng.normal(math.log(1.3), 0.09, 30)
    sides = []
    for logs in (before, after):
        found = ratio_interval(logs)
        assert found.low is not None
        assert found.high is not None
        sides.append(logarithm(found.value, found.low, found.high, 0.95, len(logs) - 1))
    effect = difference(sides[0], sides[1], 0.05)
    drawn = [rng.choice(before, 40).mean() - rng.choice(after, 30).mean() for _ in range(20_000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    width = high - low
    assert effect.value == pytest.approx(before.mean() - after.mean(), abs=0.1 * width)
    assert effect.low == pytest.approx(low, abs=0.12 * width)
    assert effect.high == pytest.approx(high, abs=0.12 * width)


def test_tails_are_welchs() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.4, 0.1, 9), rng.normal(0.33, 0.2, 14)

    def student(x: np.ndarray) -> Measured:
        from scipy.stats import t

        half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
        return Measured(x.mean(), x.mean() - half, x.mean() + half, 0.95, len(x) - 1)

    effect = difference(student(a), student(b), 0.0)
    welch = ttest_ind(a, b, equal_var=False)
    assert effect.freedom == pytest.approx(welch.df, rel=1e-6)
    # The half-width joins two of Student's, which is a little more than Welch's own.
    assert effect.p_worse == pytest.approx(welch.pvalue / 2, rel=0.5)
    assert effect.p_worse >= welch.pvalue / 2


def test_of_scores_the_tail_is_the_normal_one() -> None:
    effect = Effect(0.03, 0.03 - 1.959964 * 0.01, 0.03 + 1.959964 * 0.01, 0.01, 0.95)
    assert effect.p_worse == pytest.approx(norm.sf(2.0), rel=1e-5)
    assert effect.p_better == pytest.approx(norm.sf(-4.0), rel=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.02, 0.04, "worse"),
        (-0.04, -0.02, "better"),
        (-0.01, 0.01, "same"),
        (0.0, 0.02, "undecided"),
        (-0.02, 0.005, "undecided"),
        (-0.5, 0.5, "undecided"),
    ],
)
def test_an_outcome_needs_the_whole_interval(low: float, high: float, outcome: str) -> None:
    assert Effect((low + high) / 2, low, high, 0.01, 0.95).alone == outcome


def test_no_spread_at_all_is_no_division_by_zero() -> None:
    assert Effect(0.02, 0.02, 0.02, 0.01, 0.95).p_worse == 0.0
    assert Effect(0.0, 0.0, 0.0, 0.01, 0.95).p_worse == 1.0
    assert difference(Measured(0, 0, 0, 0.95, 5), Measured(0, 0, 0, 0.95, 5), 0.01).alone == "same"


def test_many_rows_are_corrected_as_statsmodels_does() -> None:
    rng = np.random.default_rng(11)
    effects = [Effect(value, value - 0.02, value + 0.02, 0.01, 0.95) for value in rng.normal(0.02, 0.03, 40)]
    done = corrected(effects)
    expected = multipletests([effect.p_worse for effect in effects], method="holm")[1]
    np.testing.assert_allclose([effect.p_worse_holm for effect in done], expected)
    assert sum(effect.outcome == "worse" for effect in done) < sum(effect.alone == "worse" for effect in done)
    assert all(effect.outcome in {effect.alone, "undecided"} for effect in done)


def test_of_many_rows_at_the_gate_hardly_ever_one_is_called_worse() -> None:
    rng = np.random.default_rng(13)
    alarms = 0
    for _ in range(400):
        values = rng.normal(0.01, 0.01, 50)
        half = 1.959964 * 0.01
        done = corrected([Effect(value, value - half, value + half, 0.01, 0.95) for value in values])
        alarms += any(effect.outcome == "worse" for effect in done)
    assert alarms / 400 <= 0.045
