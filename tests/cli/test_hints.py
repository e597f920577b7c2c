"""What a command says when something else was meant, and what a dry run knows of what is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conclusions.folders import answers, folder
from tests.conclusions.test_compare import speeds
from tests.intake.test_init import dense, rows
from tests.running import Ran, lynxbench


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hints")
    for name in ("first", "starter"):
        folder(home / "results" / name, [(speeds(1.5), answers(range(100)))])
    return home


def said(home: Path, *arguments: str, code: int = 2) -> Ran:
    ran = lynxbench(*arguments, home=home)
    assert "Traceback" not in ran.err
    assert ran.code == code, ran.err
    return ran


def test_the_nearest_folder_is_offered(home: Path) -> None:
    assert "try       lynxbench show results/starter" in said(home, "show", "results/strater").err
    assert "try       lynxbench show results/first" in said(home, "show", "nothing-like-it").err


@pytest.mark.parametrize("command", ["claim", "decide"])
def test_of_a_folder_of_folders_each_is_offered(home: Path, command: str) -> None:
    err = said(home, command, "results").err
    assert "results holds 2 results folders; name one" in err
    assert f"try       lynxbench {command} results/first" in err
    assert f"try       lynxbench {command} results/starter" in err


def test_compacting_what_is_merged_says_what_it_is_for(home: Path) -> None:
    out = said(home, "compact", "results/starter", code=0).out
    assert "a sweep does it at its end" in out
    assert "lynxbench compact results/starter --out PLACE" in out


@pytest.mark.parametrize("command", [("show", "ftp://127.0.0.1:1/x"), ("sweep", "--out", "ftp://127.0.0.1:1/x")])
def test_a_store_that_refuses_a_connection_is_one_error(home: Path, command: tuple[str, ...]) -> None:
    assert said(home, *command).err.strip() == "error: ftp://127.0.0.1:1/x: Connection refused"


def test_a_scheduler_that_is_not_there(home: Path) -> None:
    pytest.importorskip("distributed")
    dense(home / "f.onnx")
    rows(home / "f.jsonl")
    said(home, "init", "f.onnx", "--data", "f.jsonl", code=0)
    err = said(home, "sweep", "f/suite.toml", "--on", "tcp://127.0.0.1:1").err
    assert "no Dask scheduler there (ConnectionRefusedError" in err
    assert "object at 0x" not in err


def test_a_dry_run_knows_what_is_finished(tmp_path: Path) -> None:
    dense(tmp_path / "m.onnx")
    rows(tmp_path / "h.jsonl")
    said(tmp_path, "init", "m.onnx", "--data", "h.jsonl", code=0)
    rubric = tmp_path / "m" / "rubric.toml"
    rubric.write_text("".join(f"{line}\n" for line in rubric.read_text().splitlines() if "quick_count" not in line))
    sweep = ("sweep", "m/suite.toml", "--budget", "quick")
    whole = said(tmp_path, *sweep, "--dry-run", "--json", code=0).json()
    assert {cell["status"] for cell in whole["cells"]} == {"to measure"}
    assert (
        f"{len(whole['cells'])} cells in 1 group, 0 skipped; about" in said(tmp_path, *sweep, "--dry-run", code=0).out
    )
    swept = said(tmp_path, *sweep, "--only", "scheme=fp16", code=0)
    assert "quick test set" not in swept.out  # the rubric declares no such size
    rest = said(tmp_path, *sweep, "--dry-run", "--json", code=0).json()
    finished = {cell["scheme"] for cell in rest["cells"] if cell["status"] == "finished"}
    assert finished == {"fp32", "fp16"}
    assert 0 < rest["estimated_s"] < whole["estimated_s"]
    assert "2 finished already; about" in said(tmp_path, *sweep, "--dry-run", code=0).out
    fresh = said(tmp_path, *sweep, "--dry-run", "--fresh", "--json", code=0).json()
    assert fresh["cells"] == whole["cells"]
