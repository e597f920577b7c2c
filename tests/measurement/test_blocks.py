"""The timed loop against a clock that follows a script, and once against the real one."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.measurement import (
    Block,
    Counters,
    harness_overhead_ns,
    read_counters,
    time_block,
    time_in_flight,
    warm_up,
)
from tests.fakes import ScriptedClock, make_block, scripted_counters


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(0, 10**10))
def test_every_run_is_kept_in_order_until_the_duration_is_reached(latencies: list[int], duration_ns: int) -> None:
    clock = ScriptedClock(start_ns=123_456)
    block = time_block([clock.query(latencies)], duration_ns, clock_ns=clock, max_runs=len(latencies))

    ends = np.cumsum(latencies)
    reached = np.flatnonzero(ends >= duration_ns)
    expected = latencies[: reached[0] + 1] if len(reached) else latencies
    assert block.latencies_ns.tolist() == expected
    assert block.latencies_ns.dtype == np.int64
    assert block.started_ns == 123_456
    assert block.wall_ns == sum(expected)


@given(st.integers(1, 7), st.integers(0, 20), st.integers(1, 30))
def test_queries_take_turns_and_the_next_block_goes_on_where_this_one_ended(count: int, first: int, runs: int) -> None:
    clock, log = ScriptedClock(), []
    queries = [clock.query([5] * 100, log, str(i)) for i in range(count)]
    one = time_block(queries, 0, first=first, clock_ns=clock, min_runs=runs)
    two = time_block(queries, 0, first=one.next_query, clock_ns=clock, min_runs=runs)
    assert log == [str((first + i) % count) for i in range(2 * runs)]
    assert two.next_query == (first + 2 * runs) % count


def test_minimum_runs_outlast_the_duration_and_maximum_runs_end_it() -> None:
    clock = ScriptedClock()
    assert len(time_block([clock.query([100] * 50)], 10, clock_ns=clock, min_runs=7)) == 7
    assert len(time_block([clock.query([100] * 50)], 10**9, clock_ns=clock, max_runs=9)) == 9


def test_an_array_that_is_full_ends_the_block_of_queries_too_fast_for_it() -> None:
    clock = ScriptedClock()
    block = time_block([clock.query([1] * 10**4)], 1_000_000, clock_ns=clock)
    assert len(block) == 1_001
    assert block.wall_ns == 1_001


def test_latencies_cannot_be_changed_afterwards() -> None:
    clock = ScriptedClock()
    block = time_block([clock.query([1, 2, 3])], 6, clock_ns=clock)
    with pytest.raises(ValueError, match="read-only"):
        block.latencies_ns[0] = 0


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_off_inside_and_put_back_also_after_an_error(enabled: bool) -> None:
    seen: list[bool] = []

    def fails_at_the_third() -> None:
        seen.append(gc.isenabled())
        if len(seen) == 3:
            raise RuntimeError("third run")

    was = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(RuntimeError, match="third run"):
            time_block([fails_at_the_third], 10**9, max_runs=10)
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if was else gc.disable()
    assert seen == [False, False, False]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        time_block([], 10)
    with pytest.raises(ValueError, match="min_runs"):
        time_block([lambda: None], 10, min_runs=5, max_runs=4)
    with pytest.raises(ValueError, match="min_runs"):
        time_block([lambda: None], 10, min_runs=0)
    with pytest.raises(ValueError, match="at least one query"):
        warm_up([], 1, 1.0)


def test_counters_are_differences_over_the_block() -> None:
    clock = ScriptedClock()
    before = Counters(cpu_ns=1_000, delay_ns_by_thread={1: 50, 2: 70, 3: 9_999}, involuntary_switches=4, steal_ns=10)
    # Thread 3 has ended and took its counter with it, thread 4 is new.
    after = Counters(cpu_ns=1_900, delay_ns_by_thread={1: 60, 2: 75, 4: 6}, involuntary_switches=7, steal_ns=30)
    block = time_block([clock.query([400, 600])], 1_000, clock_ns=clock, counters=scripted_counters(before, after))
    assert (block.cpu_ns, block.scheduler_delay_ns, block.involuntary_switches, block.steal_ns) == (900, 21, 3, 20)
    assert block.delay_ratio == 0.021
    assert block.starved
    assert not block.excluded


def test_counters_that_cannot_be_read_are_none_not_zero() -> None:
    clock = ScriptedClock()
    readable = Counters(0, {1: 0}, 0, 0)
    block = time_block(
        [clock.query([5])], 1, clock_ns=clock, counters=scripted_counters(readable, Counters(5, None, 0, None))
    )
    assert block.scheduler_delay_ns is None
    assert block.steal_ns is None
    assert block.delay_ratio is None
    assert not block.starved
    assert not block.excluded


@pytest.mark.parametrize(
    ("delay_ratio", "starved", "excluded"),
    [(0.0, False, False), (0.02, False, False), (0.021, True, False), (0.05, True, False), (0.051, True, True)],
)
def test_flags_begin_above_2_and_above_5_percent(delay_ratio: float, starved: bool, excluded: bool) -> None:
    block = make_block([1_000_000], delay_ratio=delay_ratio)
    assert (block.starved, block.excluded) == (starved, excluded)


def test_warm_up_ends_when_both_runs_and_seconds_are_reached() -> None:
    clock = ScriptedClock()
    done = warm_up([clock.query([1_000_000] * 999)], 50, 0.1, clock)  # 50 runs take 0.05 s: the seconds decide
    assert (done.runs, done.wall_ns, done.cut_short) == (100, 100_000_000, False)
    done = warm_up([clock.query([5_000_000] * 999)], 50, 0.1, clock)  # 0.1 s is 20 runs: the runs decide
    assert (done.runs, done.wall_ns, done.cut_short) == (50, 250_000_000, False)


def test_warm_up_of_a_slow_model_ends_at_four_times_the_seconds_but_not_before_three_runs() -> None:
    clock = ScriptedClock()
    done = warm_up([clock.query([50_000_000] * 99)], 50, 0.1, clock)
    assert (done.runs, done.wall_ns, done.cut_short) == (8, 400_000_000, True)
    done = warm_up([clock.query([900_000_000] * 99)], 50, 0.1, clock)
    assert (done.runs, done.wall_ns, done.cut_short) == (3, 2_700_000_000, True)


def test_warm_up_without_seconds_counts_runs_alone_and_takes_turns() -> None:
    clock, log = ScriptedClock(), []
    done = warm_up([clock.query([9] * 9, log, "a"), clock.query([9] * 9, log, "b")], 5, 0.0, clock)
    assert (done.runs, done.cut_short) == (5, False)
    assert log == ["a", "b", "a", "b", "a"]


def test_harness_overhead_is_the_median_of_the_same_loop() -> None:
    readings = iter(range(0, 10**9, 70))  # every reading of this clock takes 70 ns
    assert harness_overhead_ns(lambda: next(readings), runs=101) == 70.0


def test_a_real_block_is_consistent_with_the_clocks_of_the_system() -> None:
    total = 0

    def work() -> None:
        nonlocal total
        total += sum(range(2_000))

    outside = time.perf_counter_ns()
    block = time_block([work], 20_000_000)
    outside = time.perf_counter_ns() - outside
    assert isinstance(block, Block)
    assert len(block) >= 1
    assert 20_000_000 <= block.wall_ns <= outside
    assert 0 < block.latencies_ns.sum() <= block.wall_ns
    assert block.cpu_ns > 0
    assert total == len(block) * sum(range(2_000))
    assert harness_overhead_ns() > 0


def test_waiting_for_a_cpu_is_seen_when_two_threads_share_one() -> None:
    """Two busy processes on one CPU: about half the time of the one that measures is spent waiting."""
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "while :; do :; done"], os.environ)
    try:
        os.sched_setaffinity(child, {one})
        os.sched_setaffinity(0, {one})
        block = time_block([lambda: sum(range(2_000))], 400_000_000)
    finally:
        os.sched_setaffinity(0, allowed)
        os.kill(child, 9)
        os.waitpid(child, 0)
    if not Path("/proc/self/schedstat").exists():  # a kernel without CONFIG_SCHED_INFO
        assert block.scheduler_delay_ns is None
        return
    assert block.excluded
    assert block.scheduler_delay_ns is not None
    assert 0 < block.scheduler_delay_ns <= block.wall_ns * 1.5


def test_threads_of_the_process_are_all_read() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        delays = read_counters().delay_ns_by_thread
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if delays is not None:
        assert {thread.native_id for thread in threads} <= set(delays)


def test_lanes_run_side_by_side_each_in_turn() -> None:
    """The two lanes meet in the middle of a run: each waits there for the other, so neither could run alone."""
    meet = threading.Barrier(2)
    ran: list[str] = []

    def query(name: str) -> Callable[[], None]:
        def run() -> None:
            meet.wait(60)
            ran.append(name)

        return run

    before = gc.isenabled()
    block = time_in_flight([[query("a0"), query("a1")], [query("b0"), query("b1")]], 1, first=1)
    assert gc.isenabled() == before
    assert sorted(ran) == ["a1", "b1"]  # the duration has passed after the first run of each
    assert (len(block), block.in_flight, block.next_query) == (2, 2, 0)
    assert block.busy_ns == block.wall_ns
    assert (block.latencies_ns > 0).all()


def test_in_flight_counts_every_run_once() -> None:
    counts = [0, 0, 0]

    def query(lane: int) -> Callable[[], None]:
        def run() -> None:
            counts[lane] += 1
            time.sleep(0.001)

        return run

    block = time_in_flight([[query(lane)] for lane in range(3)], 50_000_000)
    assert len(block) == sum(counts)
    assert min(counts) >= 1
    assert block.wall_ns >= 50_000_000
    # Three sleep side by side: together longer than the wall clock went.
    assert block.latencies_ns.sum() > block.wall_ns


def test_what_a_lane_raises_is_raised_once_all_have_ended() -> None:
    others: list[int] = []

    def fails() -> None:
        raise RuntimeError("lane")

    def sleeps() -> None:
        time.sleep(0.001)
        others.append(1)

    with pytest.raises(RuntimeError, match="lane"):
        time_in_flight([[fails], [sleeps]], 20_000_000)
    assert others
    with pytest.raises(ValueError, match="at least one query"):
        time_in_flight([[], [fails]], 1)
