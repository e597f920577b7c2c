"""Where results lie: a sweep's folder, a folder of such folders, or a hive-partitioned Parquet set; all read as one.

    results/starter/            a sweep: sweep.json, records.parquet, predictions.parquet, latencies.parquet, parts/
    results/                    a folder of sweeps, at any depth
    fleet/records/suite=starter/host_id=1f2e…/part-0.parquet
                                a set: each table's rows below a folder of its name (or the records directly below the
                                set's), in as many files as one likes; what the path says, the files need not

Rows get one more column, `folder`: the place that they lie in. Cells of two folders may have the same `cell_id` (the
same was asked, on two hosts), so tables are joined on `folder` too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from lynxbench.errors import StoreError, UsageError
from lynxbench.records.store import LATER_COLUMNS, TABLES, read_table, table_schema
from lynxbench.specs.base import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

FOLDER = "folder"
_DEEPEST = 8  # folders below the one that was named


@dataclass(frozen=True)
class Place:
    """One sweep's folder, or one partitioned set."""

    folder: Path
    kind: Literal["sweep", "set"]

    def files(self, table: str) -> list[Path]:
        """The Parquet files of one table, without a sweep's parts."""
        if self.kind == "sweep":
            file = self.folder / f"{table}.parquet"
            return [file] if file.is_file() else []
        root = self._root(table)
        return sorted(root.rglob("*.parquet")) if root is not None else []

    def partition(self, table: str, file: Path) -> dict[str, str]:
        """What the path of a set's file says about all of its rows: field → text."""
        root = self._root(table)
        if self.kind == "sweep" or root is None:
            return {}
        pairs = [part.partition("=") for part in file.relative_to(root).parent.parts]
        return {name: unquote(value) for name, separator, value in pairs if separator}

    def _root(self, table: str) -> Path | None:
        if (self.folder / table).is_dir():
            return self.folder / table
        return self.folder if table == "records" and not any((self.folder / name).is_dir() for name in TABLES) else None


def find_places(paths: Iterable[str | Path]) -> tuple[Place, ...]:
    """Every place at or below `paths`, in the order of the paths, each once.

    Raises `UsageError` for a path where there are no results.
    """
    found: dict[Path, Place] = {}
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            hint = f"; name its folder, {path.parent}" if path.is_file() else ""
            raise UsageError(f"{path}: no such results folder{hint}")
        here = list(_search(path, _DEEPEST))
        if not here:
            raise UsageError(f"{path} is no results folder: it has no sweep.json, nor has a folder below it")
        for place in here:
            found.setdefault(place.folder.resolve(), place)
    return tuple(found.values())


def _search(folder: Path, deeper: int) -> Iterator[Place]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    # A link may lead back up.
    folders = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    if "sweep.json" in names or "records.parquet" in names:
        yield Place(folder, "sweep")
    elif any("=" in path.name for path in folders) or (folder / "records" in folders and _is_set(folder / "records")):
        yield Place(folder, "set")
    elif deeper:
        for path in folders:
            yield from _search(path, deeper - 1)


def _is_set(records: Path) -> bool:
    return any(path.name.endswith(".parquet") or "=" in path.name for path in records.iterdir())


def with_folder(schema: pa.Schema) -> pa.Schema:
    """A table's columns, and `folder`."""
    import pyarrow as pa

    about = {"unit": "", "meaning": "the place that the row lies in"}
    return schema.append(pa.field(FOLDER, pa.string(), metadata=about))


def dataset(places: Sequence[Place], table: str, *, encoded: bool = False) -> ds.Dataset:
    """One table of all places, to be scanned: only the columns and rows asked for are read, and checksums verified.

    Every file's columns are looked at here (not its rows); raises `StoreError` for a file that has others.

    encoded  texts come as dictionaries, as most files hold them: half the time for queries over millions of rows
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    schema, local = with_folder(table_schema(table)), LocalFileSystem()
    texts = [field.name for field in schema if encoded and field.type == pa.string()]
    dictionary = pa.dictionary(pa.int32(), pa.string())
    read_as = pa.schema([f.with_type(dictionary) if f.name in texts else f for f in schema], schema.metadata)
    parquet = ds.ParquetFileFormat(
        read_options=ds.ParquetReadOptions(dictionary_columns=texts),
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True),
    )
    fragments, unmerged = [], []
    for place in places:
        if place.kind == "sweep" and any((place.folder / "parts").glob(f"{table}-*.parquet")):
            # Running or interrupted: a part replaces the rows of its key, which takes reading both.
            unmerged.append(ds.dataset(in_memory(place, table).cast(read_as)))
            continue
        for file in place.files(table):
            told = _told(schema, place, table, file)
            expression = ds.field(FOLDER) == str(place.folder)
            for name, value in told.items():
                expression &= ds.field(name) == value
            fragments.append(parquet.make_fragment(str(file), local, partition_expression=expression))
    whole = ds.FileSystemDataset(fragments, read_as, parquet, local)
    return ds.dataset([whole, *unmerged]) if unmerged else whole


def in_memory(place: Place, table: str) -> pa.Table:
    """One table of one place, read whole, with its `folder`. Raises `StoreError`."""
    import pyarrow as pa

    if place.kind == "set":
        return scanned(dataset([place], table))
    rows = read_table(place.folder, table)
    folder = pa.repeat(pa.scalar(str(place.folder), pa.string()), rows.num_rows)
    return rows.append_column(with_folder(rows.schema).field(FOLDER), folder)


def scanned(source: ds.Dataset, columns: Sequence[str] | None = None, where: ds.Expression | None = None) -> pa.Table:
    """What a dataset holds, in memory; raises `StoreError` when a page is damaged."""
    import pyarrow as pa

    try:
        return source.to_table(columns=columns, filter=where)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"results could not be read: {error}") from None


def _told(schema: pa.Schema, place: Place, table: str, file: Path) -> dict[str, pa.Scalar]:
    """What the path of `file` says, in the fields' types; raises `StoreError` when path and file are not the table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as source:
            inside = pq.read_schema(source)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{file} is damaged or no Parquet file: {error}") from None
    told = place.partition(table, file)
    for name in told:
        if name not in schema.names or name == FOLDER:
            hint = did_you_mean(name, set(schema.names) - {FOLDER})
            raise StoreError(f"{file}: {name}= in its path is no field of {table}{f'; {hint}' if hint else ''}")
    there = set(inside.names) | set(told)
    odd = sorted((there ^ (set(schema.names) - {FOLDER})) - (LATER_COLUMNS - there))
    if odd:
        raise StoreError(f"{file} has other columns than this version of LynxBench writes: {', '.join(odd)}")
    for name in inside.names:
        if not _reads_as(inside.field(name).type, schema.field(name).type):
            raise StoreError(f"{file}: column {name} is {inside.field(name).type}, not {schema.field(name).type}")
    try:
        return {name: pa.scalar(text).cast(schema.field(name).type) for name, text in told.items()}
    except pa.ArrowException as error:
        raise StoreError(f"{file}: its path says what cannot be: {error}") from None


def _reads_as(found: pa.DataType, wanted: pa.DataType) -> bool:
    """The same type, or one that other writers use for it: large and dictionary-encoded texts, large lists."""
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _reads_as(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return (
            pa.types.is_struct(found)
            and [field.name for field in found] == [field.name for field in wanted]
            and all(_reads_as(found.field(n).type, wanted.field(n).type) for n in range(wanted.num_fields))
        )
    return bool(found == wanted or (pa.types.is_large_string(found) and pa.types.is_string(wanted)))
