"""Fleets on one machine, for tests and benchmarks: a real scheduler and real nodes, each a process tree of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lynxbench.records.record import Record

PATIENCE_S = 120.0


class Fleet:
    """A scheduler that is up, and nodes by name. Nodes of one machine take turns, as its only host can be had once."""

    def __init__(self, home: Path, tls: Path | None = None) -> None:
        self.home = home
        self.nodes: dict[str, subprocess.Popen[str]] = {}
        self._tls = tls
        about = home / "scheduler.json"
        options = []
        if tls is not None:
            options = ["--protocol", "tls", "--tls-ca-file", str(tls / "ca.pem"), "--tls-cert", str(tls / "cert.pem")]
            options += ["--tls-key", str(tls / "key.pem")]
        self._scheduler = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
             "--no-dashboard", "--dashboard-address", ":0", "--scheduler-file", str(about), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        begun = time.monotonic()
        while True:
            with suppress(OSError, ValueError):
                self.address = str(json.loads(about.read_text())["address"])
                break
            if time.monotonic() - begun > PATIENCE_S or self._scheduler.poll() is not None:
                raise RuntimeError("no scheduler came up")
            time.sleep(0.05)

    @property
    def scheduler_pid(self) -> int:
        return self._scheduler.pid

    def environment(self, cache: str = "cache") -> dict[str, str]:
        """For processes of this fleet."""
        return self.environment_of(self.home, cache)

    @staticmethod
    def environment_of(home: Path, cache: str = "cache") -> dict[str, str]:
        """Caches, configuration and temporary files below `home`, so that no other fleet of this machine must wait."""
        (home / "tmp").mkdir(exist_ok=True)
        return {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "LYNXBENCH_CACHE": str(home / cache),
            "LYNXBENCH_CONFIG": str(home / "config"),
            "TMPDIR": str(home / "tmp"),
        }

    def start(self, name: str, executors: Sequence[str] = ("cpu",)) -> None:
        """Start a node; returns at once."""
        chosen = [part for executor in executors for part in ("--executor", executor)]
        tls = [] if self._tls is None else ["--tls", str(self._tls)]
        command = [sys.executable, "-m", "lynxbench", "node", "start", self.address]
        with (self.home / f"{name}.log").open("w") as log:
            self.nodes[name] = subprocess.Popen(
                [*command, "--name", name, "--json", *chosen, *tls],
                env=self.environment(f"cache-{name}"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def joined(self, name: str) -> dict[str, object]:
        """Wait until a node has joined; what it says then."""
        node = self.nodes[name]
        assert node.stdout is not None
        line = node.stdout.readline()
        if not line:
            raise RuntimeError(f"node {name} did not join: {(self.home / f'{name}.log').read_text()}")
        told: dict[str, object] = json.loads(line)
        return told

    def kill(self, name: str) -> list[psutil.Process]:
        """SIGKILL to a node and all that it started; returns who that was."""
        started = self.nodes.pop(name)
        node = psutil.Process(started.pid)
        tree = [node, *node.children(recursive=True)]
        for process in tree:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        started.communicate()  # closes its pipes
        return tree

    def sweep(self, *arguments: str) -> subprocess.Popen[str]:
        """`lynxbench sweep ARGUMENTS --on` this fleet, under way in `home`."""
        tls = [] if self._tls is None else ["--tls", str(self._tls)]
        return subprocess.Popen(
            [sys.executable, "-m", "lynxbench", "sweep", *arguments, "--on", self.address, *tls],
            cwd=self.home,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End everything."""
        for name in list(self.nodes):
            self.kill(name)
        self._scheduler.kill()
        self._scheduler.wait()


@contextmanager
def fleet(home: Path | None = None, tls: Path | None = None) -> Iterator[Fleet]:
    """A fleet without nodes, ended on the way out."""
    with tempfile.TemporaryDirectory() as folder:
        one = Fleet(home or Path(folder), tls)
        try:
            yield one
        finally:
            one.close()


def overlaps(records: Sequence[Record]) -> list[str]:
    """Groups that were measured at the same time on one node: from the first start to the last end of their cells."""
    spans: dict[tuple[str, str, object], tuple[object, object]] = {}
    for record in records:
        if record["node"] is not None and record["ended_at"] is not None:
            key = (record["node"], record["group_id"], record["started_at"])
            ended = max(record["ended_at"], spans.get(key, (None, record["ended_at"]))[1])
            spans[key] = (record["started_at"], ended)
    found = []
    by_node = sorted((node, begun, ended, group) for (node, group, _), (begun, ended) in spans.items())
    for (node, _, ended, group), (other_node, begun, _, other) in itertools.pairwise(by_node):
        if node == other_node and begun < ended:
            found.append(f"{node}: {group} until {ended}, {other} from {begun}")
    return found
