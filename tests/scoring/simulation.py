"""Candidates whose true loss is known, to count how often intervals and verdicts are right.

``python -m tests.scoring.simulation 2000`` prints the figures for 2,000 runs of each; the tests run fewer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring import score
from tests.scoring.build import Array, classified, metric, predictions, rubric

Pair = tuple[Predictions, Predictions]

# Probabilities that candidate and reference are right on a sample: only candidate, only reference, both.
ONLY_CANDIDATE, ONLY_REFERENCE, BOTH = 0.02, 0.035, 0.85


@dataclass(frozen=True)
class World:
    """Where predictions come from: `draw` makes one test set of n samples; `loss` is the truth."""

    name: str
    task: str
    use: dict[str, Any]
    loss: float
    draw: Callable[[np.random.Generator, int], Pair]
    n: int


@dataclass(frozen=True)
class Outcome:
    """Counts of `runs` test sets."""

    runs: int
    covered: int
    robust: int
    fragile: int


def _outcomes(random: np.random.Generator, n: int) -> tuple[Array, Array]:
    drawn = random.random(n)
    both = drawn < BOTH
    candidate = both | ((drawn >= BOTH) & (drawn < BOTH + ONLY_CANDIDATE))
    reference = both | ((drawn >= BOTH + ONLY_CANDIDATE) & (drawn < BOTH + ONLY_CANDIDATE + ONLY_REFERENCE))
    return candidate, reference


def _top1(random: np.random.Generator, n: int) -> Pair:
    candidate, reference = _outcomes(random, n)
    return classified(candidate), classified(reference)


def _views(random: np.random.Generator, n: int) -> Pair:
    """Four views of each image; a view repeats the image's outcome in three of ten cases."""
    images = n // 4
    shared = np.repeat(_outcomes(random, images), 4, axis=1)
    own = np.array(_outcomes(random, n))
    candidate, reference = np.where(random.random(n) < 0.3, shared, own)
    sources = np.repeat(np.arange(images).astype(str), 4)
    return classified(candidate, sources=sources), classified(reference, sources=sources)


def _recall(random: np.random.Generator, n: int) -> Pair:
    sources = np.array([f"q{place}" for place in range(n)])

    def ranked(hit: Array) -> Predictions:
        items = np.array([[f"other{place}" for place in range(10)]] * n)
        items[hit, random.integers(10, size=n)[hit]] = sources[hit]
        return predictions(n, sources=sources, ranked_ids=items)

    candidate, reference = _outcomes(random, n)
    return ranked(candidate), ranked(reference)


def _exact(random: np.random.Generator, n: int) -> Pair:
    targets = np.array([f"{place % 97:02d}." for place in range(n)], dtype=object)
    pair = [predictions(n, targets=targets, texts=np.where(right, targets, "wrong")) for right in _outcomes(random, n)]
    return pair[0], pair[1]


@dataclass(frozen=True)
class Calibrated:
    """Forty kinds of samples of three classes, equally many of each, and how sure each model is of its decision.

    The reference always decides for class 0 and is right in `honesty` of as many cases as it claims; the candidate is
    surer, and decides for class 1 in every fifth kind.
    """

    honesty: float
    claimed = np.linspace(0.453, 0.967, 40)
    bins = 10

    def model(self, who: str) -> tuple[Array, Array, Array]:
        """Of each kind: the decision, the confidence in it, and how often it is right."""
        right = self.honesty * self.claimed
        kind = np.arange(len(right))
        if who == "reference":
            return np.zeros_like(kind), self.claimed, right
        decision = (kind % 5 == 4).astype(np.int64)
        surer = self.claimed + (0.25 + 0.05 * np.sin(37 * kind)) * (1 - self.claimed)
        return decision, surer, np.where(decision == 0, right, (1 - right) / 2)

    def error(self, who: str) -> float:
        """The calibration error of endlessly many samples."""
        _, confidence, right = self.model(who)
        gaps = np.bincount(np.ceil(confidence * self.bins).astype(int), weights=right - confidence)
        return float(np.abs(gaps).sum() / len(right))

    def draw(self, random: np.random.Generator, n: int) -> Pair:
        """One test set."""
        kind = random.integers(len(self.claimed), size=n)
        drawn, right = random.random(n), self.model("reference")[2][kind]
        labels = np.where(drawn < right, 0, np.where(drawn < (1 + right) / 2, 1, 2)).astype(np.int64)
        pair = []
        for who in ("candidate", "reference"):
            decision, confidence, _ = self.model(who)
            shares = np.repeat(((1 - confidence) / 2)[:, None], 3, axis=1)
            shares[np.arange(len(confidence)), decision] = confidence
            pair.append(predictions(n, labels=labels, logits=np.log(shares[kind]).astype(np.float32)))
        return pair[0], pair[1]

    def world(self, name: str) -> World:
        """Asked for its calibration error, with 2,000 samples."""
        use = metric("ece", parameters={"bins": self.bins})
        return World(
            name, "image-classification", use, self.error("candidate") - self.error("reference"), self.draw, 2000
        )


_DIFFERENCE = ONLY_REFERENCE - ONLY_CANDIDATE
WORLDS = {
    world.name: world
    for world in (
        World("top-1", "image-classification", metric("top-1"), _DIFFERENCE, _top1, 1000),
        World("top-1-small", "image-classification", metric("top-1"), _DIFFERENCE, _top1, 150),
        World("top-1-views", "image-classification", metric("top-1"), _DIFFERENCE, _views, 2000),
        World("recall@10", "image-retrieval", metric("recall", parameters={"k": 10}), _DIFFERENCE, _recall, 800),
        World("exact-match", "generation", metric("exact-match"), _DIFFERENCE, _exact, 600),
        Calibrated(0.8).world("ece"),
        Calibrated(0.97).world("ece-hard"),  # bins so near 0 that noise hides on which side they are
    )
}


def simulate(world: World, runs: int, resamples: int = 2000, tolerance: float | None = None, seed: int = 0) -> Outcome:
    """Score `runs` test sets of one world. The tolerance is the true loss itself unless given: the hardest case."""
    asked = rubric(
        world.use,
        task=world.task,
        resamples=resamples,
        tolerance={"kind": "absolute", "value": world.loss if tolerance is None else tolerance},
    )
    covered = robust = fragile = 0
    for run in range(runs):
        candidate, reference = world.draw(np.random.default_rng((seed, run)), world.n)
        scores = score(asked, candidate, reference)
        low, high = scores.primary.loss_low, scores.primary.loss_high
        covered += low is not None and high is not None and low <= world.loss <= high
        robust += scores.verdict.verdict == "robust"
        fragile += scores.verdict.verdict == "fragile"
    return Outcome(runs, covered, robust, fragile)


if __name__ == "__main__":
    for chosen in WORLDS.values():
        outcome = simulate(chosen, int(sys.argv[1]))
        share = outcome.covered / outcome.runs
        sys.stdout.write(
            f"{chosen.name:12} n={chosen.n:5} true loss {chosen.loss:.4f}: covered {share:.2%}; at a tolerance of the "
            f"true loss robust {outcome.robust / outcome.runs:.2%}, fragile {outcome.fragile / outcome.runs:.2%}\n"
        )
        sys.stdout.flush()
