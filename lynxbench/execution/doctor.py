"""Every executor of the catalogue asked at once: what can this machine run, and why not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lynxbench.execution.preflight import Availability, preflight
from lynxbench.specs.executor import ExecutorSpec


def doctor(specs: Iterable[ExecutorSpec], *, cache_dir: Path | None = None) -> list[Availability]:
    """Preflight of each of `specs`, in their order; child processes run side by side."""
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(partial(preflight, cache_dir=cache_dir), specs))
