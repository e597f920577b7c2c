"""Where a stranger's bundle is looked into: a private folder that vanishes, and a process with limits."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError, StoreError, UntrustedInput
from lynxbench.sweep.child import Child

COMMAND = (sys.executable, "-m", "lynxbench.leaderboard.inspector")
FOLDER = ".quarantine"
# An inspector's libraries hold up to 150 MB that these do not count.
CHECK_MEMORY_BYTES = 768 << 20
RESIDENT_BYTES = 960 << 20
CHECK_S = 60.0


@dataclass(frozen=True)
class Quarantine:
    """Two empty folders: `raw` for what the bundle holds, `clean` for what was checked and written anew."""

    raw: Path
    clean: Path


@contextmanager
def quarantine(beside: Path | None = None) -> Iterator[Quarantine]:
    """A private folder, gone afterwards whatever happened; inside of `beside`, so that `clean` can be renamed there."""
    try:
        if beside is None:
            home = Path(tempfile.mkdtemp(prefix="lynxbench-quarantine-"))
        else:
            (beside / FOLDER).mkdir(parents=True, exist_ok=True)
            home = Path(tempfile.mkdtemp(dir=beside / FOLDER))
        places = Quarantine(home / "raw", home / "clean")
        places.raw.mkdir()
        places.clean.mkdir()
    except OSError as error:
        raise StoreError(f"no quarantine folder can be made: {error.strerror or error}") from None
    try:
        yield places
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if beside is not None:
            for folder in (beside / FOLDER, beside):
                try:
                    folder.rmdir()  # which succeeds only where nothing is left in it
                except OSError:
                    break


def inspected(
    request: Mapping[str, Any], *, memory_bytes: int = CHECK_MEMORY_BYTES, resident_bytes: int = RESIDENT_BYTES,
    time_s: float = CHECK_S,
) -> dict[str, Any]:  # fmt: skip
    """What a fresh inspector answers. Raises `UntrustedInput` for a refusal, or an inspector that did not survive.

    `memory_bytes` is what the kernel lets it allocate, `resident_bytes` what the parent lets it hold in all.
    """
    # Its own libraries need no threads of their own, each of which holds a stack.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    child = Child(COMMAND, env, memory_limit_bytes=resident_bytes)
    try:
        answer = child.ask({**request, "memory_bytes": memory_bytes, "cpu_s": max(1, round(time_s))}, time_s)
    except CellError as error:
        raise UntrustedInput(_ending(error, memory_bytes, time_s)) from None
    finally:
        child.close()
    if "refused" in answer:
        raise UntrustedInput(answer["refused"])
    return answer


def _ending(error: CellError, memory_bytes: int, time_s: float) -> str:
    if error.status == "timeout" or "SIGXCPU" in error.reason:
        return f"looking into it took longer than {time_s:g} s"
    if error.status == "oom" or "rlimit" in error.reason.lower() or "bad_alloc" in error.reason:
        return f"looking into it took more than {memory_bytes / 1e6:,.0f} MB of memory"
    return f"it could not be looked into: {' '.join(error.reason.split())}"[:400]
