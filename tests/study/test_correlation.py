"""Rank correlation against SciPy's, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from lynxbench.study.correlation import LEAST_CANDIDATES, correlate

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("ties", [False, True])
def test_both_correlations_are_scipys(ties: bool) -> None:
    for _ in range(20):
        x, y = RNG.normal(size=(2, 12))
        if ties:
            x, y = np.round(x), np.round(y)
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        for models in (np.repeat("m", 12), np.asarray([f"m{i}" for i in range(12)])):
            found = correlate(x, y, models, confidence=0.9)
            assert found is not None
            assert found.rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
            assert found.tau == pytest.approx(scipy.stats.kendalltau(x, y).statistic)


def test_too_few_or_all_alike_is_no_correlation() -> None:
    few = np.arange(LEAST_CANDIDATES - 1.0)
    assert correlate(few, few, np.repeat("m", len(few)), confidence=0.95) is None
    many = np.arange(20.0)
    assert correlate(many, np.zeros(20), np.repeat("m", 20), confidence=0.95) is None


def test_a_law_is_a_tendency_and_its_interval_says_about_what() -> None:
    x = np.arange(24.0)
    of_three = correlate(x, x**3, np.repeat(["a", "b", "c"], 8), confidence=0.95)
    of_six = correlate(x, -x, np.tile(["a", "b", "c", "d", "e", "f"], 4), confidence=0.95)
    assert of_three is not None
    assert of_six is not None
    assert (of_three.rho, of_three.tau, of_three.compared) == (1.0, 1.0, "within models")
    assert of_three.is_tendency
    assert (of_six.rho, of_six.models, of_six.compared) == (-1.0, 6, "all candidates")
    assert of_six.is_tendency


def test_noise_is_hardly_ever_a_tendency() -> None:
    """Of independent values, an interval at 95 % leaves out zero about one time in twenty."""
    models = np.repeat([f"m{i}" for i in range(8)], 4)
    found = 0
    for seed in range(60):
        x, y = np.random.default_rng(seed).normal(size=(2, 32))
        one = correlate(x, y, models, confidence=0.95)
        assert one is not None
        found += one.is_tendency
    assert found <= 12


def test_models_that_differ_as_a_whole_do_not_count_as_many_candidates() -> None:
    """Each model has its own level of both, unrelated between models: many candidates, little evidence."""
    rng = np.random.default_rng(3)
    models = np.repeat([f"m{i}" for i in range(6)], 20)
    wrong = {"models": 0, "candidates": 0}
    for _ in range(25):
        levels = rng.normal(size=(2, 6))
        x, y = (np.repeat(level, 20) + 0.05 * rng.normal(size=120) for level in levels)
        by_model = correlate(x, y, models, confidence=0.95)
        by_candidate = correlate(x, y, np.repeat("one", 120), confidence=0.95)
        assert by_model is not None
        assert by_candidate is not None
        wrong["models"] += by_model.is_tendency
        wrong["candidates"] += by_candidate.is_tendency
    assert wrong["candidates"] >= 2 * wrong["models"]


def test_of_few_models_only_what_differs_within_one_counts() -> None:
    """Three models with a level of each quantity of their own: however many candidates, three are no evidence."""
    rng = np.random.default_rng(11)
    models = np.repeat(["a", "b", "c"], 10)
    level = np.repeat([0.0, 10.0, 20.0], 10)
    assert correlate(level, level + rng.normal(size=30), models, confidence=0.95) is None
    x, y = level + rng.normal(size=30), level + rng.normal(size=30)
    assert scipy.stats.spearmanr(x, y).statistic > 0.8
    found = correlate(x, y, models, confidence=0.95)
    assert found is not None
    assert found.compared == "within models"
    assert abs(found.rho) < 0.5
    same = correlate(x, 100 - level + x - level, models, confidence=0.95)
    assert same is not None
    assert same.rho == pytest.approx(1.0)
