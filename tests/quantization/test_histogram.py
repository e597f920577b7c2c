from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lynxbench.quantization.histogram import BINS, CHUNK, Histogram
from lynxbench.quantization.tails import Tails
from lynxbench.quantization.thresholds import percentile_range

floats = st.floats(-100, 100, width=32, allow_nan=False)


def numpy_counts(values: np.ndarray, largest: np.float32) -> np.ndarray:
    return np.histogram(values, BINS, range=(-largest, largest))[0]


def values_like(kind: str, rng: np.random.Generator, size: int) -> np.ndarray:
    values = rng.standard_normal(size).astype(np.float32)
    if kind == "relu":
        return np.maximum(values, 0)
    if kind == "heavy-tailed":
        return values**3
    if kind == "sparse":
        return np.where(np.abs(values) < 1.5, np.float32(0), values)
    if kind == "integers":
        return np.round(values * 3)
    if kind == "edges":  # exactly on edges, or one representable number beside
        edges = np.linspace(-1, 1, BINS + 1, dtype=np.float32)
        return np.concatenate([edges, np.nextafter(edges, np.float32(2)), np.nextafter(edges, np.float32(-2))]).clip(
            -1, 1
        )
    return values


KINDS = ("normal", "relu", "heavy-tailed", "sparse", "integers", "edges")


@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_numpys_fed_all_at_once(kind: str) -> None:
    rng = np.random.default_rng(3)
    batches = [values_like(kind, rng, 3 * CHUNK // 2).reshape(3, -1) for _ in range(3)]
    everything = np.concatenate([batch.ravel() for batch in batches])
    largest = np.abs(everything).max()
    histogram = Histogram(largest)
    for batch in batches:
        histogram.add(batch)
    np.testing.assert_array_equal(histogram.counts, numpy_counts(everything, largest))


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=floats))
def test_counts_equal_numpys_on_any_values(values: np.ndarray) -> None:
    largest = np.abs(values).max()
    if largest < np.finfo(np.float32).tiny * BINS:
        return  # bins narrower than the smallest normal number
    histogram = Histogram(largest)
    histogram.add(values)
    np.testing.assert_array_equal(histogram.counts, numpy_counts(values, largest))


def test_nan_is_left_out_and_what_is_beyond_counts_as_at_the_end() -> None:
    values = np.array([np.nan, 0.5, -3.0, 7.0, np.nan], dtype=np.float32)
    histogram = Histogram(1.0)
    histogram.add(values)
    assert histogram.counts.sum() == 3
    assert histogram.counts[0] == 1
    assert histogram.counts[-1] == 1
    assert histogram.counts[BINS // 2 + BINS // 4] == 1


def test_half_precision_and_empty_arrays() -> None:
    histogram = Histogram(2.0)
    histogram.add(np.array([1.0, -1.0], dtype=np.float16))
    histogram.add(np.empty((0, 4), dtype=np.float32))
    assert histogram.counts.sum() == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 99.99, 100.0])
def test_tails_give_the_percentile_of_whole_counts(kind: str, percentile: float) -> None:
    rng = np.random.default_rng(5)
    batches = [values_like(kind, rng, 20_000) * np.float32(scale) for scale in (1.0, 0.6, 1.8)]
    largest = max(np.abs(batch).max() for batch in batches)
    whole, tails = Histogram(largest), Tails(largest, percentile)
    for batch in batches:
        whole.add(batch)
        tails.add(batch)
    assert tails.counts.sum() == whole.counts.sum()
    assert tails.certain
    assert percentile_range(tails.counts, largest, percentile) == percentile_range(whole.counts, largest, percentile)


def test_tails_know_when_later_batches_are_too_unlike_the_first() -> None:
    rng = np.random.default_rng(6)
    tails = Tails(100.0, 99.9)
    tails.add((rng.standard_normal(1000) * 20).clip(-100, 100).astype(np.float32))
    for _ in range(100):
        tails.add((rng.standard_normal(1000) * 0.1).astype(np.float32))
    assert not tails.certain


def test_tails_do_not_count_nan() -> None:
    tails = Tails(10.0, 99.0)
    for _ in range(2):
        tails.add(np.array([np.nan, *np.linspace(-10, 10, 999)], dtype=np.float32))
    assert tails.counts.sum() == 2 * 999
