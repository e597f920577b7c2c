"""The server scenario's block: arrivals that are Poisson, a dispatcher that is on time, a server that loses nothing."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import replace
from queue import SimpleQueue

import numpy as np
import pytest
from scipy import stats

from lynxbench.measurement import lateness_ratio, poisson_arrivals_ns, serve_block
from lynxbench.measurement.open_loop import SPIN_NS, _dispatch
from tests.fakes import ScriptedClock, make_block

SECOND_NS = 1_000_000_000


@pytest.mark.parametrize("rate_per_s", [3.0, 300.0, 5_000.0])
def test_arrivals_are_poisson(rate_per_s: float) -> None:
    duration_ns = round(5_000 / rate_per_s * SECOND_NS)
    arrivals = poisson_arrivals_ns(rate_per_s, duration_ns, seed=7)
    gaps = np.diff(arrivals, prepend=0)
    assert (gaps >= 0).all()
    assert arrivals[-1] < duration_ns
    # Counts of a Poisson process are Poisson, gaps exponential, and given the count arrivals are uniform.
    assert abs(len(arrivals) - 5_000) < 4 * np.sqrt(5_000)
    assert stats.kstest(gaps, stats.expon(scale=1e9 / rate_per_s).cdf).pvalue > 0.01
    assert stats.kstest(arrivals / duration_ns, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(gaps[:-1], gaps[1:]).statistic) < 0.05


def test_arrivals_come_from_the_seed() -> None:
    first, again, other = (poisson_arrivals_ns(1_000, SECOND_NS, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).any()


def test_there_is_always_one_arrival() -> None:
    np.testing.assert_array_equal(poisson_arrivals_ns(0.001, 1_000, seed=0), [0])
    for rate_per_s, duration_ns in ((0.0, 1), (-1.0, 1), (1.0, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            poisson_arrivals_ns(rate_per_s, duration_ns, seed=0)


@pytest.mark.parametrize("spin_ns", [SPIN_NS, 0])
def test_the_dispatcher_sleeps_and_then_looks_at_the_clock(spin_ns: int) -> None:
    clock, waiting = ScriptedClock(500), SimpleQueue[bool]()
    slept: list[int] = []
    looked: list[int] = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds * 1e9))
        clock.advance(max(slept[-1], 40_000))

    def look() -> None:
        looked.append(clock.now_ns)
        clock.advance(40_000)

    arrivals = np.array([1_000_000, 1_000_100, 2_000_000], dtype=np.int64)
    issued = _dispatch(arrivals, 500, waiting, clock, spin_ns, sleep, look) - 500
    late = issued - arrivals
    assert waiting.qsize() == 3
    if spin_ns == 0:
        assert slept == [1_000_000, 100, 960_000]
        assert looked == []
        np.testing.assert_array_equal(late, [0, 39_900, 0])
    else:
        assert slept == [1_000_000 - SPIN_NS, 2_000_000 - 1_010_000 - SPIN_NS]
        assert len(looked) == 2 * 4  # 150 µs in looks of 40
        np.testing.assert_array_equal(late, [10_000, 9_900, 10_000])


def test_the_dispatcher_waits_for_nothing_once_a_query_has_failed() -> None:
    clock, waiting = ScriptedClock(0), SimpleQueue[bool]()
    arrivals = np.array([1_000, 2_000, 3_000_000_000], dtype=np.int64)
    _dispatch(
        arrivals, 0, waiting, clock, 0, lambda s: clock.advance(round(s * 1e9)), failed=lambda: waiting.qsize() == 2
    )
    assert waiting.qsize() == 2
    assert clock.now_ns < 1_000_000


def test_every_query_is_served_in_order_and_counted() -> None:
    served: list[int] = []
    queries = [lambda number=number: (time.sleep(0.001), served.append(number)) for number in range(3)]
    block = serve_block(queries, 200, 300_000_000, seed=3, first=2)
    arrivals = poisson_arrivals_ns(200, 300_000_000, seed=3)
    assert len(block) + block.unserved == len(arrivals)
    assert served == [(2 + position) % 3 for position in range(len(block))]
    assert block.next_query == (2 + len(block)) % 3
    assert block.scheduled_ns is not None
    assert block.issued_ns is not None
    assert block.lateness_ns is not None
    np.testing.assert_array_equal(block.scheduled_ns, arrivals[: len(block)])
    done = block.scheduled_ns + block.latencies_ns
    assert (block.lateness_ns >= 0).all()
    assert (np.diff(done) >= 1_000_000).all()  # one at a time
    assert (done - block.issued_ns >= 1_000_000).all()
    assert block.wall_ns == block.busy_ns == done[-1]
    assert lateness_ratio([block]) is not None


def test_a_rate_beyond_the_server_ends_and_says_so() -> None:
    block = serve_block([lambda: time.sleep(0.02)], 400, 100_000_000, seed=0)
    assert block.unserved > 0
    assert 0 < len(block) < 40
    # Who waits longer arrived later: the queue only grows.
    assert block.latencies_ns[-1] > block.latencies_ns[0]


def test_what_a_query_raises_comes_out_and_everything_is_put_back() -> None:
    interval_s = sys.getswitchinterval()

    def broken() -> None:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        serve_block([broken], 1_000, 20_000_000, seed=0)
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval_s
    with pytest.raises(ValueError, match="at least one query"):
        serve_block([], 1_000, 20_000_000, seed=0)


def test_lateness_is_held_against_the_service_time() -> None:
    # 100 queries of 1 ms, 10 ms apart, the i-th issued i µs late.
    scheduled = np.arange(100, dtype=np.int64) * 10_000_000
    issued = scheduled + np.arange(100, dtype=np.int64) * 1_000
    closed = make_block(issued - scheduled + 1_000_000)
    block = replace(closed, scheduled_ns=scheduled, issued_ns=issued)
    assert lateness_ratio([block]) == pytest.approx(np.percentile(np.arange(100), 99) / 1_000)
    assert lateness_ratio([closed]) is None
    # A query that waits for the one before is served from when that is done.
    scheduled = np.zeros(3, dtype=np.int64)
    block = replace(make_block([1_000_000, 2_000_000, 3_000_000]), scheduled_ns=scheduled, issued_ns=scheduled + 50_000)
    assert lateness_ratio([block]) == pytest.approx(50_000 / 1_000_000)
