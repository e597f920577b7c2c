"""The coordinator: gives each free host a group that it can run, keeps what comes back, and gives nothing up silently.

One coroutine a host. Memory grows with hosts and with cells that are still owed, not with records: a cell's files pass
through on their way to the results folder.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from lynxbench import __version__
from lynxbench.errors import StoreError, UsageError
from lynxbench.sweep.fleet.blobs import chunks
from lynxbench.sweep.fleet.books import Books
from lynxbench.sweep.fleet.hosts import Host, nobody_offers, offer_of, view_of
from lynxbench.sweep.fleet.inbox import Inbox
from lynxbench.sweep.fleet.messages import FinishedCell, Message
from lynxbench.sweep.fleet.node import HOST_RESOURCE, NodeInfo, describe, run_group, take_piece
from lynxbench.sweep.fleet.orders import RETRIES, Board, Job, Order
from lynxbench.sweep.fleet.view import FleetProgress

TICK_S = 0.25


class Coordinator:
    """One sweep on the nodes of one Dask scheduler.

    `client` is an asynchronous Dask client; `task` is what nodes run (a simulation brings another).
    """

    def __init__(
        self,
        client: Any,
        books: Books,
        *,
        every_kind: bool,
        wait_s: float,
        on_progress: Callable[[FleetProgress], None] = lambda progress: None,
        task: Callable[..., Any] = run_group,
    ) -> None:
        self._client = client
        self._books = books
        self._every_kind = every_kind
        self._wait_s = wait_s
        self._on_progress = on_progress
        self._task = task
        self._id = secrets.token_hex(4)
        self._inbox = Inbox(client, f"lynxbench-{self._id}", self._on_message, self._on_cell)
        self._board = Board()
        self._hosts: dict[str, Host] = {}
        self._asked: dict[str, NodeInfo] = {}  # every node that was ever there, by name
        self._since_s: dict[str | None, float] = {}  # when waiting for hosts began, by kind
        self._coroutines: set[asyncio.Task[None]] = set()
        self._running: dict[str, tuple[Host, Job]] = {}  # by the attempt's tag
        self._notes: list[str] = []
        self._finished = self._failed = self._total = 0
        self._expected_s = self._done_s = 0.0
        self._begun_s = self._last_host_s = time.monotonic()
        self._stopping = asyncio.Event()
        self._trouble: BaseException | None = None

    def stop(self) -> None:
        """Leave off: groups that run are given up, and what was finished is kept."""
        self._stopping.set()

    async def run(self) -> bool:
        """Until every cell has its row (True) or `stop` was called (False).

        Raises `UsageError` when no node was there in time, `StoreError` when all of them or the scheduler have gone, or
        results cannot be written.
        """
        await self._inbox.open()
        self._client.subscribe_topic("all", self._on_event)
        try:
            if not self._every_kind:
                self._take(None, None)
            known = await self._client.scheduler.identity(n_workers=-1)
            for address, about in known["workers"].items():
                if HOST_RESOURCE in about["resources"]:
                    self._spawn(self._serve(address))
            while not self._stopping.is_set() and not self._all_done():
                self._look()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), TICK_S)
            self._check()
            self._on_progress(self._progress())
            return not self._stopping.is_set()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        if self._client.status == "running":
            self._client.unsubscribe_topic("all")
            # Cells that are on their way are finished cells.
            with suppress(Exception):
                await asyncio.wait_for(self._inbox.flush(), 10)
        coroutines = list(self._coroutines)
        for task in coroutines:
            task.cancel()
        await asyncio.gather(*coroutines, return_exceptions=True)
        await self._inbox.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._coroutines.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._coroutines.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._trouble = self._trouble or task.exception()

    # --- hosts --------------------------------------------------------------------------------------------------------

    def _on_event(self, event: tuple[float, Any]) -> None:
        about = event[1]
        if about.get("action") == "add-worker":
            self._spawn(self._serve(about["worker"]))
        elif about.get("action") == "remove-worker":
            host = self._hosts.pop(about["worker"], None)
            if host is not None:
                host.gone.set()
                host.wake.set()
                self._hosts_changed()
                self._wake()  # what was to be tried elsewhere may have no other host now

    async def _serve(self, address: str) -> None:
        """All that a node does for this sweep, one group after the other, until it goes."""
        try:
            info: NodeInfo | None = (await self._client.run(describe, workers=[address]))[address]
        except (OSError, KeyError):
            return  # it went again at once
        if info is None or address in self._hosts:
            return
        if info.version != __version__:
            self._note(f"node {info.name} has LynxBench {info.version}, this is {__version__}: it gets nothing to do")
            return
        host = Host(address, info, offer_of(info))
        self._hosts[address], self._asked[info.name] = host, info
        if self._every_kind and host.offer.kind not in self._since_s:
            self._take(host.offer.kind, info)
        self._hosts_changed()
        while not host.gone.is_set():
            host.wake.clear()
            job = self._board.pick(host.offer)
            if job is None:
                await host.wake.wait()
            else:
                await self._attempt(host, job)

    def _hosts_changed(self) -> None:
        self._board.hosts_are([host.offer for host in self._hosts.values()], time.monotonic())
        self._settle(final=False)

    def _take(self, kind: str | None, info: NodeInfo | None) -> None:
        """Orders for a kind of host, or for any."""
        self._since_s[kind] = time.monotonic()
        for order in self._books.orders_of(kind, info):
            self._board.waiting.append(order)
            self._total += sum(map(len, order.cells.values()))
            self._expected_s += order.expected_s

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def _attempt(self, host: Host, job: Job) -> None:
        """One job on one host, to its end or the host's."""
        tag = secrets.token_hex(8)
        host.job, host.doing, host.share = job, "", 0.0
        self._running[tag] = (host, job)
        key = f"lynxbench-{self._id}-{job.key}-{tag}"
        future = self._client.submit(
            self._task,
            self._books.parcel(job),
            self._inbox.name,
            tag,
            key,
            key=key,
            workers=[host.address],
            allow_other_workers=False,
            resources={HOST_RESOURCE: 1, **dict.fromkeys(sorted(job.executors), 1)},
            pure=False,
            retries=0,
        )
        outcome = asyncio.create_task(_outcome(future))
        gone = asyncio.create_task(host.gone.wait())
        try:
            await asyncio.wait({outcome, gone}, return_when=asyncio.FIRST_COMPLETED)
            if host.gone.is_set():
                trouble: str | None = "the node was lost"
            else:
                trouble = "the scheduler dropped it" if outcome.cancelled() else outcome.result()
            await self._inbox.flush()  # what it sent before counts, whatever happened then
        finally:
            outcome.cancel()
            gone.cancel()
            # Without this the scheduler would keep it for a worker that may never come back.
            with suppress(Exception):
                await self._client.cancel([future], force=True)
            del self._running[tag]
            self._inbox.forget(tag)
            host.job = None
        self._after(host, job, trouble)

    def _after(self, host: Host, job: Job, trouble: str | None) -> None:
        if job.owed and trouble is not None:
            job.lost.append((host.info.name, trouble))
            if len(job.lost) <= RETRIES:
                self._note(f"{job.order.label} on {host.info.name}: {trouble}; it is tried elsewhere")
                self._board.put(job)
                self._wake()
                return
            told = "; ".join(f"{name}: {what}" for name, what in job.lost)
            self._give_up(job.order, job.owed, "failed", f"{len(job.lost)} hosts tried it in vain: {told}")
        elif job.owed:
            self._give_up(job.order, job.owed, "failed", f"node {host.info.name} ended the group without this cell")
        job.owed.clear()
        self._done_s += job.order.expected_s * len(job.executors) / len(job.order.executors)

    def _settle(self, *, final: bool) -> None:
        waiting = len(self._board.waiting)
        for order, missing in self._board.settle(final=final):
            cells = [cell for executor in sorted(missing) for cell in order.cells.get(executor, ())]
            self._give_up(order, cells, "unavailable", self._nobody(order, missing))
        if len(self._board.waiting) != waiting:
            self._wake()

    def _nobody(self, order: Order, missing: frozenset[str]) -> str:
        return nobody_offers(order, missing, self._asked.values(), self._wait_s)

    def _give_up(self, order: Order, cells: Sequence[str] | set[str], status: str, reason: str) -> None:
        if cells:
            self._books.give_up(order, sorted(cells), status, reason)
            self._finished += len(cells)
            self._failed += len(cells) if status == "failed" else 0

    def _look(self) -> None:
        """What time alone brings: the end of waiting, troubles, and the view."""
        now = time.monotonic()
        self._check()
        if self._hosts:
            self._last_host_s = now
            if self._waited(now):
                self._settle(final=True)
            for job in self._board.stranded(now, self._wait_s):
                self._give_up(job.order, job.owed, "unavailable", self._nobody(job.order, job.executors))
        elif now - self._last_host_s > self._wait_s:
            if not self._asked:
                raise UsageError(
                    f"no node joined within {self._wait_s:g} s\n"
                    "  try       lynxbench node start SCHEDULER on each host; --set fleet.wait_s=600 waits longer"
                )
            raise StoreError("every node has gone; what was finished is kept, and the same command goes on")
        self._on_progress(self._progress())

    def _check(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise StoreError("the scheduler has gone; what was finished is kept, and the same command goes on")
        trouble = self._trouble or self._inbox.trouble
        if trouble is not None:
            raise trouble

    def _waited(self, now: float) -> bool:
        """Whether hosts that would offer more had the time to come."""
        return now - max(self._since_s.values(), default=now) > self._wait_s

    def _all_done(self) -> bool:
        if self._running or not self._board.empty:
            return False
        # Hosts of another kind may still be on their way.
        return not self._every_kind or time.monotonic() - self._begun_s > self._wait_s

    # --- messages -----------------------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        if message["tag"] not in self._running:
            return  # of an attempt that is over
        host, _ = self._running[message["tag"]]
        if message["is"] == "progress":
            host.doing, host.share = f"{message['phase']}: {message['what']}", message["share"]
        elif message["is"] == "need":
            self._spawn(self._send(host, message["digests"]))

    async def _on_cell(self, tag: str, cell: FinishedCell) -> None:
        _, job = self._running.get(tag, (None, None))
        if job is None or cell.cell_id not in job.owed:
            return  # it has its row already
        job.owed.discard(cell.cell_id)
        status = await asyncio.to_thread(self._books.keep, job, cell)
        self._finished += 1
        self._failed += status not in ("ok", "partial", "unavailable", "unsupported")

    async def _send(self, host: Host, digests: Sequence[str]) -> None:
        """Files that a node's cache lacks, piece by piece."""
        for digest in digests:
            file = self._books.file(digest)
            if file is None:
                self._note(f"node {host.info.name} asked for file {digest}, which this sweep does not have")
                continue
            for offset, content, last in chunks(file):
                if host.gone.is_set():
                    return
                with suppress(OSError, KeyError):  # then the node has gone
                    await self._client.run(take_piece, digest, offset, content, last, workers=[host.address])

    def _wake(self) -> None:
        for host in self._hosts.values():
            host.wake.set()

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _progress(self) -> FleetProgress:
        hosts = self._hosts.values()
        under_way = sum(host.share * host.job.order.expected_s for host in hosts if host.job is not None)
        share = min(1.0, (self._done_s + under_way) / self._expected_s) if self._expected_s else 0.0
        elapsed_s = time.monotonic() - self._begun_s
        return FleetProgress(
            hosts=tuple(map(view_of, hosts)),
            finished=self._finished,
            failed=self._failed,
            total=self._total,
            left_s=None if share < 0.02 else elapsed_s / share - elapsed_s,
            notes=tuple(self._notes),
        )


async def _outcome(future: Any) -> str | None:
    """What a task returned: None, or what went wrong; so is what it raised."""
    try:
        trouble: str | None = await future
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:400]}"
    return trouble
