"""Intervals cover the truth as often as they say, and verdicts err no more often than they may.

`simulation` runs as many test sets as one likes; 2,000 of each take minutes, so here are fewer, with limits that a
sound method passes with probability 0.999 (the seeds are fixed: it either does or does not).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from lynxbench.scoring.intervals import design_effect, tango
from tests.scoring.build import Array
from tests.scoring.simulation import WORLDS, simulate

RUNS = 300


def within(count: int, least: float, most: float, runs: int = RUNS) -> bool:
    """Whether a count is one that a share between `least` and `most` could have given."""
    return bool(binom.ppf(0.001, runs, least) <= count <= binom.ppf(0.999, runs, most))


@pytest.mark.parametrize("name", ["top-1", "top-1-small", "top-1-views", "recall@10", "exact-match"])
def test_paired_intervals_of_right_answers_cover(name: str) -> None:
    outcome = simulate(WORLDS[name], RUNS)
    assert within(outcome.covered, 0.945, 0.965)
    # The tolerance is the true loss itself, so each verdict is wrong half of what the interval misses.
    assert within(outcome.robust, 0.0, 0.03)
    assert within(outcome.fragile, 0.0, 0.03)


@pytest.mark.parametrize(("name", "most"), [("ece", 0.97), ("ece-hard", 1.0)])
def test_paired_intervals_of_calibration_cover(name: str, most: float) -> None:
    outcome = simulate(WORLDS[name], 150, resamples=300)
    assert within(outcome.covered, 0.945, most, runs=150)
    assert within(outcome.robust, 0.0, 0.03, runs=150)


def test_intervals_are_not_wider_than_they_need_be() -> None:
    # A normal approximation gives the chance to see a true loss of 0.015 with n = 1,000 and 5.5 % discordant: 52 %.
    outcome = simulate(WORLDS["top-1"], RUNS, tolerance=1e-9)
    assert within(outcome.fragile, 0.45, 0.60)


@pytest.mark.parametrize("differing_images", [1, 2, 4, 8])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_rare_differences_of_views_are_covered(differing_images: int, shared: float) -> None:
    """400 images with four views each, of which a handful is answered otherwise, by one view or by all of them."""
    images, views, runs = 400, 4, 150
    chance = differing_images / images / (1 if shared == 1.0 else views)
    random = np.random.default_rng(differing_images)
    sources = np.repeat(np.arange(images), views)

    def differences(n: int) -> Array:
        drawn = random.random(n)
        return np.where(drawn < 0.3 * chance, 1, np.where(drawn < chance, -1, 0))

    held = 0
    for _ in range(runs):
        alike = np.repeat(random.random(images) < shared, views)
        found = np.where(alike, np.repeat(differences(images), views), differences(images * views))
        effect = design_effect(found.astype(np.float64), sources, images)
        low, high = tango((found > 0).sum() / effect, (found < 0).sum() / effect, len(found) / effect, 0.95)
        held += low <= -0.4 * chance <= high
    assert held >= 0.9 * runs
