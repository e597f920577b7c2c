"""From a resolved suite to records: plan → groups → workers → records; resume is the same call again.

Imports every room but `cli`. The process that runs a sweep never imports ONNX Runtime; workers and builders do.

The room is callable, as the command line's verb is: ``lynxbench.sweep("starter", budget="quick")``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lynxbench.records.results import Results


class _Verb(ModuleType):
    """This module, callable."""

    def __call__(
        self,
        suite: str | Path = "starter",
        *,
        budget: str = "standard",
        only: Sequence[str] = (),
        assignments: Sequence[str] = (),
        executors: Sequence[str] = (),
        out: str | Path | None = None,
        on: str | None = None,
        tls: str | Path | None = None,
    ) -> Results:
        """Run a suite as `lynxbench sweep` does, and return its results. Options as on the command line.

        `out` is a path or a URL (``s3://bucket/prefix``). Raises `DeclarationError` with every problem of the suite,
        `FolderBusy`, `StoreError`.
        """
        from lynxbench.records.results import load
        from lynxbench.specs.load import cache_folder
        from lynxbench.specs.resolve import resolve_suite
        from lynxbench.sweep.run import default_folder, prepare_sweep, run_sweep

        resolved = resolve_suite(str(suite), assignments=assignments, only=only, budget=budget, on_executors=executors)
        folder = out if out is not None else default_folder(resolved, budget, changed=bool(assignments or executors))
        if on is not None:
            from lynxbench.sweep.fleet.run import prepare_fleet, run_fleet

            safe = None if tls is None else Path(tls)
            return load([run_fleet(prepare_fleet(resolved), folder, on=on, tls=safe, cache=cache_folder()).folder])
        return load([run_sweep(prepare_sweep(resolved), folder, cache=cache_folder()).folder])


sys.modules[__name__].__class__ = _Verb
