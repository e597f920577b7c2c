"""What nodes send, taken from the queue on the scheduler: cells are put together and kept, several at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from lynxbench.sweep.fleet.messages import FinishedCell, Message, joined

# Messages that may wait on the scheduler (a few megabytes each at most); nodes that send more wait.
QUEUE_MESSAGES = 32
# Cells that are written at a time: a disk's flush takes milliseconds of waiting, not of work.
WRITES = 8


class Inbox:
    """The coordinator's end of the queue. `on_message` hears of everything but cells, `on_cell` keeps those."""

    def __init__(
        self,
        client: Any,
        name: str,
        on_message: Callable[[Message], None],
        on_cell: Callable[[str, FinishedCell], Awaitable[None]],
    ) -> None:
        self.name = name
        self.trouble: BaseException | None = None  # why it takes in nothing more
        self._client = client
        self._scheduler = client.scheduler
        self._on_message = on_message
        self._on_cell = on_cell
        self._parts: dict[tuple[str, str], bytearray] = {}  # by tag and cell
        self._writing: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(WRITES)
        self._marks: dict[str, asyncio.Event] = {}
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the queue and begin to read."""
        await self._scheduler.queue_create(name=self.name, maxsize=QUEUE_MESSAGES)
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """End reading and what is being written."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._reading
        await asyncio.gather(*self._writing, return_exceptions=True)
        with suppress(Exception):  # the scheduler may have gone
            self._client._send_to_scheduler({"op": "queue_release", "name": self.name})

    async def flush(self) -> None:
        """Return when everything that was sent before now has been taken in and written."""
        mark = secrets.token_hex(8)
        self._marks[mark] = asyncio.Event()
        await self._scheduler.queue_put(name=self.name, data={"is": "mark", "mark": mark}, timeout=None)
        waiting = asyncio.create_task(self._marks[mark].wait())
        assert self._reading is not None
        await asyncio.wait({waiting, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        del self._marks[mark]

    def forget(self, tag: str) -> None:
        """An attempt is over: pieces of cells that it never finished are dropped."""
        for key in [key for key in self._parts if key[0] == tag]:
            del self._parts[key]

    async def _read(self) -> None:
        try:
            while True:
                await self._take((await self._get(batch=False))["value"])
                # What has gathered meanwhile comes at one stroke.
                while records := await self._get(batch=True):
                    for record in records:
                        await self._take(record["value"])
        except Exception as error:
            self.trouble = error

    async def _get(self, *, batch: bool) -> Any:
        return await self._scheduler.queue_get(name=self.name, timeout=None, batch=batch)

    async def _take(self, message: Message) -> None:
        if message["is"] == "mark":
            await asyncio.gather(*self._writing)
            if message["mark"] in self._marks:
                self._marks[message["mark"]].set()
        elif message["is"] == "cell":
            key = (message["tag"], message["cell"])
            held = self._parts.setdefault(key, bytearray())
            held += message["data"]
            if message["last"]:
                del self._parts[key]
                await self._slots.acquire()
                task = asyncio.create_task(self._keep(message["tag"], bytes(held)))
                self._writing.add(task)
                task.add_done_callback(self._writing.discard)
        else:
            self._on_message(message)

    async def _keep(self, tag: str, data: bytes) -> None:
        try:
            await self._on_cell(tag, joined(data))
        except Exception as error:
            self.trouble = error
        finally:
            self._slots.release()
