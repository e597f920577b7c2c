"""How often scores are right, over candidates whose true loss is known, and how fast a million predictions are scored.

    python benchmarks/scoring.py [--runs 2000] [--samples 1000000]

Coverage: the share of simulated test sets whose paired 95 % interval holds the true loss; the tolerance is that true
loss itself, the hardest case, where a verdict may be wrong in at most 5 % (half of it on each side). Speed: two
candidates, four metrics, strata by view and class, 2,000 resamples, in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

# The simulated worlds are the tests' own; they lie beside this folder, not in the wheel.
sys.path.insert(0, str(Path(__file__).parents[1]))

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring import score
from tests.scoring.build import metric, predictions, rubric
from tests.scoring.simulation import WORLDS, simulate


def coverage(runs: int) -> None:
    print(f"{'':<13}{'samples':>8}{'true loss':>11}{'covered':>10}{'said robust':>13}{'said fragile':>14}")
    for world in WORLDS.values():
        found = simulate(world, runs)
        shares = [count / found.runs for count in (found.covered, found.robust, found.fragile)]
        print(f"{world.name:<13}{world.n:>8,}{world.loss:>11.4f}{shares[0]:>10.1%}{shares[1]:>13.1%}{shares[2]:>14.1%}")


def many(n: int) -> tuple[Predictions, Predictions]:
    """A candidate and its reference on n samples of ten classes, four views of each image."""
    random = np.random.default_rng(0)
    labels = np.repeat(random.integers(10, size=n // 4), 4)
    reference = random.normal(size=(len(labels), 10)).astype(np.float32)
    reference[np.arange(len(labels)), labels] += 3
    candidate = reference + random.normal(scale=0.3, size=reference.shape).astype(np.float32)
    strata = {"view": np.tile(["clean", "noise", "blur", "dark"], n // 4), "class": labels.astype(str)}
    sources = np.repeat(np.arange(n // 4).astype(str), 4)
    sides = [
        predictions(len(labels), labels=labels, logits=x, strata=strata, sources=sources)
        for x in (candidate, reference)
    ]
    return sides[0], sides[1]


def time_one(n: int) -> None:
    candidate, reference = many(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asked = rubric(
        *(metric(name) for name in ("top-1", "ece", "log-loss", "balanced-accuracy")),
        strata=["view", "class"],
        resamples=2000,
    )
    start = time.perf_counter()
    found = score(asked, candidate, reference)
    took = time.perf_counter() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(candidate):,} predictions, {len(found.metrics)} metrics, {len(found.strata)} strata, 2,000 resamples: "
        f"{took:.1f} s; the process held {most / 2**20:.2f} GiB at most, {before / 2**20:.2f} before scoring"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="simulated test sets of each world")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        time_one(arguments.samples)
        return
    coverage(arguments.runs)
    print(flush=True)
    subprocess.run([sys.executable, __file__, "--alone", "--samples", str(arguments.samples)], check=True)


if __name__ == "__main__":
    main()
