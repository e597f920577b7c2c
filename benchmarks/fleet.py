"""What a fleet costs its coordinator: a simulated sweep whose nodes sleep instead of measuring.

    python benchmarks/fleet.py [--nodes 1000] [--cells 10000] [--group 5] [--sleep-s 20]

The scheduler, the coordinator, the queue, the files of each cell and the results folder are real; nodes are Dask
workers, many to a process, that sleep for each cell and then send a record with 2,000 latencies and 500 answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fleets import fleet
from lynxbench import __version__
from lynxbench.execution import host_facts
from lynxbench.records.store import ResultStore, statuses
from lynxbench.sweep.fleet.arrivals import checked_status
from lynxbench.sweep.fleet.coordinator import Coordinator
from lynxbench.sweep.fleet.joining import hush, quiet
from lynxbench.sweep.fleet.messages import FinishedCell, pieces
from lynxbench.sweep.fleet.node import EXTENSION, HOST_RESOURCE, Node, NodeInfo
from lynxbench.sweep.fleet.orders import Job, Order
from lynxbench.sweep.fleet.view import FleetProgress

NODES_A_PROCESS = 250
LATENCIES, ANSWERS = 2_000, 500


@dataclass(frozen=True)
class FleetCost:
    """What a simulated sweep took. Processor seconds, and resident bytes at a quarter of the cells and at the end."""

    nodes: int
    cells: int
    wall_s: float
    coordinator_cpu_s: float
    scheduler_cpu_s: float
    quarter_bytes: int
    peak_bytes: int
    scheduler_peak_bytes: int
    kept: int
    merge_cpu_s: float | None


# --- nodes that sleep -------------------------------------------------------------------------------------------------


async def sleep_group(parcel: str, queue: str, tag: str, key: str) -> str | None:
    """In the place of `node.run_group`: sleep, and send a finished cell, for each cell."""
    from distributed import get_worker

    told, scheduler = json.loads(parcel), get_worker().scheduler
    for cell in told["cells"]:
        await asyncio.sleep(random.uniform(0.5, 1.5) * told["sleep_s"])
        for piece in pieces(_finished(cell)):
            await scheduler.queue_put(name=queue, data={**piece, "tag": tag}, timeout=None)
    return None


_NOBODY = b"0123456789abcdef"  # stands in the templates where a cell's name will
_TEMPLATE: dict[str, bytes] = {}


def _finished(cell_id: str) -> FinishedCell:
    """A cell of the usual size: the files of one template under another name, which costs a sleeper next to nothing."""
    if not _TEMPLATE:
        _TEMPLATE.update({table: _parquet(rows) for table, rows in _template().items()})
    files = {table: content.replace(_NOBODY, cell_id.encode()) for table, content in _TEMPLATE.items()}
    return FinishedCell(cell_id, cell_id, files)


def _template() -> dict[str, Any]:
    import pyarrow as pa

    from benchmarks.synthetic import one_host
    from lynxbench.datasets.predictions import Predictions
    from lynxbench.records.answers import predictions_table
    from lynxbench.records.store import table_schema

    dice = np.random.default_rng(0)
    ids = np.array([f"sample-{n}" for n in range(ANSWERS)])
    predictions = Predictions(
        sample_ids=ids,
        source_ids=ids,
        strata={"class": ids},
        failed=np.zeros(ANSWERS, bool),
        labels=dice.integers(0, 10, ANSWERS),
        logits=dice.normal(size=(ANSWERS, 10)).astype(np.float32),
    )
    nobody = _NOBODY.decode()
    record = {**next(one_host(0, models=1)).values, "cell_id": nobody, "predictions_id": nobody}
    latencies = {
        "cell_id": pa.array([nobody] * LATENCIES),
        "round": pa.array(np.arange(LATENCIES, dtype=np.int32) // 200),
        "process": pa.array(np.zeros(LATENCIES, np.int32)),
        "excluded": pa.array(np.zeros(LATENCIES, bool)),
        "latency_ns": pa.array(dice.integers(60_000, 90_000, LATENCIES)),
        "scheduled_ns": pa.nulls(LATENCIES, pa.int64()),
        "issued_ns": pa.nulls(LATENCIES, pa.int64()),
    }
    return {
        "records": pa.Table.from_pylist([record], schema=table_schema("records")),
        "latencies": pa.table(latencies, schema=table_schema("latencies")),
        "predictions": predictions_table(nobody, predictions),
    }


def _parquet(table: Any) -> bytes:
    """As a results folder holds it, but for the names, which lie there as they are, and for checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = {name: "none" if name in ("cell_id", "predictions_id") else "zstd" for name in _leaves(table.schema)}
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=packed)
    return bytes(sink.getvalue())


def _leaves(schema: Any) -> list[str]:
    """Parquet's names of all columns, nested ones by their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    described = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [described.column(place).path for place in range(len(described))]


async def _sleepers(scheduler: str, first: int, count: int) -> None:
    """Many nodes in this process, until the scheduler ends."""
    from distributed import Worker

    quiet()
    facts = host_facts()

    async def one(number: int) -> Any:
        name = f"node-{number}"
        worker = Worker(
            scheduler, name=name, nthreads=1, resources={HOST_RESOURCE: 1, "cpu": 1}, memory_limit=0, dashboard=False
        )
        worker.extensions[EXTENSION] = Node(NodeInfo(name, __version__, frozenset({"cpu"}), {}, facts))
        return await worker

    workers = []
    for start in range(first, first + count, 125):
        workers += await asyncio.gather(*(one(n) for n in range(start, min(start + 125, first + count))))
    print("ready", flush=True)
    await asyncio.gather(*(worker.finished() for worker in workers))


# --- the coordinator --------------------------------------------------------------------------------------------------


class SimulatedBooks:
    """Orders without a suite, and a real results folder (see `coordinator.Books`)."""

    def __init__(self, folder: Path, cells: int, group: int, sleep_s: float) -> None:
        self.store = ResultStore(folder)
        self._sleep_s = sleep_s
        self._orders = [
            Order(
                group_id=f"{start:016x}",
                label=f"group {start // group}",
                reference="cpu",
                cells={"cpu": tuple(f"{n:016x}" for n in range(start, min(start + group, cells)))},
                expected_s=group * sleep_s,
            )
            for start in range(0, cells, group)
        ]

    def orders_of(self, kind: str | None, info: NodeInfo | None) -> Sequence[Order]:
        return self._orders

    def parcel(self, job: Job) -> str:
        return json.dumps({"cells": sorted(job.owed), "sleep_s": self._sleep_s})

    def file(self, digest: str) -> Path | None:
        return None

    def keep(self, job: Job, cell: FinishedCell) -> str:
        status = checked_status(cell)
        self.store.place(cell.cell_id, cell.predictions_id, cell.files)
        return status

    def give_up(self, order: Order, cells: Sequence[str], status: str, reason: str) -> None:
        raise RuntimeError(f"{order.label}: {status}: {reason}")


def simulate(
    home: Path,
    *,
    nodes: int,
    cells: int,
    group: int = 5,
    sleep_s: float = 20.0,
    merge: bool = True,
    limit_s: float = math.inf,
) -> FleetCost:
    """Run a sweep of `cells` cells on `nodes` nodes that sleep `sleep_s` for each; then `merge` their files.

    After `limit_s` it is stopped, as by Ctrl-C.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sleepers: list[subprocess.Popen[str]] = []
    with fleet(home) as real:
        try:
            for first in range(0, nodes, NODES_A_PROCESS):
                count = min(NODES_A_PROCESS, nodes - first)
                command = [sys.executable, __file__, "--sleepers", real.address, str(first), str(count)]
                sleepers.append(
                    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=home)
                )
            for process in sleepers:
                assert process.stdout is not None
                if process.stdout.readline().strip() != "ready":
                    raise RuntimeError("simulated nodes did not join")
            books = SimulatedBooks(home / "results", cells, group, sleep_s)
            with books.store.held():
                return _measured(real.address, real.scheduler_pid, books, nodes, cells, merge, limit_s)
        finally:
            for process in sleepers:
                process.kill()
                process.communicate()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _measured(
    address: str, scheduler_pid: int, books: SimulatedBooks, nodes: int, cells: int, merge: bool, limit_s: float
) -> FleetCost:
    scheduler, own = psutil.Process(scheduler_pid), psutil.Process()
    seen = {"quarter": 0, "peak": 0, "scheduler": 0}

    def look(progress: FleetProgress) -> None:
        held = own.memory_info().rss
        seen["peak"] = max(seen["peak"], held)
        seen["scheduler"] = max(seen["scheduler"], scheduler.memory_info().rss)
        if progress.finished <= cells // 4:
            seen["quarter"] = max(seen["quarter"], held)

    async def run() -> None:
        from distributed import Client

        hush()
        client = await Client(address, asynchronous=True, set_as_default=False)
        try:
            coordinator = Coordinator(client, books, every_kind=False, wait_s=60, on_progress=look, task=sleep_group)
            stopping = asyncio.get_running_loop().call_later(min(limit_s, 1e6), coordinator.stop)
            await coordinator.run()
            stopping.cancel()
        finally:
            await client.close()

    begun, cpu, theirs = time.monotonic(), time.process_time(), sum(scheduler.cpu_times()[:2])
    asyncio.run(run())
    wall_s, cpu_s = time.monotonic() - begun, time.process_time() - cpu
    theirs = sum(scheduler.cpu_times()[:2]) - theirs
    cpu = time.process_time()
    if merge:
        books.store.merge()
    merge_cpu_s = time.process_time() - cpu if merge else None
    seen["peak"] = max(seen["peak"], own.memory_info().rss)
    found = list(statuses(books.store.folder))
    kept = len(found) if len({cell for cell, _ in found}) == len(found) else -1
    return FleetCost(
        nodes, cells, wall_s, cpu_s, theirs, seen["quarter"], seen["peak"], seen["scheduler"], kept, merge_cpu_s
    )


def main() -> int:
    """Simulate, and print what it took."""
    if sys.argv[1:2] == ["--sleepers"]:
        asyncio.run(_sleepers(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--group", type=int, default=5, help="cells a group")
    parser.add_argument("--sleep-s", type=float, default=20.0, help="seconds a cell")
    parser.add_argument("--limit-s", type=float, default=math.inf, help="stop after this long")
    parser.add_argument("--no-merge", action="store_true", help="leave the cells' files as they came")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        cost = simulate(
            Path(home),
            nodes=asked.nodes,
            cells=asked.cells,
            group=asked.group,
            sleep_s=asked.sleep_s,
            merge=not asked.no_merge,
            limit_s=asked.limit_s,
        )
    print("\n".join(told(cost)))
    return 0 if cost.kept == cost.cells or asked.limit_s < math.inf else 1


def told(cost: FleetCost) -> list[str]:
    """The figures as lines."""
    ms = 1000 / max(cost.kept, 1)
    merged = [] if cost.merge_cpu_s is None else [f"merging at the end: {cost.merge_cpu_s * ms:.2f} ms a cell"]
    return [
        f"{cost.nodes:,} simulated nodes, {cost.cells:,} cells: {cost.kept:,} finished and kept in {cost.wall_s:.0f} s",
        f"coordinator: {cost.coordinator_cpu_s * ms:.2f} ms of processor time a cell, "
        f"{cost.peak_bytes / 1e6:.0f} MB at most ({cost.quarter_bytes / 1e6:.0f} MB at a quarter of the cells)",
        f"scheduler: {cost.scheduler_cpu_s * ms:.2f} ms a cell, {cost.scheduler_peak_bytes / 1e6:.0f} MB at most",
        *merged,
    ]


if __name__ == "__main__":
    sys.exit(main())
