"""One timed block of MLPerf's server scenario: queries arrive when they do, whether the last one is answered or not."""

from __future__ import annotations

import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from lynxbench.measurement.blocks import Block, Clock, Query, collection_off
from lynxbench.measurement.counters import Counters, read_counters

__all__ = ["LATE_SERVICE_RATIO", "lateness_ratio", "poisson_arrivals_ns", "serve_block"]

# A sleep of a millisecond ends 40 to 100 µs late; from so long before an arrival on, the dispatcher looks at the clock.
SPIN_NS = 150_000
# Two threads share the interpreter: the one that wants it asks after this time (the default is 5 ms).
SWITCH_INTERVAL_S = 50e-6
# What is still waiting when the last query has been issued is served for at most this many times the block's duration.
PATIENCE = 2.0
# Above this share of the service time, the issue error is no longer small beside what is measured.
LATE_SERVICE_RATIO = 0.10


def poisson_arrivals_ns(rate_per_s: float, duration_ns: int, seed: int) -> npt.NDArray[np.int64]:
    """Arrival times in ns from 0, sorted, all below `duration_ns`: a Poisson process drawn from `seed`.

    Gaps are exponential with mean 1 / rate (MLPerf inference rules, "Server"). There is always one arrival.
    """
    if rate_per_s <= 0 or duration_ns < 1:
        raise ValueError(f"rate_per_s ({rate_per_s}) and duration_ns ({duration_ns}) must be positive")
    random = np.random.default_rng(seed)
    mean_ns = 1e9 / rate_per_s
    gaps: list[npt.NDArray[np.float64]] = []
    reached = 0.0
    while reached < duration_ns:
        more = random.exponential(mean_ns, size=max(16, round(1.1 * (duration_ns - reached) / mean_ns)))
        gaps.append(more)
        reached += float(more.sum())
    arrivals = np.cumsum(np.concatenate(gaps)).astype(np.int64)
    within = arrivals[arrivals < duration_ns]
    return within if len(within) else np.zeros(1, dtype=np.int64)


def serve_block(
    queries: Sequence[Query],
    rate_per_s: float,
    duration_ns: int,
    seed: int,
    *,
    first: int = 0,
    usable_cores: float = 2.0,
    clock_ns: Clock = time.perf_counter_ns,
    counters: Callable[[], Counters] = read_counters,
) -> Block:
    """Issue `queries` in turn from position `first` at the arrivals of `poisson_arrivals_ns`, and serve them in order.

    Latency runs from the *scheduled* time, so that a late harness cannot hide a wait. This thread issues, another one
    serves, one query at a time, first come, first served: a query that finds the server busy waits. The dispatcher
    sleeps until shortly before an arrival and then looks at the clock, letting go of the interpreter each time, since
    the server needs it to begin and to end a run; on a machine with one usable core it only sleeps, for looking at the
    clock would take the core from the server. Arrays are allocated beforehand, garbage collection is off meanwhile.

    Queries that are still waiting when 2 × the duration has passed after the last arrival are dropped and counted in
    `unserved`: the rate is beyond what the candidate can serve. What a query raises, this raises, at the next arrival.
    """
    if not queries:
        raise ValueError("a block needs at least one query")
    arrivals = poisson_arrivals_ns(rate_per_s, duration_ns, seed)
    served = _Serving(queries, len(arrivals), first, clock_ns)
    spin_ns = SPIN_NS if usable_cores >= 2 else 0
    interval_s = sys.getswitchinterval()
    with collection_off():
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            served.thread.start()
            before = counters()
            started_ns = clock_ns()
            issued = _dispatch(arrivals, started_ns, served.waiting, clock_ns, spin_ns, failed=served.failed)
            served.finish(PATIENCE * duration_ns / 1e9)
            ended_ns = clock_ns()
            after = counters()  # while the server's thread is still there to be counted
        finally:
            served.end()
            sys.setswitchinterval(interval_s)
    if served.error is not None:
        raise served.error
    n = served.count
    done = served.done_ns[:n] - started_ns
    columns = [done - arrivals[:n], arrivals[:n], issued[:n] - started_ns]
    for column in columns:
        column.flags.writeable = False
    return Block(
        latencies_ns=columns[0],
        started_ns=started_ns,
        wall_ns=(int(done[-1]) if n else ended_ns - started_ns),
        cpu_ns=after.cpu_ns - before.cpu_ns,
        scheduler_delay_ns=after.delay_ns_since(before),
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        steal_ns=after.steal_ns_since(before),
        next_query=(first + n) % len(queries),
        scheduled_ns=columns[1],
        issued_ns=columns[2],
        unserved=len(arrivals) - n,
    )


class _Serving:
    """The serving thread: takes positions from `waiting` until None comes, and writes down when each was done."""

    def __init__(self, queries: Sequence[Query], most: int, first: int, clock_ns: Clock) -> None:
        self.waiting: SimpleQueue[bool] = SimpleQueue()
        self.done_ns = np.zeros(most, dtype=np.int64)
        self.count = 0
        self.error: BaseException | None = None
        self._stop = False
        self._finished, self._may_end = threading.Event(), threading.Event()
        self._queries, self._first, self._clock_ns = queries, first, clock_ns
        self.thread = threading.Thread(target=self._serve, name="server", daemon=True)

    def _serve(self) -> None:
        queries, clock_ns, cells, take = self._queries, self._clock_ns, self.done_ns.data, self.waiting.get
        position, last, number = self._first % len(queries), len(queries) - 1, 0
        try:
            while take() and not self._stop:
                queries[position]()
                cells[number] = clock_ns()
                number += 1
                position = position + 1 if position < last else 0
        except BaseException as error:  # the dispatcher's thread raises it
            self.error = error
        self.count = number
        self._finished.set()
        self._may_end.wait()

    def failed(self) -> bool:
        return self.error is not None

    def finish(self, patience_s: float) -> None:
        """Let what waits be served for at most so long, then only the query in hand; the thread stays."""
        self.waiting.put(False)
        self._finished.wait(patience_s)
        self._stop = True
        self._finished.wait()

    def end(self) -> None:
        """End the thread, whatever it is at."""
        if self.thread.ident is not None:
            self._may_end.set()
            self.finish(0.0)
            self.thread.join()


def _dispatch(
    arrivals: npt.NDArray[np.int64],
    started_ns: int,
    waiting: SimpleQueue[bool],
    clock_ns: Clock,
    spin_ns: int,
    sleep: Callable[[float], object] = time.sleep,
    let_go: Callable[[], object] | None = None,
    failed: Callable[[], bool] = lambda: False,
) -> npt.NDArray[np.int64]:
    """Put one entry into `waiting` at each arrival; returns when each was really put, [n] ns of the clock.

    Ends early once a query has `failed`: what comes after it is not worth waiting for.
    """
    issued = np.zeros(len(arrivals), dtype=np.int64)
    cells, put = issued.data, waiting.put
    let_go = let_go or _let_go()
    for number, at_ns in enumerate((arrivals + started_ns).tolist()):
        if failed():
            break
        now_ns = clock_ns()
        if at_ns - now_ns > spin_ns:
            sleep((at_ns - now_ns - spin_ns) / 1e9)
            now_ns = clock_ns()
        while now_ns < at_ns:
            let_go()
            now_ns = clock_ns()
        cells[number] = now_ns
        put(True)
    return issued


def _let_go() -> Callable[[], object]:
    """What gives the interpreter to whoever waits for it and comes straight back.

    `time.sleep(0)` does not: the kernel's timer slack makes it 50 µs, where asking about no file at all takes 0.5.
    """
    if hasattr(select, "poll"):
        return partial(select.poll().poll, 0)
    return partial(time.sleep, 0)


def lateness_ratio(blocks: Sequence[Block]) -> float | None:
    """The 99th percentile of (issued − scheduled) over the median service time; None for closed loops.

    A query's service begins when it is issued or when the one before it is done, whichever is later. Above
    `LATE_SERVICE_RATIO` the blocks tell more about the harness than about the candidate.
    """
    lateness: list[npt.NDArray[np.int64]] = []
    service: list[npt.NDArray[np.int64]] = []
    for block in blocks:
        late = block.lateness_ns
        if late is not None and block.scheduled_ns is not None and block.issued_ns is not None and len(block):
            done = block.scheduled_ns + block.latencies_ns
            lateness.append(late)
            service.append(done - np.maximum(block.issued_ns, np.concatenate([[0], done[:-1]])))
    if not lateness:
        return None
    return float(np.percentile(np.concatenate(lateness), 99)) / max(1.0, float(np.median(np.concatenate(service))))
