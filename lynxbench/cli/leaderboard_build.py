"""`lynxbench leaderboard build`: from results folders to a static site."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lynxbench.cli.text import plain, size
from lynxbench.leaderboard.site import build_site


def build_command(
    results: Sequence[Path], *, out: Path, title: str, diagnoses: Sequence[Path], force: bool, as_json: bool
) -> int:
    """Build the site and say what it holds; returns the exit code."""
    site = build_site(results, out, title=title, force=force, diagnoses=diagnoses, on_step=_say)
    if as_json:
        print(json.dumps({**asdict(site), "folder": str(site.folder)}))
        return 0
    print(
        f"{site.records:,} records of {site.hosts:,} host{'' if site.hosts == 1 else 's'}, "
        f"{site.workloads:,} workload{'' if site.workloads == 1 else 's'}; {site.ranked:,} rows ranked in "
        f"{site.contests:,} contests"
    )
    if site.replaced:
        print(f"{site.replaced:,} rows were left out: a later run of the same cell on the same host counts")
    if site.diagnosed:
        print(f"{site.diagnosed:,} page{'' if site.diagnosed == 1 else 's'} with a diagnosis")
    print(f"open      {plain(str(site.folder / 'index.html'))}  ({size(site.size_bytes)})")
    return 0


def _say(what: str, share: float) -> None:
    """How far it is: one line that is written over in a terminal, a line a step elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{100 * share:3.0f} %  {plain(what)}" if share < 1 else "\r\x1b[K", end="", file=sys.stderr)
        sys.stderr.flush()
    elif share < 1:
        print(f"{100 * share:3.0f} %  {plain(what)}", file=sys.stderr)
