"""SQL over results: DuckDB on streams of validated columns, in a box that reaches no file and no network.

The three tables are Arrow datasets (see `places`): PyArrow opens the files, verifies page checksums and hands over the
columns and rows that a query needs; DuckDB itself opens nothing and is not allowed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lynxbench.errors import StoreError, UsageError
from lynxbench.records.places import FOLDER, Place, dataset
from lynxbench.records.schema import BY_NAME, STRUCTURES
from lynxbench.records.store import TABLES, table_schema
from lynxbench.specs.base import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY_GB = 2.0
# Unit and meaning of the columns of the two other tables; those of records are in the field table.
_OTHERS = {
    "cell_id": ("", "key into records"),
    "round": ("", "interleaved round, from 0"),
    "process": ("", "which of the candidate's processes timed it, from 0; null in older files"),
    "excluded": ("", "left out of the summaries"),
    "latency_ns": ("ns", "of a query"),
    "scheduled_ns": ("ns", "server: when the query was due"),
    "issued_ns": ("ns", "server: when it was issued"),
    "predictions_id": ("", "key into records"),
    "sample_id": ("", "sample of the test set"),
    "source_id": ("", "what it was made from"),
    "strata": ("", "field and value of each stratum that the sample is in"),
    "failed": ("", "the model's output held a NaN"),
    "label": ("", "the right class"),
    "target": ("", "the text asked for"),
    "logits": ("", "class scores"),
    "text": ("", "what was generated"),
    "ranked_ids": ("", "what was retrieved, best first"),
    "ranked_labels": ("", "their labels"),
    "ranked_scores": ("", "their scores"),
    "value": ("", "the number predicted"),
    "true_value": ("", "the right number"),
    "option_scores": ("nats", "log-likelihood of each option"),
    "option_lengths": ("", "length of each option"),
    "log_likelihood": ("nats", "of the target"),
    "token_count": ("tokens", "of the target"),
    "detections": ("", "boxes found: x, y, width, height, class, score"),
    "objects": ("", "boxes that are there: x, y, width, height, class, crowd"),
    "region_pixels": ("pixels", "of each class: right, predicted, true"),
}
# What DuckDB calls Arrow's types, and the field table's.
SQL_TYPES = {
    "string": "VARCHAR", "bool": "BOOLEAN", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
    "float64": "DOUBLE",
}  # fmt: skip
_BATCH_ROWS = 10_000
_MOST_MEANT = 5
_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$")
# What PyArrow says of a page whose checksum, compression or encoding does not hold.
_DAMAGE = re.compile(
    r"arrow_scan|could not verify page integrity|CRC|orrupt|Couldn't deserialize|decompress", re.IGNORECASE
)


@dataclass(frozen=True)
class Answer:
    """The columns of an answer, and its rows in pieces; reading them may raise as `asked` does."""

    names: tuple[str, ...]
    numeric: frozenset[str]
    rows: Iterator[dict[str, Any]]


@contextmanager
def asked(places: Sequence[Place], sql: str, *, memory_gb: float = MEMORY_GB) -> Iterator[Answer]:
    """What `sql` answers over the tables `records`, `predictions` and `latencies`.

    memory_gb  what DuckDB may hold; PyArrow's buffers of the pages under way come on top

    Raises `UsageError` when DuckDB is not installed, when the statement is wrong or needs more memory, `StoreError`
    when a file is damaged or has other columns.
    """
    duckdb = _library()
    tables = {table: dataset(places, table, encoded=table == "records") for table in TABLES}
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_gb}GB",
            "temp_directory": "",  # what does not fit is refused, not spilled
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",  # a table's name never means a Python variable
        },
    )
    try:
        for table, rows in tables.items():
            connection.register(table, rows)
        for setting in ("TimeZone = 'UTC'", "enable_external_access = false", "lock_configuration = true"):
            connection.execute(f"SET {setting}")
        with _explained(duckdb, memory_gb):
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError("query: one SELECT at a time; it reads results and changes nothing")
            relation = connection.sql(sql)
            numeric = {n for n, t in zip(relation.columns, relation.types, strict=True) if _NUMBER.match(str(t))}
            names = _told_apart(relation.columns)
            reader = relation.to_arrow_reader(_BATCH_ROWS)
        yield Answer(names, frozenset(numeric), _rows(duckdb, reader, names, memory_gb))
    finally:
        connection.close()


def columns(table: str) -> list[dict[str, str]]:
    """Name, type in SQL, unit and meaning of each column of a table."""
    rows = []
    for field in table_schema(table):
        known = BY_NAME.get(field.name) if table == "records" else None
        unit, meaning = (known.unit, known.meaning) if known else _OTHERS[field.name]
        rows.append({"column": field.name, "type": sql_type(field.type), "unit": unit, "meaning": meaning})
    return [*rows, {"column": FOLDER, "type": "VARCHAR", "unit": "", "meaning": "the place that the row lies in"}]


def sql_type(type_: pa.DataType) -> str:
    """What DuckDB calls an Arrow type of ours."""
    import pyarrow as pa

    if pa.types.is_list(type_):
        return f"{sql_type(type_.value_type)}[]"
    if pa.types.is_struct(type_):
        return f"STRUCT({', '.join(f'{field.name} {sql_type(field.type)}' for field in type_)})"
    if pa.types.is_timestamp(type_):
        return "TIMESTAMP WITH TIME ZONE"
    return SQL_TYPES[str(type_)]


def _rows(
    duckdb: Any, reader: pa.RecordBatchReader, names: tuple[str, ...], memory_gb: float
) -> Iterator[dict[str, Any]]:
    while True:
        with _explained(duckdb, memory_gb):
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        yield from batch.rename_columns(list(names)).to_pylist()


@contextmanager
def _explained(duckdb: Any, memory_gb: float) -> Iterator[None]:
    """DuckDB's and PyArrow's errors as ours, with the column that was probably meant."""
    import pyarrow as pa

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        text = str(error)
        if _DAMAGE.search(text):
            raise StoreError(f"results could not be read: {text.splitlines()[0]}") from None
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in text:
            raise UsageError(
                f"query: needs more than {memory_gb:g} GB of memory\n  try       fewer columns, a WHERE, or --memory-gb"
            ) from None
        raise UsageError(f"query: {_mended(text)}") from None


def _mended(text: str) -> str:
    """DuckDB's message without its own guesses, and ours: its are by spelling over functions and system tables too."""
    lines = [line for line in text.splitlines() if not line.startswith(("Candidate", "Did you mean", "LINE"))]
    place = re.search(r"^LINE \d+: .*\n *\^+", text, re.MULTILINE)
    missing = re.search(r'(?:column|Column with name|named|key) "([^"]+)"|Table with name (\S+) does not exist', text)
    message = lines[0].removeprefix("Binder Error: ").removeprefix("Catalog Error: ").removeprefix("Parser Error: ")
    parts = [message, *([place.group()] if place else [])]
    if missing and missing.group(1):
        parts.append(f"  try       {_meant(missing.group(1)) or 'lynxbench query --schema lists every column'}")
    elif missing:
        parts.append(f"  try       {did_you_mean(missing.group(2), TABLES) or 'one of: ' + ', '.join(TABLES)}")
    return "\n".join(parts)


def _meant(word: str) -> str | None:
    """The column, or the columns, that `word` was probably meant to be."""
    known = {name for table in TABLES for name in [*table_schema(table).names, FOLDER]}
    known |= {member for members in STRUCTURES.values() for member, _, _ in members}
    close = did_you_mean(word, known)
    within = sorted((name for name in known if word.lower() in name), key=lambda name: (len(name), name))[:_MOST_MEANT]
    return close or (f"did you mean one of {', '.join(within)}?" if within else None)


def _told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Names that are all different: ``model``, ``model_1``."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        told.append(name if count == 0 else f"{name}_{count}")
    return tuple(told)


def _library() -> Any:
    try:
        import duckdb
    except ImportError:
        raise UsageError(
            "queries need DuckDB\n  try       pip install 'lynxbench[query]'   (or: pip install duckdb)"
        ) from None
    return duckdb
