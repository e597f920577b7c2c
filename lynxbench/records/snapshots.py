"""What a place of objects holds at one moment: the merged set, and the cells beside it.

Names are listed before the generation is read. So a cell that a compaction merges meanwhile is either in the list and
not yet in the set, or in the set: never in neither. If it is in both, the generation says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from lynxbench.errors import StoreError
from lynxbench.records.files import Files, files_at
from lynxbench.records.generations import Generation, SetFile, latest_generation
from lynxbench.records.location import Location
from lynxbench.records.objects import RECORDS, cell_of, rows_named
from lynxbench.records.record import MEASURED

if TYPE_CHECKING:
    import pyarrow as pa

_TRIES = 5
AT_ONCE = 64  # objects that are read together


@dataclass(frozen=True)
class Cell:
    """A finished cell that is not merged yet."""

    name: str
    cell_id: str
    attempt: int
    row: pa.Table  # its record
    named: dict[str, str]  # its objects of rows: table → name

    def value(self, field: str) -> Any:
        """One field of its record."""
        return self.row[field][0].as_py()


@dataclass(frozen=True)
class Snapshot:
    """One moment. `replaced` are cells of the set whose rows those of `cells` replace."""

    place: Location
    generation: Generation
    cells: tuple[Cell, ...]
    replaced: frozenset[str]
    known_answers: frozenset[str]  # predictions_id of what the set holds; read where there are cells beside it
    outdone: frozenset[str]  # record objects that lost against another of the same cell

    def objects(self, table: str) -> list[str]:
        """The objects beside the set that hold rows of a table; of a candidate's answers, kept twice, the first."""
        if table == "records":
            return [cell.name for cell in self.cells]
        chosen: dict[str, str] = {}
        for cell in self.cells:
            name = cell.named.get(table)
            key = str(cell.value("predictions_id")) if table == "predictions" else cell.cell_id
            if name is not None and not (table == "predictions" and key in self.known_answers):
                chosen.setdefault(key, name)
        return list(chosen.values())

    def files(self, table: str) -> tuple[SetFile, ...]:
        """The files of the set."""
        return self.generation.of(table)


def snapshot(place: Location) -> Snapshot:
    """What lies there now. Raises `StoreError` when an object is damaged, or all changes faster than it can be read."""
    files = files_at(place)
    for _ in range(_TRIES):
        names = files.names(RECORDS)
        generation = latest_generation(files)
        try:
            cells = list(read_cells(files, [name for name in names if name not in generation.merged]))
            return _resolved(files, generation, cells)
        except FileNotFoundError as error:
            # Merged, and cleaned up, since it was listed?
            if files.names(RECORDS) == names and latest_generation(files).number == generation.number:
                raise StoreError(f"{place}: gone, though it belongs to what is there: {error}") from None
    raise StoreError(f"{place} changes faster than it can be read")


def read_cells(files: Files, names: Sequence[str]) -> Iterator[Cell]:
    """The records of cells, several at a time. Raises `FileNotFoundError` for one that is gone."""
    import pyarrow as pa

    from lynxbench.records.store import as_columns, parsed, table_schema

    schema = table_schema("records")

    def cell(name: str, content: bytes) -> Cell:
        where = files.location / name
        table = parsed(pa.BufferReader(content), where)
        row = as_columns(schema, table, where)
        cell_id, attempt = cell_of(name)
        if row.num_rows != 1 or row["cell_id"][0].as_py() != cell_id:
            raise StoreError(f"{where} is not the record of {cell_id} alone")
        return Cell(name, cell_id, attempt, row, rows_named(table.schema.metadata))

    left = iter(names)
    with ThreadPoolExecutor(4) as threads:
        while chunk := list(islice(left, AT_ONCE)):
            contents = files.read_all(chunk)
            yield from threads.map(lambda name, contents=contents: cell(name, contents[name]), chunk)


def read_rows(files: Files, table: str, names: Sequence[str]) -> Iterator[pa.Table]:
    """The rows in objects of cells, one table an object, several read at a time; `StoreError` for one that is gone."""
    import pyarrow as pa

    from lynxbench.records.store import as_columns, parsed, table_schema

    schema, left = table_schema(table), iter(names)
    while chunk := list(islice(left, AT_ONCE)):
        try:
            contents = files.read_all(chunk)
        except FileNotFoundError as error:
            raise StoreError(f"{files.location}: {table} that a record names are gone: {error}") from None
        for name in chunk:
            where = files.location / name
            yield as_columns(schema, parsed(pa.BufferReader(contents[name]), where), where)


def _resolved(files: Files, generation: Generation, cells: Sequence[Cell]) -> Snapshot:
    """Of several rows of a cell the one that counts.

    A measurement before any failure; of measurements the first, as of two writers of one object; of failures the last.
    """
    best: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.cell_id, cell.attempt)):
        before = best.get(cell.cell_id)
        if before is None or before.value("status") not in MEASURED:
            best[cell.cell_id] = cell
    held = _held(files, generation) if best and generation.of("records") else {}
    kept = [
        cell
        for cell_id, cell in best.items()
        if cell_id not in held or (held[cell_id][0] not in MEASURED and _later(cell, held[cell_id][1]))
    ]
    return Snapshot(
        files.location,
        generation,
        tuple(sorted(kept, key=lambda cell: (cell.value("position"), cell.cell_id))),
        frozenset(cell.cell_id for cell in kept if cell.cell_id in held),
        frozenset(answers for _, _, answers in held.values() if answers is not None),
        frozenset(cell.name for cell in cells) - {cell.name for cell in kept},
    )


def _later(cell: Cell, started_at: Any) -> bool:
    return bool(cell.value("status") in MEASURED or cell.value("started_at") >= started_at)


def _held(files: Files, generation: Generation) -> dict[str, tuple[str, Any, str | None]]:
    """What the set holds of each cell: status, start, key of its answers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = {}
    columns = ["cell_id", "status", "started_at", "predictions_id"]
    for file in generation.of("records"):
        try:
            with files.arrow().open_input_file(files.arrow_path(file.name)) as source:
                table = pq.ParquetFile(source, page_checksum_verification=True).read(columns=columns)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"{files.location / file.name} is damaged or no Parquet file: {error}") from None
        for row in table.to_pylist():
            held[row["cell_id"]] = (row["status"], row["started_at"], row["predictions_id"])
    return held
