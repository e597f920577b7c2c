"""How often LynxBench's 95 % intervals hold the truth, over synthetic runs whose truth is known.

    python benchmarks/coverage.py [--runs 10000]

Latencies are lognormal. "independent": nothing else. "levels": each block has its own level, as on a shared machine
(standard deviation 3 %). "neighbours": each run resembles the one before (correlation 0.9 within a block). Ratios come
from rounds whose drift both sides share; "sittings" from three sittings whose processes differ by 2 %.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.measurement import Block, ratio_interval, sittings_interval, summarise

BLOCKS, RUNS_A_BLOCK = 20, 100
SPREAD, LEVELS, CORRELATION = 0.1, 0.03, 0.9
BASE_NS = 1e6
TRUTH_RUNS = 4_000_000

Logs = npt.NDArray[np.float64]


def independent(random: np.random.Generator, blocks: int) -> Logs:
    return SPREAD * random.standard_normal((blocks, RUNS_A_BLOCK))


def levels(random: np.random.Generator, blocks: int) -> Logs:
    return independent(random, blocks) + LEVELS * random.standard_normal((blocks, 1))


def neighbours(random: np.random.Generator, blocks: int) -> Logs:
    from scipy.signal import lfilter

    # Long before the first run that counts, so that a block begins in the steady state.
    steps = random.standard_normal((blocks, RUNS_A_BLOCK + 100)) * math.sqrt(1 - CORRELATION**2)
    return np.asarray(SPREAD * lfilter([1.0], [1.0, -CORRELATION], steps, axis=1)[:, 100:])


WORLDS: dict[str, Callable[[np.random.Generator, int], Logs]] = {
    "independent": independent,
    "levels": levels,
    "neighbours": neighbours,
}


def measure(runs: int = 10_000, seed: int = 0) -> list[dict[str, Any]]:
    """A row for each world and interval: the share of `runs` that held the truth."""
    rows = []
    for world, make in WORLDS.items():
        random = np.random.default_rng([seed, len(world)])
        far = BASE_NS * np.exp(make(random, TRUTH_RUNS // RUNS_A_BLOCK))
        truth = {
            "p50": float(np.median(far)),
            "p90": float(np.percentile(far, 90)),
            "p99": float(np.percentile(far, 99)),
        }
        per_s = 1e9 / float(far.mean())
        held = dict.fromkeys([*truth, "throughput"], 0)
        for _ in range(runs):
            latencies = np.round(BASE_NS * np.exp(make(random, BLOCKS))).astype(np.int64)
            found = summarise([_block(one) for one in latencies], 0.95, minimum_blocks=1)
            for name, value in truth.items():
                estimate = found.percentiles[name]
                low = estimate.low_ns is not None and estimate.low_ns <= value
                held[name] += low and (estimate.high_ns is None or value <= estimate.high_ns)
            speed = found.throughput
            held["throughput"] += (speed.low_per_s or 0.0) <= per_s <= (speed.high_per_s or math.inf)
        rows += [{"world": world, "interval": name, "runs": runs, "held": n / runs} for name, n in held.items()]
    random = np.random.default_rng([seed, 99])
    sittings = np.repeat([0, 1, 2], 10)
    within = among = 0
    for _ in range(runs):
        logs = math.log(1.5) + 0.01 * random.standard_normal(30)
        one = ratio_interval(logs[:20], 0.95)
        several = sittings_interval(logs + 0.02 * random.standard_normal(3)[sittings], sittings.tolist(), 0.95)
        within += (one.low or math.inf) <= 1.5 <= (one.high or 0.0)
        among += (several.low or math.inf) <= 1.5 <= (several.high or 0.0)
    rows.append({"world": "20 rounds", "interval": "ratio", "runs": runs, "held": within / runs})
    rows.append({"world": "3 sittings", "interval": "ratio", "runs": runs, "held": among / runs})
    return rows


def _block(latencies_ns: npt.NDArray[np.int64]) -> Block:
    wall_ns = int(latencies_ns.sum())
    return Block(latencies_ns, 0, wall_ns, wall_ns, 0, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    rows = measure(parser.parse_args().runs)
    print(f"{'':<13}{'interval':<12}{'runs':>7}{'held the truth':>16}")
    for row in rows:
        print(f"{row['world']:<13}{row['interval']:<12}{row['runs']:>7,}{row['held']:>16.1%}")


if __name__ == "__main__":
    main()
