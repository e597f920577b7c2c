"""How many threads really work, whatever a provider was told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Long enough that the scheduler's clock ticks and the interpreter do not matter, short beside any measurement.
BURST_NS = 60_000_000


@dataclass(frozen=True)
class Burst:
    """Runs back to back, for as long as `BURST_NS`.

    cpu_wall_ratio  CPU seconds a wall second: what was got; others on the machine lower it
    busy_threads    all CPU time over that of the busiest thread: how many shared the work, whoever else was there;
                    None where the system does not tell threads apart
    """

    cpu_wall_ratio: float
    busy_threads: float | None


def burst(run: Callable[[], object]) -> Burst:
    """Call `run` until the time is over. Threads that spin while they wait count as working: they cost as much."""
    before = thread_cpu_ns()
    start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    while (wall_ns := time.perf_counter_ns() - start_ns) < BURST_NS:
        run()
    cpu_ns = time.process_time_ns() - start_cpu_ns
    return Burst(cpu_ns / wall_ns, busy_threads(before, thread_cpu_ns()))


def thread_cpu_ns(tasks: Path = Path("/proc/self/task")) -> dict[int, int]:
    """CPU time of each thread of this process in ns, by thread id; empty where there is no /proc."""
    times = {}
    for task in tasks.glob("[0-9]*"):
        try:
            times[int(task.name)] = int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            continue  # the thread has ended
    return times


def busy_threads(before: Mapping[int, int], after: Mapping[int, int]) -> float | None:
    """Total CPU time over the busiest thread's: n threads with equal shares give n."""
    spent = [time_ns - before.get(thread, 0) for thread, time_ns in after.items()]
    most = max(spent, default=0)
    return sum(spent) / most if most > 0 else None
