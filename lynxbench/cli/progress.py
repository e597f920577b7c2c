"""How far a sweep is, on stderr: one live line in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from lynxbench.cli.text import minutes, plain
from lynxbench.sweep.progress import Progress

PLAIN_EVERY_S = 10.0


class ProgressLine:
    """Call it with each `Progress`; use it as a context manager."""

    def __init__(self) -> None:
        self._live = None
        self._last_plain = 0.0
        self._begun = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bars

            self._live = Bars(
                TextColumn("{task.fields[left]}", justify="right"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[what]}", markup=False),
                console=Console(stderr=True),
                transient=True,
                # Redrawing costs the parent CPU that a timed block may want: steps are drawn when they happen.
                auto_refresh=False,
            )
            self._task = self._live.add_task("sweep", total=1.0, left="", what="reading the suite")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._live.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        left = "" if progress.left_s is None else f"{minutes(progress.left_s)} left"
        what = plain(f"{progress.phase}: {progress.what}")
        now = time.monotonic()
        if self._live is not None:
            if now - self._last_plain >= 0.2:
                self._last_plain = now
                self._live.update(self._task, completed=progress.done / progress.total, left=left, what=what)
                self._live.refresh()
        elif now - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = now
            percent = 100 * progress.done // progress.total
            print(f"{percent:3d} %  {left:>14}  {what}", file=sys.stderr, flush=True)
