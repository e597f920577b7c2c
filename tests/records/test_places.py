"""Results of many folders and of partitioned sets are read as one, with where each row came from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import lynxbench
from lynxbench.errors import StoreError, UsageError
from lynxbench.records.places import dataset, find_places, scanned
from lynxbench.records.record import Record
from lynxbench.records.results import kept_records
from lynxbench.records.schema import arrow_schema
from lynxbench.records.store import read_records, read_table, write_parquet
from tests.records.rows import whole
from tests.records.test_store import filled
from tests.running import ROOT


def merged(folder: Path, cells: int = 3) -> Path:
    store = filled(folder, cells)
    with store.held():
        store.merge()
    return folder


def partitioned(folder: Path, suites: tuple[str, ...] = ("a b", "c"), rows: int = 4) -> Path:
    """A set by suite, written by another tool than ours."""
    table = pa.Table.from_pylist(
        [dict(Record(whole(suite=s, cell_id=f"{s}{n}", position=n)).values) for s in suites for n in range(rows)],
        schema=arrow_schema(),
    )
    partitioning = ds.partitioning(pa.schema([("suite", pa.string())]), flavor="hive")
    options = ds.ParquetFileFormat().make_write_options(write_page_checksum=True)
    ds.write_dataset(table, folder / "records", format="parquet", partitioning=partitioning, file_options=options)
    return folder


def test_a_folder_of_folders_is_all_of_them(tmp_path: Path) -> None:
    merged(tmp_path / "results" / "one")
    merged(tmp_path / "results" / "deep" / "two", cells=2)
    partitioned(tmp_path / "results" / "fleet")
    (tmp_path / "results" / ".hidden").mkdir()
    (tmp_path / "results" / "loop").symlink_to(tmp_path / "results")
    results = lynxbench.load(tmp_path / "results", tmp_path / "results" / "one")
    names = [str(folder.relative_to(tmp_path / "results")) for folder in results.folders]
    assert names == ["deep/two", "fleet", "one"]
    found = results.records.select(["folder", "cell_id", "suite"]).to_pylist()
    cells = "c1 c0 a b0 c0 a b1 c1 a b2 c2 a b3 c3 c2 c1 c0"
    assert " ".join(row["cell_id"] for row in found) == cells
    assert {row["suite"] for row in found if row["folder"].endswith("fleet")} == {"a b", "c"}
    assert results.latencies.num_rows == 4 * 5
    assert results.predictions.num_rows == 6
    with pytest.raises(UsageError, match="3 folders"):
        _ = results.folder


def test_a_stream_holds_what_the_table_holds(tmp_path: Path) -> None:
    merged(tmp_path / "one")
    filled(tmp_path / "two")  # with parts that were not merged yet
    partitioned(tmp_path / "fleet")
    results = lynxbench.load(tmp_path)
    for table in ("records", "predictions", "latencies"):
        keys = ["folder", *({"predictions": "predictions_id", "records": "position"}.get(table, "cell_id"),)]
        streamed = pa.Table.from_batches(results.dataset(table).to_batches(), results.dataset(table).schema)
        order = [(key, "ascending") for key in keys]
        assert streamed.sort_by(order).select(keys).equals(getattr(results, table).sort_by(order).select(keys))
    only = scanned(results.dataset(), ["cell_id", "suite"], ds.field("suite") == "a b")
    assert only.num_rows == 4


def test_a_part_counts_once_in_a_stream_too(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    store = filled(folder)
    with store.held():
        store.merge()
        store.write_cell(Record(whole(cell_id="c1", position=2, verdict="fragile")))
    rows = scanned(dataset(find_places([folder]), "records"), ["cell_id", "verdict"]).to_pylist()
    assert sorted((row["cell_id"], row["verdict"]) for row in rows) == [
        ("c0", "robust"),
        ("c1", "fragile"),
        ("c2", "robust"),
    ]


def test_frames_for_pandas_and_polars(tmp_path: Path) -> None:
    results = lynxbench.load(merged(tmp_path / "one"))
    assert list(results.to_pandas()["cell_id"]) == ["c2", "c1", "c0"]
    assert results.to_polars("latencies")["latency_ns"].sum() == 3 * (10 + 11 + 900 + 12)
    with pytest.raises(UsageError, match="did you mean 'latencies'"):
        results.to_pandas("latency")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_not_there_is_told(library: str, tmp_path: Path) -> None:
    merged(tmp_path / "one")
    script = f"""
import importlib.util, sys
there = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {library!r} else there(name, package)
import lynxbench
from lynxbench.errors import UsageError
try:
    lynxbench.load({str(tmp_path)!r}).to_{library}()
except UsageError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert f"pip install {library}" in ran.stdout, ran.stderr


def test_where_there_are_no_results(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty is no results folder.*nor has a folder below it"):
        find_places([tmp_path / "empty"])
    with pytest.raises(UsageError, match="gone: no such results folder"):
        find_places([tmp_path / "gone"])
    folder = merged(tmp_path / "one")
    with pytest.raises(UsageError, match=r"name its folder, .*one"):
        find_places([folder / "records.parquet"])


def test_every_record_of_a_set_is_checked_when_it_is_read_as_one(tmp_path: Path) -> None:
    folder = partitioned(tmp_path / "fleet")
    (place,) = find_places([folder])
    assert len(list(kept_records(place))) == 8
    assert {kept.record["suite"] for kept in kept_records(place, ds.field("suite") == "c")} == {"c"}
    file = place.files("records")[0]
    rows = pq.read_table(file, partitioning=None)
    at = rows.schema.get_field_index("flip_rate")
    write_parquet(rows.set_column(at, rows.schema.field(at), pa.array([7.0] * len(rows))), file)
    with pytest.raises(StoreError, match="flip_rate"):
        list(kept_records(place))


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("suit=a", "did you mean 'suite'"),
        ("suite=a/folder=b", "folder= in its path is no field"),
        ("suite=a/position=three", "its path says what cannot be"),
        (".", "has other columns.*: suite"),
    ],
)
def test_a_set_whose_paths_make_no_sense(path: str, complaint: str, tmp_path: Path) -> None:
    folder = partitioned(tmp_path / "fleet")
    (place,) = find_places([folder])
    file = place.files("records")[0]
    odd = folder / "records" / path / "odd.parquet"
    odd.parent.mkdir(parents=True, exist_ok=True)
    file.rename(odd)
    with pytest.raises(StoreError, match=complaint):
        lynxbench.load(folder)


def test_a_file_with_a_column_of_another_type(tmp_path: Path) -> None:
    folder = merged(tmp_path / "one")
    rows = read_table(folder, "latencies")
    at = rows.schema.get_field_index("latency_ns")
    write_parquet(
        rows.set_column(at, "latency_ns", rows["latency_ns"].cast(pa.float64())), folder / "latencies.parquet"
    )
    with pytest.raises(StoreError, match="column latency_ns is double, not int64"):
        dataset(find_places([folder]), "latencies")


def test_files_of_other_writers_are_read(tmp_path: Path) -> None:
    folder = merged(tmp_path / "one")
    duckdb.sql(f"copy (select * from '{folder}/latencies.parquet') to '{tmp_path}/again.parquet'")
    lynxbench.load(folder).to_polars("records").write_parquet(tmp_path / "polars.parquet")
    (tmp_path / "again.parquet").rename(folder / "latencies.parquet")
    rows = pq.read_table(tmp_path / "polars.parquet").drop_columns(["folder"])
    assert pa.types.is_large_string(rows.schema.field("cell_id").type)
    pq.write_table(rows, folder / "records.parquet")
    table = scanned(dataset(find_places([folder]), "records"))
    assert [row["cell_id"] for row in table.to_pylist()] == [record["cell_id"] for record in read_records(folder)]
    assert scanned(dataset(find_places([folder]), "latencies")).num_rows == 12


def test_a_damaged_page_is_found_in_a_stream(tmp_path: Path) -> None:
    folder = merged(tmp_path / "one")
    file = folder / "latencies.parquet"
    sound = scanned(dataset(find_places([folder]), "latencies"))
    content, silent, found = file.read_bytes(), 0, 0
    for place in range(4, len(content) - 5, 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x21
        file.write_bytes(damaged)
        try:
            silent += not scanned(dataset(find_places([folder]), "latencies")).equals(sound)
        except StoreError:
            found += 1
    assert silent == 0
    assert found > 0


def test_columns_that_came_later_are_null_in_older_files(tmp_path: Path) -> None:
    folder = merged(tmp_path / "old")
    for table, name in (("latencies", "process"), ("records", "ended_at")):
        file = folder / f"{table}.parquet"
        write_parquet(pq.read_table(file).drop_columns([name]), file)
        for found in (scanned(dataset(find_places([folder]), table)), read_table(folder, table)):
            assert found[name].null_count == len(found) > 0
    write_parquet(pq.read_table(folder / "latencies.parquet").drop_columns(["round"]), folder / "latencies.parquet")
    with pytest.raises(StoreError, match=r"has other columns than this version of LynxBench writes: round"):
        dataset(find_places([folder]), "latencies")
