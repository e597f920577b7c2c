"""Becoming a node: `doctor` first, then a Dask worker that publishes what was found.

`lynxbench node start` does both. Workers that Dask's own cluster managers start become nodes by
``--preload lynxbench.sweep.fleet.joining``, in the same way.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lynxbench import __version__
from lynxbench.errors import LynxBenchError, StoreError, UsageError
from lynxbench.execution import Availability, doctor, host_facts
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import load_folder
from lynxbench.sweep.fleet.node import EXTENSION, HOST_RESOURCE, Node, NodeInfo, clear
from lynxbench.sweep.fleet.tls import security_of

THREADS = 2  # one for the group, one to answer other coordinators meanwhile


def look(executors: Path | None = None, names: Sequence[str] = ()) -> list[Availability]:
    """Ask every executor of the catalogue, or those named. Raises `UsageError` for an unknown name."""
    known = {name: declared.spec for name, declared in load_folder("executors", ExecutorSpec, executors).items()}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise UsageError(f"unknown executor {', '.join(unknown)}; one of: {', '.join(sorted(known))}")
    return doctor(spec for name, spec in known.items() if not names or name in names)


def node_info(name: str, found: Iterable[Availability]) -> NodeInfo:
    """What `doctor` found, as the coordinator will see it."""
    reports = list(found)
    return NodeInfo(
        name=name,
        version=__version__,
        offers=frozenset(report.name for report in reports if report.status == "available"),
        lacks={report.name: report.detail for report in reports if report.status != "available"},
        host=host_facts(),
    )


def resources(info: NodeInfo) -> dict[str, float]:
    """What the Dask worker publishes: the host, once, and each executor that can run on it."""
    return {HOST_RESOURCE: 1, **dict.fromkeys(sorted(info.offers), 1)}


def start_node(
    scheduler: str,
    info: NodeInfo,
    *,
    tls: Path | None = None,
    on_joined: Callable[[str], None] = lambda address: None,
) -> None:
    """Join the fleet and serve until a signal ends it.

    Raises `UsageError` when there is no scheduler at the address, or the name is taken; `StoreError` when the scheduler
    has gone.
    """
    clear(info.name)
    asyncio.run(_serve(scheduler, info, tls, on_joined))


async def _serve(scheduler: str, info: NodeInfo, tls: Path | None, on_joined: Callable[[str], None]) -> None:
    import signal

    from distributed import Worker

    quiet()
    making: Any = Worker  # without types
    worker = making(
        scheduler,
        name=info.name,
        nthreads=THREADS,
        resources=resources(info),
        memory_limit=0,
        security=security_of(tls),
        dashboard=False,
        death_timeout=30,
    )
    worker.extensions[EXTENSION] = Node(info)
    try:
        await worker
    except Exception as error:
        raise _not_joined(scheduler, info.name, error) from None
    on_joined(str(worker.address))
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    ended, stopped = loop.create_task(worker.finished()), loop.create_task(told.wait())
    await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not told.is_set():
        stopped.cancel()
        raise StoreError(f"the scheduler {scheduler} has gone")
    await worker.close(reason="node stopped")
    await ended


def _not_joined(scheduler: str, name: str, error: Exception) -> LynxBenchError:
    text = str(error.__cause__ or error)
    if "name taken" in text:
        return UsageError(f"{scheduler} has a node named {name} already\n  try       --name ANOTHER-NAME")
    return UsageError(
        f"cannot join {scheduler}: {text or type(error).__name__}\n"
        "  try       dask scheduler, on a host that this one reaches; --tls FOLDER where it asks for TLS"
    )


def hush() -> None:
    """Let Dask log nothing: what matters is told in our own words."""
    import distributed  # which sets up its loggers

    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == distributed.__name__:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def quiet() -> None:
    """Dask's own thrift on a host that measures: no profiler, few looks at itself."""
    import dask

    hush()
    dask.config.set(
        {
            "distributed.worker.profile.enabled": False,
            "distributed.admin.system-monitor.interval": "10s",
            "distributed.admin.system-monitor.disk": False,
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": False,
        }
    )


def default_name() -> str:
    """This host's name, as records carry it."""
    return _plain(socket.gethostname()) or "node"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "-", text)[:64]


async def dask_setup(worker: Any) -> None:
    """The hook that ``dask worker --preload`` calls before the worker registers."""
    given = str(worker.name)  # an address, or a number or name that the cluster manager gave
    suffix = given.rpartition(":")[2] if "://" in given else _plain(given)
    info = node_info(f"{default_name()}-{suffix}", await asyncio.to_thread(look))
    worker.extensions[EXTENSION] = Node(info)
    for name, quantity in resources(info).items():
        worker.state.total_resources[name] = worker.state.available_resources[name] = quantity
