"""`lynxbench node start`, and the one live view of a sweep on many hosts."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lynxbench.cli.text import minutes, plain
from lynxbench.errors import UsageError
from lynxbench.sweep.fleet.view import FleetProgress

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_EVERY_S = 10.0
DRAW_EVERY_S = 0.5
SHOWN_HOSTS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def node_start_command(
    scheduler: str, *, name: str | None, names: Sequence[str], executors: Path | None, tls: Path | None, as_json: bool
) -> int:
    """Doctor, join, serve; returns the exit code."""
    from lynxbench.sweep.fleet.joining import default_name, look, node_info, start_node
    from lynxbench.sweep.fleet.run import needs_distributed

    needs_distributed()
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: expected letters, digits, '.', '_', '+', '-', at most 64")
    if "://" not in scheduler:
        raise UsageError(f"{scheduler}: expected the scheduler's address, e.g. tcp://{scheduler.strip('/')}:8786")
    found = look(executors, names)
    info = node_info(name or default_name(), found)
    if not info.offers:
        why = "\n".join(f"  {report.name}: {plain(report.detail)}" for report in found)
        raise UsageError(f"no executor can run here:\n{why}\n  try       lynxbench doctor")

    def joined(address: str) -> None:
        if as_json:
            about = {"node": info.name, "address": address, "scheduler": scheduler, "offers": sorted(info.offers)}
            print(json.dumps(about), flush=True)
        else:
            print(f"node {info.name} of {scheduler} offers {', '.join(sorted(info.offers))}", flush=True)
            print("It measures one group at a time; leave this machine to it. Ctrl-C ends it.", flush=True)

    start_node(scheduler, info, tls=tls, on_joined=joined)
    return 0


class FleetView:
    """Call it with each `FleetProgress`: a table that is drawn anew in a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._live = None
        self._last = 0.0
        self._told = 0
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: FleetProgress) -> None:
        for note in progress.notes[self._told :]:
            print(f"note: {plain(note)}", file=sys.stderr, flush=True)
        self._told = len(progress.notes)
        now = time.monotonic()
        if now - self._last < (PLAIN_EVERY_S if self._live is None else DRAW_EVERY_S):
            return
        self._last = now
        if self._live is not None:
            self._live.update(_table(progress), refresh=True)
        else:
            print(headline(progress), file=sys.stderr, flush=True)


def headline(progress: FleetProgress) -> str:
    """The fleet in one line."""
    if not progress.hosts and not progress.finished:
        return "waiting for nodes"
    busy = sum(host.group is not None for host in progress.hosts)
    failed = f", {progress.failed} failed" if progress.failed else ""
    left = "" if progress.left_s is None else f"; {minutes(progress.left_s)} left"
    nodes = "node" if len(progress.hosts) == 1 else "nodes"
    cells = f"{progress.finished} of {progress.total} cells finished{failed}{left}"
    return f"{len(progress.hosts)} {nodes}, {busy} busy; {cells}"


def _table(progress: FleetProgress) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, title=headline(progress), title_justify="left", header_style="dim", pad_edge=False)
    for name in ("node", "group", "", "doing"):
        table.add_column(name, no_wrap=True, justify="right" if not name else "left")
    busy_first = sorted(progress.hosts, key=lambda host: (host.group is None, host.name))
    for host in busy_first[:SHOWN_HOSTS]:
        share = f"{host.share:.0%}" if host.group else ""
        # What a phase is at stands behind the group's name already.
        doing = plain(host.doing.removesuffix(host.group or "")) if host.group else ""
        table.add_row(escape(plain(host.name)), escape(plain(host.group or "free")), share, escape(doing))
    more = len(progress.hosts) - SHOWN_HOSTS
    if more > 0:
        table.add_row(f"and {more} more", "", "", "")
    return table
