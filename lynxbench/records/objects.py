"""A sweep's results as one object a cell: what many machines can write to at once, and object stores can hold.

    sweep.json                                 what is being measured
    cells/records/CELL_ID.ATTEMPT.parquet      a finished cell; names its two objects of rows
    cells/predictions/ID.TIME-WRITER.parquet
    cells/latencies/CELL_ID.TIME-WRITER.parquet
    sets/…                                     what `lynxbench compact` merged (see `compaction`)

A cell exists when its record does, which is written last and once: of two writers of one cell the first counts, and
rows that no record names are not there. Another attempt at a cell (`--retry`) is another object.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lynxbench.errors import FolderBusy, StoreError, Unreachable, UsageError
from lynxbench.records.answers import predictions_table
from lynxbench.records.files import Files, files_at
from lynxbench.records.generations import SETS, described, latest_generation, put_description
from lynxbench.records.location import Location
from lynxbench.records.record import Record
from lynxbench.records.schema import arrow_schema
from lynxbench.specs.load import cache_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from lynxbench.datasets.predictions import Predictions

CELLS = "cells"
RECORDS = f"{CELLS}/records"
PATIENCE_S = 600.0  # how long a finished cell waits for a store that does not answer
_LONGEST_WAIT_S = 30.0
_RECORD = re.compile(rf"{RECORDS}/([^/]+)\.(\d+)\.parquet")
_METADATA = {"predictions": b"lynxbench.predictions", "latencies": b"lynxbench.latencies"}

T = TypeVar("T")


class ObjectStore:
    """The results of one sweep at one location, for writing.

    attempt  which attempt at its cells this sweep is; every machine of a fleet is told the same
    """

    def __init__(self, place: Location, *, attempt: int = 0, patience_s: float = PATIENCE_S) -> None:
        self.folder = place
        self.attempt = attempt
        self.work = cache_folder() / "work" / hashlib.sha256(str(place).encode()).hexdigest()[:16]
        self._files: Files = files_at(place)
        self._patience_s = patience_s
        self._writer = secrets.token_hex(4)
        self._predictions: dict[str, str] = {}  # by predictions_id: the object that this writer put

    @contextmanager
    def held(self) -> Iterator[None]:
        """One sweep into a place from each machine: two would disturb each other's times. Raises `FolderBusy`.

        Sweeps of other machines may write to the same place; a cell that both measure counts once.
        """
        from filelock import FileLock, Timeout

        if isinstance(self.folder, Path) and _has_other_layout(self._files):
            raise UsageError(f"{self.folder} holds a sweep in three files; name it without file://")
        self.work.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.work.with_suffix(".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise FolderBusy(
                f"another sweep on this machine writes to {self.folder}; wait for it, or choose another --out"
            ) from None
        try:
            self._leaves_what_is_there()
            yield
        finally:
            lock.release()

    def describe(self, about: Mapping[str, Any]) -> None:
        """Write what is being measured, where that is not what was said last."""
        for _ in range(3):
            before = described(self._files)
            if before is not None and before[1] == dict(about):
                break
            number = 0 if before is None else before[0] + 1
            if put_description(self._files, number, about):
                break
        else:
            raise FolderBusy(f"another sweep began in {self.folder} at the same moment; type the same command again")

    def _leaves_what_is_there(self) -> None:
        """Raises `StoreError` where the filesystem overwrites what it is asked to leave: all rests on that."""
        name = f"{CELLS}/probe-{self._writer}"
        first, second = (self._files.create(name, content) for content in (b"first", b"second"))
        self._files.delete([name])
        if second or not first:
            raise StoreError(
                f"{self.folder} overwrites objects that it is asked to leave as they are (If-None-Match); "
                "results would not be safe there"
            )

    def description(self) -> dict[str, Any] | None:
        """What `describe` wrote last, or None for a new place."""
        before = described(self._files)
        return None if before is None else before[1]

    def supersede(self, cells: set[str]) -> None:
        """Be a later attempt than any that there was at `cells`."""
        if not cells:
            return
        names = {*self._files.names(RECORDS), *latest_generation(self._files).merged}
        attempts = [attempt for name in names for cell, attempt in [cell_of(name)] if cell in cells]
        self.attempt = max(attempts, default=-1) + 1

    def write_predictions(self, predictions_id: str, predictions: Predictions) -> None:
        """Keep what a candidate answered, for the records that will name it."""
        name = self._rows_name("predictions", predictions_id)
        self._put(name, encoded(predictions_table(predictions_id, predictions)))
        self._predictions[predictions_id] = name

    def write_cell(self, record: Record, latencies: pa.Table | None = None) -> None:
        """Keep a cell: its raw latencies, then its record; nothing where another writer has kept the cell before."""
        import pyarrow as pa

        row = pa.Table.from_pylist([dict(record.values)], schema=arrow_schema())
        timed = None if latencies is None else encoded(latencies)
        self._write_cell(str(record["cell_id"]), record["predictions_id"], row, timed)

    def place(self, cell_id: str, predictions_id: str | None, files: Mapping[str, bytes]) -> None:
        """Keep a cell that another process wrote: the Parquet files of its tables, the record last.

        Answers that this writer has put already stay as they are: an id stands for the answers of one run.
        """
        import pyarrow as pa

        from lynxbench.records.store import parsed

        row = parsed(pa.BufferReader(files["records"]), self.folder / record_name(cell_id, self.attempt))
        if predictions_id is not None and predictions_id not in self._predictions and "predictions" in files:
            name = self._rows_name("predictions", predictions_id)
            self._put(name, files["predictions"])
            self._predictions[predictions_id] = name
        self._write_cell(cell_id, predictions_id, row, files.get("latencies"))

    def _write_cell(self, cell_id: str, predictions_id: str | None, row: pa.Table, latencies: bytes | None) -> None:
        named = {}
        if predictions_id is not None and predictions_id in self._predictions:
            named["predictions"] = self._predictions[predictions_id]
        if latencies is not None:
            named["latencies"] = self._rows_name("latencies", cell_id)
            self._put(named["latencies"], latencies)
        about = {_METADATA[table]: name.encode() for table, name in named.items()}
        row = row.replace_schema_metadata({**(row.schema.metadata or {}), **about})
        if not self._put(record_name(cell_id, self.attempt), encoded(row)) and latencies is not None:
            self._files.delete([named["latencies"]])  # another was first: nobody will name them

    def merge(self) -> None:
        """Nothing: `lynxbench compact` does that, when the whole fleet is done."""

    def _rows_name(self, table: str, key: str) -> str:
        # The time tells a compaction how long rows that no record names have been waiting for one.
        return f"{CELLS}/{table}/{key}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._writer}.parquet"

    def _put(self, name: str, content: bytes) -> bool:
        return patiently(lambda: self._files.create(name, content), self._patience_s)


def record_name(cell_id: str, attempt: int) -> str:
    """Where a cell's record lies."""
    return f"{RECORDS}/{cell_id}.{attempt}.parquet"


def cell_of(name: str) -> tuple[str, int]:
    """The cell and the attempt that a record's name tells; raises `StoreError` for another name."""
    found = _RECORD.fullmatch(name)
    if found is None:
        raise StoreError(f"{name} is no record's name: CELL_ID.ATTEMPT.parquet is")
    return found[1], int(found[2])


def rows_named(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """The objects that a record's file names: table → object."""
    return {table: metadata[key].decode() for table, key in _METADATA.items() if metadata and key in metadata}


def encoded(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file, written as every other (see `store.write_parquet`)."""
    import io

    from lynxbench.records.store import write_parquet

    buffer = io.BytesIO()
    write_parquet(table, buffer)
    return buffer.getvalue()


def patiently(do: Callable[[], T], patience_s: float) -> T:
    """Do it, again and again while the store does not answer; raises `Unreachable` when patience ends."""
    end, wait_s = time.monotonic() + patience_s, 1.0
    while True:
        try:
            return do()
        except Unreachable:
            if time.monotonic() + wait_s > end:
                raise
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def holds_objects(files: Files) -> bool:
    """Whether results lie there as objects rather than in three files."""
    return any(entry.is_folder and entry.name in {CELLS, SETS} for entry in files.entries())


def _has_other_layout(files: Files) -> bool:
    names = {entry.name for entry in files.entries()}
    return bool(names & {"records.parquet", "parts"})
