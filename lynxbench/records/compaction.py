"""Merging the cells of a store of objects into a hive-partitioned set; gathering other results into one.

    sets/000002.json                                  a generation: which files the set consists of (see `generations`)
    sets/TIME-TOKEN/records/workload=W/part-0.parquet its files, under names that are used once

Files first, then the generation that names them: creating it is the one step that changes anything for readers. What
it replaces stays for readers that are under way, and is deleted by a later run. So a run may end anywhere: what it
left behind nobody reads, and the next run starts over. Two runs at once: the second to finish is told by the number
of its generation, and starts over.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lynxbench.errors import StoreError, UsageError
from lynxbench.records.files import Files, files_at
from lynxbench.records.generations import (
    SETS,
    Generation,
    Replaced,
    SetFile,
    described,
    generation_name,
    generation_numbers,
    latest_generation,
    put_description,
    put_generation,
)
from lynxbench.records.location import Location
from lynxbench.records.objects import CELLS
from lynxbench.records.places import FOLDER, Place, dataset, scanned, told_by_path
from lynxbench.records.snapshots import Cell, Snapshot, read_rows, snapshot
from lynxbench.records.store import TABLES, as_columns, parsed, table_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

PARTITION = "workload"
KEEP_S = 24 * 3600.0  # what was replaced stays so long for readers that are under way
# What a killed run or sweep left behind; far above what one takes from its first object to the one that names it.
ABANDONED_S = 7 * 24 * 3600.0
_KEPT_GENERATIONS = 10
_FILE_BYTES = 128 << 20
_SMALL_BYTES = 32 << 20  # files below it are written anew together with the rows that come
_ROW_GROUP_BYTES = 64 << 20  # in memory
_TRIES = 5
_TIME = "%Y%m%dT%H%M%SZ"

Tell = Callable[[str, int, int], None]  # what, done, of how many


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Compacted:
    """What a run did at one place."""

    place: Location
    generation: int
    cells: int  # merged by this run
    files: int  # that the set consists of
    size_bytes: int
    deleted: int  # objects that were replaced long enough ago, or abandoned


def compact(
    place: Location,
    *,
    keep_s: float = KEEP_S,
    clock: Callable[[], float] = time.time,
    tell: Tell = _silent,
) -> Compacted:
    """Merge what a store of objects holds beside its set, and delete what was replaced `keep_s` ago.

    Raises `StoreError` when an object is damaged or gone; then nothing has changed.
    """
    files = files_at(place)
    for _ in range(_TRIES):
        now = snapshot(place)
        if not now.cells and not now.outdone:
            return _compacted(files, now, 0, _clean(files, now, keep_s, clock()))
        run = _Run(files, clock)
        merged = _merged(run, now, tell)
        if put_generation(files, merged):
            after = Snapshot(place, merged, (), frozenset(), frozenset(), frozenset())
            return _compacted(files, after, len(now.cells), _clean(files, after, keep_s, clock()))
        run.withdraw()
    raise StoreError(f"{place}: other compactions are always faster; type the same command again later")


def gather(
    source: Place,
    out: Location,
    *,
    keep_s: float = KEEP_S,
    clock: Callable[[], float] = time.time,
    tell: Tell = _silent,
) -> Compacted:
    """Write all of a place as a merged set elsewhere; nothing where that was done and nothing has changed since.

    Raises `UsageError` where `out` holds other results.
    """
    files = files_at(out)
    state, name = _state(source), str(source.folder)
    about = (described(files_at(source.folder)) or (0, {"planned": [], "digests": {"gathered": name}}))[1]
    for _ in range(_TRIES):
        before = latest_generation(files)
        others = {entry.name for entry in files.entries()} - {SETS}
        if (before.number == 0 and others) or not before.sources.keys() <= {name}:
            raise UsageError(f"{out} holds other results; choose another place with --out")
        nothing_beside = Snapshot(out, before, (), frozenset(), frozenset(), frozenset())
        if before.sources.get(name) == state:
            _describe(files, about)
            return _compacted(files, nothing_beside, 0, _clean(files, nothing_beside, keep_s, clock()))
        run = _Run(files, clock)
        tables, count = _all_of(run, source, tell)
        replaced = run.replaced(before, (file.name for table in TABLES for file in before.of(table)))
        after = Generation(before.number + 1, tables, frozenset(), replaced, {name: state})
        # The set before what says that it is one: a run that ends in between is begun anew.
        if put_generation(files, after):
            _describe(files, about)
            now = Snapshot(out, after, (), frozenset(), frozenset(), frozenset())
            return _compacted(files, now, count, _clean(files, now, keep_s, clock()))
        run.withdraw()
    raise StoreError(f"{out}: other compactions are always faster; type the same command again later")


class _Run:
    """The files that one run writes, under its own token."""

    def __init__(self, files: Files, clock: Callable[[], float]) -> None:
        self.files = files
        self._clock = clock
        self._folder = f"{SETS}/{datetime.fromtimestamp(clock(), UTC):{_TIME}}-{secrets.token_hex(4)}"
        self._written: list[str] = []

    def write(self, table: str, workload: str, rows: Iterable[pa.Table]) -> list[SetFile]:
        """The rows of one partition, in files of bounded size; their workload goes into the path."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = table_schema(table)
        columns = [name for name in schema.names if name != PARTITION]
        folder = f"{self._folder}/{table}/{PARTITION}={quote(workload, safe='')}"
        found: list[SetFile] = []
        for group in _in_groups(rows):
            buffer = pa.BufferOutputStream()
            count = 0
            with pq.ParquetWriter(
                buffer, pa.schema([schema.field(c) for c in columns]), compression="zstd", write_page_checksum=True
            ) as writer:
                for part in group:
                    writer.write_table(part.select(columns))
                    count += part.num_rows
            content = buffer.getvalue().to_pybytes()
            name = f"{folder}/part-{len(found)}.parquet"
            self._written.append(name)
            if not self.files.create(name, content):
                raise StoreError(f"{self.files.location / name} is there already")
            found.append(SetFile(name, count, len(content)))
        return found

    def replaced(self, before: Generation, names: Iterable[str]) -> tuple[Replaced, ...]:
        """What nobody reads any more: from now on these, and from before what is still there."""
        there = {*self.files.names(CELLS), *self.files.names(SETS)}
        since = {one.name: one.since for one in before.replaced if one.name in there}
        now = self._clock()
        return tuple(Replaced(name, since.get(name, now)) for name in sorted({*since, *names}))

    def withdraw(self) -> None:
        """Delete what was written: another run was faster."""
        self.files.delete(self._written)


def _in_groups(rows: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """Tables joined to row groups, and these to files, by their size in memory: compression leaves them smaller."""
    import pyarrow as pa

    file: list[pa.Table] = []
    waiting: list[pa.Table] = []
    file_bytes = waiting_bytes = 0
    for table in rows:
        waiting.append(table)
        waiting_bytes += table.nbytes
        if waiting_bytes >= _ROW_GROUP_BYTES:
            file.append(pa.concat_tables(waiting).combine_chunks())
            file_bytes += waiting_bytes
            waiting, waiting_bytes = [], 0
        if file_bytes >= _FILE_BYTES:
            yield file
            file, file_bytes = [], 0
    if waiting:
        file.append(pa.concat_tables(waiting).combine_chunks())
    if any(part.num_rows for part in file):
        yield file


def _merged(run: _Run, now: Snapshot, tell: Tell) -> Generation:
    """The generation after `now`, its files written."""
    before = now.generation
    cells: dict[str, list[Cell]] = {}
    for cell in now.cells:
        cells.setdefault(str(cell.value(PARTITION)), []).append(cell)
    tables = {}
    rewritten: set[str] = set()
    for place, table in enumerate(TABLES):
        kept = {file.name: file for file in before.of(table)}
        wanted = set(now.objects(table))
        for step, (workload, mine) in enumerate(sorted(cells.items())):
            tell(f"{table} of {workload}", place * len(cells) + step, len(TABLES) * len(cells))
            outdated = now.replaced & {cell.cell_id for cell in mine} if table == "records" else frozenset()
            anew = [
                file
                for file in kept.values()
                if told_by_path(file.name).get(PARTITION) == workload and (outdated or file.size_bytes < _SMALL_BYTES)
            ]
            if table == "records":
                new: Iterable[pa.Table] = (cell.row for cell in mine)
            else:
                names = dict.fromkeys(cell.named[table] for cell in mine if cell.named.get(table) in wanted)
                new = read_rows(run.files, table, list(names))
            old = (_without(_read(run.files, table, file), outdated) for file in anew)
            for file in anew:
                del kept[file.name]
                rewritten.add(file.name)
            for file in run.write(table, workload, _chained(old, new)):
                kept[file.name] = file
        tables[table] = tuple(kept[name] for name in sorted(kept))
    merged = {cell.name for cell in now.cells} | now.outdone
    rows = {name for cell in now.cells for name in cell.named.values()}
    replaced = run.replaced(before, merged | rows | rewritten)
    still_there = {one.name for one in replaced}
    return Generation(
        before.number + 1, tables, frozenset((before.merged & still_there) | merged), replaced, before.sources
    )


def _chained(old: Iterable[pa.Table], new: Iterable[pa.Table]) -> Iterator[pa.Table]:
    yield from old
    yield from new


def _read(files: Files, table: str, file: SetFile) -> pa.Table:
    """A file of the set, with what its path says."""
    import pyarrow as pa

    where = files.location / file.name
    try:
        rows = parsed(pa.BufferReader(files.read(file.name)), where)
    except FileNotFoundError:
        raise StoreError(f"{where} is gone, though it belongs to the set") from None
    if table == "records":
        workload = told_by_path(file.name)[PARTITION]
        rows = rows.append_column(PARTITION, pa.repeat(pa.scalar(workload, pa.string()), rows.num_rows))
    return as_columns(table_schema(table), rows, where)


def _without(rows: pa.Table, cells: Iterable[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return (
        rows.filter(pc.invert(pc.is_in(rows["cell_id"], value_set=pa.array(sorted(cells), pa.string()))))
        if cells
        else rows
    )


def _all_of(run: _Run, source: Place, tell: Tell) -> tuple[dict[str, tuple[SetFile, ...]], int]:
    """Everything of a place, written as files of a set; and how many records that was."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    keys = scanned(dataset([source], "records"), ["cell_id", "predictions_id", PARTITION])
    workloads = sorted(keys[PARTITION].unique().to_pylist())
    tables: dict[str, tuple[SetFile, ...]] = {}
    for place, table in enumerate(TABLES):
        rows, found = dataset([source], table), []
        for step, workload in enumerate(workloads):
            tell(f"{table} of {workload}", place * len(workloads) + step, len(TABLES) * len(workloads))
            where = ds.field(PARTITION) == workload
            if table != "records":
                key = "predictions_id" if table == "predictions" else "cell_id"
                mine = keys.filter(where)[key].drop_null().unique()
                where = ds.field(key).isin(mine.combine_chunks() if isinstance(mine, pa.ChunkedArray) else mine)
            found += run.write(table, workload, _batches(rows, table, where))
        tables[table] = tuple(found)
    return tables, keys.num_rows


def _batches(rows: ds.Dataset, table: str, where: ds.Expression) -> Iterator[pa.Table]:
    import pyarrow as pa

    try:
        for batch in rows.to_batches(filter=where):
            if batch.num_rows:
                yield pa.Table.from_batches([batch]).drop_columns([FOLDER]).cast(table_schema(table))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"results could not be read: {error}") from None


def _state(source: Place) -> str:
    """A digest of which rows a place holds: each cell with its host, status and times."""
    columns = ["cell_id", "host_id", "status", "started_at", "ended_at"]
    rows = scanned(dataset([source], "records"), columns).sort_by([(name, "ascending") for name in columns])
    return hashlib.sha256(repr(rows.to_pylist()).encode()).hexdigest()


def _describe(files: Files, about: Any) -> None:
    before = described(files)
    if before is None or before[1] != about:
        put_description(files, 0 if before is None else before[0] + 1, about)


def _clean(files: Files, now: Snapshot, keep_s: float, at: float) -> int:
    """Delete what was replaced long enough ago, what killed runs and sweeps left, and old generations."""
    generation = now.generation
    there = {*files.names(CELLS), *files.names(SETS)}
    replaced = {one.name: one.since for one in generation.replaced}
    due = {name for name, since in replaced.items() if since <= at - keep_s}
    named = {file.name for table in TABLES for file in generation.of(table)}
    named |= {name for cell in now.cells for name in (cell.name, *cell.named.values())}
    abandoned = {
        name
        for name in there - named - replaced.keys()
        if (begun := _begun(name)) is not None and begun <= at - max(keep_s, ABANDONED_S)
    }
    old = {generation_name(number) for number in generation_numbers(files)[:-_KEPT_GENERATIONS]}
    gone = ((due | abandoned) & there) | old
    files.delete(sorted(gone))
    return len(gone)


def _begun(name: str) -> float | None:
    """When the writer of an object began, by its name; None for records and generations."""
    segment = name.split("/")[1] if name.startswith(f"{SETS}/") else name.rsplit("/", maxsplit=1)[-1].partition(".")[2]
    try:
        return datetime.strptime(segment.partition("-")[0], _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _compacted(files: Files, now: Snapshot, cells: int, deleted: int) -> Compacted:
    found = [file for table in TABLES for file in now.files(table)]
    size_bytes = sum(file.size_bytes for file in found)
    return Compacted(files.location, now.generation.number, cells, len(found), size_bytes, deleted)
