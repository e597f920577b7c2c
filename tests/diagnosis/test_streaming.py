"""Streamed statistics against NumPy and SciPy on all values at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cosine

from lynxbench.diagnosis.streaming import Error, Histogram, Moments


def batches(seed: int, sizes: list[int]) -> list[np.ndarray]:
    """Skewed, heavy-tailed values with a mean far from 0."""
    rng = np.random.default_rng(seed)
    return [(5 + rng.standard_t(4, size) ** 3).astype(np.float32) for size in sizes]


@given(st.integers(0, 1000), st.lists(st.integers(0, 200), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 3))
def test_moments_do_not_depend_on_the_batches(seed: int, sizes: list[int]) -> None:
    parts = batches(seed, sizes)
    moments = Moments()
    for part in parts:
        moments.add(part)
    whole = np.concatenate(parts).astype(np.float64)
    assert moments.n == whole.size
    assert moments.mean == pytest.approx(whole.mean())
    assert moments.m2 / moments.n == pytest.approx(whole.var())
    assert moments.kurtosis == pytest.approx(stats.kurtosis(whole, fisher=False), rel=1e-6)


def test_values_that_do_not_differ_have_no_kurtosis() -> None:
    moments = Moments()
    moments.add(np.full(5, 2.0, dtype=np.float32))
    assert moments.kurtosis is None


@given(st.integers(0, 1000), st.sampled_from([50.0, 99.0, 99.9, 100.0]))
def test_percentiles_of_magnitudes_are_those_of_numpy_to_a_bin(seed: int, percentile: float) -> None:
    parts = batches(seed, [700, 300, 1])
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    expected = np.percentile(np.abs(np.concatenate(parts)), percentile, method="inverted_cdf")
    assert histogram.magnitude(percentile) == pytest.approx(float(expected), rel=0.008)


def test_zeros_and_no_values_have_magnitude_zero() -> None:
    assert Histogram().magnitude(99.9) == 0.0
    histogram = Histogram()
    histogram.add(np.array([0.0, -0.0], dtype=np.float32))
    assert histogram.magnitude(99.9) == 0.0


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.5, 4))
def test_distance_is_that_of_scipy(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.standard_normal(400), rng.standard_normal(300) * scale + shift
    histograms = [Histogram(), Histogram()]
    for histogram, values in zip(histograms, (one, other), strict=True):
        histogram.add(values)
    # Values that share a bin may be in either order, which moves the distance by a bin's share.
    expected = stats.ks_2samp(one, other).statistic
    found = histograms[0].distance(histograms[1])
    assert found is not None
    assert found <= expected + 1e-9
    assert found == pytest.approx(expected, abs=0.03)


def test_an_empty_set_has_no_distance() -> None:
    filled = Histogram()
    filled.add(np.ones(3))
    assert filled.distance(Histogram()) is None


@given(st.integers(0, 1000), st.floats(0.001, 2))
def test_sqnr_and_cosine_are_those_of_all_values_at_once(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    right = rng.standard_normal((6, 50))
    values = right + noise * rng.standard_normal((6, 50))
    error = Error()
    for start in range(0, 6, 2):
        error.add(right[start : start + 2], values[start : start + 2])
    power = np.sum(right**2) / np.sum((right - values) ** 2)
    assert error.sqnr_db == pytest.approx(10 * np.log10(power))
    assert error.cosine == pytest.approx(1 - cosine(right.ravel(), values.ravel()))


def test_equal_values_and_no_signal() -> None:
    same, silent = Error(), Error()
    same.add(np.ones(3), np.ones(3))
    silent.add(np.zeros(3), np.ones(3))
    assert same.sqnr_db == math.inf
    assert (silent.sqnr_db, silent.cosine) == (None, None)
