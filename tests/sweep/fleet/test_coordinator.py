"""The coordinator with a real scheduler and real Dask workers in this process, and tasks that do as they are told."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lynxbench import __version__
from lynxbench.errors import StoreError, UsageError
from lynxbench.execution import host_facts
from lynxbench.sweep.fleet.coordinator import Coordinator
from lynxbench.sweep.fleet.messages import FinishedCell, pieces
from lynxbench.sweep.fleet.node import EXTENSION, HOST_RESOURCE, Node, NodeInfo
from lynxbench.sweep.fleet.orders import Job, Order
from lynxbench.sweep.fleet.view import FleetProgress

WAIT_S = 0.6


@dataclass
class Notebook:
    """Books that remember (see `books.Books`)."""

    orders: list[Order]
    kinds: list[str | None] = field(default_factory=list)
    kept: list[tuple[str | None, str]] = field(default_factory=list)  # kind and cell
    given_up: dict[str, tuple[str, str]] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)

    def orders_of(self, kind: str | None, info: NodeInfo | None) -> Sequence[Order]:
        self.kinds.append(kind)
        return [replace(order, kind=kind) for order in self.orders]

    def parcel(self, job: Job) -> str:
        self.tried.append(job.order.group_id)
        return json.dumps({"group": job.order.group_id, "cells": sorted(job.owed)})

    def file(self, digest: str) -> Path | None:
        return None

    def keep(self, job: Job, cell: FinishedCell) -> str:
        self.kept.append((job.order.kind, cell.cell_id))
        return "ok"

    def give_up(self, order: Order, cells: Sequence[str], status: str, reason: str) -> None:
        self.given_up.update(dict.fromkeys(cells, (status, reason)))


def order(group: str, *executors: str) -> Order:
    return Order(group, group, "cpu", {name: (f"{group}-{name}-1", f"{group}-{name}-2") for name in executors}, 1.0)


async def obedient(parcel: str, queue: str, tag: str, key: str) -> str | None:
    """Sends every cell. A group called `halfway` stops after its first; `stubborn` sends each one twice."""
    from distributed import get_worker

    told, worker = json.loads(parcel), get_worker()
    for cell in told["cells"]:
        for piece in pieces(FinishedCell(cell, None, {"records": b"x"})):
            for _ in range(2 if told["group"] == "stubborn" else 1):
                await worker.scheduler.queue_put(name=queue, data={**piece, "tag": tag}, timeout=None)
        if told["group"] == "halfway":
            return f"broke off on {worker.name}"
        if told["group"] == "endless":
            await asyncio.sleep(600)
    return None


def cluster(
    nodes: dict[str, Sequence[str]],
    books: Notebook,
    then: Callable[[Coordinator, dict[str, Any]], Coroutine[Any, Any, Any]] | None = None,
    **options: Any,
) -> tuple[bool | None, list[FleetProgress]]:
    """Run a coordinator over `nodes` (name → what they offer) beside `then`; what it returned, and what it told."""
    from distributed import Client, Scheduler, Worker

    from lynxbench.sweep.fleet.joining import hush

    told: list[FleetProgress] = []

    async def run() -> bool:
        hush()
        async with AsyncExitStack() as stack:
            scheduler = await stack.enter_async_context(
                Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=":0")
            )
            workers = {}
            for number, (name, offers) in enumerate(nodes.items()):
                facts = replace(host_facts(), cpu_model=options.get("cpus", {}).get(name, "cpu"))
                worker = Worker(
                    scheduler.address,
                    name=name,
                    nthreads=2,
                    resources={HOST_RESOURCE: 1, **dict.fromkeys(offers, 1)},
                    memory_limit=0,
                    dashboard=False,
                )
                version = options.get("versions", {}).get(name, __version__)
                worker.extensions[EXTENSION] = Node(NodeInfo(name, version, frozenset(offers), {}, facts))
                workers[name] = await stack.enter_async_context(worker)
                assert number < 5
            client = await stack.enter_async_context(Client(scheduler.address, asynchronous=True, set_as_default=False))
            coordinator = Coordinator(
                client,
                books,
                every_kind=options.get("every_kind", False),
                wait_s=WAIT_S,
                on_progress=told.append,
                task=obedient,
            )
            beside = asyncio.create_task(then(coordinator, workers)) if then else None
            try:
                return await asyncio.wait_for(coordinator.run(), 60)
            finally:
                if beside is not None:
                    await beside

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Dask, when many servers of one process end
        return asyncio.run(run()), told


def test_every_cell_is_kept_once() -> None:
    books = Notebook([order("one", "cpu"), order("stubborn", "cpu"), order("three", "cpu")])
    ended, told = cluster({"a": ["cpu"], "b": ["cpu"]}, books)
    assert ended is True
    assert sorted(books.kept) == sorted((None, cell) for o in books.orders for cell in o.cells["cpu"])
    assert books.given_up == {}
    assert (told[-1].finished, told[-1].failed, told[-1].total) == (6, 0, 6)
    assert len(told[-1].hosts) == 2


def test_what_no_host_offers_becomes_unavailable_with_the_hosts_asked() -> None:
    books = Notebook([order("g", "cpu", "cuda", "qnn")])
    ended, told = cluster({"a": ["cpu"], "b": ["cpu", "cuda"]}, books)
    assert ended is True
    assert sorted(cell for _, cell in books.kept) == ["g-cpu-1", "g-cpu-2", "g-cuda-1", "g-cuda-2"]
    assert set(books.given_up) == {"g-qnn-1", "g-qnn-2"}
    status, reason = books.given_up["g-qnn-1"]
    assert status == "unavailable"
    assert reason == ("no host offers qnn beside the reference's cpu; asked within 0.6 s: a (cpu), b (cpu, cuda)")
    assert told[-1].finished == told[-1].total == 6


def test_a_group_that_fails_is_tried_three_times_and_no_more() -> None:
    books = Notebook([order("halfway", "cpu")])
    cells = tuple(f"c{n}" for n in range(5))
    books.orders = [replace(books.orders[0], cells={"cpu": cells})]
    ended, told = cluster({"a": ["cpu"], "b": ["cpu"], "c": ["cpu"]}, books)
    assert ended is True
    assert books.tried == ["halfway"] * 3
    # Each attempt had only what was still owed, and finished one cell of it.
    assert [cell for _, cell in books.kept] == ["c0", "c1", "c2"]
    assert set(books.given_up) == {"c3", "c4"}
    status, reason = books.given_up["c3"]
    assert status == "failed"
    assert all(f"broke off on {name}" in reason for name in "abc")
    assert (told[-1].finished, told[-1].failed) == (5, 2)


def test_a_lost_node_loses_nothing_that_was_finished() -> None:
    books = Notebook([order("endless", "cpu")])

    async def lose(coordinator: Coordinator, workers: dict[str, Any]) -> None:
        while not books.kept:
            await asyncio.sleep(0.02)
        (busy,) = [worker for worker in workers.values() if worker.state.executing_count]
        books.orders[0] = order("endless", "cpu")
        await busy.close(reason="lost", nanny=False)
        while len(books.tried) < 2 or len(books.kept) < 2:
            await asyncio.sleep(0.02)
        coordinator.stop()

    ended, _ = cluster({"a": ["cpu"], "b": ["cpu"]}, books, lose)
    assert ended is False  # stopped: the second attempt would sleep on
    assert [cell for _, cell in books.kept] == ["endless-cpu-1", "endless-cpu-2"]


def test_every_kind_of_host_gets_every_group_once() -> None:
    books = Notebook([order("one", "cpu"), order("two", "cpu")])
    cpus = {"a": "EPYC", "b": "EPYC", "c": "Graviton"}
    ended, _ = cluster({"a": ["cpu"], "b": ["cpu"], "c": ["cpu"]}, books, every_kind=True, cpus=cpus)
    assert ended is True
    assert len(set(books.kinds)) == len(books.kinds) == 2
    assert sorted(books.kept) == sorted(
        (kind, cell) for kind in books.kinds for o in books.orders for cell in o.cells["cpu"]
    )  # type: ignore[type-var]


def test_nodes_of_another_version_get_nothing() -> None:
    books = Notebook([order("one", "cpu")])
    ended, told = cluster({"a": ["cpu"], "old": ["cpu"]}, books, versions={"old": "0.0.1"})
    assert ended is True
    assert any("node old has LynxBench 0.0.1" in note for note in told[-1].notes)
    assert [host.name for host in told[-1].hosts] == ["a"]


def test_without_nodes_nothing_pends() -> None:
    with pytest.raises(UsageError, match=r"no node joined within 0\.6 s"):
        cluster({}, Notebook([order("one", "cpu")]))


def test_when_all_nodes_have_gone_the_sweep_ends() -> None:
    books = Notebook([order("endless", "cpu")])

    async def lose(coordinator: Coordinator, workers: dict[str, Any]) -> None:
        while not books.kept:
            await asyncio.sleep(0.02)
        await workers["a"].close(reason="lost", nanny=False)

    with pytest.raises(StoreError, match="every node has gone"):
        cluster({"a": ["cpu"]}, books, lose)
    assert len(books.kept) == 1


def test_results_that_cannot_be_written_end_the_sweep() -> None:
    books = Notebook([order("one", "cpu")])

    def full(job: Job, cell: FinishedCell) -> str:
        raise StoreError("no space left")

    books.keep = full  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="no space left"):
        cluster({"a": ["cpu"]}, books)
