"""A sweep on many hosts, from a prepared suite to one results folder, or one for each kind of host."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from lynxbench.errors import FailureStatus, UsageError
from lynxbench.execution import HostFacts, host_facts
from lynxbench.records.location import Url, location
from lynxbench.records.places import find_places
from lynxbench.records.store import ResultStore, statuses
from lynxbench.records.stores import Store, open_store
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.sweep.fleet.arrivals import checked_status
from lynxbench.sweep.fleet.coordinator import Coordinator
from lynxbench.sweep.fleet.joining import hush
from lynxbench.sweep.fleet.local import LOCAL, local_cluster
from lynxbench.sweep.fleet.messages import FinishedCell
from lynxbench.sweep.fleet.node import NodeInfo
from lynxbench.sweep.fleet.orders import Job, Order
from lynxbench.sweep.fleet.parcel import Packer
from lynxbench.sweep.fleet.tls import check_address, security_of
from lynxbench.sweep.fleet.view import FleetProgress
from lynxbench.sweep.hosts import Executors
from lynxbench.sweep.plan import Cell, Group, Skip, make_plan
from lynxbench.sweep.prepare import prepare
from lynxbench.sweep.progress import expected_s
from lynxbench.sweep.rows import Context, skipped_record
from lynxbench.sweep.run import Outcome, Prepared, gone_on_with, same_declaration, set_aside
from lynxbench.sweep.setting import Setting

CONNECT_S = 10.0


def needs_distributed() -> None:
    """Raises `UsageError` where the extra is not installed."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise UsageError("a fleet needs dask.distributed\n  try       pip install 'lynxbench[distributed]'")


def prepare_fleet(resolved: ResolvedSuite) -> Prepared:
    """Read, check and plan, without asking this machine what it can run: the nodes say. Raises `DeclarationError`."""
    material = prepare(resolved)
    plan = make_plan(resolved, material, {})
    if not plan.cells:
        raise UsageError("nothing is left to measure: --only filters every cell away")
    return Prepared(resolved, material, Executors({}, {}), plan)


@dataclass
class _Place:
    """A results folder and what it held before."""

    store: Store
    finished: frozenset[str]
    host: HostFacts  # of rows that nobody measured: the kind's, or of the machine that asked


class SweepBooks:
    """Declarations, files and results folders of one sweep (see `coordinator.Books`)."""

    def __init__(
        self, prepared: Prepared, given: str | Path | Url, work: Path, cache: Path, stack: ExitStack, retry: bool
    ) -> None:
        self.resumed = 0
        self._prepared = prepared
        self._given = given
        self._folder = location(given)
        self._stack = stack
        self._retry = retry
        self._groups = {group.group_id: group for group in prepared.plan.groups}
        setting = Setting(prepared.resolved, prepared.material, prepared.executors.interpreters, work, cache)
        self._packer = Packer(setting, self._folder.name)
        self._places: dict[str | None, _Place] = {}
        self._started = datetime.now(UTC)

    @property
    def stores(self) -> list[Store]:
        return [place.store for place in self._places.values()]

    def orders_of(self, kind: str | None, info: NodeInfo | None) -> Sequence[Order]:
        """What a results folder still lacks, group by group."""
        place = self._open(kind, info)
        protocol = self._prepared.resolved.suite.protocol
        orders = []
        for group in self._groups.values():
            missing = [cell for cell in group.cells if cell.cell_id not in place.finished]
            if missing:
                cells: dict[str, tuple[str, ...]] = {}
                for cell in missing:
                    name = cell.deployment.executor
                    cells[name] = (*cells.get(name, ()), cell.cell_id)
                share = len(missing) / len(group.cells)
                orders.append(
                    Order(
                        group_id=group.group_id,
                        label=f"{group.workload.name} · {group.model.name}",
                        reference=next(cell.deployment.executor for cell in group.cells if cell.is_reference),
                        cells=cells,
                        expected_s=sum(expected_s(group, protocol).values()) * share,
                        kind=kind,
                    )
                )
        return orders

    def parcel(self, job: Job) -> str:
        """The group as a node gets it."""
        group = self._groups[job.order.group_id]
        mine = {cell.cell_id for cell in group.cells if cell.deployment.executor in job.executors}
        return self._packer.pack(group, job.executors, mine - job.owed, job.part).to_json()

    def file(self, digest: str) -> Path | None:
        return self._packer.files.get(digest)

    def keep(self, job: Job, cell: FinishedCell) -> str:
        """Into the folder of the job's kind; raises `StoreError` when it is no sound cell or cannot be kept."""
        status = checked_status(cell)
        self._places[job.order.kind].store.place(cell.cell_id, cell.predictions_id, cell.files)
        return status

    def give_up(self, order: Order, cells: Sequence[str], status: str, reason: str) -> None:
        """A row for each cell, with the reason."""
        place, group = self._places[order.kind], self._groups[order.group_id]
        context = self._context(group, place.host)
        by_id: dict[str, Cell] = {cell.cell_id: cell for cell in group.cells}
        for cell_id in cells:
            skip = Skip(cast(FailureStatus, status), reason)
            place.store.write_cell(skipped_record(context, by_id[cell_id], skip))

    def _open(self, kind: str | None, info: NodeInfo | None) -> _Place:
        host = host_facts() if info is None else info.host
        store = open_store(self._given if kind is None else _below(self._given, f"{_slug(host.cpu_model)}-{kind[:8]}"))
        if kind is not None:
            self._stack.enter_context(store.held())
        same_declaration(store, self._prepared)
        known = dict(statuses(store.folder))
        finished = gone_on_with(store, self._prepared, known, retry=self._retry)
        self.resumed += len({cell.cell_id for cell in self._prepared.plan.cells} & finished)
        self._places[kind] = _Place(store, frozenset(finished), host)
        return self._places[kind]

    def _context(self, group: Group, host: HostFacts) -> Context:
        return Context(
            resolved=self._prepared.resolved,
            material=self._prepared.material,
            group=group,
            sweep=self._folder.name,
            host=host,
            started_at=self._started,
        )


def run_fleet(
    prepared: Prepared,
    folder: str | Path | Url,
    *,
    on: str,
    cache: Path,
    tls: Path | None = None,
    retry: bool = False,
    fresh: bool = False,
    on_progress: Callable[[FleetProgress], None] = lambda progress: None,
) -> Outcome:
    """Measure on the nodes of the Dask scheduler at `on` (or `local-cluster`) what the folder does not hold yet.

    Raises what `run_sweep` raises; `UsageError` when there is no scheduler or no node, `StoreError` when all have gone;
    `KeyboardInterrupt` after an interrupt, when everything finished has been written.
    """
    needs_distributed()
    if on != LOCAL:
        check_address(on, tls)
    begun = time.monotonic()
    fleet = prepared.resolved.suite.fleet
    if fresh:
        set_aside(folder)
    _same_layout(folder, every_kind=fleet.hosts == "every-kind")
    whole = open_store(folder)
    work = whole.work
    with ExitStack() as stack:
        stack.enter_context(whole.held())
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        books = SweepBooks(prepared, folder, work, cache, stack, retry)
        try:
            ended = _run(_coordinate(books, prepared, on, tls, on_progress))
        finally:
            for store in books.stores:
                store.merge()
            if isinstance(whole, ResultStore) and books.stores and books.stores[0].folder != whole.folder:
                (whole.folder / "parts").rmdir()  # it belongs to the folders of the kinds
    if not ended:
        raise KeyboardInterrupt
    wall_s = time.monotonic() - begun
    return Outcome(whole.folder, prepared.plan, books.resumed, (), {}, {}, wall_s)


def _run(coroutine: Coroutine[Any, Any, bool]) -> bool:
    """In a loop of its own; in a thread of its own where this one has a loop already, as notebooks do."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def _coordinate(
    books: SweepBooks, prepared: Prepared, on: str, tls: Path | None, on_progress: Callable[[FleetProgress], None]
) -> bool:
    from distributed import Client

    hush()
    fleet = prepared.resolved.suite.fleet
    async with local_cluster(on == LOCAL) as local:
        address = local or on
        try:
            connecting: Any = Client  # without types
            security = None if local else security_of(tls)
            client = await connecting(
                address, asynchronous=True, security=security, timeout=CONNECT_S, set_as_default=False
            )
        except (OSError, ValueError) as error:
            # Distributed names its connector by its address in memory.
            said = re.sub(r"^in <[^>]*>: ", "", str(error.__cause__ or error))
            raise UsageError(
                f"--on {on}: no Dask scheduler there ({said[:200]})\n"
                "  try       dask scheduler on one host and lynxbench node start tcp://THAT-HOST:8786 on each, or "
                f"--on {LOCAL} on this machine alone; --tls FOLDER where the scheduler asks for TLS"
            ) from None
        coordinator = Coordinator(
            client, books, every_kind=fleet.hosts == "every-kind", wait_s=fleet.wait_s, on_progress=on_progress
        )
        loop = asyncio.get_running_loop()
        main = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if main else ()
        for number in signals:
            loop.add_signal_handler(number, coordinator.stop)
        try:
            return await coordinator.run()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            await client.close(timeout=5)


def _same_layout(given: str | Path | Url, *, every_kind: bool) -> None:
    """One place for any host, or one a kind below it: the two do not mix."""
    place = location(given)
    if isinstance(place, Path) and not place.is_dir():
        return
    try:
        whole = any(found.folder == place for found in find_places([place]))
    except UsageError:
        return  # nothing is there yet
    if every_kind and whole:
        raise UsageError(
            f"{place} holds one sweep; with fleet.hosts = every-kind it would hold one for each kind of host\n"
            "  try       --out FOLDER"
        )
    if not every_kind and not whole:
        raise UsageError(
            f"{place} holds a sweep for each kind of host\n  try       --set fleet.hosts=every-kind, or --out FOLDER"
        )


def _below(given: str | Path | Url, name: str) -> str | Path | Url:
    return f"{given.rstrip('/')}/{name}" if isinstance(given, str) else given / name


def _slug(cpu: str) -> str:
    words = re.sub(r"\((?:R|TM|C)\)|CPU|Processor|\d+-Core|@.*", " ", cpu, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:32] or "host"
