"""A child that fails in every way that a worker can: `python -m tests.sweep.failing_child`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

from lynxbench.errors import CellError
from lynxbench.sweep.child import serve


def echo(request: dict[str, Any]) -> dict[str, Any]:
    print("libraries print what they like")
    return request


def hang(request: dict[str, Any]) -> dict[str, Any]:
    time.sleep(600)
    return {}


def stubborn(request: dict[str, Any]) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
    return {}


def crash(request: dict[str, Any]) -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def leave(request: dict[str, Any]) -> dict[str, Any]:
    print("no more of this", file=sys.stderr)
    os._exit(7)


def killed(request: dict[str, Any]) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def refuse(request: dict[str, Any]) -> dict[str, Any]:
    raise CellError("unsupported", "not by this one")


def raises(request: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("a reason\nand details")


def glutton(request: dict[str, Any]) -> dict[str, Any]:
    held = [bytearray(b"x" * (16 << 20)) for _ in range(40)]
    time.sleep(600)
    return {"held": len(held)}


def parent_of_a_glutton(request: dict[str, Any]) -> dict[str, Any]:
    glutton = f"import time; held = bytearray(b'x' * {600 << 20}); time.sleep(600)"
    subprocess.run([sys.executable, "-c", glutton], check=True)
    return {}


def leaves_a_child(request: dict[str, Any]) -> dict[str, Any]:
    return {"pid": subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid}


def hungry(request: dict[str, Any]) -> dict[str, Any]:
    raise MemoryError("40 GB")


HANDLERS = (
    echo, hang, stubborn, crash, leave, killed, refuse, raises, glutton, parent_of_a_glutton, leaves_a_child, hungry,
)  # fmt: skip

if __name__ == "__main__":
    serve({handler.__name__: handler for handler in HANDLERS})
