"""`--on local-cluster`: a scheduler and a node on this machine, to try a fleet out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

LOCAL = "local-cluster"


@asynccontextmanager
async def local_cluster(wanted: bool) -> AsyncIterator[str | None]:
    """The address of a scheduler in this process, with one node in a process of its own; None where not `wanted`."""
    if not wanted:
        yield None
        return
    from distributed import Scheduler

    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=":0") as scheduler:
        node = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lynxbench", "node", "start", scheduler.address),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the sweep, which then ends the node
        )
        try:
            yield str(scheduler.address)
        finally:
            with suppress(ProcessLookupError):
                node.terminate()
            try:
                await asyncio.wait_for(node.wait(), 10)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    node.kill()
                await node.wait()
