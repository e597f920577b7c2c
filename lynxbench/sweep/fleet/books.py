"""What the coordinator asks of those who know suites and results folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lynxbench.sweep.fleet.messages import FinishedCell
from lynxbench.sweep.fleet.node import NodeInfo
from lynxbench.sweep.fleet.orders import Job, Order


class Books(Protocol):
    """What the coordinator does not know of: declarations, files and the results folder."""

    def orders_of(self, kind: str | None, info: NodeInfo | None) -> Sequence[Order]:
        """The groups to measure on any host (None), or on the kind of host that `info` is the first of."""

    def parcel(self, job: Job) -> str:
        """What a node is sent of a job: everything but the cells still owed counts as finished."""

    def file(self, digest: str) -> Path | None:
        """A file that a node asks for by its digest; None when no group of this sweep needs such a file."""

    def keep(self, job: Job, cell: FinishedCell) -> str:
        """Put a cell into the results folder for good; returns its status. Called from threads, for unlike cells."""

    def give_up(self, order: Order, cells: Sequence[str], status: str, reason: str) -> None:
        """Rows for cells that will not be measured."""
