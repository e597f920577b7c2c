"""Stand-ins behind the real interfaces: a clock that follows a script, and entrants whose blocks are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from lynxbench.measurement import Block, Counters


class ScriptedClock:
    """A clock that moves only when told to: readings are exact, so a lost or shifted sample shows at once."""

    def __init__(self, start_ns: int = 0) -> None:
        self.now_ns = start_ns

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ns: int) -> None:
        self.now_ns += ns

    def query(self, latencies_ns: Iterable[int], log: list[str] | None = None, name: str = "") -> Callable[[], None]:
        """A query whose successive runs take exactly `latencies_ns`; it writes `name` to `log` each time."""
        script: Iterator[int] = iter(latencies_ns)

        def run() -> None:
            if log is not None:
                log.append(name)
            self.advance(next(script))

        return run


def scripted_counters(*readings: Counters) -> Callable[[], Counters]:
    """Counters that return `readings` one after the other."""
    script = iter(readings)
    return lambda: next(script)


def make_block(
    latencies_ns: Sequence[int] | np.ndarray,
    *,
    delay_ratio: float | None = 0.0,
    started_ns: int = 0,
    steal_ns: int | None = 0,
    cpu_ratio: float = 1.0,
) -> Block:
    """A block of exactly `latencies_ns`, without time between runs, that waited for a CPU for `delay_ratio` of it."""
    latencies = np.asarray(latencies_ns, dtype=np.int64)
    wall_ns = int(latencies.sum())
    return Block(
        latencies_ns=latencies,
        started_ns=started_ns,
        wall_ns=wall_ns,
        cpu_ns=round(cpu_ratio * wall_ns),
        scheduler_delay_ns=None if delay_ratio is None else round(delay_ratio * wall_ns),
        involuntary_switches=0,
        steal_ns=steal_ns,
        next_query=0,
    )


class ScriptedEntrant:
    """An entrant whose blocks come from `blocks` one after the other; an exception in it is raised instead.

    When the script is used up its last item repeats. It writes its name to `log` and moves `clock` by the block's time.
    """

    def __init__(
        self,
        name: str,
        blocks: Sequence[Block | BaseException],
        *,
        log: list[str] | None = None,
        clock: ScriptedClock | None = None,
    ) -> None:
        self.name = name
        self.asked_ns: list[int] = []
        self._blocks = blocks
        self._log = log
        self._clock = clock

    def block(self, duration_ns: int) -> Block:
        item = self._blocks[min(len(self.asked_ns), len(self._blocks) - 1)]
        self.asked_ns.append(duration_ns)
        if self._log is not None:
            self._log.append(self.name)
        if isinstance(item, BaseException):
            raise item
        if self._clock is not None:
            self._clock.advance(item.wall_ns)
        return item
