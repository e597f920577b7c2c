"""`lynxbench validate` of results: of one folder or all below, every record, and what each rests on."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from lynxbench.datasets.predictions import Predictions
from lynxbench.records.record import Record
from lynxbench.records.store import ResultStore, read_table, write_parquet
from tests.records.rows import whole
from tests.records.test_places import partitioned
from tests.records.test_store import latencies, predictions
from tests.running import ROOT, lynxbench


def sound(folder: Path) -> Path:
    """Three answers and three latencies behind each of two records, as they say."""
    store = ResultStore(folder)
    with store.held():
        store.describe({"suite": "mine"})
        answered: Predictions = predictions()
        for cell in ("a", "b"):
            store.write_predictions(f"answers-{cell}", answered)
            store.write_cell(Record(whole(cell_id=cell, predictions_id=f"answers-{cell}")), latencies(cell))
        store.merge()
    return folder


def test_all_folders_below(tmp_path: Path) -> None:
    sound(tmp_path / "reference" / "one")
    sound(tmp_path / "reference" / "two")
    partitioned(tmp_path / "reference" / "fleet")
    ran = lynxbench("validate", "reference", home=tmp_path)
    assert (ran.code, ran.out.strip()) == (0, "reference: 12 sound records in 3 folders")
    ran = lynxbench("validate", "reference/one", home=tmp_path)
    assert ran.out.strip() == "reference/one: 2 sound records"


def test_answers_and_latencies_that_are_not_there(tmp_path: Path) -> None:
    folder = sound(tmp_path / "one")
    for table, key, said in (
        ("predictions", "predictions_id", "record b rests on 3 predictions, 0 are there"),
        ("latencies", "cell_id", "record b rests on 3 latencies, 0 are there"),
    ):
        rows = read_table(folder, table)
        keep = pa.array(["b" not in value.removeprefix("answers") for value in rows[key].to_pylist()])
        write_parquet(rows.filter(keep), folder / f"{table}.parquet")
        ran = lynxbench("validate", "one", home=tmp_path)
        assert (ran.code, said in ran.err) == (3, True), ran.err
        write_parquet(rows, folder / f"{table}.parquet")
    assert lynxbench("validate", "one", home=tmp_path).code == 0


def test_what_is_committed_as_reference_is_sound(tmp_path: Path) -> None:
    folders = [file.parent for file in (ROOT / "results" / "reference").glob("*/sweep.json")]
    for folder in folders:
        assert not list((folder / "parts").glob("*")), "merge before committing"
        ran = lynxbench("validate", folder, home=tmp_path)
        assert ran.code == 0, ran.err
    makefile = (ROOT / "Makefile").read_text()
    assert "lynxbench validate results/reference" in makefile
    assert "make validate" in (ROOT / ".ci" / "run").read_text()
