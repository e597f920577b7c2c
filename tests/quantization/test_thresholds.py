"""Against ONNX Runtime's own collector, which finds the same from the same histogram."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from lynxbench.quantization.histogram import BINS, Histogram
from lynxbench.quantization.thresholds import LEVELS, entropy_range, percentile_range


def collected(values: np.ndarray, method: str, percentile: float = 99.99) -> tuple[float, float]:
    """What ONNX Runtime finds, fed all at once."""
    collector = HistogramCollector(method, False, BINS, LEVELS, percentile, "same")
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"t": [values]})
        low, high = collector.compute_collection_result()["t"][:2]
    return float(low), float(high)


def ours(values: np.ndarray, method: str, percentile: float = 99.99) -> tuple[float, float]:
    largest = np.abs(values).max()
    histogram = Histogram(largest)
    histogram.add(values)
    counts = histogram.counts
    low, high = entropy_range(counts, largest) if method == "entropy" else percentile_range(counts, largest, percentile)
    return max(low, float(values.min())), min(high, float(values.max()))


SAMPLES = {
    "normal": lambda rng: rng.standard_normal(50_000),
    "relu": lambda rng: np.maximum(rng.standard_normal(50_000), 0),
    "few": lambda rng: rng.standard_normal(40),
    "outlier": lambda rng: np.append(rng.standard_normal(20_000), 60.0),
    "one-sided": lambda rng: -rng.exponential(size=30_000),
    "constant": lambda rng: np.full(100, 2.5),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("percentile", [95.0, 99.9, 99.99, 100.0])
def test_percentile_equals_onnxruntimes(name: str, percentile: float) -> None:
    values = SAMPLES[name](np.random.default_rng(1)).astype(np.float32)
    assert ours(values, "percentile", percentile) == collected(values, "percentile", percentile)


@pytest.mark.parametrize("name", ["normal", "relu", "few", "outlier", "constant"])
def test_entropy_equals_onnxruntimes(name: str) -> None:
    values = SAMPLES[name](np.random.default_rng(2)).astype(np.float32)
    assert ours(values, "entropy") == collected(values, "entropy")


@pytest.mark.parametrize("seed", [2, 43, 66, 75, 103])
def test_among_equal_divergences_onnxruntimes_rounding_decides(seed: int) -> None:
    """Outliers with nothing between them make half widths that lose equally little, 15 bins apart."""
    rng = np.random.default_rng(seed)
    outliers = rng.uniform(4, 8, 6) * rng.choice([-1, 1], 6)
    values = np.append(rng.standard_normal(3000), outliers).astype(np.float32)
    assert ours(values, "entropy") == collected(values, "entropy")


def test_entropy_is_not_minmax() -> None:
    values = SAMPLES["outlier"](np.random.default_rng(3)).astype(np.float32)
    assert ours(values, "entropy")[1] < 10 < values.max()
