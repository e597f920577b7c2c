"""One timed block: a closed loop over callables, every run's latency kept; the warm-up and the harness's overhead."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lynxbench.measurement.counters import Counters, read_counters

__all__ = [
    "EXCLUDED_DELAY_RATIO",
    "STARVED_DELAY_RATIO",
    "Block",
    "WarmUp",
    "collection_off",
    "harness_overhead_ns",
    "is_warm",
    "time_block",
    "time_in_flight",
    "warm_up",
]

# Dropping blocks above 5 % brought the spread of block medians from 4.6 % to 1.1 % (1 ms model) and from 40.7 % to
# 1.9 % (13 ms model) on a shared two-core machine, November 2026; above 2 % the tail is already visibly longer.
STARVED_DELAY_RATIO = 0.02
EXCLUDED_DELAY_RATIO = 0.05

# No model's run comes back faster (the smallest takes 1.1 µs from C), so a block's array need not hold more runs than
# its duration over this; what is faster after all fills the array and ends the block early.
_FASTEST_RUN_NS = 1_000
_MOST_RUNS = 1_000_000  # 8 MB a block

# A warm-up of a slow model ends at this multiple of its declared seconds, once it has run at least so often:
# models over 1 ms are within 10 % of their steady latency by run 10, and slower ones sooner.
WARM_UP_PATIENCE = 4
WARM_UP_LEAST_RUNS = 3

Clock = Callable[[], int]
Query = Callable[[], object]


@dataclass(frozen=True, eq=False)
class Block:
    """What one block measured.

    latencies_ns          [n] int64, each run's latency, in the order of the runs
    started_ns            the clock at the first run; on Linux the default clock is common to all processes
    wall_ns               from before the first run to after the last, the harness's own time included
    cpu_ns                CPU time of all threads of the process
    scheduler_delay_ns    time its threads were ready but waited for a CPU, summed; None where unreadable
    involuntary_switches  times one of its threads was put off its CPU
    steal_ns              CPU time the hypervisor took from the whole machine meanwhile; None where unreadable
    next_query            position of the query that the next block should begin with
    scheduled_ns          [n] when each query was to arrive, from `started_ns` on; None for closed loops. There
                          `latencies_ns` runs from this time, so that done is scheduled + latency
    issued_ns             [n] when it was really handed over, from `started_ns` on; None likewise
    unserved              queries that had arrived but were not served any more
    in_flight             queries under way at any time, each in a thread of its own
    """

    latencies_ns: npt.NDArray[np.int64]
    started_ns: int
    wall_ns: int
    cpu_ns: int
    scheduler_delay_ns: int | None
    involuntary_switches: int
    steal_ns: int | None
    next_query: int
    scheduled_ns: npt.NDArray[np.int64] | None = None
    issued_ns: npt.NDArray[np.int64] | None = None
    unserved: int = 0
    in_flight: int = 1

    def __len__(self) -> int:
        return len(self.latencies_ns)

    @property
    def busy_ns(self) -> int:
        """What throughput is formed over: with one query in flight the latencies' sum, else from first to last."""
        open_loop = self.scheduled_ns is not None or self.in_flight > 1
        return self.wall_ns if open_loop else int(self.latencies_ns.sum())

    @property
    def lateness_ns(self) -> npt.NDArray[np.int64] | None:
        """[n] how much later than scheduled each query was issued; None for closed loops."""
        return None if self.scheduled_ns is None or self.issued_ns is None else self.issued_ns - self.scheduled_ns

    @property
    def delay_ratio(self) -> float | None:
        """Scheduler delay over wall time; None where the delay is unreadable."""
        if self.scheduler_delay_ns is None or self.wall_ns <= 0:
            return None
        return self.scheduler_delay_ns / self.wall_ns

    @property
    def starved(self) -> bool:
        """The process waited for a CPU for more than 2 % of the block: flagged."""
        return self.delay_ratio is not None and self.delay_ratio > STARVED_DELAY_RATIO

    @property
    def excluded(self) -> bool:
        """The process waited for a CPU for more than 5 % of the block: left out of summaries where others remain."""
        return self.delay_ratio is not None and self.delay_ratio > EXCLUDED_DELAY_RATIO


@dataclass(frozen=True)
class WarmUp:
    """How often and how long a candidate ran before its first timed block.

    cut_short: the time cap ended it before the declared number of runs.
    """

    runs: int
    wall_ns: int
    cut_short: bool


def time_block(
    queries: Sequence[Query],
    duration_ns: int,
    *,
    first: int = 0,
    clock_ns: Clock = time.perf_counter_ns,
    max_runs: int | None = None,
    min_runs: int = 1,
    counters: Callable[[], Counters] = read_counters,
) -> Block:
    """Run `queries` one after the other, over and over from position `first`, until `duration_ns` has passed.

    A closed loop with one query in flight, MLPerf's single-stream: the next begins when the last has come back.
    The block ends after the first run that ends at or after the duration, but not before `min_runs` runs, and in any
    case at `max_runs` (None: what fits the duration, a million at most). Latencies go into an array that was allocated
    and touched beforehand; garbage collection is off meanwhile and put back after, also when a query raises. What a
    query raises, this raises; ValueError for no queries or counts that contradict each other.
    """
    if not queries:
        raise ValueError("a block needs at least one query")
    if max_runs is None:
        max_runs = max(min_runs, min(_MOST_RUNS, duration_ns // _FASTEST_RUN_NS + 1))
    if not 1 <= min_runs <= max_runs:
        raise ValueError(f"min_runs must be between 1 and max_runs ({max_runs}), not {min_runs}")
    latencies_ns = np.empty(max_runs, dtype=np.int64)
    latencies_ns.fill(0)  # touches every page now, so that none faults between two runs
    with collection_off():
        before = counters()
        started_ns = clock_ns()
        runs, position, ended_ns = _run_until(
            queries, first % len(queries), latencies_ns.data, started_ns + duration_ns, min_runs, clock_ns
        )
        after = counters()

    kept = latencies_ns[:runs].copy()
    kept.flags.writeable = False
    return Block(
        latencies_ns=kept,
        started_ns=started_ns,
        wall_ns=ended_ns - started_ns,
        cpu_ns=after.cpu_ns - before.cpu_ns,
        scheduler_delay_ns=after.delay_ns_since(before),
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        steal_ns=after.steal_ns_since(before),
        next_query=position,
    )


@contextmanager
def collection_off() -> Iterator[None]:
    """No garbage collection within the block; as it was before after it, also when something raises."""
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_collecting:
            gc.enable()


def _run_until(
    queries: Sequence[Query], position: int, cells: memoryview, deadline_ns: int, min_runs: int, clock_ns: Clock
) -> tuple[int, int, int]:
    """The timed loop itself: run in turn until the deadline, each latency into `cells` (int64) until they are full.

    Returns how many runs there were, the position of the next query, and the clock after the last run. Assigning
    through a memoryview is cheaper than through NumPy.
    """
    last, most, runs, ended = len(queries) - 1, len(cells), 0, 0
    while runs < most:
        query = queries[position]
        begun = clock_ns()
        query()
        ended = clock_ns()
        cells[runs] = ended - begun
        runs += 1
        position = position + 1 if position < last else 0
        if ended >= deadline_ns and runs >= min_runs:
            break
    return runs, position, ended


def time_in_flight(
    lanes: Sequence[Sequence[Query]],
    duration_ns: int,
    *,
    first: int = 0,
    clock_ns: Clock = time.perf_counter_ns,
    counters: Callable[[], Counters] = read_counters,
) -> Block:
    """As many queries under way as there are `lanes`: each lane is a closed loop over its own, in its own thread.

    Every lane runs its queries in turn from position `first` until `duration_ns` has passed. Throughput is what this
    measures: a latency holds the wait for the other lanes' cores. Latencies come lane after lane. What a query raises,
    this raises, once all lanes have ended; ValueError for a lane without queries.
    """
    if not lanes or not all(lanes):
        raise ValueError("every lane needs at least one query")
    most = max(1, min(_MOST_RUNS, duration_ns // _FASTEST_RUN_NS + 1) // len(lanes))
    running = [_Lane(queries, first, most, clock_ns) for queries in lanes]
    start = threading.Barrier(len(lanes) + 1)
    deadline: list[int] = []
    threads = [
        threading.Thread(target=lane.run, args=(start, deadline), name=f"lane-{number}", daemon=True)
        for number, lane in enumerate(running)
    ]
    with collection_off():
        try:
            for thread in threads:
                thread.start()
            before = counters()
            started_ns = clock_ns()
            deadline.append(started_ns + duration_ns)
            start.wait()
            for lane in running:
                lane.ended.wait()
            after = counters()  # while the lanes' threads are still there to be counted
        finally:
            start.abort()
            for lane in running:
                lane.may_leave.set()
            for thread in threads:
                thread.join()
    for lane in running:
        if lane.error is not None:
            raise lane.error
    latencies_ns = np.concatenate([lane.latencies_ns[: lane.runs] for lane in running])
    latencies_ns.flags.writeable = False
    return Block(
        latencies_ns=latencies_ns,
        started_ns=started_ns,
        wall_ns=max(lane.ended_ns for lane in running) - started_ns,
        cpu_ns=after.cpu_ns - before.cpu_ns,
        scheduler_delay_ns=after.delay_ns_since(before),
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        steal_ns=after.steal_ns_since(before),
        next_query=(first + running[0].runs) % len(lanes[0]),
        in_flight=len(lanes),
    )


class _Lane:
    """One closed loop among several; its array is allocated and touched before the clock starts."""

    def __init__(self, queries: Sequence[Query], first: int, most: int, clock_ns: Clock) -> None:
        self.latencies_ns = np.full(most, 0, dtype=np.int64)
        self.runs = self.ended_ns = 0
        self.error: BaseException | None = None
        self.ended, self.may_leave = threading.Event(), threading.Event()
        self._queries, self._first, self._clock_ns = queries, first % len(queries), clock_ns

    def run(self, start: threading.Barrier, deadline: Sequence[int]) -> None:
        try:
            start.wait()
            self.runs, _, self.ended_ns = _run_until(
                self._queries, self._first, self.latencies_ns.data, deadline[0], 1, self._clock_ns
            )
        except BaseException as error:  # the caller's thread raises it
            self.error = error
        self.ended.set()
        self.may_leave.wait()


def harness_overhead_ns(clock_ns: Clock = time.perf_counter_ns, *, runs: int = 2_000) -> float:
    """Median latency that the loop of `time_block` reports for a query that does nothing, in ns.

    It holds one reading of the clock and the call of a Python function: what every reported latency has too much.
    """
    block = time_block([_nothing], 0, clock_ns=clock_ns, min_runs=runs, max_runs=runs)
    return float(np.median(block.latencies_ns))


def warm_up(queries: Sequence[Query], runs: int, seconds: float, clock_ns: Clock = time.perf_counter_ns) -> WarmUp:
    """Run `queries` in turn until at least `runs` runs AND `seconds` s are done, before anything is timed.

    Stops after the first run at which `is_warm`. 50 runs and 0.5 s serve: models below 10 µs need 230–335 runs to
    settle and get them within 0.5 s, models over 1 ms are within 10 % by run 10. A rule that watches the latencies
    settle stopped too early for small models (bias up to 18 %).
    What a query raises, this raises; ValueError for no queries.
    """
    if not queries:
        raise ValueError("a warm-up needs at least one query")
    started_ns = clock_ns()
    done = 0
    while True:
        queries[done % len(queries)]()
        done += 1
        passed_ns = clock_ns() - started_ns
        if is_warm(done, passed_ns, runs, seconds):
            return WarmUp(done, passed_ns, cut_short=done < runs)


def is_warm(done: int, passed_ns: int, runs: int, seconds: float) -> bool:
    """The warm-up's criterion: (runs done ≥ `runs` and time passed ≥ `seconds`), or (runs done ≥ 3 and time passed ≥
    4 × `seconds`). The second holds slow models to a bounded time and is off where `seconds` is 0.
    """
    least_ns = round(seconds * 1e9)
    if done >= runs and passed_ns >= least_ns:
        return True
    return least_ns > 0 and done >= WARM_UP_LEAST_RUNS and passed_ns >= WARM_UP_PATIENCE * least_ns


def _nothing() -> None:
    return None
