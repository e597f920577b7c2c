"""A results folder in memory, for notebooks and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lynxbench.errors import UsageError
from lynxbench.records.store import read_records, read_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Results:
    """One sweep's results; each table is read when it is first asked for."""

    folder: Path

    @cached_property
    def records(self) -> pa.Table:
        """One row a cell, in the plan's order; the columns are explained in `results/README.md`."""
        return read_table(self.folder, "records").sort_by("position")

    @cached_property
    def predictions(self) -> pa.Table:
        """One row a candidate and sample."""
        return read_table(self.folder, "predictions")

    @cached_property
    def latencies(self) -> pa.Table:
        """One row a timed query."""
        return read_table(self.folder, "latencies")


def load(folder: Path) -> Results:
    """Open a results folder, every record checked.

    Raises `UsageError` when it is none, `StoreError` when a file is damaged or a record breaks the table's rules.
    """
    if not (folder / "sweep.json").is_file():
        raise UsageError(f"{folder} is no results folder: it has no sweep.json")
    read_records(folder)
    return Results(folder)
