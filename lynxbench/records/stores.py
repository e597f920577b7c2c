"""Where a sweep writes: the folder of three files on this machine's disk, or a place of one object a cell."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from lynxbench.errors import UsageError
from lynxbench.records.files import LocalFiles
from lynxbench.records.location import Location, Url, is_of_objects, location
from lynxbench.records.objects import ObjectStore, holds_objects
from lynxbench.records.store import CellStore, ResultStore


class Store(CellStore, Protocol):
    """The results of one sweep, for writing."""

    @property
    def folder(self) -> Location: ...

    @property
    def work(self) -> Path:
        """A folder of this machine for what is of use while the sweep runs."""

    def held(self) -> AbstractContextManager[None]:
        """Hold it for writing; raises `FolderBusy` when another sweep of this machine does."""

    def describe(self, about: Mapping[str, Any]) -> None:
        """Say what is being measured."""

    def description(self) -> dict[str, Any] | None:
        """What `describe` was told last, or None for a new place."""

    def place(self, cell_id: str, predictions_id: str | None, files: Mapping[str, bytes]) -> None:
        """Keep a cell that another process wrote: the Parquet files of its tables, the record last."""

    def supersede(self, cells: set[str]) -> None:
        """Later rows of `cells` are to replace those that are there."""

    def merge(self) -> None:
        """Fold what was written cell by cell into what readers open, where the store does that itself."""


def open_store(given: str | PathLike[str] | Url) -> Store:
    """The store at a place: by a path the folder of three files, by a URL, ``file://`` too, one object a cell.

    Raises `UsageError` for a URL that cannot be, and for a path where there are objects.
    """
    place = location(given)
    if is_of_objects(given):
        return ObjectStore(place)
    assert isinstance(place, Path)
    if holds_objects(LocalFiles(place)):
        raise UsageError(f"{place} holds one object a cell\n  try       --out file://{place.resolve()}")
    return ResultStore(place)
