"""`lynxbench leaderboard build` as a user types it, over a real sweep."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Starter
from tests.running import lynxbench


def test_a_site_of_a_sweep(starter: Starter, tmp_path: Path) -> None:
    ran = lynxbench("leaderboard", "build", starter.folder, "--title", "Mine", home=tmp_path)
    assert ran.code == 0, ran.err
    assert "52 records of 1 host, 3 workloads" in ran.out
    assert "open      site/index.html" in ran.out
    assert "ranking" in ran.err
    assert "<title>Mine</title>" in (tmp_path / "site" / "index.html").read_text()
    again = lynxbench("leaderboard", "build", starter.folder, home=tmp_path)
    assert again.code == 2
    assert "--force" in again.err


def test_a_summary_for_scripts(starter: Starter, tmp_path: Path) -> None:
    ran = lynxbench("leaderboard", "build", starter.home / "results", "--out", "there", "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    found = ran.json()
    assert (found["folder"], found["records"], found["hosts"], found["workloads"]) == ("there", 52, 1, 3)
    assert found["size_bytes"] == sum(f.stat().st_size for f in (tmp_path / "there").rglob("*") if f.is_file())


def test_a_folder_without_records(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = lynxbench("leaderboard", "build", "empty", home=tmp_path)
    assert ran.code == 2
    assert ran.err == "error: empty holds no records, and no folder in it does\n  try       lynxbench sweep\n"
    assert not (tmp_path / "site").exists()


def test_a_diagnosis_lands_on_the_pages_of_its_candidate(starter: Starter, tmp_path: Path) -> None:
    """The commands of docs/diagnose.md, on fewer samples."""
    ran = lynxbench(
        *("diagnose", "starter", "--candidate", "int8-static on fashion-embedder"),
        *("--samples", "16", "--time-limit", "0", "--json"),
        home=tmp_path,
    )
    assert ran.code == 0, ran.err
    (tmp_path / "diagnosis.json").write_text(ran.out)
    built = lynxbench("leaderboard", "build", starter.folder, "--diagnosis", "diagnosis.json", home=tmp_path)
    assert built.code == 0, built.err
    # The candidate was measured under one scenario of its batch size.
    pages = list((tmp_path / "site" / "data").glob("d-*.js"))
    assert len(pages) == 1
    assert "1 page with a diagnosis" in built.out
    wrong = lynxbench("leaderboard", "build", starter.folder, "--diagnosis", "none.json", "--force", home=tmp_path)
    assert wrong.code == 2
    assert "none.json" in wrong.err
