"""How far a diagnosis is."""

from __future__ import annotations

from collections.abc import Callable

from lynxbench.sweep.progress import Progress

# The steps before the search for sensitive parts, and their share of a diagnosis with one, for a progress line alone.
STEPS = 5
STEPS_SHARE = 0.2
OnProgress = Callable[[Progress], None]


class Meter:
    """Tells how far a diagnosis is: its steps first, then the parts that are tried."""

    def __init__(self, with_search: bool, on_progress: OnProgress) -> None:
        self._share = STEPS_SHARE if with_search else 1.0
        self._on_progress = on_progress
        self._steps = 0

    def step(self, what: str) -> None:
        done = self._share * self._steps / STEPS
        self._steps += 1
        self._on_progress(Progress(round(1000 * done), 1000, "diagnosis", what, None))

    def trial(self, what: str, tried: int, of: int, left_s: float) -> None:
        done = self._share + (1 - self._share) * tried / of
        self._on_progress(Progress(round(1000 * done), 1000, f"part {tried + 1} of {of}", what, left_s))
