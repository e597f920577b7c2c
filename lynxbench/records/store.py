"""One sweep's Parquet on a disk: written cell by cell so that a crash at any moment leaves every file readable.

    results/<sweep>/
      records.parquet  predictions.parquet  latencies.parquet   what readers open
      parts/           cells finished since the last merge; `merge` folds them into the three files
      sweep.json       what is being measured, and by which command

Every file appears whole or not at all: written beside its place, flushed to disk, renamed. A cell's record is
written last, so a record's predictions and latencies are there when it is.
"""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from lynxbench.errors import FolderBusy, StoreError
from lynxbench.records.answers import predictions_schema, predictions_table
from lynxbench.records.files import files_at
from lynxbench.records.location import Location, Url
from lynxbench.records.objects import holds_objects
from lynxbench.records.record import Record
from lynxbench.records.schema import SECTIONS, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from lynxbench.datasets.predictions import Predictions

TABLES = ("records", "predictions", "latencies")
_KEYS = {"records": "cell_id", "predictions": "predictions_id", "latencies": "cell_id"}
# Columns that files of an earlier state of this version lack.
LATER_COLUMNS = frozenset({"ended_at", "node", "rescored_from", "process"}) | {
    field.name for section in SECTIONS if section.title == "Tuning" for field in section.fields
}
# How much of a table is held at a time where it is written anew.
STRETCH_BYTES = 64 << 20
STRETCH_ROWS = 16_384
# The disk's fault, whichever file it was.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


class CellStore(Protocol):
    """Where a group's answers and cells are handed to as they end."""

    def write_predictions(self, predictions_id: str, predictions: Predictions) -> None:
        """Keep what a candidate answered; comes before the cells that refer to it."""

    def write_cell(self, record: Record, latencies: pa.Table | None = None) -> None:
        """Keep a cell for good: when this returns it is finished."""


class ResultStore:
    """One sweep's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / ".work"
        self._parts = folder / "parts"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for writing; raises `FolderBusy` at once, naming the holder, when another sweep does."""
        from filelock import FileLock, Timeout

        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            holder = "another process"
            with suppress(OSError, ValueError):
                about = json.loads((self.folder / ".holder").read_text())
                holder = f"process {about['pid']} on {about['host']}"
            raise FolderBusy(
                f"{self.folder} is in use by {holder}; wait for it, or choose another folder with --out"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot write to {self.folder}: {error.strerror or error}") from None
        try:
            (self.folder / ".holder").write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}))
            for stray in [*self._parts.glob(".*.tmp"), *self.folder.glob(".*.tmp")]:
                stray.unlink(missing_ok=True)
            yield
        except OSError as error:
            named = error.filename if isinstance(error.filename, str) else None
            if error.errno in _DISK_ERRORS or (named is not None and Path(named).is_relative_to(self.folder)):
                raise _full(error, self.folder) from error
            raise
        finally:
            (self.folder / ".holder").unlink(missing_ok=True)
            lock.release()

    def describe(self, about: Mapping[str, Any]) -> None:
        """Write `sweep.json`."""
        durable(self.folder / "sweep.json", lambda file: file.write_text(json.dumps(about, indent=2, sort_keys=True)))

    def description(self) -> dict[str, Any] | None:
        """What `describe` wrote, or None for a new folder."""
        try:
            about = json.loads((self.folder / "sweep.json").read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder / 'sweep.json'} cannot be read: {error}") from None
        return about if isinstance(about, dict) else None

    def supersede(self, cells: set[str]) -> None:
        """Nothing: a later row of a cell replaces the one before."""

    def write_predictions(self, predictions_id: str, predictions: Predictions) -> None:
        """Keep what a candidate answered."""
        self._write("predictions", predictions_id, predictions_table(predictions_id, predictions))

    def write_cell(self, record: Record, latencies: pa.Table | None = None) -> None:
        """Keep a cell: its raw latencies, then its record."""
        import pyarrow as pa

        cell_id = str(record["cell_id"])
        if latencies is not None:
            self._write("latencies", cell_id, latencies)
        self._write("records", cell_id, pa.Table.from_pylist([dict(record.values)], schema=arrow_schema()))

    def place(self, cell_id: str, predictions_id: str | None, files: Mapping[str, bytes]) -> None:
        """Keep a cell that another process wrote: the Parquet files of its tables, the record last.

        Answers that are here already stay as they are: an id stands for the answers of one run.
        """
        for table in ("predictions", "latencies", "records"):
            key = predictions_id if table == "predictions" else cell_id
            if table in files and key is not None:
                path = self._parts / f"{table}-{key}.parquet"
                if table != "predictions" or not path.exists():
                    durable(path, partial(_write_bytes, files[table]))

    def _write(self, table: str, key: str, content: pa.Table) -> None:
        durable(self._parts / f"{table}-{key}.parquet", partial(write_parquet, content))

    def merge(self) -> None:
        """Fold the parts into the three files. Interrupted at any point, it loses and doubles nothing."""
        for table in TABLES:
            parts = sorted(self._parts.glob(f"{table}-*.parquet"))
            if not parts:
                continue
            durable(self.folder / f"{table}.parquet", partial(self._write_merged, table, parts))
            for part in parts:
                part.unlink(missing_ok=True)

    def _write_merged(self, table: str, parts: Sequence[Path], file: Path) -> None:
        """The whole and the parts as one file, some rows at a time: a fleet's results need not fit into memory."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(file, table_schema(table), compression="zstd", write_page_checksum=True) as writer:
            held: list[pa.Table] = []
            held_bytes = 0
            for rows in self._merged(table, parts):
                held.append(rows)
                held_bytes += rows.nbytes
                if held_bytes > STRETCH_BYTES:
                    writer.write_table(pa.concat_tables(held).combine_chunks())
                    held, held_bytes = [], 0
            if held:
                writer.write_table(pa.concat_tables(held).combine_chunks())

    def _merged(self, table: str, parts: Sequence[Path]) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.compute as pc

        schema, whole = table_schema(table), self.folder / f"{table}.parquet"
        if whole.is_file():
            newer = pa.array([part.name[len(table) + 1 : -len(".parquet")] for part in parts], pa.string())
            for rows in stretches(whole):
                yield as_columns(schema, rows.filter(pc.invert(pc.is_in(rows[_KEYS[table]], value_set=newer))), whole)
        for part in parts:
            yield _read_as(schema, part)


def durable(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then put it at `path` at one stroke. Raises `StoreError` naming the path."""
    # Not by `tempfile`: its files are private to the user, and results are there to be read.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _full(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _full(error: OSError, path: Path) -> StoreError:
    return StoreError(
        f"{path} could not be written: {error.strerror or error}. What was finished before is safe; "
        "free some space or choose another folder with --out, then type the same command again"
    )


def _write_bytes(content: bytes, file: Path) -> None:
    file.write_bytes(content)


def write_parquet(table: pa.Table, file: Path | IO[bytes]) -> None:
    """Zstandard, with page checksums: without them a flipped byte reads as another number."""
    import pyarrow.parquet as pq

    # A single row of two hundred columns is written and read a third faster without dictionaries.
    pq.write_table(table, file, compression="zstd", write_page_checksum=True, use_dictionary=table.num_rows > 1)


def read_parquet(file: Location) -> pa.Table:
    """Read with checksums verified; raises `StoreError` naming the file."""
    try:
        if isinstance(file, Url):
            return parsed(io.BytesIO(files_at(file.parent).read(file.name)), file)
        # By one handle: by its path PyArrow opens it twice, and a merge may put another file there in between.
        with file.open("rb") as source:
            return parsed(source, file)
    except OSError as error:
        raise StoreError(f"{file} is damaged or no Parquet file: {error}") from None


def parsed(source: IO[bytes], file: Location) -> pa.Table:
    """What an open file holds, checksums verified; raises `StoreError` naming it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as parquet:
            return parquet.read()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{file} is damaged or no Parquet file: {error}") from None


def stretches(file: Path) -> Iterator[pa.Table]:
    """A file's rows, some thousand at a time, checksums verified; raises `StoreError` naming it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as source, pq.ParquetFile(source, page_checksum_verification=True) as parquet:
            for batch in parquet.iter_batches(batch_size=STRETCH_ROWS):
                yield pa.Table.from_batches([batch])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{file} is damaged or no Parquet file: {error}") from None


def read_table(folder: Location, table: str) -> pa.Table:
    """One of the three tables of a results folder, parts included; a key in both counts once, the part's row.

    Returns an empty table with the right columns when there is nothing yet.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    files = files_at(folder)
    if holds_objects(files):
        from lynxbench.records.places import FOLDER, Place, in_memory

        return in_memory(Place(folder, "store"), table).drop_columns([FOLDER]).combine_chunks()
    parts = _read_parts(folder, table)
    schema = table_schema(table)
    if any(entry.name == f"{table}.parquet" for entry in files.entries()):
        whole = _read_as(schema, folder / f"{table}.parquet")
        if parts:
            newer = pa.chunked_array([pc.unique(part[_KEYS[table]]) for part in parts])
            whole = whole.filter(pc.invert(pc.is_in(whole[_KEYS[table]], value_set=pc.unique(newer))))
        parts.insert(0, whole)
    return pa.concat_tables(parts).combine_chunks() if parts else schema.empty_table()


def part_files(folder: Location, table: str) -> list[Location]:
    """What was not merged into a sweep's file of a table yet, sorted."""
    names = [entry.name for entry in files_at(folder).entries("parts")]
    return [folder / "parts" / name for name in names if name.startswith(f"{table}-") and name.endswith(".parquet")]


def _read_parts(folder: Location, table: str) -> list[pa.Table]:
    schema = table_schema(table)
    while True:
        files = part_files(folder, table)
        try:
            return [_read_as(schema, file) for file in files]
        except StoreError:
            # A sweep that is running may have merged them just now: then they are gone, and in the whole.
            if part_files(folder, table) == files:
                raise


def _read_as(schema: pa.Schema, file: Location) -> pa.Table:
    return as_columns(schema, read_parquet(file), file)


def as_columns(schema: pa.Schema, content: pa.Table, file: Location) -> pa.Table:
    """The file's rows in the columns of this version; raises `StoreError` when it has others.

    Columns that came later and need not hold anything are null in older files.
    """
    import pyarrow as pa

    if content.schema.equals(schema):
        return content
    for name in LATER_COLUMNS & (set(schema.names) - set(content.schema.names)):
        content = content.append_column(name, pa.nulls(content.num_rows, schema.field(name).type))
    odd = sorted(set(content.schema.names) ^ set(schema.names))
    if odd:
        raise StoreError(f"{file} has other columns than this version of LynxBench writes: {', '.join(odd)}")
    try:
        return content.select(schema.names).cast(schema)
    except ValueError as error:
        raise StoreError(f"{file} has columns of other types than this version writes: {error}") from None


def statuses(folder: Location) -> Iterator[tuple[str, str]]:
    """Every cell at a place with its status, reading little else; a cell in a part and the whole comes twice, the
    part's last.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(folder, Url) or holds_objects(files_at(folder)):
        from lynxbench.records.places import Place, dataset, scanned

        place = Place(folder, "store" if holds_objects(files_at(folder)) else "sweep")
        rows = scanned(dataset([place], "records"), ["cell_id", "status"])
        yield from zip(rows["cell_id"].to_pylist(), rows["status"].to_pylist(), strict=True)
        return
    for file in (folder / "records.parquet", *sorted((folder / "parts").glob("records-*.parquet"))):
        if not file.is_file():
            continue
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                for batch in parquet.iter_batches(columns=["cell_id", "status"]):
                    columns = (batch.column(name).to_pylist() for name in ("cell_id", "status"))
                    yield from zip(*columns, strict=True)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"{file} is damaged or no Parquet file: {error}") from None


def read_records(folder: Location) -> list[Record]:
    """Every row of a results folder, validated, in the plan's order; `StoreError` when one breaks the table's rules."""
    rows = read_table(folder, "records").sort_by("position").to_pylist()
    try:
        return [Record(row) for row in rows]
    except ValueError as error:
        raise StoreError(f"{folder}: {error}") from None


def table_schema(table: str) -> pa.Schema:
    """The columns of one of the three tables."""
    import pyarrow as pa

    if table == "records":
        return arrow_schema()
    if table == "latencies":
        return pa.schema(
            [
                ("cell_id", pa.string()),
                ("round", pa.int32()),
                ("process", pa.int32()),
                ("excluded", pa.bool_()),
                ("latency_ns", pa.int64()),
                ("scheduled_ns", pa.int64()),
                ("issued_ns", pa.int64()),
            ]
        )
    return predictions_schema()
