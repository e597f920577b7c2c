"""Stores of one object a cell: what counts of what several writers put, and what compactions may never do to it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lynxbench
from lynxbench.errors import FolderBusy, StoreError, UsageError
from lynxbench.records import compaction, objects
from lynxbench.records.compaction import ABANDONED_S, compact, gather
from lynxbench.records.files import LocalFiles
from lynxbench.records.generations import Generation, latest_generation, put_generation
from lynxbench.records.objects import ObjectStore
from lynxbench.records.places import Place, dataset, find_places, scanned
from lynxbench.records.record import Record
from lynxbench.records.results import complaints
from lynxbench.records.snapshots import snapshot
from lynxbench.records.store import TABLES, ResultStore, read_records, read_table, statuses
from lynxbench.records.stores import open_store
from tests.records.rows import whole
from tests.records.test_store import filled as filled_folder
from tests.records.test_store import latencies, predictions

WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# As `whole` needs them: a cell of 3 answers and 3 queries that count.
CELL: dict[str, Any] = {"primary_n": 3, "latency_n": 3, "predictions_id": "p0"}


def record(cell_id: str, **changes: Any) -> Record:
    return Record(whole(**{**CELL, "cell_id": cell_id, **changes}))


def failed(cell_id: str, **changes: Any) -> Record:
    values = whole(cell_id=cell_id, status="failed", reason="no memory", **changes)
    return Record({**values, "predictions_id": None, "verdict": None})


def filled(folder: Path, cells: Iterable[int] = range(3), *, workloads: int = 1, attempt: int = 0) -> ObjectStore:
    """A store with some cells, of one candidate for each workload."""
    store = ObjectStore(folder, attempt=attempt)
    with store.held():
        store.describe({"suite": "mine"})
        for index in cells:
            workload = index % workloads
            if f"p{workload}" not in store._predictions:
                store.write_predictions(f"p{workload}", predictions())
            mine = record(f"c{index}", position=index, workload=f"w/{workload}", predictions_id=f"p{workload}")
            store.write_cell(mine, latencies(f"c{index}"))
    return store


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return sorted(read_table(folder, table).to_pylist(), key=repr)


def all_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {table: rows(folder, table) for table in TABLES}


def names(folder: Path, below: str = "") -> list[str]:
    return LocalFiles(folder).names(below)


def test_the_same_rows_as_a_folder_of_three_files(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "folder")
    with store.held():
        store.describe({"suite": "mine"})
        store.write_predictions("p0", predictions())
        for index in range(3):
            store.write_cell(record(f"c{index}", position=index, workload="w/0"), latencies(f"c{index}"))
    filled(tmp_path / "objects")
    assert all_rows(tmp_path / "objects") == all_rows(tmp_path / "folder")
    assert [r["cell_id"] for r in read_records(tmp_path / "objects")] == ["c0", "c1", "c2"]
    assert dict(statuses(tmp_path / "objects")) == {"c0": "ok", "c1": "ok", "c2": "ok"}
    (place,) = find_places([tmp_path / "objects"])
    assert place.kind == "store"
    assert complaints(place, read_records(place.folder)) == []
    results = lynxbench.load(tmp_path / "objects")
    assert (results.records.num_rows, results.predictions.num_rows, results.latencies.num_rows) == (3, 3, 12)


def test_cells_that_a_node_sent_are_kept_as_if_written_here(tmp_path: Path) -> None:
    filled(tmp_path / "written")
    spool = filled_folder(tmp_path / "spool", cells=0)
    spool.write_predictions("p0", predictions())
    store = ObjectStore(tmp_path / "placed")
    with store.held():
        store.describe({"suite": "mine"})
        for index in range(3):
            mine = record(f"c{index}", position=index, workload="w/0")
            spool.write_cell(mine, latencies(f"c{index}"))
            keys = {"records": f"c{index}", "predictions": "p0", "latencies": f"c{index}"}
            parts = {table: spool.folder / "parts" / f"{table}-{key}.parquet" for table, key in keys.items()}
            store.place(f"c{index}", "p0", {table: part.read_bytes() for table, part in parts.items()})
    assert all_rows(tmp_path / "placed") == all_rows(tmp_path / "written")
    assert len(names(tmp_path / "placed", "cells/predictions")) == 1


def test_of_two_writers_of_a_cell_the_first_counts_and_no_row_twice(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    before = all_rows(tmp_path)
    second = ObjectStore(tmp_path)
    second.write_predictions("p0", predictions())
    second.write_cell(record("c1", verdict="fragile"), latencies("c1"))
    assert all_rows(tmp_path) == before
    second.write_cell(record("c2", position=2), latencies("c2"))  # one that the first had not
    assert len(rows(tmp_path, "records")) == 3
    assert len(rows(tmp_path, "predictions")) == 3
    compact(tmp_path)
    assert [len(rows(tmp_path, table)) for table in TABLES] == [3, 3, 12]


def test_rows_that_no_record_names_are_not_there(tmp_path: Path) -> None:
    store = filled(tmp_path, range(1))
    before = all_rows(tmp_path)
    store.write_predictions("p7", predictions())
    assert all_rows(tmp_path) == before
    compact(tmp_path, keep_s=0)
    assert all_rows(tmp_path) == before
    assert len(names(tmp_path, "cells/predictions")) == 1  # its record may still come
    compact(tmp_path, keep_s=0, clock=lambda: time.time() + ABANDONED_S + 60)
    assert names(tmp_path, "cells") == []
    assert all_rows(tmp_path) == before


@pytest.mark.parametrize("merged_first", [False, True])
def test_another_attempt_replaces_a_failure_and_never_a_measurement(tmp_path: Path, merged_first: bool) -> None:
    store = ObjectStore(tmp_path)
    with store.held():
        store.describe({})
        store.write_predictions("p0", predictions())
        store.write_cell(record("c0"), latencies("c0"))
        store.write_cell(failed("c1", position=1, started_at=WHEN))
        store.write_cell(failed("c2", position=2, started_at=WHEN))
    if merged_first:
        compact(tmp_path, keep_s=0)
    again = ObjectStore(tmp_path)
    with again.held():
        again.supersede({"c1", "c2"})
        again.write_predictions("p0", predictions())
        again.write_cell(record("c0", verdict="fragile"), latencies("c0"))
        again.write_cell(record("c1", position=1, started_at=WHEN + timedelta(hours=1)), latencies("c1"))
        later = {"reason": "no memory again", "started_at": WHEN + timedelta(hours=1)}
        again.write_cell(Record({**failed("c2", position=2).values, **later}))
    if not merged_first:
        assert again.attempt == 1

    def told() -> list[tuple[str, str, str, str]]:
        kept = read_records(tmp_path)
        return [(r["cell_id"], r["status"], r["verdict"], r["reason"]) for r in kept]

    expected = [("c1", "ok", "robust", None), ("c2", "failed", None, "no memory again"), ("c0", "ok", "robust", None)]
    assert told() == expected
    assert len(rows(tmp_path, "latencies")) == 8
    streamed = scanned(dataset(find_places([tmp_path]), "records"), ["cell_id", "status"])
    assert sorted(zip(*streamed.to_pydict().values(), strict=True)) == [("c0", "ok"), ("c1", "ok"), ("c2", "failed")]
    compact(tmp_path, keep_s=0)
    compact(tmp_path, keep_s=0)
    assert told() == expected
    assert [len(rows(tmp_path, table)) for table in TABLES] == [3, 3, 8]
    (place,) = find_places([tmp_path])
    assert complaints(place, read_records(tmp_path)) == []


def test_merged_rows_are_the_same_rows_and_merging_twice_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path, range(7), workloads=3)
    before = all_rows(tmp_path)
    done = compact(tmp_path)
    assert (done.cells, done.files, done.generation, done.deleted) == (7, 9, 1, 0)
    assert all_rows(tmp_path) == before
    after = names(tmp_path)
    assert compact(tmp_path).cells == 0
    assert names(tmp_path) == after
    (place,) = find_places([tmp_path])
    assert {file.parent.name for file in place.files("latencies")} == {f"workload=w%2F{n}" for n in range(3)}  # type: ignore[union-attr]
    filled(tmp_path, [*range(7, 9), 0], workloads=3)  # c0 has been kept before
    assert compact(tmp_path).cells == 2
    assert [len(rows(tmp_path, table)) for table in TABLES] == [9, 9, 36]
    assert len(place.files("records")) == 3  # small files were written anew, not added to
    assert all_rows(tmp_path)["records"][:1] == before["records"][:1]
    done = compact(tmp_path, keep_s=0)
    assert done.deleted == 9 + 5 + 9 + 6  # records, answers, latencies; files of two partitions
    assert [len(rows(tmp_path, table)) for table in TABLES] == [9, 9, 36]
    (left,) = names(tmp_path, "cells")
    assert left.startswith("cells/predictions/p0")  # of the writer that came second: its next cell may name them


def test_plain_tools_read_the_merged_set(tmp_path: Path) -> None:
    import duckdb

    filled(tmp_path, range(4), workloads=2)
    compact(tmp_path)
    found = duckdb.sql(
        f"select workload, count(*) from read_parquet('{tmp_path}/sets/*/latencies/**/*.parquet', hive_partitioning=1)"
        " group by workload order by workload"
    )
    assert found.fetchall() == [("w/0", 8), ("w/1", 8)]


class Failing(LocalFiles):
    """A folder whose n-th change fails, before or after it was made; `seen` says which it was."""

    def __init__(self, folder: Path, at: int, *, after: bool) -> None:
        super().__init__(folder)
        self.changes = 0
        self.seen = ""
        self._at = at
        self._after = after

    def create(self, name: str, content: bytes) -> bool:
        return self._change(name, partial(super().create, name, content))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._change(f"delete {name}", partial(super().delete, [name]))

    def _change(self, what: str, do: Callable[[], Any]) -> Any:
        self.changes += 1
        if self.changes != self._at:
            return do()
        if self._after:
            do()
        self.seen = what
        raise StoreError("the network went away")


def test_a_merge_that_ends_anywhere_loses_nothing_and_is_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each object that it puts, and some of those that it deletes."""
    source = tmp_path / "source"
    filled(source, range(2), workloads=2)
    compact(source, keep_s=0)
    filled(source, range(2, 4), workloads=2)
    before, seen = all_rows(source), []

    def run(folder: Path, failing: Failing) -> bool:
        shutil.copytree(source, folder)
        with monkeypatch.context() as patched:
            patched.setattr(compaction, "files_at", lambda place: failing)
            try:
                compact(folder, keep_s=0)
            except StoreError:
                seen.append(failing.seen)
                return False
        return True

    whole = Failing(tmp_path / "whole", 0, after=False)
    assert run(tmp_path / "whole", whole)
    puts = 7  # three tables of two workloads, and the generation
    for at in (*range(1, puts + 1), puts + 1, (puts + whole.changes) // 2, whole.changes):
        for after in (False, True):
            folder = tmp_path / f"{at} {after}"
            assert not run(folder, Failing(folder, at, after=after))
            assert all_rows(folder) == before, seen[-1]
            again = compact(folder, keep_s=0)
            assert rows(folder, "records") == before["records"], seen[-1]
            twice = compact(folder, keep_s=0)
            assert (twice.generation, twice.cells, twice.deleted) == (again.generation, 0, 0), seen[-1]
            # What the failed run wrote is nobody's, and goes in time.
            compact(folder, keep_s=0, clock=lambda: time.time() + ABANDONED_S + 60)
            named = {file.name for files in latest_generation(LocalFiles(folder)).files.values() for file in files}
            assert {name for name in names(folder, "sets") if name.endswith(".parquet")} == named, seen[-1]
            assert all_rows(folder) == before, seen[-1]
    assert sum(name.endswith("000002.json") for name in seen) == 2
    assert sum(name.startswith("delete cells/") for name in seen) >= 2
    assert sum(name.startswith("delete sets/") for name in seen) == 2


def test_a_cell_that_ends_while_others_are_merged_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, range(2))

    def one_more_first(files: Any, generation: Generation) -> bool:
        filled(tmp_path, [2])
        return put_generation(files, generation)

    monkeypatch.setattr(compaction, "put_generation", one_more_first)
    assert compact(tmp_path, keep_s=0).cells == 2
    assert [len(rows(tmp_path, table)) for table in TABLES] == [3, 3, 12]
    monkeypatch.undo()
    assert compact(tmp_path, keep_s=0).cells == 1
    assert [len(rows(tmp_path, table)) for table in TABLES] == [3, 3, 12]


def test_of_two_merges_at_once_the_second_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, range(3))
    before, lost = all_rows(tmp_path), []

    def another_first(files: Any, generation: Generation) -> bool:
        if not lost:
            monkeypatch.undo()
            compact(tmp_path, keep_s=0)
        put = put_generation(files, generation)
        lost.append(not put)
        return put

    monkeypatch.setattr(compaction, "put_generation", another_first)
    done = compact(tmp_path, keep_s=0)
    assert lost == [True]
    assert (done.generation, done.cells) == (1, 0)
    assert all_rows(tmp_path) == before
    assert len([name for name in names(tmp_path, "sets") if name.endswith(".parquet")]) == 3  # the loser's are gone


def test_readers_see_every_cell_once_whatever_is_merged_meanwhile(tmp_path: Path) -> None:
    """One thread writes cells, one merges and deletes at once, this one reads."""
    filled(tmp_path, [0])
    written, stop, troubles = [1], threading.Event(), []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                troubles.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write() -> None:
        store = ObjectStore(tmp_path)
        store.write_predictions("p0", predictions())
        for index in range(1, 40):
            store.write_cell(record(f"c{index}", position=index, workload="w/0"), latencies(f"c{index}"))
            written[0] = index + 1

    def merge() -> None:
        while not stop.is_set():
            compact(tmp_path)

    threads, reads = [guarded(write), guarded(merge)], 0
    try:
        while threads[0].is_alive() or reads < 5:
            known = written[0]
            for table, each in (("records", 1), ("latencies", 4)):
                found = read_table(tmp_path, table)["cell_id"].to_pylist()
                assert len(found) == each * len(set(found))
                assert {f"c{index}" for index in range(known)} <= set(found)
            assert read_table(tmp_path, "predictions").num_rows == 3
            reads += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert troubles == []
    assert len(rows(tmp_path, "records")) == 40
    assert latest_generation(LocalFiles(tmp_path)).number > 1


def test_a_reader_that_is_overtaken_by_deletions_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    before, listed = all_rows(tmp_path), []
    plain = LocalFiles.names

    def merge_first(self: LocalFiles, below: str) -> list[str]:
        found = plain(self, below)
        if not listed:
            listed.append(found)
            compact(tmp_path, keep_s=0)
            filled(tmp_path, [9])
            compact(tmp_path, keep_s=0)
        return found

    monkeypatch.setattr(LocalFiles, "names", merge_first)
    now = snapshot(tmp_path)
    monkeypatch.undo()
    assert listed
    assert now.generation.number == 2
    assert [row for row in rows(tmp_path, "records") if row["cell_id"] != "c9"] == before["records"]


def test_old_objects_stay_for_readers_that_are_under_way(tmp_path: Path) -> None:
    filled(tmp_path)
    place = Place(tmp_path, "store")
    begun = dataset([place], "latencies")
    compact(tmp_path)
    assert scanned(begun).num_rows == 12
    begun = dataset([place], "latencies")
    filled(tmp_path, [9])
    compact(tmp_path)
    assert scanned(begun).num_rows == 12
    later = time.time() + 25 * 3600
    assert compact(tmp_path, clock=lambda: later).deleted == 4 + 2 + 4 + 3
    with pytest.raises(StoreError, match="could not be read"):
        scanned(begun)
    assert [len(rows(tmp_path, table)) for table in TABLES] == [4, 3, 16]


def test_a_merge_of_what_is_damaged_or_gone_says_so_and_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    timed = tmp_path / names(tmp_path, "cells/latencies")[1]
    content = timed.read_bytes()
    timed.unlink()
    before = names(tmp_path)
    with pytest.raises(StoreError, match="latencies that a record names are gone"):
        compact(tmp_path)
    assert [name for name in names(tmp_path) if not name.startswith("sets/")] == before
    assert latest_generation(LocalFiles(tmp_path)).number == 0
    damaged = bytearray(content)
    damaged[len(damaged) // 3] ^= 0x21
    timed.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"latencies/c1.*damaged"):
        compact(tmp_path)
    timed.write_bytes(content)
    compact(tmp_path)
    file = tmp_path / latest_generation(LocalFiles(tmp_path)).of("records")[0].name
    file.unlink()
    filled(tmp_path, [8])
    with pytest.raises(StoreError, match="gone, though it belongs to what is there"):
        read_records(tmp_path)


def test_validate_finds_a_record_whose_rows_are_not_there(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.describe({})
    store.write_cell(record("c0"), latencies("c0"))
    (place,) = find_places([tmp_path]) if (tmp_path / "cells").is_dir() else ()
    assert complaints(place, read_records(tmp_path)) == ["record c0 rests on 3 predictions, 0 are there"]


def test_where_two_sweeps_of_one_machine_meet(tmp_path: Path) -> None:
    first = ObjectStore(tmp_path)
    with first.held(), pytest.raises(FolderBusy, match="another sweep on this machine"), ObjectStore(tmp_path).held():
        pass
    with ObjectStore(tmp_path).held():
        pass
    assert names(tmp_path) == []  # no trace of the look whether the place keeps what it holds


def test_what_is_measured_can_be_said_anew(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.describe({"planned": ["c0"]})
    store.describe({"planned": ["c0"]})
    assert names(tmp_path) == ["sweep.json"]
    store.describe({"planned": ["c0", "c1"]})
    assert ObjectStore(tmp_path).description() == {"planned": ["c0", "c1"]}
    (tmp_path / "sweep-000001.json").write_text("{")
    with pytest.raises(StoreError, match=r"sweep-000001\.json cannot be read"):
        store.description()


def test_a_filesystem_that_overwrites_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Overwriting(LocalFiles):
        def create(self, name: str, content: bytes) -> bool:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
            return True

    monkeypatch.setattr(objects, "files_at", Overwriting)
    with pytest.raises(StoreError, match="If-None-Match"), ObjectStore(tmp_path).held():
        pass


def test_layouts_do_not_mix(tmp_path: Path) -> None:
    filled(tmp_path / "objects")
    with pytest.raises(UsageError, match=r"one object a cell\n  try       --out file:///"):
        open_store(tmp_path / "objects")
    filled_folder(tmp_path / "folder")
    with pytest.raises(UsageError, match="name it without file://"), open_store(f"file://{tmp_path}/folder").held():
        pass
    assert isinstance(open_store(f"file://{tmp_path}/new"), ObjectStore)
    assert isinstance(open_store(tmp_path / "new"), ResultStore)


def test_gathering_other_results_elsewhere(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    store = filled_folder(source, cells=0)
    with store.held():
        for index in range(4):
            store.write_cell(record(f"c{index}", position=index, workload=f"w{index % 2}"), latencies(f"c{index}"))
        store.merge()
    (place,) = find_places([source])
    assert gather(place, out).cells == 4
    expected = all_rows(source)
    # The answers of one candidate belong to the workload of its records: here to both.
    found = all_rows(out)
    assert (found["records"], found["latencies"]) == (expected["records"], expected["latencies"])
    after = names(out)
    assert gather(place, out).cells == 0
    assert names(out) == after
    assert find_places([out])[0].kind == "store"
    with store.held():
        store.write_cell(record("c4", position=4, workload="w0"), latencies("c4"))
        store.merge()
    assert gather(place, out).generation == 2
    assert len(rows(out, "records")) == 5
    with pytest.raises(UsageError, match="holds other results"):
        gather(place, source)
    other = Place(filled(tmp_path / "other").folder, "store")
    with pytest.raises(UsageError, match="holds other results"):
        gather(other, out)


def test_gathering_that_ends_anywhere_is_done_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "source", range(2))
    source, expected = Place(tmp_path / "source", "store"), all_rows(tmp_path / "source")
    for at in range(1, 6):  # three files, the generation, the description
        for after in (False, True):
            out = tmp_path / f"{at} {after}"
            failing = Failing(out, at, after=after)
            with monkeypatch.context() as patched:
                patched.setattr(
                    compaction, "files_at", lambda place, f=failing, out=out: f if place == out else LocalFiles(place)
                )
                with pytest.raises(StoreError, match="the network went away"):
                    gather(source, out)
            gather(source, out)
            assert all_rows(out) == expected, failing.seen
            assert find_places([out])[0].kind == "store"


def test_merging_holds_no_more_than_a_file_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files end at their size; row groups hold many cells."""
    import pyarrow.parquet as pq

    filled(tmp_path, range(40))
    one = latencies("c0").nbytes
    monkeypatch.setattr(compaction, "_ROW_GROUP_BYTES", 4 * one)
    monkeypatch.setattr(compaction, "_FILE_BYTES", 12 * one)
    compact(tmp_path)
    files = Place(tmp_path, "store").files("latencies")
    assert len(files) >= 3
    assert all(1 < pq.ParquetFile(file).num_row_groups <= 4 for file in files[:3])
    assert len(rows(tmp_path, "latencies")) == 160


def test_a_store_of_thousands_has_answers_of_every_candidate_once(tmp_path: Path) -> None:
    """Two machines measured one candidate: the answers of the first that is merged stay."""
    for number in range(2):
        store = ObjectStore(tmp_path)
        store.describe({})
        mine = predictions()
        store.write_predictions("p0", mine if number == 0 else _flipped(mine))
        store.write_cell(record(f"c{number}", position=number), latencies(f"c{number}"))
        if number == 0:
            compact(tmp_path, keep_s=0)
    assert len(rows(tmp_path, "predictions")) == 3
    compact(tmp_path, keep_s=0)
    assert len(rows(tmp_path, "predictions")) == 3
    assert rows(tmp_path, "predictions")[0]["logits"] == [0.0, 1.0]


def _flipped(mine: Any) -> Any:
    import dataclasses

    assert mine.logits is not None
    return dataclasses.replace(mine, logits=np.flip(mine.logits, axis=1).copy())


def test_the_schema_of_an_empty_store(tmp_path: Path) -> None:
    ObjectStore(tmp_path).describe({})
    (tmp_path / "cells").mkdir()
    assert [read_table(tmp_path, table).num_rows for table in TABLES] == [0, 0, 0]
    assert isinstance(dataset([Place(tmp_path, "store")], "records").to_table(), pa.Table)
    assert compact(tmp_path).cells == 0
