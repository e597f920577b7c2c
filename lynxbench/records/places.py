"""Where results lie: a sweep's folder, a folder of such folders, or a hive-partitioned Parquet set; all read as one.

    results/starter/            a sweep: sweep.json, records.parquet, predictions.parquet, latencies.parquet, parts/
    results/                    a folder of sweeps, at any depth
    fleet/records/suite=starter/host_id=1f2e…/part-0.parquet
                                a set: each table's rows below a folder of its name (or the records directly below the
                                set's), in as many files as one likes; what the path says, the files need not
    s3://bucket/fleet/          a sweep of one object a cell, merged or not (see `objects`)

Each of them may lie on a disk or in an object store. Rows get one more column, `folder`: the place that they lie in.
Cells of two folders may have the same `cell_id` (the same was asked, on two hosts): tables are joined on `folder` too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from lynxbench.errors import StoreError, UsageError
from lynxbench.records.files import Files, files_at
from lynxbench.records.generations import SETS
from lynxbench.records.location import Location, Url, location
from lynxbench.records.objects import CELLS
from lynxbench.records.schema import BY_NAME
from lynxbench.records.store import LATER_COLUMNS, TABLES, part_files, read_table, table_schema
from lynxbench.specs.base import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.fs

    from lynxbench.records.snapshots import Snapshot

FOLDER = "folder"
_DEEPEST = 8  # folders below the one that was named


@dataclass(frozen=True)
class Place:
    """One sweep's folder, one partitioned set, or one store of objects."""

    folder: Location
    kind: Literal["sweep", "set", "store"]

    def files(self, table: str) -> list[Location]:
        """The Parquet files of one table, without a sweep's parts; of a store those of its merged set."""
        return [self.folder / name for name in self._names(files_at(self.folder), table)]

    def size_bytes(self, table: str) -> int:
        """Of these files, and of a store's cells beside them."""
        files = files_at(self.folder)
        if self.kind == "store":
            from lynxbench.records.snapshots import snapshot

            now = snapshot(self.folder)
            beside = sum(files.size_bytes(name) for name in now.objects(table))
            return beside + sum(file.size_bytes for file in now.files(table))
        return sum(files.size_bytes(name) for name in self._names(files, table))

    def partition(self, table: str, file: Location) -> dict[str, str]:
        """What the path of a set's file says about all of its rows: field → text."""
        if self.kind == "sweep":
            return {}
        below = str(file).removeprefix(f"{self.folder}/").removeprefix(f"{table}/")
        return told_by_path(below)

    def _names(self, files: Files, table: str) -> list[str]:
        if self.kind == "sweep":
            return [entry.name for entry in files.entries() if entry.name == f"{table}.parquet"]
        if self.kind == "store":
            from lynxbench.records.generations import latest_generation

            return [file.name for file in latest_generation(files).of(table)]
        folders = {entry.name for entry in files.entries() if entry.is_folder}
        if table not in folders and (table != "records" or folders & set(TABLES)):
            return []
        return [name for name in files.names(table if table in folders else "") if name.endswith(".parquet")]


def told_by_path(name: str) -> dict[str, str]:
    """The pairs in the folders of a hive-partitioned file's name."""
    pairs = [part.partition("=") for part in PurePosixPath(name).parent.parts]
    return {field: unquote(value) for field, separator, value in pairs if separator}


def find_places(given: Iterable[str | Path | Url]) -> tuple[Place, ...]:
    """Every place at or below the paths and URLs `given`, in their order, each once.

    Raises `UsageError` for one where there are no results.
    """
    found: dict[Location, Place] = {}
    for one in given:
        path = location(one)
        if isinstance(path, Path) and not path.is_dir():
            hint = f"; name its folder, {path.parent}" if path.is_file() else ""
            raise UsageError(f"{path}: no such results folder{hint}")
        files = files_at(path)
        if isinstance(path, Url) and not files.entries():
            raise UsageError(f"{path}: no results there")
        here = list(_search(files, "", _DEEPEST))
        if not here:
            raise UsageError(f"{path} is no results folder: it has no sweep.json, nor has a folder below it")
        for place in here:
            found.setdefault(place.folder.resolve() if isinstance(place.folder, Path) else place.folder, place)
    return tuple(found.values())


def _search(files: Files, below: str, deeper: int) -> Iterator[Place]:
    entries = files.entries(below)
    names = {entry.name for entry in entries}
    folders = {entry.name for entry in entries if entry.is_folder and not entry.name.startswith(".")}
    here = files.location / below
    if "sweep.json" in names and folders & {CELLS, SETS}:
        yield Place(here, "store")
    elif "sweep.json" in names or "records.parquet" in names:
        yield Place(here, "sweep")
    elif any("=" in name for name in folders) or ("records" in folders and _is_set(files, _below(below, "records"))):
        yield Place(here, "set")
    elif deeper:
        for name in sorted(folders):
            yield from _search(files, _below(below, name), deeper - 1)


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_set(files: Files, records: str) -> bool:
    return any(entry.name.endswith(".parquet") or "=" in entry.name for entry in files.entries(records))


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

    schema = with_folder(table_schema(table))
    texts = [field.name for field in schema if encoded and field.type == pa.string()]
    dictionary = pa.dictionary(pa.int32(), pa.string())
    read_as = pa.schema([f.with_type(dictionary) if f.name in texts else f for f in schema], schema.metadata)
    parquet = ds.ParquetFileFormat(
        read_options=ds.ParquetReadOptions(dictionary_columns=texts),
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True),
    )
    sources, local = [], _Fragments(schema, parquet)
    for place in places:
        if place.kind == "sweep" and part_files(place.folder, table):
            # Running or interrupted: a part replaces the rows of its key, which takes reading both.
            sources.append(ds.dataset(in_memory(place, table).cast(read_as)))
            continue
        fragments = local if isinstance(place.folder, Path) else _Fragments(schema, parquet)
        if place.kind == "store":
            beside = _of_store(place, table, fragments)
            sources += [ds.dataset(rows.cast(read_as)) for rows in beside]
        else:
            for file in place.files(table):
                fragments.add(place, table, file)
        if fragments is not local:
            sources += fragments.dataset(read_as)
    sources += local.dataset(read_as)
    if len(sources) == 1:
        return sources[0]
    return ds.dataset(sources) if sources else ds.dataset(read_as.empty_table())


class _Fragments:
    """Parquet files of one filesystem, to be scanned as one."""

    def __init__(self, schema: pa.Schema, parquet: ds.ParquetFileFormat) -> None:
        self._schema = schema
        self._parquet = parquet
        self._found: list[ds.Fragment] = []
        self._filesystem: pyarrow.fs.FileSystem | None = None

    def add(self, place: Place, table: str, file: Location, *, is_ours: bool = False) -> None:
        """One more file; its columns are looked at here, unless it is one that we wrote for a cell."""
        import pyarrow.dataset as ds

        files = files_at(place.folder)
        if self._filesystem is None:
            self._filesystem = files.arrow()
        path = files.arrow_path(str(file).removeprefix(f"{place.folder}/"))
        expression = ds.field(FOLDER) == str(place.folder)
        if not is_ours:
            for name, value in _told(self._schema, place, table, file, self._filesystem, path).items():
                expression &= ds.field(name) == value
        self._found.append(self._parquet.make_fragment(path, self._filesystem, partition_expression=expression))

    def dataset(self, read_as: pa.Schema) -> list[ds.Dataset]:
        """All of them, or nothing where there are none."""
        import pyarrow.dataset as ds

        if self._filesystem is None:
            return []
        return [ds.FileSystemDataset(self._found, read_as, self._parquet, self._filesystem)]


def _of_store(place: Place, table: str, fragments: _Fragments) -> list[pa.Table]:
    """A store's files and objects of rows to `fragments`; in memory what has to be: records beside the set."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lynxbench.records.snapshots import snapshot

    now = snapshot(place.folder)
    if table != "records":
        for name in now.objects(table):
            fragments.add(place, table, place.folder / name, is_ours=True)
    elif now.replaced:
        # A later attempt at cells of the set: their rows are left out of it, which takes reading it.
        held = _Fragments(with_folder(table_schema(table)), fragments._parquet)
        _add_set(now, place, table, held)
        (source,) = held.dataset(with_folder(table_schema(table)))
        whole = scanned(source)
        left = whole.filter(pc.invert(pc.is_in(whole["cell_id"], value_set=pa.array(sorted(now.replaced)))))
        return [left, *_beside(now, place)]
    _add_set(now, place, table, fragments)
    return _beside(now, place) if table == "records" else []


def _add_set(now: Snapshot, place: Place, table: str, fragments: _Fragments) -> None:
    for file in now.files(table):
        fragments.add(place, table, place.folder / file.name)


def _beside(now: Snapshot, place: Place) -> list[pa.Table]:
    import pyarrow as pa

    if not now.cells:
        return []
    rows = pa.concat_tables([cell.row for cell in now.cells]).combine_chunks()
    return [_in_folder(rows, place)]


def _in_folder(rows: pa.Table, place: Place) -> pa.Table:
    import pyarrow as pa

    folder = pa.repeat(pa.scalar(str(place.folder), pa.string()), rows.num_rows)
    return rows.append_column(with_folder(rows.schema).field(FOLDER), folder)


def in_memory(place: Place, table: str) -> pa.Table:
    """One table of one place, read whole, with its `folder`. Raises `StoreError`."""
    if place.kind != "sweep":
        return scanned(dataset([place], table))
    return _in_folder(read_table(place.folder, table), place)


def scanned(source: ds.Dataset, columns: Sequence[str] | None = None, where: ds.Expression | None = None) -> pa.Table:
    """What a dataset holds, in memory; raises `StoreError` when a page is damaged."""
    import pyarrow as pa

    try:
        return source.to_table(columns=columns, filter=where)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"results could not be read: {error}") from None


def _told(
    schema: pa.Schema, place: Place, table: str, file: Location, filesystem: pyarrow.fs.FileSystem, path: str
) -> dict[str, pa.Scalar]:
    """What the path of `file` says, in the fields' types; raises `StoreError` when path and file are not the table.

    The rows of predictions and latencies may lie where those of their records do: what the path says of records is
    left aside.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with filesystem.open_input_file(path) as source:
            inside = pq.read_schema(source)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{file} is damaged or no Parquet file: {error}") from None
    told = place.partition(table, file)
    if table != "records":
        told = {name: text for name, text in told.items() if name in schema.names or name not in BY_NAME}
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
