"""Sweeps into an object store: killed, gone on with, merged and read as one on a disk is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

import lynxbench as api
from lynxbench.records.location import location
from lynxbench.records.store import read_records, read_table
from tests.object_server import ObjectServer
from tests.running import SMALL, Ran, command, environment, lynxbench
from tests.sweep.test_survival import fixed


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep on a disk."""
    home = tmp_path_factory.mktemp("here")
    ran = lynxbench("sweep", *SMALL, home=home)
    assert ran.code == 0, ran.err
    return home


def run(*arguments: str | Path, home: Path, **changed: str) -> Ran:
    done = subprocess.run(
        command(*arguments),
        cwd=home,
        env={**environment(home), **changed},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_killed_and_gone_on_with_it_holds_what_one_on_a_disk_does(here: Path, s3: ObjectServer) -> None:
    url = f"s3://{s3.bucket()}/team/first"
    prefix = url.removeprefix("s3://")
    running = subprocess.Popen(
        command("sweep", *SMALL, "--out", url),
        cwd=here,
        env=environment(here),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not any(name.startswith("cells/records/") for name in s3.names(prefix)):
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    workers = psutil.Process(running.pid).children(recursive=True)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    psutil.wait_procs(workers, timeout=60)
    kept = {name for name in s3.names(prefix) if name.startswith("cells/records/")}
    first = {name: s3.filesystem.cat_file(f"{prefix}/{name}") for name in kept}
    assert 0 < len(kept) <= 4

    shown = run("show", url, "--csv", home=here)
    assert shown.code == 0, shown.err
    assert ("incomplete" in shown.err) == (len(kept) < 4)

    ran = run("sweep", *SMALL, "--out", url, home=here)
    assert ran.code == 0, ran.err
    assert f"{len(kept)} of 4 cells were finished before and kept" in ran.err
    assert f"lynxbench show {url}" in ran.out
    assert {name: s3.filesystem.cat_file(f"{prefix}/{name}") for name in kept} == first  # written once

    there, folder = location(url), here / "results" / "starter-quick"
    expected = fixed(folder)

    def same() -> bool:
        # Which cells stood together when the rest was measured is another matter.
        mine = [{k: v for k, v in row.items() if k != "group_id"} for row in fixed(there)]  # type: ignore[arg-type]
        return mine == [{k: v for k, v in row.items() if k != "group_id"} for row in expected]

    by = [("predictions_id", "ascending"), ("sample_id", "ascending")]
    answers = read_table(folder, "predictions").sort_by(by)
    assert same()
    assert read_table(there, "predictions").sort_by(by).equals(answers)
    n = {str(r["cell_id"]): r["latency_n"] for r in read_records(there)}
    assert read_table(there, "latencies").num_rows >= sum(n.values())

    merged = run("compact", url, "--keep", "0", home=here)
    assert merged.code == 0, merged.err
    assert "4 cells merged; the set is 3 files" in merged.out
    assert same()
    assert read_table(there, "predictions").sort_by(by).equals(answers)

    # All that reads results reads these, and a finished sweep has nothing left to do.
    again = run("sweep", *SMALL, "--out", url, "--json", home=here)
    assert len(again.json()["records"]) == 4
    assert "4 of 4 cells were finished before and kept" in again.err
    compared = run("compare", "results/starter-quick", url, "--json", home=here).json()
    assert len(compared["rows"]) == 4
    assert all(row["loss_paired"] and row["loss"] == 0 for row in compared["rows"])
    claimed, known = (api.claim(place, "int8-static") for place in (url, folder))
    assert claimed.wanting == known.wanting
    assert [d.workload for d in api.decide(url)] == [d.workload for d in api.decide(folder)]
    assert api.load(url, folder).records.num_rows == 8
    assert api.load(Path(url)).folders == (there,)  # as scripts write it


def test_what_cannot_be_written_is_said_before_anything_is_measured(here: Path, s3: ObjectServer) -> None:
    for url, changed, said in (
        ("s3://nowhere-at-all/x", {}, "there is no bucket nowhere-at-all"),
        ("s3://ready/x", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "refused"),
    ):
        ran = run("sweep", *SMALL, "--out", url, home=here, **changed)
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert said in ran.err
        assert "Traceback" not in ran.err
    ran = run("sweep", *SMALL, "--out", "s3://ready/x", "--fresh", home=here)
    assert ran.code == 2
    assert "cannot be renamed" in ran.err


def test_compact_of_folders(here: Path) -> None:
    """A sweep that was killed is merged where it is; a set is not; either can be written elsewhere."""
    ran = run("compact", "results", "--out", "gathered", home=here)
    assert "4 cells written; the set is 3 files" in ran.out, ran.err
    assert "nothing new" in run("compact", "results", "--out", "gathered", home=here).out
    there, folder = here / "gathered" / "starter-quick", here / "results" / "starter-quick"
    assert fixed(there) == fixed(folder)
    assert "nothing new" in run("compact", "results", home=here).out
    inside = run("compact", "results", "--out", "results/starter-quick/more", home=here)
    assert inside.code == 2
    assert "lies where the results are" in inside.err
    assert "holds one object a cell" in run("sweep", *SMALL, "--out", "gathered/starter-quick", home=here).err
    other = run("sweep", *SMALL, "--set", "protocol.rounds=9", "--out", f"file://{there}", home=here)
    assert other.code == 2, other.err
