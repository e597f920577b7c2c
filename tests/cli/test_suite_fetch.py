"""`lynxbench suite fetch`, and a sweep before, during and after it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lynxbench.specs.fetched import read_sources, sources_file
from tests.running import lynxbench


def test_before_anything_is_fetched(tmp_path: Path) -> None:
    ran = lynxbench("sweep", "standard", home=tmp_path)
    assert ran.code == 2
    assert "models and data have to be fetched first" in ran.err
    assert "lynxbench suite fetch standard" in ran.err
    assert ran.err.count("error:") == 1
    part = lynxbench("sweep", "standard", "--only", "workload=voice", home=tmp_path)
    assert "voice: models and data" in part.err
    assert "not here: standard/silero, standard/speech\n" in part.err


def test_dry_run_names_every_archive_with_its_licence(tmp_path: Path) -> None:
    ran = lynxbench("suite", "fetch", "standard", "--dry-run", home=tmp_path)
    told = lynxbench("suite", "fetch", "standard", "--dry-run", "--json", home=tmp_path).json()
    assert ran.code == 0
    file = sources_file("standard")
    assert file is not None
    sources = read_sources(file)
    for archive in sources.archives:
        (line,) = [line for line in ran.out.splitlines() if line.split()[:1] == [archive.name] and archive.kind in line]
        assert archive.licence in line
    assert f"{len(sources.archives)} archives to get" in ran.out
    assert [item["name"] for item in told["items"] if item["what"] == "archive"] == [a.name for a in sources.archives]
    assert told["runs"] == []
    assert not (tmp_path / "cache" / "archives").exists()


def test_unknown_suites_and_archives(tmp_path: Path) -> None:
    ran = lynxbench("suite", "fetch", "standrad", home=tmp_path)
    assert (ran.code, "did you mean 'standard'?" in ran.err) == (2, True)
    ran = lynxbench("suite", "fetch", "standard", "--only", "magicka", home=tmp_path)
    assert (ran.code, "did you mean 'magika'?" in ran.err) == (2, True)


@pytest.mark.slow
def test_a_real_fetch_ends_in_a_real_sweep(tmp_path: Path) -> None:
    """Files of packages as the index has them, with one workload of the suite; the others stay left out."""
    fetched = lynxbench("suite", "fetch", "standard", "--only", "silero", "--only", "magika", home=tmp_path)
    assert fetched.code == 0, fetched.err
    assert "runs      files: lynxbench sweep standard" in fetched.out
    # Voice lacks its sounds; it is left out, and said to be.
    only = ("--budget", "quick", "--only", "workload=files,scheme=fp32,int8-static-pt")
    ran = lynxbench("sweep", "standard", *only, home=tmp_path)
    assert ran.code == 0, ran.err
    plan = lynxbench("sweep", "standard", "--dry-run", home=tmp_path)
    assert "left out: voice (standard/speech has not been fetched; lynxbench suite fetch standard adds it)" in plan.err
    rows = pq.read_table(tmp_path / "results" / "standard-quick" / "records.parquet").to_pylist()
    by = {row["scheme"]: row for row in rows}
    assert by.keys() == {"fp32", "int8-static-pt"}
    assert by["fp32"]["primary_value"] > 0.6
    # The known lesson: every operator static, and the model is no more what it was.
    assert by["int8-static-pt"]["verdict"] == "fragile"
    # Offline from here on, archives deleted: the sweep needs nothing but what was made.
    shutil.rmtree(tmp_path / "cache" / "archives")
    again = lynxbench("sweep", "standard", *only, home=tmp_path)
    assert (again.code, "2 of 2 cells were finished before" in again.err) == (0, True)
    kept = lynxbench("suite", "fetch", "standard", "--only", "magika", "--json", home=tmp_path).json()
    assert {item["state"] for item in kept["items"]} == {"kept"}
