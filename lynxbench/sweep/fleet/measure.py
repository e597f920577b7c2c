"""The fresh process that runs one group on a node: `python -m lynxbench.sweep.fleet.measure FOLDER`.

Reads FOLDER/parcel.json, measures by the code of a local sweep into a results folder of its own below FOLDER, and says
in JSON lines on its standard output what is finished: the node sends that on. It dies with the node.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.errors import LynxBenchError
from lynxbench.records.record import Record
from lynxbench.records.store import ResultStore
from lynxbench.specs.load import cache_folder
from lynxbench.sweep.fleet.blobs import BlobCache
from lynxbench.sweep.fleet.parcel import Parcel, Unpacked, unpack
from lynxbench.sweep.groups import GroupRunner, unfinished
from lynxbench.sweep.hosts import find_executors
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.progress import Meter, Progress
from lynxbench.sweep.setting import Setting

if TYPE_CHECKING:
    import pyarrow as pa

PROGRESS_EVERY_S = 1.0
_PR_SET_PDEATHSIG = 1


def blob_folder() -> Path:
    """Where this host keeps files that groups need."""
    return cache_folder() / "blobs"


class Spool(ResultStore):
    """A results folder that tells of every cell as soon as it is in it."""

    def __init__(self, folder: Path, say: Any) -> None:
        super().__init__(folder)
        (folder / "parts").mkdir(parents=True)
        self._say = say

    def write_cell(self, record: Record, latencies: pa.Table | None = None) -> None:
        """As for every store; then say so."""
        super().write_cell(record, latencies)
        self._say({"cell": record["cell_id"], "predictions": record["predictions_id"], "timed": latencies is not None})


def run(folder: Path, say: Any) -> None:
    """Measure the group whose parcel lies in `folder`."""
    about = json.loads((folder / "node.json").read_text())
    parcel = Parcel.from_json((folder / "parcel.json").read_text())
    unpacked = unpack(parcel, BlobCache(blob_folder()), folder / "material")
    _measure(unpacked, about["node"], folder, say)


def _measure(unpacked: Unpacked, node: str, folder: Path, say: Any) -> None:
    parcel, resolved = unpacked.parcel, unpacked.resolved
    wanted = {name: declared for name, declared in resolved.executors.items() if name in parcel.executors}
    executors = find_executors(replace(resolved, executors=wanted))
    group = unpacked.group(executors.unavailable)
    finished = set(parcel.finished)
    setting = Setting(resolved, unpacked.material, executors.interpreters, folder / "work", cache_folder())
    groups = unfinished([group], finished)
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY_S:
            last = time.monotonic()
            say({"phase": progress.phase, "what": progress.what, "share": progress.done / progress.total})

    runner = GroupRunner(
        setting,
        Spool(folder / "results", say),
        sweep=parcel.sweep,
        finished=finished,
        meter=Meter(groups, resolved.suite.protocol, tell),
        phases=Phases(),
        node=node,
        first_part=parcel.part,
    )
    runner.write_skips([group])
    runner.run(groups)
    say({"done": True, "rebuilt": list(runner.rebuilt)})


def main() -> None:
    """Run the folder named on the command line; an error that is nobody's defect is one JSON line."""
    if sys.platform == "linux":
        # Dies with the node, even when that is killed without a chance to clean up.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != json.loads((Path(sys.argv[1]) / "node.json").read_text())["pid"]:
            return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when to stop
    out = os.dup(1)
    os.dup2(2, 1)  # whatever libraries print must not look like a message

    def say(message: Mapping[str, Any]) -> None:
        payload = memoryview(json.dumps(message).encode() + b"\n")
        while payload:
            payload = payload[os.write(out, payload) :]

    try:
        run(Path(sys.argv[1]), say)
    except LynxBenchError as error:
        say({"error": str(error)})
    except Exception as error:
        # Whatever it is, the coordinator gets the reason, and the cells that were finished before are with it.
        say({"error": f"{type(error).__name__}: {str(error)[:400]}"})


if __name__ == "__main__":
    main()
