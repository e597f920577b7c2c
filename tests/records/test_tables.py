"""What goes into the three tables comes out again, however a file was damaged, merged or read meanwhile."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import StoreError
from lynxbench.records import store as store_module
from lynxbench.records.answers import predictions_of, predictions_table
from lynxbench.records.record import Record
from lynxbench.records.schema import arrow_schema
from lynxbench.records.store import ResultStore, durable, read_records, read_table, write_parquet
from tests.records.rows import whole
from tests.records.test_store import filled, latencies, predictions


def test_a_record_survives_arrow_to_the_last_field() -> None:
    record = Record(whole())
    table = pa.Table.from_pylist([dict(record.values)], schema=arrow_schema())
    assert Record(table.to_pylist()[0]) == record
    field = table.schema.field("p50_ns")
    assert field.metadata[b"unit"] == b"ns"
    assert not table.schema.field("cell_id").nullable


FURTHER = (
    "value",
    "true_value",
    "option_scores",
    "option_lengths",
    "log_likelihood",
    "token_count",
    "detections",
    "objects",
    "region_pixels",
)


def test_numbers_options_boxes_and_pixels_are_kept() -> None:
    ids = np.asarray(["a", "b"])
    nothing = [np.nan] * 6
    answered = Predictions(
        sample_ids=ids,
        source_ids=ids,
        strata={},
        failed=np.asarray([False, True]),
        values=np.asarray([1.5, np.nan]),
        true_values=np.asarray([1.25, 2.0]),
        option_scores=np.asarray([[-1.0, -2.5], [-0.5, np.nan]], dtype=np.float32),
        option_lengths=np.asarray([[1, 2], [3, 0]]),
        log_likelihoods=np.asarray([-3.5, -4.0]),
        token_counts=np.asarray([3, 4]),
        detections=np.asarray([[[1, 2, 3, 4, 0, 0.5], nothing], [nothing, nothing]], dtype=np.float32),
        objects=np.asarray([[[1, 2, 3, 4, 0, 1]], [nothing]], dtype=np.float32),
        region_pixels=np.asarray([[[1, 2, 3]], [[0, 0, 4]]]),
    )
    first, second = predictions_table("p", answered).to_pylist()
    assert {name: first[name] for name in FURTHER} == {
        "value": 1.5,
        "true_value": 1.25,
        "option_scores": [-1.0, -2.5],
        "option_lengths": [1, 2],
        "log_likelihood": -3.5,
        "token_count": 3,
        "detections": [[1.0, 2.0, 3.0, 4.0, 0.0, 0.5]],
        "objects": [[1.0, 2.0, 3.0, 4.0, 0.0, 1.0]],
        "region_pixels": [[1, 2, 3]],
    }
    assert (second["detections"], second["objects"], second["region_pixels"]) == ([], [], [[0, 0, 4]])
    _same(predictions_of(predictions_table("p", answered)), answered)
    assert second["value"] != second["value"]  # NaN: what it answered, not nothing


def _same(read: Predictions, written: Predictions) -> None:
    """Equal in every column, types included."""
    assert read.strata.keys() == written.strata.keys()
    for name, column in {**vars(written), **written.strata}.items():
        found = {**vars(read), **read.strata}[name]
        if column is None or name == "strata":
            assert (found is None) == (column is None)
        elif name in {"detections", "objects"}:
            for items, expected in zip(found, column, strict=True):  # rows of NaN only fill up
                np.testing.assert_array_equal(*(rows[~np.isnan(rows).all(axis=1)] for rows in (items, expected)))
        else:
            np.testing.assert_array_equal(found, column, err_msg=name)
            assert np.asarray(found).dtype.kind == ("O" if name in {"targets", "texts"} else column.dtype.kind)


def test_rows_that_answer_no_one_test_set_are_refused() -> None:
    ids = np.asarray(["a", "b"])
    answered = Predictions(ids, ids, {}, np.asarray([False, False]), labels=np.asarray([0, 1]))
    table = predictions_table("p", answered)
    with pytest.raises(StoreError, match="those of 2"):
        predictions_of(pa.concat_tables([table, predictions_table("q", answered)]))
    with pytest.raises(StoreError, match="1 of 2 rows hold nothing"):
        predictions_of(table.set_column(5, table.schema.field("label"), pa.array([0, None])))


def test_answers_of_every_task_are_kept() -> None:
    ids = np.asarray(["a/1", "b/1"])
    retrieved = Predictions(
        sample_ids=ids,
        source_ids=np.asarray(["a", "b"]),
        strata={"view": np.asarray(["x", "y"])},
        failed=np.asarray([False, True]),
        ranked_ids=np.asarray([["b", "a"], ["a", "b"]]),
        ranked_labels=np.asarray([[1, 0], [0, 1]]),
        ranked_scores=np.asarray([[0.5, 0.25], [1.0, -1.0]], dtype=np.float32),
    )
    written = Predictions(
        sample_ids=ids,
        source_ids=ids,
        strata={},
        failed=np.asarray([False, False]),
        targets=np.asarray(["52.", "é;"]),
        texts=np.asarray(["52.", ""]),
    )
    classified = Predictions(
        sample_ids=ids,
        source_ids=ids,
        strata={},
        failed=np.asarray([False, True]),
        labels=np.asarray([0, 1]),
        logits=np.asarray([[1.5, -2.0], [np.nan, np.inf]], dtype=np.float32),
    )
    first, second = predictions_table("p", retrieved).to_pylist()
    assert second == {
        "predictions_id": "p",
        "sample_id": "b/1",
        "source_id": "b",
        "strata": [{"field": "view", "value": "y"}],
        "failed": True,
        "label": None,
        "target": None,
        "logits": None,
        "text": None,
        "ranked_ids": ["a", "b"],
        "ranked_labels": [0, 1],
        "ranked_scores": [1.0, -1.0],
        **dict.fromkeys(FURTHER),
    }
    assert first["ranked_ids"] == ["b", "a"]
    rows = predictions_table("q", written).to_pylist()
    assert [(row["target"], row["text"], row["strata"]) for row in rows] == [("52.", "52.", []), ("é;", "", [])]
    np.testing.assert_array_equal(
        [row["logits"] for row in predictions_table("r", classified).to_pylist()], classified.logits
    )
    for answers in (retrieved, written, classified):
        _same(predictions_of(predictions_table("s", answers)), answers)


def test_every_single_flipped_byte_is_found_or_harmless(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with store.held():
        store.write_cell(Record(whole()), latencies("c"))
        store.merge()
    file = tmp_path / "latencies.parquet"
    sound, content = read_table(tmp_path, "latencies"), file.read_bytes()
    found = 0
    for place in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= 0x81
        file.write_bytes(damaged)
        try:
            again = read_table(tmp_path, "latencies")
        except StoreError:
            found += 1
        else:
            assert again.equals(sound), f"byte {place}"
    assert found > len(content) / 5 / 2


def test_a_file_of_another_version_is_told_by_its_path(tmp_path: Path) -> None:
    filled(tmp_path)
    write_parquet(pa.table({"cell_id": ["x"], "latency_s": [1.0]}), tmp_path / "latencies.parquet")
    with pytest.raises(StoreError, match=r"latencies\.parquet has other columns than this version"):
        read_table(tmp_path, "latencies")
    (tmp_path / "parts" / "records-x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match=r"records-x\.parquet is damaged or no Parquet file"):
        read_records(tmp_path)


def test_results_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        durable(tmp_path / "file", lambda file: file.write_text("x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("table", ["records", "predictions", "latencies"])
def test_a_merge_killed_between_two_tables_loses_nothing(tmp_path: Path, table: str) -> None:
    store = filled(tmp_path)
    tables = ("records", "predictions", "latencies")
    before = {name: read_table(tmp_path, name).num_rows for name in tables}
    # As if killed after this table's file was renamed and the first of its parts removed.
    write_parquet(read_table(tmp_path, table), tmp_path / f"{table}.parquet")
    next((tmp_path / "parts").glob(f"{table}-*.parquet")).unlink()
    assert {name: read_table(tmp_path, name).num_rows for name in tables} == before
    for _ in range(2):
        with store.held():
            store.merge()
        assert {name: read_table(tmp_path, name).num_rows for name in tables} == before
    assert not list((tmp_path / "parts").iterdir())


def test_a_store_killed_while_it_writes_is_whole_when_it_comes_back(tmp_path: Path) -> None:
    script = f"""
import itertools
from pathlib import Path
from lynxbench.records.record import Record
from lynxbench.records.store import ResultStore
from tests.records.rows import whole
from tests.records.test_store import latencies
store = ResultStore(Path({str(tmp_path)!r}))
with store.held():
    for number in itertools.count():
        store.write_cell(Record(whole(cell_id=f"c{{number}}", position=number)), latencies(f"c{{number}}"))
        print(number, flush=True)
        if number % 3 == 2:
            store.merge()
"""
    root = Path(__file__).resolve().parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert writer.stdout is not None
    last = 0
    for line in writer.stdout:
        last = int(line)
        if last >= 7:
            writer.kill()
            break
    rest = writer.communicate()[0].split()
    last = int(rest[-1]) if rest else last
    store = ResultStore(tmp_path)
    with store.held():
        told = [record["cell_id"] for record in read_records(tmp_path)]
        store.merge()
    # Every cell that was told is there; one more may have been written before it could be told.
    assert told[: last + 1] == [f"c{number}" for number in range(last + 1)]
    assert len(told) <= last + 2
    assert [record["cell_id"] for record in read_records(tmp_path)] == told
    timed = set(read_table(tmp_path, "latencies")["cell_id"].to_pylist())
    assert timed >= set(told)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_reader_beside_a_running_sweep_sees_every_finished_cell(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    cells, finished, seen = 25, threading.Event(), []

    def write() -> None:
        with store.held():
            for number in range(cells):
                store.write_cell(Record(whole(cell_id=f"c{number}", position=number)))
                store.merge()
        finished.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not finished.is_set():
        seen.append(len(read_records(tmp_path)))
    writer.join()
    assert seen == sorted(seen)
    assert len(read_records(tmp_path)) == cells


def test_parts_that_are_merged_between_listing_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = filled(tmp_path)
    plain, merged = store_module.read_parquet, []

    def merge_first(file: Path) -> pa.Table:
        if not merged:
            merged.append(True)
            with holder.held():
                holder.merge()
        return plain(file)

    monkeypatch.setattr(store_module, "read_parquet", merge_first)
    assert len(read_records(tmp_path)) == 3
    assert merged
    assert not list((tmp_path / "parts").iterdir())


def test_a_part_that_leads_nowhere_is_damage_and_no_endless_wait(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "parts" / "records-x.parquet").symlink_to(tmp_path / "gone")
    with pytest.raises(StoreError, match=r"records-x\.parquet is damaged"):
        read_records(tmp_path)


def test_nothing_yet_is_an_empty_table_with_all_columns(tmp_path: Path) -> None:
    assert read_table(tmp_path, "records").schema.names == arrow_schema().names
    assert read_records(tmp_path) == []
    assert ResultStore(tmp_path).description() is None
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(StoreError, match=r"sweep\.json cannot be read"):
        ResultStore(tmp_path).description()


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write to"), ResultStore(tmp_path / "file").held():
        pass


def test_somebody_elses_trouble_is_not_called_a_full_disk(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    with pytest.raises(FileNotFoundError), store.held():
        subprocess.run([str(tmp_path / "no-such-python")], check=True)
    with pytest.raises(StoreError, match="results could not be written: No such file"), store.held():
        (tmp_path / "results" / ".work" / "samples.npz").write_bytes(b"")
    with store.held():
        store.write_predictions("p", predictions())
    assert read_table(tmp_path / "results", "predictions").num_rows == 3
