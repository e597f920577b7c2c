"""The bootstrap against SciPy's on the same data, and its own promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, mannwhitneyu

from lynxbench.scoring import resampling
from lynxbench.scoring.metrics import METRICS
from lynxbench.scoring.resampling import Draws, bca, draw, draw_by_calls, generator, p_value
from lynxbench.scoring.statistic import Statistic, mean_of
from tests.scoring.build import Array, predictions

N = 250


@pytest.fixture
def skewed() -> tuple[Array, Array]:
    random = np.random.default_rng(8)
    reference = random.exponential(size=N) ** 2
    return reference + 0.1 * random.exponential(size=N) ** 2, reference


def statistic(name: str, labels: Array, logits: Array) -> Statistic:
    known = METRICS[name]
    options = known.options({})
    answers = predictions(len(labels), labels=labels, logits=logits.astype(np.float32))
    return known.statistic(known.measure(answers, options), options)


def near(interval: tuple[float, float], expected: tuple[float, float], part: float = 0.08) -> bool:
    width = expected[1] - expected[0]
    return all(abs(a - b) < part * width for a, b in zip(interval, expected, strict=True))


def test_paired_bca_of_a_mean_matches_scipy(skewed: tuple[Array, Array]) -> None:
    (mine, base), differing = draw(
        [mean_of(skewed[0], (0, np.inf)), mean_of(skewed[1], (0, np.inf))], np.arange(N), N, 8000, generator(1, "a")
    )
    assert differing == N
    interval, method = bca(mine - base, 0.95)
    expected = bootstrap(
        skewed, lambda x, y, axis: x.mean(axis) - y.mean(axis), paired=True, n_resamples=8000,
        method="BCa", vectorized=True, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert method == "bootstrap-bca"
    assert interval is not None
    assert near(interval, expected)
    # Not merely near: the correction for skewness matters here, and percentiles would fail.
    assert not near(tuple(np.quantile(mine.resampled - base.resampled, [0.025, 0.975])), expected, 0.05)


def test_auroc_by_its_expansion_matches_scipy_resampling_the_real_one() -> None:
    random = np.random.default_rng(4)
    labels = random.integers(2, size=N)
    logits = random.normal(size=(N, 2)) + 0.6 * np.eye(2)[labels]
    made = statistic("auroc", labels, logits)
    (mine, _), _ = draw([made, made], np.arange(N), N, 3000, generator(1, "a"))
    # With two classes both areas are the same, and the difference of the logits orders as the probability does.
    margin = (logits.astype(np.float32)[:, 1] - logits.astype(np.float32)[:, 0]).astype(float)

    def area(index: Array) -> float:
        positive, negative = margin[index][labels[index] == 1], margin[index][labels[index] == 0]
        return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))

    expected = bootstrap((np.arange(N),), area, n_resamples=1500, method="percentile", vectorized=False,
                         rng=np.random.default_rng(0)).confidence_interval  # fmt: skip
    assert near(tuple(np.quantile(mine.resampled, [0.025, 0.975])), expected, 0.1)


def test_sums_and_calls_give_the_same_intervals(skewed: tuple[Array, Array]) -> None:
    sources = np.arange(N) // 5
    (sums, _), _ = draw([mean_of(skewed[0], (0, 99))] * 2, sources, N // 5, 4000, generator(1, "a"))
    (calls,) = draw_by_calls([lambda index: float(skewed[0][index].mean())], sources, N // 5, 4000, generator(1, "b"))
    assert sums.estimate == pytest.approx(calls.estimate)
    ends = [0.025, 0.975]
    assert near(tuple(np.quantile(sums.resampled, ends)), tuple(np.quantile(calls.resampled, ends)))


def test_sources_are_resampled_whole() -> None:
    # Twenty sources of fifty copies each: as uncertain as twenty samples, not as a thousand.
    values = np.random.default_rng(0).normal(size=20)
    copies, sources = np.repeat(values, 50), np.repeat(np.arange(20), 50)
    (clustered, _), _ = draw([mean_of(copies)] * 2, sources, 20, 4000, generator(0))
    (single, _), _ = draw([mean_of(values)] * 2, np.arange(20), 20, 4000, generator(0))
    assert clustered.resampled == pytest.approx(single.resampled)


def test_adding_up_in_random_groups_keeps_the_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(4, size=6000)
    logits = random.normal(size=(6000, 4)) + 2 * np.eye(4)[labels]
    for name in ("f1", "ece", "log-loss", "auroc"):
        made = statistic(name, labels, logits)
        spreads = []
        for most in (10_000, 1_000):
            monkeypatch.setattr(resampling, "MOST_GROUPS", most)
            (draws, _), _ = draw([made, made], np.arange(6000), 6000, 1500, generator(0, name))
            spreads.append(draws.resampled.std())
        assert spreads[1] == pytest.approx(spreads[0], rel=0.12)


def test_streams_depend_on_names_only() -> None:
    assert generator(1, "top-1", "view", "clean").random() == generator(1, "top-1", "view", "clean").random()
    streams = [generator(1, "a"), generator(2, "a"), generator(1, "b"), generator(1, "a", "")]
    assert len({stream.random() for stream in streams}) == 4


def test_p_values_agree_with_the_interval(skewed: tuple[Array, Array]) -> None:
    (mine, base), _ = draw([mean_of(skewed[0]), mean_of(skewed[1])], np.arange(N), N, 2000, generator(0))
    difference = mine - base
    assert (p_value(difference, biased=False) or 1) < 1e-3
    shifted = Draws(0.0, difference.resampled - difference.estimate, None)
    assert (p_value(shifted, biased=False) or 0) > 0.8
    assert p_value(Draws(0.5, np.full(100, np.nan)), biased=False) is None
    assert bca(Draws(0.5, np.full(100, np.nan)), 0.95)[0] is None
