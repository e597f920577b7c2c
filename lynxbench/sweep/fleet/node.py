"""What runs inside a node's Dask worker: it says what the host offers, takes in files, and runs one group at a time."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lynxbench.errors import UntrustedInput
from lynxbench.execution import HostFacts
from lynxbench.sweep.fleet.blobs import BlobCache
from lynxbench.sweep.fleet.measure import blob_folder
from lynxbench.sweep.fleet.messages import FinishedCell, Message, pieces
from lynxbench.sweep.fleet.parcel import Parcel

EXTENSION = "lynxbench"  # under this name a Dask worker holds its `Node`
HOST_RESOURCE = "lynxbench_host"
LOOK_S = 1.0  # between two looks whether the group is still wanted
FILES_TIMEOUT_S = 600.0  # without a single piece of a file
# What Dask's nannies set for their workers; a local sweep runs without, so groups do too.
_NANNYS = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class NodeInfo:
    """A node as the coordinator sees it. `offers` are executors that `doctor` found available, `lacks` the others
    with the reason.
    """

    name: str
    version: str
    offers: frozenset[str]
    lacks: Mapping[str, str]
    host: HostFacts


@dataclass
class Node:
    """A node's state inside its Dask worker."""

    info: NodeInfo
    blobs: BlobCache = field(default_factory=lambda: BlobCache(blob_folder()))
    arrived_s: float = 0.0  # when the last piece of a file came
    refused: str | None = None  # why one could not be taken in


class Unwanted(Exception):
    """The coordinator has given the group up, or has gone."""


def describe(dask_worker: Any = None) -> NodeInfo | None:
    """Who this node is; None for a Dask worker that is no node."""
    node: Node | None = dask_worker.extensions.get(EXTENSION)
    return None if node is None else node.info


def take_piece(digest: str, offset: int, piece: bytes, last: bool, dask_worker: Any = None) -> None:
    """A piece of a file that this node asked for."""
    node: Node = dask_worker.extensions[EXTENSION]
    node.arrived_s = time.monotonic()
    try:
        node.blobs.add(digest, offset, piece, last=last)
    except (OSError, UntrustedInput) as error:
        node.refused = str(error)  # the group that waits for it is told, and is tried elsewhere


async def run_group(parcel_json: str, queue: str, tag: str, key: str) -> str | None:
    """The Dask task `key`: run a group, sending finished cells to `queue`. Returns what went wrong, or None.

    `tag` goes with every message, so that the coordinator knows whose it is.
    """
    from distributed import get_worker

    worker = get_worker()
    node: Node = worker.extensions[EXTENSION]

    async def send(message: Message) -> None:
        put = asyncio.ensure_future(worker.scheduler.queue_put(name=queue, data={**message, "tag": tag}, timeout=None))
        try:
            while not (await asyncio.wait({put}, timeout=LOOK_S))[0]:
                check()  # the queue is full for good where nobody reads it any more
            put.result()
        finally:
            put.cancel()

    def check() -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state != "executing":
            raise Unwanted

    parcel = Parcel.from_json(parcel_json)
    try:
        await _fetch(node, parcel, send, check)
        async with _host_alone(check):
            return await _measured(node, parcel_json, send, check)
    except Unwanted:
        return "it was given up by the coordinator"


async def _fetch(node: Node, parcel: Parcel, send: Any, check: Any) -> None:
    """Ask for the files that the cache lacks, and wait until they are here, whole."""
    node.arrived_s, node.refused = time.monotonic(), None
    missing = await asyncio.to_thread(node.blobs.missing, parcel.digests)
    if missing:
        await send({"is": "need", "digests": missing})
    while missing := [digest for digest in missing if not node.blobs.holds(digest)]:
        await asyncio.sleep(0.05)
        check()
        if node.refused is not None:
            raise RuntimeError(f"files could not be taken in: {node.refused}")
        if time.monotonic() - node.arrived_s > FILES_TIMEOUT_S:
            raise TimeoutError(f"{len(missing)} files did not come within {FILES_TIMEOUT_S:g} s")


@asynccontextmanager
async def _host_alone(check: Any) -> AsyncIterator[None]:
    """Hold this host: nodes that share one (to try a fleet out, or by mistake) take turns."""
    from filelock import FileLock, Timeout

    lock = FileLock(Path(tempfile.gettempdir()) / f"lynxbench-host-{os.getuid()}.lock", timeout=0)
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            await asyncio.sleep(0.2)
            check()
    try:
        yield
    finally:
        lock.release()


async def _measured(node: Node, parcel_json: str, send: Any, check: Any) -> str | None:
    folder = Path(tempfile.mkdtemp(prefix="group-", dir=_groups_folder(node.info.name)))
    (folder / "parcel.json").write_text(parcel_json)
    (folder / "node.json").write_text(json.dumps({"node": node.info.name, "pid": os.getpid()}))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "lynxbench.sweep.fleet.measure", str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in _NANNYS},
        limit=1 << 20,
    )
    try:
        return await _relayed(process, folder, send, check)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _relayed(process: asyncio.subprocess.Process, folder: Path, send: Any, check: Any) -> str | None:
    """Send on what the process says until it ends; returns what went wrong."""
    assert process.stdout is not None
    reading = asyncio.ensure_future(process.stdout.readline())
    try:
        while True:
            await asyncio.wait({reading}, timeout=LOOK_S)
            check()
            if not reading.done():
                continue
            line = reading.result()
            if not line:
                return f"the process of the group ended with exit code {await process.wait()}"
            said = json.loads(line)
            reading = asyncio.ensure_future(process.stdout.readline())
            if "cell" in said:
                for piece in pieces(await asyncio.to_thread(_finished, folder, said)):
                    await send(piece)
            elif "phase" in said:
                await send({"is": "progress", **said})
            elif "error" in said:
                return str(said["error"])
            else:
                return None
    finally:
        reading.cancel()


def _finished(folder: Path, said: Mapping[str, Any]) -> FinishedCell:
    """The files of a cell that the process says is finished."""
    keys = {"records": said["cell"]}
    if said["timed"]:
        keys["latencies"] = said["cell"]
    if said["predictions"] is not None:
        keys["predictions"] = said["predictions"]
    parts = folder / "results" / "parts"
    files = {table: (parts / f"{table}-{key}.parquet").read_bytes() for table, key in keys.items()}
    return FinishedCell(said["cell"], said["predictions"], files)


def _groups_folder(name: str) -> Path:
    folder = blob_folder().parent / "groups" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear(name: str) -> None:
    """Remove what a node of this name left behind when it was killed."""
    shutil.rmtree(_groups_folder(name), ignore_errors=True)
