"""A child process that answers JSON lines: the parent sleeps on the pipe while the child works.

Parent side: `Child`. Child side: `serve`. One request is in flight at a time; an answer is one JSON object with
``ok``, or ``error`` (a status and a reason).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import psutil  # type: ignore[import-untyped]

from lynxbench.errors import CellError, FailureStatus

LEAVE_S = 0.5  # for a child that was asked to leave
GRACE_S = 2.5  # between SIGTERM and SIGKILL, and after it: closing takes less than 6 s in all
LOOK_S = 0.25  # between two looks at a child's memory
_PARENT = "LYNXBENCH_PARENT_PID"
_PR_SET_PDEATHSIG = 1

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class Child:
    """A running `python -m …` in a process group of its own.

    Start it from the main thread: the kernel ends it when the thread that started it ends. While the parent waits for
    an answer it looks now and then at the child's resident memory, and ends it above `memory_limit_bytes`, before the
    kernel has to choose whom to end.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, memory_limit_bytes: int | None = None
    ) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._buffer = bytearray()
        self._closed = False
        self._looked_s = 0.0
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            env={**(env or os.environ), "PYTHONUNBUFFERED": "1", _PARENT: str(os.getpid())},
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has left, or was stopped: it will answer nothing more."""
        return self._closed or self._process.poll() is not None

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises `CellError`: ``timeout`` when nothing came in time (the child is then killed), the child's own
        status and reason, ``oom`` when it took more memory than it may or the kernel killed it, ``failed`` when it
        died otherwise.
        """
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except (BrokenPipeError, ValueError):
            raise self._death() from None
        answer = self._read_line(timeout_s)
        error = answer.get("error")
        if error is not None:
            raise CellError(cast(FailureStatus, error["status"]), error["reason"])
        return cast(dict[str, Any], answer["ok"])

    def _read_line(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        end = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], min(max(0.0, left), LOOK_S))
            if not ready and left > LOOK_S:
                self._look_at_memory()
                continue
            if not ready:
                self.close()
                raise CellError("timeout", f"no answer within {timeout_s:g} s; the worker was stopped")
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                raise self._death()
            self._buffer += chunk
        self._look_at_memory()  # what was answered between two looks counts too
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return cast(dict[str, Any], json.loads(line))

    def _look_at_memory(self) -> None:
        # Finding a child's children reads the whole process table, which short answers must not pay for each time.
        if self._memory_limit_bytes is None or time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        held = _resident_bytes(self._process.pid)
        if held > self._memory_limit_bytes:
            self.close()
            limit = f"{self._memory_limit_bytes / 1e9:.2f} GB (protocol.worker_memory_bytes)"
            raise CellError(
                "oom", f"the worker held {held / 1e9:.2f} GB, more than its limit of {limit}, and was stopped"
            )

    def _death(self) -> CellError:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.close()
            code = self._process.returncode
        tail = self._log_tail()
        last = f"; its last words: {tail}" if tail else ""
        if code == -signal.SIGKILL:
            return CellError("oom", "the worker was killed (SIGKILL), as the kernel does when memory runs out" + last)
        if code is not None and code < 0:
            return CellError("failed", f"the worker died of {signal.Signals(-code).name}{last}")
        return CellError("failed", f"the worker ended with exit code {code}{last}")

    def _log_tail(self) -> str:
        with suppress(OSError, ValueError):
            self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, self._log.tell() - 4096))
            lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
            return " | ".join(lines[-3:])[-500:]
        return ""

    def close(self) -> None:
        """End the child and all that it started: ask, then SIGTERM, then SIGKILL to its group. Safe to call twice."""
        close_all([self])

    def _ask_to_leave(self) -> None:
        self._closed = True
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _has_left(self, until: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
            return True
        return False

    def _put_away(self) -> None:
        # A child that left by itself may have left others behind. Its number is not given away while its group lives.
        self._signal_group(signal.SIGKILL)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _signal_group(self, how: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, how)


def _resident_bytes(pid: int) -> int:
    """What a process and all that it started hold; 0 when it has gone."""
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        held = 0
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.Error):
                held += int(process.memory_info().rss)
        return held
    return 0


def close_all(children: Sequence[Child]) -> None:
    """Close many at once: 26 workers on a GPU, each of which takes its time, end as soon as the slowest of them."""
    staying = [child for child in children if not child._closed]
    closing = tuple(staying)
    for child in closing:
        child._ask_to_leave()
    for how, wait_s in ((None, LEAVE_S), (signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        if how is not None:
            for child in staying:
                child._signal_group(how)
        until = time.monotonic() + wait_s
        staying = [child for child in staying if not child._has_left(until)]
    for child in closing:
        child._put_away()


def serve(handlers: Mapping[str, Handler]) -> None:
    """Child side: answer requests (``do`` names the handler) until the parent closes the pipe."""
    if sys.platform == "linux":
        # Dies with the parent, even when that is killed without a chance to clean up.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Where it went before that was set; the number 1 proves nothing, since in a container a sweep may have it.
        if os.getppid() != int(os.environ.get(_PARENT, os.getppid())):
            return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever libraries print must not look like an answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"ok": handlers[request.pop("do")](request)}
        except CellError as error:
            answer = {"error": {"status": error.status, "reason": error.reason}}
        except MemoryError as error:
            answer = {"error": {"status": "oom", "reason": f"out of memory: {error}"}}
        except Exception as error:
            # Whatever a model, provider or data set throws becomes a reason, never a lost sweep.
            first = str(error).strip().splitlines() or [""]
            answer = {"error": {"status": "failed", "reason": f"{type(error).__name__}: {first[0][:400]}"}}
        payload = memoryview(json.dumps(answer).encode() + b"\n")
        while payload:
            payload = payload[os.write(answers, payload) :]
