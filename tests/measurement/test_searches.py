"""Searches for the load that serves best: found against queues and machines whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lynxbench.measurement import Block, RateSearch, poisson_arrivals_ns, search_load, search_rate
from tests.fakes import ScriptedClock, make_block

SERVICE_NS = 1_000_000


def queue(rate_per_s: float, duration_ns: int, seed: int) -> Block:
    """An M/D/1 queue of one millisecond a query, by Lindley's recursion: done = max(arrival, done before) + service."""
    arrivals = poisson_arrivals_ns(rate_per_s, duration_ns, seed)
    steps = np.arange(len(arrivals)) * SERVICE_NS
    done = np.maximum.accumulate(arrivals - steps) + steps + SERVICE_NS
    served = int((done < 3 * duration_ns).sum())
    times = arrivals[:served]
    block = make_block((done - arrivals)[:served])
    return replace(block, scheduled_ns=times, issued_ns=times, unserved=len(arrivals) - served)


def true_rate(limit_ns: int) -> float:
    """The rate at which p99 of a very long run is the limit, by bisection."""
    low, high = 1.0, 1_000.0
    for _ in range(14):
        middle = (low + high) / 2
        long_run = queue(middle, round(400_000 / middle * 1e9), 99)
        low, high = (middle, high) if np.percentile(long_run.latencies_ns, 99) <= limit_ns else (low, middle)
    return low


def searched(
    serve: Callable[[float, int, int], Block], limit_ns: int, start_per_s: float, limit_s: float
) -> RateSearch:
    clock = ScriptedClock()

    def timed(rate_per_s: float, duration_ns: int, seed: int) -> Block:
        clock.advance(duration_ns)
        return serve(rate_per_s, duration_ns, seed)

    found = search_rate(
        timed, limit_ns=limit_ns, start_per_s=start_per_s, time_limit_s=limit_s, clock_s=lambda: clock() / 1e9
    )
    assert clock() <= limit_s * 1e9 or len(found.probes) == 1
    return found


@pytest.mark.parametrize("limit_ns", [2_500_000, 10_000_000])
@pytest.mark.parametrize("start_per_s", [20.0, 500.0, 8_000.0])
def test_the_rate_is_that_of_the_queue(limit_ns: int, start_per_s: float) -> None:
    found = searched(queue, limit_ns, start_per_s, 1e6)
    truth = true_rate(limit_ns)
    assert found.stopped_by == "precision"
    assert found.rate_per_s is not None
    assert found.high_per_s is not None
    assert found.rate_per_s < found.high_per_s <= 1.05 * found.rate_per_s
    # MLPerf's estimate is an upper limit at 99 %, so the rate lies below the truth rather than above it.
    assert 0.6 * truth < found.rate_per_s < 1.1 * truth
    assert max(probe.rate_per_s for probe in found.probes if probe.held) == found.rate_per_s


def test_nothing_is_found_where_no_rate_can_hold() -> None:
    found = searched(queue, SERVICE_NS // 2, 100, 1e6)
    assert (found.rate_per_s, found.stopped_by) == (None, "never-held")
    assert all("is above 0.5 ms" in (probe.reason or "") for probe in found.probes)
    assert len(found.probes) == 2  # one rate tried twice: no other could do better
    late = searched(lambda *a: replace(queue(*a), issued_ns=queue(*a).latencies_ns + (1 << 40)), 1 << 40, 100, 1e6)
    assert (late.stopped_by, len(late.probes)) == ("never-held", 2 * 9)  # eight halvings


def test_the_time_limit_ends_the_search_with_what_held() -> None:
    found = searched(queue, 5_000_000, 100, 30)
    assert found.stopped_by == "time-limit"
    assert found.rate_per_s is not None


def test_one_bad_spell_does_not_decide() -> None:
    """The first probe of each rate is spoilt by a neighbour; the second tells the truth."""
    seen: set[float] = set()

    def serve(rate_per_s: float, duration_ns: int, seed: int) -> Block:
        spoilt = rate_per_s not in seen
        seen.add(rate_per_s)
        block = queue(rate_per_s, duration_ns, seed)
        return replace(block, latencies_ns=block.latencies_ns + (1 << 40)) if spoilt else block

    found = searched(serve, 5_000_000, 100, 1e6)
    assert found.rate_per_s is not None
    assert found.rate_per_s > 0.6 * true_rate(5_000_000)


def test_late_issues_and_unserved_queries_do_not_hold() -> None:
    def late(rate_per_s: float, duration_ns: int, seed: int) -> Block:
        block = queue(rate_per_s, duration_ns, seed)
        assert block.scheduled_ns is not None
        return replace(block, issued_ns=block.scheduled_ns + SERVICE_NS // 2)

    found = searched(late, 1 << 40, 100, 1e6)
    assert found.rate_per_s is None
    assert "issued late" in (found.probes[0].reason or "")
    flooded = searched(queue, 1 << 60, 100_000, 1e6)
    assert "never served" in (flooded.probes[0].reason or "")
    assert flooded.probes[1].rate_per_s == 50_000  # not tried again
    with pytest.raises(ValueError, match="must be positive"):
        search_rate(queue, limit_ns=0, start_per_s=1, time_limit_s=1)


def machine(speeds: dict[int, float], asked: list[int]) -> Callable[[int], float]:
    def throughput_per_s(load: int) -> float:
        asked.append(load)
        if load not in speeds:
            raise MemoryError
        return speeds[load]

    return throughput_per_s


@pytest.mark.parametrize(
    ("speeds", "chosen", "tried"),
    [
        ({1: 100, 2: 190, 4: 300, 8: 310, 16: 305, 32: 900}, 32, [1, 2, 4, 8, 16, 32]),  # 8 brought 3.3 %
        ({1: 100, 2: 190, 4: 300, 8: 302, 16: 305, 32: 900}, 4, [1, 2, 4, 8, 16]),
        ({1: 100, 2: 99, 4: 98, 8: 500}, 1, [1, 2, 4]),
        ({1: 100, 2: 200}, 2, [1, 2, 4]),  # out of memory at 4
        ({1: 1, 2: 2, 4: 4, 8: 8, 16: 16, 32: 32}, 32, [1, 2, 4, 8, 16, 32]),
    ],
)
def test_the_smallest_load_that_is_nearly_best(speeds: dict[int, float], chosen: int, tried: list[int]) -> None:
    asked: list[int] = []
    found = search_load([1, 2, 4, 8, 16, 32], machine(speeds, asked))
    assert (found.load, asked) == (chosen, tried)
    assert [load for load, _ in found.tried] == [load for load in tried if load in speeds]


def test_a_first_load_without_memory_and_wrong_loads_are_raised() -> None:
    with pytest.raises(MemoryError):
        search_load([1, 2], machine({}, []))
    for loads in ([], [2, 1], [0, 1], [1, 1]):
        with pytest.raises(ValueError, match="positive and ascending"):
            search_load(loads, lambda load: 1.0)
