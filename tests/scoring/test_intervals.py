"""Closed forms against statsmodels, published definitions and numerical maximum likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from lynxbench.scoring.intervals import (
    design_effect,
    holm,
    mcnemar_clustered,
    mcnemar_exact,
    normal_quantile,
    tango,
    wilson,
)
from tests.scoring.build import EXAMPLES


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_matches_statsmodels(n: int, part: float, confidence: float) -> None:
    count = round(part * n)
    expected = proportion_confint(count, n, alpha=1 - confidence, method="wilson")
    assert tuple(wilson(count / n, n, confidence)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_matches_statsmodels(gains: int, losses: int) -> None:
    if gains + losses == 0:
        assert mcnemar_exact(0, 0) == 1.0
        return
    expected = mcnemar([[5, gains], [losses, 7]], exact=True).pvalue
    assert mcnemar_exact(gains, losses) == pytest.approx(expected)
    plain = mcnemar([[5, gains], [losses, 7]], exact=False, correction=False).pvalue
    assert mcnemar_clustered(gains, losses, 1.0) == pytest.approx(plain)


# statsmodels collects garbage on every call, which makes it slow.
@settings(max_examples=min(EXAMPLES, 20), deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_matches_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected))


def test_holm_of_nothing() -> None:
    assert holm([]) == []


@settings(max_examples=min(EXAMPLES, 60), deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 80))
def test_tango_ends_where_the_score_test_at_the_likeliest_nuisance_rejects(gains: int, losses: int, same: int) -> None:
    n = gains + losses + same
    if n == 0:
        return
    interval = tango(gains, losses, n, 0.95)
    z = normal_quantile(0.95)
    assert interval.low <= (gains - losses) / n + 1e-12
    assert interval.high >= (gains - losses) / n - 1e-12
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        if abs(end) > 0.999:
            continue

        def unlikely(loss: float, difference: float = end) -> float:
            cells = (loss + difference, loss, 1 - 2 * loss - difference)
            counts = (gains, losses, same)
            return -sum(c * np.log(max(p, 1e-300)) for c, p in zip(counts, cells, strict=True) if c)

        least, most = max(0.0, -end), (1 - end) / 2
        found = minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
        loss = min((found, least, most), key=unlikely)
        variance = n * (2 * loss + end * (1 - end))
        assert (gains - losses - n * end) / np.sqrt(variance) == pytest.approx(sign * z, abs=2e-3)


def test_tango_is_symmetric_and_not_blind_where_nothing_differs() -> None:
    assert tango(7, 2, 90, 0.9) == pytest.approx(tuple(-end for end in reversed(tango(2, 7, 90, 0.9))))
    z = normal_quantile(0.95)
    # With no discordant pair the interval is ±z² ∕ (n + z²): the score's rule of three.
    assert tango(0, 0, 50, 0.95).high == pytest.approx(z**2 / (50 + z**2))
    assert tango(40, 0, 40, 0.95).high == pytest.approx(1.0)


def test_copies_of_a_sample_count_once() -> None:
    random = np.random.default_rng(1)
    values = random.choice([-1.0, 0.0, 0.0, 1.0], size=300)
    sources = np.repeat(np.arange(300), 4)
    # m copies inflate the variance of a mean m times; 300 ∕ 299 is the correction for estimating it from sources.
    assert design_effect(np.repeat(values, 4), sources, 300) == pytest.approx(4 * 300 / 299)
    assert design_effect(values, np.arange(300), 300) == 1.0
    assert design_effect(random.normal(size=4000), np.repeat(np.arange(1000), 4), 1000) < 1.2
    # Nothing varies, so nothing says that views are independent.
    assert design_effect(np.zeros(1200), sources, 300) == 4.0
