"""MLPerf's LoadGen over the same session: both engines agree within what each of them varies by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from benchmarks.lateness import Turn, loadgen_turn, make_run, our_turn, single_stream_turns
from lynxbench.measurement import warm_up

loadgen = pytest.importorskip("mlperf_loadgen", reason="no wheel of mlcommons-loadgen for this machine")

TURNS = 7
SECONDS = 0.25
# What the two may differ by beyond their own spread: calls, threads and clocks of two engines.
SLACK = 1.05


@pytest.fixture(scope="module")
def run() -> Callable[[], object]:
    """About a millisecond on one thread, beside which a harness's microseconds are small."""
    bound = make_run(layers=48)
    warm_up([bound], 20, 0.2)
    return bound


def agree(ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Were both the same, all of one side's would lie beyond all of the other's once in 1,700 tries."""
    assert min(ours) <= SLACK * max(theirs), (ours, theirs)
    assert min(theirs) <= SLACK * max(ours), (ours, theirs)


def test_single_stream(run: Callable[[], object]) -> None:
    mine, their = single_stream_turns(loadgen, run)
    medians = [(np.median(mine(SECONDS)), np.median(their(SECONDS))) for _ in range(TURNS)]
    agree(*zip(*medians, strict=True))


def test_server(run: Callable[[], object]) -> None:
    engines: tuple[Callable[..., Turn], ...] = (partial(our_turn, run), partial(loadgen_turn, loadgen, run))
    medians: tuple[list[float], list[float]] = ([], [])
    for seed in range(TURNS):
        for engine, found in zip(engines, medians, strict=True):
            turn = engine(200.0, SECONDS, seed)
            assert len(turn.latency_ns) == len(turn.lateness_ns) > 0
            # From the issue on: lateness is what the engines do differ by, and has its own benchmark.
            found.append(float(np.median(turn.latency_ns - turn.lateness_ns)))
    agree(*medians)
