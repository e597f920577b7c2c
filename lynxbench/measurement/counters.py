"""What the operating system says about this process: CPU time used, time spent waiting for a CPU, time stolen."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Counters", "read_counters"]

_TASKS = Path("/proc/self/task")
_STAT = Path("/proc/stat")
_STEAL_FIELD = 8  # of the "cpu" line, see proc_stat(5)


@dataclass(frozen=True)
class Counters:
    """A reading of counters that only grow; differences of two readings describe the time between them.

    cpu_ns                CPU time of all threads of the process
    delay_ns_by_thread    thread id → ns it was ready to run but waited for a CPU (second field of schedstat, see the
                          kernel's Documentation/scheduler/sched-stats.rst); None where the kernel does not say
    involuntary_switches  times a thread was put off its CPU
    steal_ns              CPU time that the hypervisor took from the whole machine, all CPUs together, in steps of
                          a clock tick (10 ms); None where unreadable
    """

    cpu_ns: int
    delay_ns_by_thread: Mapping[int, int] | None
    involuntary_switches: int
    steal_ns: int | None

    def delay_ns_since(self, earlier: Counters) -> int | None:
        """Scheduler delay between two readings, summed over the threads that are there at the end.

        Threads that ended in between take their counter with them.
        """
        if self.delay_ns_by_thread is None or earlier.delay_ns_by_thread is None:
            return None
        before = earlier.delay_ns_by_thread
        return sum(delay - before.get(thread, 0) for thread, delay in self.delay_ns_by_thread.items())

    def steal_ns_since(self, earlier: Counters) -> int | None:
        """Stolen CPU time between two readings, None where either lacks it."""
        if self.steal_ns is None or earlier.steal_ns is None:
            return None
        return max(0, self.steal_ns - earlier.steal_ns)


def read_counters() -> Counters:
    """Read all counters now. Takes some 10 µs a thread; never call it inside a timed span."""
    return Counters(
        cpu_ns=time.process_time_ns(),
        delay_ns_by_thread=_delay_ns_by_thread(),
        involuntary_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        steal_ns=_steal_ns(),
    )


def _delay_ns_by_thread() -> dict[int, int] | None:
    try:
        threads = os.listdir(_TASKS)  # noqa: PTH208  (half the time of iterdir, and this runs at every block)
    except OSError:
        return None
    delays: dict[int, int] = {}
    for thread in threads:
        try:
            delays[int(thread)] = int((_TASKS / thread / "schedstat").read_bytes().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has just ended
        except (OSError, IndexError, ValueError):
            return None
    return delays or None


def _steal_ns() -> int | None:
    try:
        with _STAT.open("rb") as file:
            fields = file.readline().split()
        return int(fields[_STEAL_FIELD]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    except (OSError, IndexError, ValueError):
        return None
