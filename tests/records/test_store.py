"""The store: whole files or none, one writer, damage found, and plain tools can read it."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lynxbench
from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import FolderBusy, StoreError, UsageError
from lynxbench.records.record import Record
from lynxbench.records.store import ResultStore, durable, read_parquet, read_records, read_table, write_parquet
from tests.records.rows import whole
from tests.running import environment


def predictions(n: int = 3) -> Predictions:
    return Predictions(
        sample_ids=np.array([f"s{i}" for i in range(n)]),
        source_ids=np.array([f"s{i}" for i in range(n)]),
        strata={"class": np.array(["a", "b", "a"][:n]), "view": np.array(["clean"] * n)},
        failed=np.zeros(n, dtype=np.bool_),
        labels=np.arange(n),
        logits=np.arange(2 * n, dtype=np.float32).reshape(n, 2),
    )


def latencies(cell_id: str) -> pa.Table:
    return pa.table(
        {
            "cell_id": [cell_id] * 4,
            "round": pa.array([0, 0, 1, 1], pa.int32()),
            "process": pa.array([0, 0, 1, 1], pa.int32()),
            "excluded": [False, False, True, False],
            "latency_ns": [10, 11, 900, 12],
            "scheduled_ns": pa.nulls(4, pa.int64()),
            "issued_ns": pa.nulls(4, pa.int64()),
        }
    )


def filled(folder: Path, cells: int = 3) -> ResultStore:
    store = ResultStore(folder)
    with store.held():
        store.describe({"suite": "mine", "suite_digest": "x"})
        store.write_predictions("p0", predictions())
        for index in range(cells):
            store.write_cell(Record(whole(cell_id=f"c{index}", position=cells - index)), latencies(f"c{index}"))
    return store


def test_parts_and_merged_read_the_same(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = read_records(tmp_path)
    with store.held():
        store.merge()
    assert not list((tmp_path / "parts").iterdir())
    assert read_records(tmp_path) == before
    assert [record["cell_id"] for record in before] == ["c2", "c1", "c0"]  # the plan's order
    with store.held():
        store.merge()
    assert read_records(tmp_path) == before


def test_a_merge_interrupted_before_its_parts_are_gone_doubles_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = {table: read_table(tmp_path, table).num_rows for table in ("records", "predictions", "latencies")}
    for table in before:
        # As if killed between the rename and the removal of the parts.
        write_parquet(read_table(tmp_path, table), tmp_path / f"{table}.parquet")
    assert {table: read_table(tmp_path, table).num_rows for table in before} == before
    with store.held():
        store.merge()
    assert {table: read_table(tmp_path, table).num_rows for table in before} == before


def test_a_newer_row_replaces_the_older(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.held():
        store.merge()
        store.write_cell(Record(whole(cell_id="c1", position=2, verdict="fragile")), latencies("c1"))
    assert [record["verdict"] for record in read_records(tmp_path)] == ["robust", "fragile", "robust"]
    assert read_table(tmp_path, "latencies").num_rows == 12


def test_what_a_killed_write_left_is_ignored_and_swept_away(tmp_path: Path) -> None:
    store = filled(tmp_path)
    stray = tmp_path / "parts" / ".records-c9.parquet.abc.tmp"
    stray.write_bytes(b"half a file")
    assert len(read_records(tmp_path)) == 3
    with store.held():
        pass
    assert not stray.exists()


def test_a_second_writer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from lynxbench.records.store import ResultStore
with ResultStore(Path({str(tmp_path / "results")!r})).held():
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderBusy, match=f"process {holder.pid} on"), ResultStore(tmp_path / "results").held():
            pass
        assert holder.poll() is None  # refused while it is held, not after waiting for its end
    finally:
        holder.kill()
        holder.communicate()
    with ResultStore(tmp_path / "results").held():
        pass  # the dead hold nothing


def test_a_full_disk_is_told_by_path_and_loses_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = read_records(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses any file over 1,000 bytes with EFBIG, as a full disk does with ENOSPC.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match=r"records-c7\.parquet could not be written.*is safe"), store.held():
            store.write_cell(Record(whole(cell_id="c7")))
        with pytest.raises(StoreError, match=r"\.parquet could not be written"), store.held():
            store.merge()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_records(tmp_path) == before
    assert not list(tmp_path.rglob("*.tmp"))


def test_durable_leaves_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "file"
    durable(target, lambda file: file.write_text("old"))

    def fails(file: Path) -> None:
        file.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device"):
        durable(target, fails)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_flipped_bytes_are_found(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    table = pa.table({"latency_ns": np.random.default_rng(0).integers(0, 10**9, 20_000)})
    write_parquet(table, file)
    sound = file.read_bytes()
    silent = 0
    for place in np.linspace(4, len(sound) - 5, 60).astype(int):
        damaged = bytearray(sound)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        with contextlib.suppress(StoreError):
            silent += not read_parquet(file).equals(table)
    assert silent == 0


def test_a_row_that_breaks_the_rules_is_refused_on_reading(tmp_path: Path) -> None:
    filled(tmp_path)
    file = next((tmp_path / "parts").glob("records-*.parquet"))
    table = pq.read_table(file)
    place = table.schema.get_field_index("flip_rate")
    write_parquet(table.set_column(place, table.schema.field(place), [[7.0]]), file)
    with pytest.raises(StoreError, match="flip_rate"):
        read_records(tmp_path)


def test_plain_tools_read_the_files(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.held():
        store.merge()
    records, answers = tmp_path / "records.parquet", tmp_path / "predictions.parquet"
    assert list(pd.read_parquet(records).sort_values("position")["cell_id"]) == ["c2", "c1", "c0"]
    assert pl.read_parquet(records).filter(pl.col("cell_id") == "c1")["primary_value"].to_list() == [0.5]
    assert duckdb.sql(
        f"select count(*), max(latency_ns) from '{tmp_path}/latencies.parquet' where not excluded"
    ).fetchall() == [(9, 12)]
    assert duckdb.sql(f"select scores[1].metric from '{records}' limit 1").fetchall() == [("text",)]
    assert [list(row) for row in pl.read_parquet(answers)["logits"]] == [[0, 1], [2, 3], [4, 5]]
    assert pd.read_parquet(answers)["strata"][1][0] == {"field": "class", "value": "b"}


def test_load_gives_the_tables(tmp_path: Path) -> None:
    filled(tmp_path)
    results = lynxbench.load(tmp_path)
    assert (results.records.num_rows, results.predictions.num_rows, results.latencies.num_rows) == (3, 3, 12)
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="no results folder"):
        lynxbench.load(tmp_path / "other")
