"""A fleet whose nodes are killed while they measure: no finished record may be lost, none doubled.

    python benchmarks/fleet_survival.py [--kills 20]

Three nodes of one machine take turns on a small sweep. At a random moment a node that has a group, with all that it
started, gets SIGKILL, and is started again; the group is retried. Up to two kills a sweep, which is what one group may
survive. At the end all files are read, and cells that were finished before a kill are compared with what they were.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fleets import Fleet, fleet, overlaps
from lynxbench.records.places import find_places
from lynxbench.records.results import complaints
from lynxbench.records.store import read_records, read_table

SWEEP: Sequence[str] = (
    "--budget", "quick", "--only", "model=fashion-resnet8,fashion-embedder,scheme=fp32,int8-static",
)  # fmt: skip
CELLS = 8
NODES = ("one", "two", "three")
KILLS_A_SWEEP = 2
LONGEST_S = 12.0
LEAVING_S = 60.0


@dataclass(frozen=True)
class FleetSurvived:
    """What the kills did; all but the first three should be 0."""

    kills: int
    sweeps: int
    finished_before: int  # cells that were finished when a kill came, over all kills
    lost: int
    changed: int
    doubled: int
    incomplete: int  # records without all their answers and latencies
    overlapping: int
    left_behind: int

    @property
    def whole(self) -> bool:
        return not (self.lost + self.changed + self.doubled + self.incomplete + self.overlapping + self.left_behind)


def kill_nodes(home: Path, kills: int, seed: int = 0) -> FleetSurvived:
    """Kill `kills` times; raises RuntimeError when a sweep does not end well."""
    dice = random.Random(seed)
    totals = dict.fromkeys(
        ("finished_before", "lost", "changed", "doubled", "incomplete", "overlapping", "left_behind"), 0
    )
    done = sweeps = 0
    with fleet(home) as nodes:
        for name in NODES:
            nodes.start(name)
        for name in NODES:
            nodes.joined(name)
        while done < kills:
            folder = home / f"sweep-{sweeps}"
            sweep = nodes.sweep(*SWEEP, "--out", str(folder))
            before: dict[str, object] = {}
            for _ in range(min(KILLS_A_SWEEP, kills - done)):
                name = _in_mid_group(nodes, sweep, dice.uniform(0.5, LONGEST_S))
                if name is None:
                    break
                seen = _rows(folder)
                totals["finished_before"] += len(seen)
                before |= seen
                totals["left_behind"] += len(psutil.wait_procs(nodes.kill(name), timeout=LEAVING_S)[1])
                done += 1
                nodes.start(name)
            said = sweep.communicate(timeout=600)[1]
            if sweep.returncode != 0:
                raise RuntimeError(f"the sweep ended with {sweep.returncode}: {said}")
            sweeps += 1
            for what, count in _checked(folder, before).items():
                totals[what] += count
    return FleetSurvived(kills=done, sweeps=sweeps, **totals)


def _in_mid_group(nodes: Fleet, sweep: subprocess.Popen[str], after_s: float) -> str | None:
    """Wait, then for a node that runs a group's process; None when the sweep has ended."""
    time.sleep(after_s)
    while sweep.poll() is None:
        for name, node in nodes.nodes.items():
            if node.poll() is None and psutil.Process(node.pid).children():
                return name
        time.sleep(0.02)
    return None


def _rows(folder: Path) -> dict[str, object]:
    return {record["cell_id"]: dict(record.values) for record in read_records(folder)} if folder.is_dir() else {}


def _checked(folder: Path, before: dict[str, object]) -> dict[str, int]:
    records = read_records(folder)
    after = {record["cell_id"]: dict(record.values) for record in records}
    (place,) = find_places([folder])
    return {
        "lost": len(before.keys() - after.keys()) + CELLS - len(after),
        "changed": sum(after.get(cell) != row for cell, row in before.items()),
        "doubled": len(read_table(folder, "records")) - len(after),
        "incomplete": len(complaints(place, records)) + sum(record["status"] != "ok" for record in records),
        "overlapping": len(overlaps(records)),
    }


def main() -> int:
    """Kill, and print what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        found = kill_nodes(Path(home), asked.kills, asked.seed)
    print(
        f"{found.kills} nodes killed with all their processes in mid-group, over {found.sweeps} sweeps of {CELLS} cells"
    )
    print(f"{found.finished_before} cells were finished when a kill came: {found.lost} lost, {found.changed} changed")
    print(f"{found.doubled} doubled, {found.incomplete} incomplete, {found.overlapping} groups overlap on a node")
    print(f"{found.left_behind} processes left behind")
    return 0 if found.whole else 1


if __name__ == "__main__":
    sys.exit(main())
