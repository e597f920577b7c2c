"""`--on local-cluster`: a scheduler and a node on this machine, to try a fleet out."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO

from lynxbench.errors import UsageError

LOCAL = "local-cluster"


@asynccontextmanager
async def local_cluster(wanted: bool) -> AsyncIterator[str | None]:
    """The address of a scheduler in this process, with one node in a process of its own; None where not `wanted`."""
    if not wanted:
        yield None
        return
    from distributed import Scheduler

    serving = Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=":0")
    # A file: a pipe that nobody reads would hold the node up once it is full.
    with tempfile.TemporaryFile() as log:
        async with serving as scheduler, _node(scheduler.address, log):
            yield str(scheduler.address)


@asynccontextmanager
async def _node(scheduler: str, log: IO[bytes]) -> AsyncIterator[None]:
    node = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "lynxbench", "node", "start", scheduler, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for the sweep, which then ends the node
    )
    try:
        assert node.stdout is not None
        if not await node.stdout.readline():  # which it writes when it has joined
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            raise UsageError(f"the node on this machine did not start: {said}")
        yield
    finally:
        with suppress(ProcessLookupError):
            node.terminate()
        try:
            await asyncio.wait_for(node.wait(), 10)
        except TimeoutError:
            with suppress(ProcessLookupError):
                node.kill()
            await node.wait()
