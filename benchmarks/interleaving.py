"""How far off is a p50 ratio whose true value is 1: interleaved rounds against A-then-B, at equal time, under load.

    python benchmarks/interleaving.py [--seconds 60] [--neighbours 1] [--spell-s 0.7] [--block-ms 50]

One session of a small ONNX model is timed against itself under two names, so the true ratio is exactly 1 (two sessions
differ by where their weights lie). Each trial gives both ways the same 0.8 s a side, in blocks. Meanwhile
`--neighbours` other processes load the machine in bursts and pauses of `--spell-s` seconds on average: spells shorter
than a side average out within it, in both ways alike; longer ones meet one side of A-then-B alone. Printed: the
root-mean-square and the worst error of the ratio, how often its 95 % interval excluded 1, the median half-width of that
interval, and how many blocks were starved: where nearly all are, the noise is the scheduler's, changes within
milliseconds and does not cancel within rounds.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from lynxbench.measurement import Block, run_rounds, summarise, time_block, warm_up

SIDE_NS = 800_000_000
MINIMUM_BLOCKS = 8

# Busy and idle spells of random length, so that the load changes within a trial and between its sides.
NEIGHBOUR = """
import random, sys, time
random.seed(int(sys.argv[1]))
while True:
    end = time.monotonic() + random.expovariate(1 / float(sys.argv[2]))
    while time.monotonic() < end:
        sum(range(1000))
    time.sleep(random.expovariate(1 / float(sys.argv[2])))
"""


@dataclass(frozen=True)
class Side:
    """One entrant: the same model under another name."""

    name: str
    run: Callable[[], object]

    def block(self, duration_ns: int) -> Block:
        return time_block([self.run], duration_ns)


@dataclass(frozen=True)
class Outcome:
    """One trial of one way: the ratio it found, whether its interval excluded 1, and how many blocks were starved."""

    ratio: float
    told_apart: bool
    half_width_ratio: float  # of the ratio's 95 % interval, on the log scale
    starved_share: float


def make_run(layers: int) -> Callable[[], object]:
    """One pre-bound run of a fresh session of a chain of `layers` 256 × 256 matrix products, one thread."""
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, current = [], [], "x"
    for layer in range(layers):
        weight = (rng.standard_normal((256, 256)) / 16).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [current, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"h{layer}"]))
        current = f"h{layer}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [32, 256]) for name in ("x", current)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", rng.standard_normal((32, 256)).astype(np.float32))
    binding.bind_output(current, "cpu")
    return partial(session.run_with_iobinding, binding)


@contextmanager
def neighbours(count: int, spell_s: float) -> Iterator[None]:
    """`count` other processes that load the machine in bursts until the block ends."""
    children = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(seed), str(spell_s)]) for seed in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def interleaved(a: Side, b: Side, block_ns: int, seed: int) -> Outcome:
    """Rounds with one block a side in random order, until the time of a side is spent."""
    result = run_rounds(
        [a, b],
        a.name,
        block_ns=block_ns,
        minimum_rounds=MINIMUM_BLOCKS,
        time_limit_ns=SIDE_NS,
        half_width_ratio=1e-12,
        seed=seed,
    )
    estimate = result.entrants[b.name].p50_ratio
    if estimate is None or estimate.low is None or estimate.high is None:
        raise SystemExit(f"a side failed: {[entrant.error for entrant in result.entrants.values()]}")
    blocks = [block for entrant in result.entrants.values() for block in entrant.blocks]
    half = math.log(estimate.high / estimate.low) / 2
    return Outcome(estimate.value, not estimate.low <= 1 <= estimate.high, half, starved_share(blocks))


def sequential(a: Side, b: Side, block_ns: int) -> Outcome:
    """All blocks of A, then all of B; told apart where the two p50 intervals do not touch."""
    sides = [[side.block(block_ns) for _ in range(SIDE_NS // block_ns)] for side in (a, b)]
    first, second = (summarise(blocks, minimum_blocks=MINIMUM_BLOCKS).percentiles["p50"] for blocks in sides)
    if first.value_ns is None or second.value_ns is None or first.low_ns is None or second.low_ns is None:
        raise SystemExit(first.reason or second.reason)
    above = second.high_ns is not None and first.low_ns > second.high_ns
    below = first.high_ns is not None and second.low_ns > first.high_ns
    # The widest that two intervals allow; with an open end none.
    high_ns = [side.high_ns or math.inf for side in (first, second)]
    half = (math.log(high_ns[0] / first.low_ns) + math.log(high_ns[1] / second.low_ns)) / 2
    return Outcome(first.value_ns / second.value_ns, above or below, half, starved_share(sides[0] + sides[1]))


def starved_share(blocks: list[Block]) -> float:
    return sum(block.excluded for block in blocks) / len(blocks)


def row(name: str, outcomes: list[Outcome]) -> str:
    errors = [abs(math.log(outcome.ratio)) for outcome in outcomes]
    rms = math.expm1(math.sqrt(sum(error**2 for error in errors) / len(errors)))
    alarms = sum(outcome.told_apart for outcome in outcomes)
    starved = sum(outcome.starved_share for outcome in outcomes) / len(outcomes)
    counted = f"{alarms} of {len(outcomes)}"
    width = math.expm1(float(np.median([outcome.half_width_ratio for outcome in outcomes])))
    return f"{name:<14}{rms:>12.2%}{math.expm1(max(errors)):>12.2%}{counted:>16}{width:>14.2%}{starved:>18.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on with trials")
    parser.add_argument("--neighbours", type=int, default=1, help="processes that load the machine in bursts")
    parser.add_argument("--spell-s", type=float, default=0.7, help="their bursts and pauses, on average")
    parser.add_argument("--block-ms", type=int, default=50, help="length of a block; at most 100")
    parser.add_argument("--layers", type=int, default=48, help="size of the model: 256 × 256 products on 32 rows")
    arguments = parser.parse_args()
    block_ns = 1_000_000 * min(100, max(1, arguments.block_ms))

    run = make_run(arguments.layers)
    a, b = Side("a", run), Side("b", run)
    warm_up([run], 100, 0.5)
    in_rounds: list[Outcome] = []
    one_after_the_other: list[Outcome] = []
    with neighbours(arguments.neighbours, arguments.spell_s):
        p50_ns = float(np.median(a.block(500_000_000).latencies_ns))
        end = time.monotonic() + arguments.seconds
        while time.monotonic() < end or not in_rounds:
            in_rounds.append(interleaved(a, b, block_ns, seed=len(in_rounds)))
            one_after_the_other.append(sequential(a, b, block_ns))

    cpus = len(os.sched_getaffinity(0))
    print(f"the same model (p50 {p50_ns / 1e6:.2f} ms) against itself, {len(in_rounds)} trials; the true ratio is 1")
    print(
        f"{SIDE_NS / 1e9:.1f} s a side and trial in blocks of {block_ns / 1e6:.0f} ms;"
        f" neighbours in spells of {arguments.spell_s:g} s: {arguments.neighbours} on {cpus} CPUs;"
        f" the machine's load at the end: {os.getloadavg()[0]:.1f}\n"
    )
    print(f"{'':<14}{'RMS error':>12}{'worst':>12}{'told apart':>16}{'half-width':>14}{'starved blocks':>18}")
    print(row("interleaved", in_rounds))
    print(row("A, then B", one_after_the_other))


if __name__ == "__main__":
    main()
