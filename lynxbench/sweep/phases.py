"""Where a sweep's wall time went."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Phases:
    """Seconds by phase name; phases do not nest."""

    def __init__(self) -> None:
        self._spent_s: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a `with` block towards `name`."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._spent_s[name] = self._spent_s.get(name, 0.0) + time.monotonic() - begun

    def spent_s(self) -> Mapping[str, float]:
        return dict(self._spent_s)
