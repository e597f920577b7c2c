"""`lynxbench suite fetch`: get a suite's models and data, tell how far it is, say what can be measured then."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lynxbench.cli.text import minutes, plain, size
from lynxbench.fetching import Fetched, Progress, fetch_suite, planned
from lynxbench.specs.fetched import Sources
from lynxbench.specs.load import cache_folder
from lynxbench.specs.resolve import resolve_suite

PLAIN_EVERY_S, LIVE_EVERY_S = 5.0, 0.2
WIDTH = 100
WORDS = {"kept": "there", "wanted": "to get", "lacking": "left out"}


class FetchLine:
    """How far a fetch is, on stderr; call it with each `Progress`."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._begun: float | None = None
        self._last = 0.0
        self._what = ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.what == self._what and now - self._last < (LIVE_EVERY_S if self._live else PLAIN_EVERY_S):
            return
        self._last, self._what = now, progress.what
        text = plain(progress.what)
        if progress.what.startswith("downloading"):
            self._begun = self._begun or now
            text += f"  {size(progress.done_bytes)} of {size(progress.total_bytes)}"
            spent = now - self._begun
            if progress.done_bytes and spent > 1:
                left = (progress.total_bytes - progress.done_bytes) * spent / progress.done_bytes
                text += f", about {minutes(left)} left"
        print(
            f"\r{text[:WIDTH]:<{WIDTH}}" if self._live else text,
            end="" if self._live else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Leave an empty line."""
        if self._live:
            print(f"\r{'':<{WIDTH}}\r", end="", file=sys.stderr, flush=True)


def fetch_command(suite: str, *, only: Sequence[str], dry_run: bool, as_json: bool) -> int:
    """Fetch, or say what would be fetched; returns the exit code."""
    if dry_run:
        found = planned(suite, only)
    else:
        line = FetchLine()
        try:
            found = fetch_suite(suite, only=only, on_progress=line)
        finally:
            line.end()
    runs, lacks = _workloads(suite)
    if as_json:
        items = [asdict(item) for item in found.items]
        document = {"suite": suite, "cache": str(cache_folder()), "items": items, "runs": runs, "lacks": lacks}
        print(json.dumps(document, indent=2))
    else:
        _print(found, suite, runs, lacks, dry_run)
    for item in found.items:
        if item.state == "failed" and item.reason is not None and not as_json:
            kind = "refused" if item.exit_code == 4 else "error"
            print(f"{kind}: {plain(item.reason, keep_lines=True)}", file=sys.stderr)
    return 0 if dry_run else found.exit_code


def _print(found: Fetched, suite: str, runs: list[str], lacks: dict[str, str], dry_run: bool) -> None:
    archives = {archive.name: archive for archive in found.sources.archives}
    width = max(len(item.name) for item in found.items)
    for item in found.items:
        about = _about(found.sources, item.name) if item.what == "part" else ""
        if item.what == "archive":
            archive = archives[item.name]
            about = f"{archive.kind}  {archive.licence}: {archive.taken}"
        state = WORDS.get(item.state, item.state)
        taken = size(item.size_bytes) if item.size_bytes else ""
        print(f"{item.name:<{width}}  {state:<8}  {taken:>7}  {about}")
    wanted = [item for item in found.items if item.what == "archive" and item.state == "wanted"]
    if dry_run:
        print(
            f"\n{len(wanted)} archives to get, {size(sum(item.size_bytes for item in wanted))}, into {cache_folder()}"
        )
    if runs:
        print(f"\nruns      {', '.join(runs)}: lynxbench sweep {suite}")
    for workload, parts in lacks.items():
        print(f"{'lacks':<8}  {workload}: {parts}")


def _about(sources: Sources, name: str) -> str:
    part = next(part for part in sources.parts if part.name == name)
    return (
        f"made from {len(part.archives)} archives"
        if len(part.archives) > 3
        else f"made from {', '.join(part.archives)}"
    )


def _workloads(suite: str) -> tuple[list[str], dict[str, str]]:
    """The suite's workloads that run now, and what the others lack."""
    from lynxbench.errors import DeclarationError
    from lynxbench.specs.base import build
    from lynxbench.specs.load import read_toml
    from lynxbench.specs.resolve import suite_file
    from lynxbench.specs.suite import Suite

    try:
        resolved = resolve_suite(suite)
    except DeclarationError:
        file = suite_file(suite)
        declared: Any = build(Suite, read_toml(file), str(file))
        return [], {workload.name: "nothing of it is here yet" for workload in declared.workloads}
    return [workload.name for workload in resolved.workloads], dict(resolved.left_out)
