"""Results in memory, or as a stream, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.errors import StoreError, UsageError
from lynxbench.records.location import Location, Url
from lynxbench.records.places import FOLDER, Place, dataset, find_places, in_memory
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.store import TABLES, read_records
from lynxbench.specs.base import did_you_mean

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa
    import pyarrow.dataset as ds


@dataclass(frozen=True)
class Kept:
    """A record, and the place that it lies in."""

    folder: Location
    record: Record


@dataclass(frozen=True)
class Results:
    """The results of one or many places; each table is read when it is first asked for.

    Every table has the columns of `results/README.md` and `folder`, the place of each row.
    """

    places: tuple[Place, ...]

    @property
    def folders(self) -> tuple[Location, ...]:
        """The sweeps' folders, the sets and the stores of objects."""
        return tuple(place.folder for place in self.places)

    @property
    def folder(self) -> Location:
        """The only folder; raises `UsageError` when there are several."""
        if len(self.places) != 1:
            raise UsageError(f"these are the results of {len(self.places)} folders: see .folders")
        return self.places[0].folder

    @cached_property
    def records(self) -> pa.Table:
        """One row a cell, each sweep's in its plan's order."""
        return self._read("records")

    @cached_property
    def predictions(self) -> pa.Table:
        """One row a candidate and sample."""
        return self._read("predictions")

    @cached_property
    def latencies(self) -> pa.Table:
        """One row a timed query."""
        return self._read("latencies")

    def dataset(self, table: str = "records") -> ds.Dataset:
        """One table to be scanned piece by piece: `.to_batches(columns=…, filter=…)` reads only what is asked for."""
        return dataset(self.places, _known(table))

    def to_pandas(self, table: str = "records") -> pandas.DataFrame:
        """One table as a pandas DataFrame; raises `UsageError` when pandas is not installed."""
        _needs("pandas")
        frame: pandas.DataFrame = getattr(self, _known(table)).to_pandas()
        return frame

    def to_polars(self, table: str = "records") -> polars.DataFrame:
        """One table as a polars DataFrame; raises `UsageError` when polars is not installed."""
        _needs("polars")
        import polars

        frame: Any = polars.from_arrow(getattr(self, _known(table)))
        return frame  # type: ignore[no-any-return]

    def _read(self, table: str) -> pa.Table:
        import pyarrow as pa

        parts = [in_memory(place, table) for place in self.places]
        if table == "records":
            parts = [part.sort_by("position") for part in parts]
        return pa.concat_tables(parts)


def load(paths: Sequence[str | Path | Url]) -> Results:
    """Open results folders, folders of them, and partitioned sets, by their paths or URLs.

    Every record of a sweep is checked here; of a set, which may hold millions, the columns of every file are,
    and its rows by `lynxbench validate`. Raises `UsageError` where there are no results, `StoreError` when a file is
    damaged or a record breaks the table's rules.
    """
    places = find_places(paths)
    for place in places:
        if place.kind != "set":
            read_records(place.folder)
        else:
            for table in TABLES:
                dataset([place], table)
    return Results(places)


def kept_records(place: Place, where: ds.Expression | None = None) -> Iterator[Kept]:
    """The records of a place, each checked, a sweep's in its plan's order; of a set those that satisfy `where` alone.

    Raises `StoreError` when one breaks the table's rules.
    """
    if place.kind != "set":
        yield from (Kept(place.folder, record) for record in read_records(place.folder))
        return
    import pyarrow as pa

    try:
        for batch in dataset([place], "records").to_batches(filter=where, batch_size=1024):
            for row in batch.drop_columns([FOLDER]).to_pylist():
                yield Kept(place.folder, Record(row))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise StoreError(f"{place.folder}: {error}") from None


def complaints(place: Place, records: Sequence[Record]) -> list[str]:
    """What a sweep's tables lack or contradict: answers and latencies behind each measured record, in its number."""
    if place.kind == "set":
        return []
    import pyarrow.compute as pc

    tables = [
        ("predictions", "predictions_id", "primary_n", in_memory(place, "predictions")),
        ("latencies", "cell_id", "latency_n", in_memory(place, "latencies").filter(~pc.field("excluded"))),
    ]
    found = []
    for table, key, count, rows in tables:
        there = {row["values"]: row["counts"] for row in pc.value_counts(rows[key]).to_pylist()}
        for record in records:
            if record["status"] not in MEASURED:
                continue
            held = there.get(record[key], 0)
            # A metric may be declared on a part of the test set.
            wrong = held < record[count] if table == "predictions" else held != record[count]
            if wrong:
                found.append(f"record {record['cell_id']} rests on {record[count]:,} {table}, {held:,} are there")
    return found


def _known(table: str) -> str:
    if table not in TABLES:
        raise UsageError(
            f"there is no table {table!r}; {did_you_mean(table, TABLES) or 'one of: ' + ', '.join(TABLES)}"
        )
    return table


def _needs(library: str) -> None:
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise UsageError(
            f"{library} is not installed; the tables themselves are Arrow\n  try       pip install {library}"
        )
