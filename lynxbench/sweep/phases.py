"""Where a sweep's wall time went, and the parent's own processor time with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Phases:
    """Seconds by phase name; phases do not nest."""

    def __init__(self) -> None:
        self._spent_s: dict[str, float] = {}
        self._own_cpu_s: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a `with` block towards `name`."""
        begun, cpu = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self._spent_s[name] = self._spent_s.get(name, 0.0) + time.monotonic() - begun
            self._own_cpu_s[name] = self._own_cpu_s.get(name, 0.0) + time.process_time() - cpu

    def spent_s(self) -> Mapping[str, float]:
        return dict(self._spent_s)

    def own_cpu_s(self) -> Mapping[str, float]:
        """Processor time of this process alone, by phase: what measuring costs beside what is measured."""
        return dict(self._own_cpu_s)
