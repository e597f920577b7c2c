"""Sweeps whose processes are killed at random moments, and what a full disk leaves behind.

    python benchmarks/survival.py [--kills 100]

Each kill hits the sweep itself or one of the processes that it started, with SIGKILL, somewhere in its course; the same
command then goes on. After every kill all files are read, and finished cells are compared with what they were.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from lynxbench.records.store import read_records

# A group that takes a few seconds: one small model, its reference and one scheme under two scenarios.
SWEEP: Sequence[str] = ("sweep", "--budget", "quick", "--only", "model=fashion-resnet8,scheme=fp32,int8-static")
CELLS = 4
LONGEST_S = 6.0
LEAVING_S = 60.0


@dataclass(frozen=True)
class Survived:
    """What the kills did: all but the first five should be 0."""

    kills: int
    of_parents: int
    of_children: int
    sweeps_ended: int  # that came to their end between kills and were begun anew
    too_late: int  # the sweep had ended before it was to be killed
    unreadable: int
    lost: int
    measured_again: int
    doubled: int
    left_behind: int

    @property
    def whole(self) -> bool:
        return not (self.unreadable or self.lost or self.measured_again or self.doubled or self.left_behind)


def kill_again_and_again(home: Path, kills: int, seed: int = 0) -> Survived:
    """Kill `kills` times in `home`, then let the last sweep end; raises RuntimeError when it does not end well."""
    dice = random.Random(seed)
    counts = dict.fromkeys(
        ("of_parents", "of_children", "sweeps_ended", "too_late", "unreadable", "lost", "measured_again", "doubled",
         "left_behind"), 0,
    )  # fmt: skip
    seen: dict[str, object] = {}
    folder = home / "results" / "starter-quick"
    done = 0
    while done < kills:
        sweep = _start(home, "--retry")
        time.sleep(dice.uniform(0.3, LONGEST_S))
        started = _descendants(sweep.pid)
        if sweep.poll() is not None:
            counts["too_late"] += 1
        else:
            of_child = bool(started) and dice.random() < 0.5
            counts["of_children" if of_child else "of_parents"] += 1
            _kill(dice.choice(started).pid if of_child else sweep.pid)
            done += 1
        if sweep.poll() is None and not _ends(sweep):
            raise RuntimeError("the sweep neither ended nor went on")
        counts["left_behind"] += len(psutil.wait_procs(started, timeout=LEAVING_S)[1])
        counts["unreadable"] += _unreadable(folder)
        rows = [(str(r["cell_id"]), r["started_at"]) for r in read_records(folder) if r["status"] == "ok"]
        now = dict(rows)
        counts["doubled"] += len(rows) - len(now)
        counts["lost"] += len(seen.keys() - now.keys())
        counts["measured_again"] += sum(now[cell] != at for cell, at in seen.items() if cell in now)
        seen = now
        if len(now) == CELLS:
            counts["sweeps_ended"] += 1
            seen = {}
            folder.rename(folder.with_name(f"ended-{counts['sweeps_ended']}"))
    last = _start(home, "--retry")
    if not _ends(last) or last.returncode != 0:
        raise RuntimeError(f"the last sweep ended with {last.returncode}")
    return Survived(kills=done, **counts)


def _start(home: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "LYNXBENCH_CACHE": str(home / "cache"),
        "LYNXBENCH_CONFIG": str(home / "config"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "lynxbench", *SWEEP, *more],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ends(sweep: subprocess.Popen[bytes]) -> bool:
    try:
        sweep.wait(300)
    except subprocess.TimeoutExpired:
        sweep.kill()
        sweep.wait()
        return False
    return True


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it left by itself just now
        os.kill(pid, signal.SIGKILL)


def _unreadable(folder: Path) -> int:
    count = 0
    for file in folder.rglob("*.parquet") if folder.exists() else ():
        try:
            pq.read_table(file, page_checksum_verification=True)
        except Exception:
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        begun = time.monotonic()
        found = kill_again_and_again(Path(home), arguments.kills, arguments.seed)
        print(
            f"{found.kills} SIGKILLs ({found.of_parents} of the sweep, {found.of_children} of a process it started) in "
            f"{time.monotonic() - begun:.0f} s: {found.unreadable} unreadable files, {found.lost} finished cells lost, "
            f"{found.measured_again} measured again, {found.doubled} doubled, {found.left_behind} processes left behind"
        )


if __name__ == "__main__":
    main()
