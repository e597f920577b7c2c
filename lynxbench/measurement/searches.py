"""Searches for the load at which a candidate serves best: the highest rate, the batch size, the queries in flight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lynxbench.measurement.blocks import Block
from lynxbench.measurement.open_loop import LATE_SERVICE_RATIO, lateness_ratio
from lynxbench.measurement.percentiles import early_stopping_samples, percentile_of_sorted

__all__ = ["LoadSearch", "Probe", "RateSearch", "search_load", "search_rate"]

# A bracket as tight as this is no finer than what two probes of the same rate differ by on a shared machine.
RATE_PRECISION_RATIO = 1.05
# So many halvings below the first rate: what does not hold there holds nowhere that is worth serving.
MOST_HALVINGS = 8
# Times the fewest arrivals that support the percentile. At the fewest MLPerf's estimate is the worst latency of all,
# which random arrivals make far longer than p99; with this many the found rate is within some 20 % of the true one.
SPARE_ARRIVALS = 2.5
PERCENTILE = 0.99
# More load that brings less than this is not worth what it adds to latency and memory.
WORTH_RATIO = 1.03

Serve = Callable[[float, int, int], Block]
SearchEnd = Literal["precision", "time-limit", "never-held"]


@dataclass(frozen=True)
class Probe:
    """One rate that was tried: p99_ns is MLPerf's early-stopping estimate; `reason` says why it did not hold."""

    rate_per_s: float
    n: int
    p99_ns: float | None
    reason: str | None

    @property
    def held(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class RateSearch:
    """rate_per_s: the highest rate that held, None where none did; high_per_s: the lowest above it that did not."""

    rate_per_s: float | None
    high_per_s: float | None
    probes: tuple[Probe, ...]
    stopped_by: SearchEnd


def search_rate(
    serve: Serve,
    *,
    limit_ns: int,
    start_per_s: float,
    time_limit_s: float,
    seed: int = 0,
    clock_s: Callable[[], float] = time.monotonic,
) -> RateSearch:
    """The highest rate whose p99 holds `limit_ns`; `serve(rate_per_s, duration_ns, seed)` gives one block of arrivals.

    A rate holds when every query was served, none was issued late (see `lateness_ratio`), and MLPerf's early-stopping
    estimate of p99, an upper limit at 99 %, is within the limit; each probe has the arrivals that the estimate needs.
    A rate that does not hold is tried once more with other arrivals, since a neighbour's spell can spoil one probe,
    unless queries went unserved; it counts as not holding when both fail.

    The stopping rule: from `start_per_s` the rate is doubled while it holds, or halved while it does not, until one
    rate held and a higher one did not; then the geometric middle of the two is tried, until they are within 5 % of
    each other ("precision"). It ends before that when the next probe would pass `time_limit_s` ("time-limit"; the
    first probe always runs), or when eight halvings held nothing or not even the fastest query of a probe stayed within
    the limit ("never-held").
    """
    if limit_ns < 1 or start_per_s <= 0:
        raise ValueError(f"limit_ns ({limit_ns}) and start_per_s ({start_per_s}) must be positive")
    begun = clock_s()
    probes: list[Probe] = []
    low: float | None = None
    high: float | None = None
    rate, halvings = start_per_s, 0
    arrivals = SPARE_ARRIVALS * early_stopping_samples(PERCENTILE)

    def end(stopped_by: SearchEnd) -> RateSearch:
        return RateSearch(low, high, tuple(probes), stopped_by)

    def time_is_up() -> bool:
        return bool(probes) and clock_s() - begun + arrivals / rate > time_limit_s

    def probe() -> Block:
        block = serve(rate, round(arrivals / rate * 1e9), seed + len(probes))
        probes.append(_judge(rate, block, limit_ns))
        return block

    while not time_is_up():
        block = probe()
        if not probes[-1].held and not block.unserved:
            if time_is_up():
                break
            block = probe()
        low, high = (rate, high) if probes[-1].held else (low, rate)
        if len(block) and block.latencies_ns.min() > limit_ns:
            return end("never-held" if low is None else "precision")
        if low is not None and high is not None:
            if high / low <= RATE_PRECISION_RATIO:
                return end("precision")
            rate = math.sqrt(low * high)
        elif low is not None:
            rate *= 2
        else:
            halvings += 1
            if halvings > MOST_HALVINGS:
                return end("never-held")
            rate /= 2
    return end("time-limit")


def _judge(rate_per_s: float, block: Block, limit_ns: int) -> Probe:
    n = len(block)
    if block.unserved:
        return Probe(rate_per_s, n, None, f"{block.unserved} queries were never served")
    p99_ns = percentile_of_sorted(np.sort(block.latencies_ns), PERCENTILE, 0.95).early_stopping_ns
    if p99_ns is None:
        return Probe(rate_per_s, n, None, f"{n} arrivals are too few for p99")
    late = lateness_ratio([block])
    reason = None
    if p99_ns > limit_ns:
        reason = f"p99 {p99_ns / 1e6:.3g} ms is above {limit_ns / 1e6:.3g} ms"
    elif late is not None and late > LATE_SERVICE_RATIO:
        reason = f"queries were issued late, at p99 by {late:.0%} of the service time"
    return Probe(rate_per_s, n, p99_ns, reason)


@dataclass(frozen=True)
class LoadSearch:
    """The load that was chosen, and the samples a second at each that was tried, in order."""

    load: int
    tried: tuple[tuple[int, float], ...]


def search_load(loads: Sequence[int], throughput_per_s: Callable[[int], float]) -> LoadSearch:
    """The smallest of `loads` (ascending) whose throughput is within 3 % of the best that was tried.

    The stopping rule: loads are tried in order until two in a row have brought less than 3 % over the best before
    them, or one runs out of memory (MemoryError), or all are tried. What the first raises, this raises.
    """
    if not loads or list(loads) != sorted(set(loads)) or loads[0] < 1:
        raise ValueError(f"loads must be positive and ascending, not {list(loads)}")
    tried: list[tuple[int, float]] = []
    idle = 0
    for load in loads:
        try:
            per_s = throughput_per_s(load)
        except MemoryError:
            if not tried:
                raise
            break
        best = max((speed for _, speed in tried), default=0.0)
        tried.append((load, per_s))
        idle = 0 if per_s > WORTH_RATIO * best else idle + 1
        if idle == 2:
            break
    best = max(speed for _, speed in tried)
    return LoadSearch(next(load for load, speed in tried if speed * WORTH_RATIO >= best), tuple(tried))
