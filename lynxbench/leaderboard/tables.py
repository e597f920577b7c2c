"""Parquet from strangers: measured by its footer before a row is read, read in pieces, written anew from what was read.

What is kept is never the stranger's file: statistics, metadata and whatever else a reader may trip over stay behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.errors import UntrustedInput
from lynxbench.leaderboard.documents import newer
from lynxbench.records.schema import SCHEMA_VERSION
from lynxbench.records.store import table_schema

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS: Mapping[str, int] = {"records": 20_000, "predictions": 5_000_000, "latencies": 10_000_000}
MOST_VALUES = 120_000_000  # rows times columns
MOST_EXPANDED_BYTES = 2 << 30  # as the footer declares it
MOST_FOOTER_BYTES = 4 << 20
MOST_ITEMS = 10_000  # in any list of the footer: columns, row groups
LONGEST_FOOTER_TEXT = 1 << 20  # bytes; holds the Arrow schema of records with every field's meaning
BATCH_ROWS = 8_192

_MAGIC = b"PAR1"
# Texts that name something: they go into tables, files and permalinks.
NAMES: Mapping[str, tuple[str, ...]] = {
    "predictions": ("predictions_id", "sample_id", "source_id", "strata", "ranked_ids"),
    "latencies": ("cell_id",),
}


def checked_batches(file: Path, table: str) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file as `table`'s own columns, `BATCH_ROWS` at a time.

    Raises `UntrustedInput` for a file that is too large, damaged, or has other columns, types or order than this
    version writes. Memory is bounded by the caller's process limit: a page may decode to far more than it holds.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_ends(file)
    expected = table_schema(table)
    try:
        with (
            file.open("rb") as source,
            pq.ParquetFile(
                source,
                page_checksum_verification=True,
                thrift_string_size_limit=LONGEST_FOOTER_TEXT,
                thrift_container_size_limit=MOST_ITEMS,
                arrow_extensions_enabled=False,
            ) as parquet,
        ):
            _check_footer(parquet.metadata, file.name, table)
            _check_schema(parquet.schema_arrow, expected, file.name)
            for batch in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                batch.validate(full=True)
                _check_names(batch, table)
                yield batch
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UntrustedInput(f"{file.name} is damaged or no Parquet file: {_first_line(error)}") from None


def rewritten(file: Path, table: str, out: Path, look: Callable[[pa.RecordBatch], None]) -> None:
    """Check `file` and write its rows to `out`, as a sweep would have written them; `look` is shown every batch."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(out, table_schema(table), compression="zstd", write_page_checksum=True) as writer:
        for batch in checked_batches(file, table):
            look(batch)
            writer.write_batch(batch.cast(table_schema(table)))


def _check_ends(file: Path) -> None:
    """The footer's length, which a reader takes from the file's last bytes and then allocates."""
    size = file.stat().st_size
    with file.open("rb") as source:
        head = source.read(4)
        source.seek(max(0, size - 8), os.SEEK_SET)
        tail = source.read(8)
    if size < 12 or head != _MAGIC or tail[4:] != _MAGIC:
        raise UntrustedInput(f"{file.name} is no Parquet file")
    footer = int.from_bytes(tail[:4], "little")
    if footer > min(MOST_FOOTER_BYTES, size - 12):
        raise UntrustedInput(f"{file.name}: a footer of {footer:,} bytes, at most {MOST_FOOTER_BYTES:,} are read")


def _check_footer(metadata: Any, name: str, table: str) -> None:
    rows, columns = metadata.num_rows, metadata.num_columns
    if not 0 <= rows <= MOST_ROWS[table]:
        raise UntrustedInput(f"{name}: {rows:,} rows, at most {MOST_ROWS[table]:,} are read")
    if rows * columns > MOST_VALUES:
        raise UntrustedInput(f"{name}: {rows:,} rows of {columns:,} columns, at most {MOST_VALUES:,} values are read")
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    expanded = sum(max(0, group.total_byte_size) for group in groups)
    if expanded > MOST_EXPANDED_BYTES:
        raise UntrustedInput(f"{name}: {expanded:,} bytes unpacked, at most {MOST_EXPANDED_BYTES:,} are read")
    if sum(group.num_rows for group in groups) != rows:
        raise UntrustedInput(f"{name}: its footer contradicts itself about the number of rows")


def _check_schema(found: Any, expected: Any, name: str) -> None:
    for field in _fields(found):
        if field.metadata and any(b"extension" in key.lower() for key in field.metadata):
            raise UntrustedInput(f"{name}: column {field.name[:80]!r} names an extension type")
        if type(field.type).__module__ != "pyarrow.lib" or "extension" in str(field.type):
            raise UntrustedInput(f"{name}: column {field.name[:80]!r} names an extension type")
    version = (found.metadata or {}).get(b"lynxbench.schema_version", b"")
    newer({"schema_version": int(version) if version.isdigit() and len(version) < 9 else None},
          "schema_version", SCHEMA_VERSION, name)  # fmt: skip
    if found.names != expected.names:
        odd = sorted(set(found.names) ^ set(expected.names))
        what = f"other columns than a bundle has: {', '.join(odd[:5])}" if odd else "its columns in another order"
        raise UntrustedInput(f"{name}: {what}"[:300])
    for mine, theirs in zip(expected, found, strict=True):
        if mine.type != theirs.type:
            raise UntrustedInput(f"{name}: column {mine.name} is {str(theirs.type)[:80]}, not {mine.type}")


def _fields(schema: Any) -> Iterator[Any]:
    """All fields, those inside of lists and structures too."""
    import pyarrow as pa

    for field in schema:
        yield field
        kind = field.type
        if pa.types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType):
            yield from _fields([kind.field(index) for index in range(kind.num_fields)])


def _check_names(batch: Any, table: str) -> None:
    """No control, bidirectional or zero-width character in what names something."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def texts(array: Any) -> Iterator[Any]:
        if pa.types.is_string(array.type):
            yield array
        elif pa.types.is_list(array.type):
            yield from texts(array.flatten())
        elif pa.types.is_struct(array.type):
            for index in range(array.type.num_fields):
                yield from texts(array.field(index))

    for name in NAMES.get(table, ()):
        for array in texts(batch.column(name)):
            if pc.any(pc.invert(pc.utf8_is_printable(array))).as_py():
                raise UntrustedInput(f"{table}: {name}: holds a character that is not seen")


def _first_line(error: BaseException) -> str:
    return " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())[:200]
