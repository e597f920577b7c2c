"""Fleets of real processes on this machine: a Dask scheduler, nodes with different executors, and sweeps over them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.fleet import simulate
from benchmarks.fleet_survival import kill_nodes
from benchmarks.fleets import Fleet, fleet, overlaps
from lynxbench.records.answers import predictions_of
from lynxbench.records.places import find_places
from lynxbench.records.record import Record
from lynxbench.records.results import complaints
from lynxbench.records.store import read_records, read_table
from lynxbench.sweep.fleet.blobs import sha256_of
from tests.running import ROOT, command

ONE: Sequence[str] = ("--budget", "quick", "--only", "model=fashion-resnet8,scheme=fp32,scenario=single-stream")
SPLIT: Sequence[str] = (
    "--budget", "quick", "--only", "model=fashion-resnet8,scheme=fp32,int8-static,scenario=single-stream",
    "--executor", "cpu", "--executor", "cpu-two", "--executor", "cpu-three",
)  # fmt: skip


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three nodes of this machine; each offers the CPU provider under other names."""
    home = tmp_path_factory.mktemp("fleet")
    declare_executors(home)
    with fleet(home) as three:
        three.start("one", ["cpu"])
        three.start("two", ["cpu", "cpu-two"])
        three.start("three", ["cpu", "cpu-three"])
        assert [three.joined(name)["offers"] for name in ("one", "two", "three")] == [
            ["cpu"],
            ["cpu", "cpu-two"],
            ["cpu", "cpu-three"],
        ]
        yield three


def declare_executors(home: Path) -> None:
    """The CPU provider under further names."""
    text = (ROOT / "executors" / "cpu.toml").read_text()
    (home / "config" / "executors").mkdir(parents=True)
    for name in ("cpu-two", "cpu-three", "cpu-four"):
        (home / "config" / "executors" / f"{name}.toml").write_text(text.replace('name = "cpu"', f'name = "{name}"'))


def ended(sweep: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = sweep.communicate(timeout=300)
    assert sweep.returncode == code, err
    return out, err


def whole(folder: Path) -> list[Record]:
    """The records of a folder, of which each is there once, with all that belongs to it."""
    records = read_records(folder)
    (place,) = find_places([folder])
    assert complaints(place, records) == []
    assert len(read_table(folder, "records")) == len({record["cell_id"] for record in records}) == len(records)
    assert overlaps(records) == []
    return records


def answers(folder: Path) -> dict[str, Any]:
    """What each candidate answered, by candidate."""
    table = read_table(folder, "predictions")
    rows = {record["candidate_id"]: record["predictions_id"] for record in read_records(folder)}
    return {
        candidate: predictions_of(table.filter(table["predictions_id"].to_numpy(zero_copy_only=False) == key)).logits
        for candidate, key in rows.items()
    }


def test_three_unlike_nodes_do_what_one_machine_does(nodes: Fleet) -> None:
    home = nodes.home
    ended(nodes.sweep(*SPLIT, "--executor", "cpu-four", "--set", "fleet.wait_s=1", "--out", "fleet"))
    local = subprocess.run(
        command("sweep", *SPLIT, "--out", "local"), cwd=home, env=nodes.environment(), capture_output=True, check=True
    )
    assert local.returncode == 0
    there, here = whole(home / "fleet"), whole(home / "local")
    missing = [record for record in there if record["executor"] == "cpu-four"]
    measured = [record for record in there if record["executor"] != "cpu-four"]
    assert {record["cell_id"] for record in measured} == {record["cell_id"] for record in here}
    assert {record["status"] for record in measured} == {"ok"}
    assert {record["node"] for record in measured} == {"two", "three"}
    assert {record["node"] for record in here} == {None}
    # A node with its own cache built the same files, and the same files gave the same answers.
    mine, theirs = answers(home / "local"), answers(home / "fleet")
    assert mine.keys() == theirs.keys()
    assert all((mine[candidate] == theirs[candidate]).all() for candidate in mine)
    ids = [{(r["cell_id"], r["predictions_id"], r["artifact_sha256"]) for r in rows} for rows in (measured, here)]
    assert ids[0] == ids[1]
    # Each part had its reference beside it.
    assert all(record["throughput_ratio"] is not None for record in measured)
    assert {record["part"] for record in measured} == {0, 100}
    assert {record["status"] for record in missing} == {"unavailable"}
    assert len(missing) == 2
    asked = "asked within 1 s: one (cpu), three (cpu, cpu-three), two (cpu, cpu-two)"
    assert missing[0]["reason"] == f"no host offers cpu-four beside the reference's cpu; {asked}"


def test_files_came_by_their_digests(nodes: Fleet) -> None:
    ended(nodes.sweep(*ONE, "--out", "files"))
    (record,) = whole(nodes.home / "files")
    cache = nodes.home / f"cache-{record['node']}" / "blobs"
    files = [file for file in cache.rglob("*") if file.is_file()]
    assert all(sha256_of(file) == file.name for file in files)
    model = cache / record["model_sha256"][:2] / record["model_sha256"]
    assert model.read_bytes() == (ROOT / "lynxbench/suites/starter/fashion-resnet8.onnx").read_bytes()
    # One that was tampered with is fetched again rather than measured.
    model.write_bytes(b"another model")
    for name in set(nodes.nodes) - {record["node"]}:
        assert name in ("one", "two", "three")
    for number in range(3):  # whichever node gets it
        ended(nodes.sweep(*ONE, "--out", f"files-{number}"))
        (again,) = whole(nodes.home / f"files-{number}")
        assert again["cell_id"] == record["cell_id"]
        assert again["predictions_id"] == record["predictions_id"]
        if again["node"] == record["node"]:
            assert sha256_of(model) == record["model_sha256"]
            break


def test_interrupted_it_leaves_a_sweep_that_goes_on(nodes: Fleet) -> None:
    sweep = nodes.sweep(*SPLIT[:4], "--out", "interrupted")
    running = measuring(nodes)
    while not running:
        assert sweep.poll() is None
        time.sleep(0.05)
        running = measuring(nodes)
    sweep.send_signal(signal.SIGINT)
    _, said = ended(sweep, 130)
    assert "The same command goes on from there" in said
    # The node stops what nobody waits for any more, and is there for the next.
    assert psutil.wait_procs(running, timeout=60)[1] == []
    before = {record["cell_id"]: record for record in whole(nodes.home / "interrupted")}
    ended(nodes.sweep(*SPLIT[:4], "--out", "interrupted"))
    after = {record["cell_id"]: record for record in whole(nodes.home / "interrupted")}
    assert len(after) == 2
    assert all(after[cell] == record for cell, record in before.items())


def measuring(nodes: Fleet) -> list[psutil.Process]:
    """Processes that run a group, of any node."""
    return [child for node in nodes.nodes.values() for child in psutil.Process(node.pid).children()]


def test_every_kind_of_host_has_a_folder_of_its_own(nodes: Fleet) -> None:
    options = ("--set", "fleet.hosts=every-kind", "--set", "fleet.wait_s=1", "--out", "kinds")
    ended(nodes.sweep(*ONE, *options))
    (folder,) = [path for path in (nodes.home / "kinds").iterdir() if path.is_dir()]
    (record,) = whole(folder)
    assert record["status"] == "ok"
    # The same command finds everything done; with one folder for all hosts it is refused.
    _, said = ended(nodes.sweep(*ONE, *options))
    assert "1 of 1 cells were finished before and kept" in said
    _, said = ended(nodes.sweep(*ONE, "--out", "kinds"), 2)
    assert "holds a sweep for each kind of host" in said


def test_a_killed_node_loses_and_doubles_nothing(tmp_path: Path) -> None:
    survived = kill_nodes(tmp_path, 1, seed=1)
    assert survived.kills == 1
    assert survived.whole, survived


def test_a_simulated_fleet_keeps_every_cell(tmp_path: Path) -> None:
    cost = simulate(tmp_path, nodes=20, cells=100, group=2, sleep_s=0.2)
    assert cost.kept == 100
    assert cost.scheduler_peak_bytes < 1 << 30


def test_tls_is_one_option_on_each_side(tmp_path: Path) -> None:
    certificates(tmp_path / "tls")
    (tmp_path / "home").mkdir()
    with fleet(tmp_path / "home", tmp_path / "tls") as safe:
        assert safe.address.startswith("tls://")
        safe.start("one")
        assert safe.joined("one")["offers"] == ["cpu"]
        ended(safe.sweep(*ONE, "--out", "safe"))
        assert [record["status"] for record in whole(safe.home / "safe")] == ["ok"]
        bare = subprocess.run(
            command("sweep", *ONE, "--on", safe.address, "--out", "bare"),
            cwd=safe.home, env=safe.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert bare.returncode == 2
        assert "--tls FOLDER" in bare.stderr


def certificates(folder: Path) -> None:
    """As docs/fleet.md shows."""
    page = (ROOT / "docs" / "fleet.md").read_text()
    (script,) = [block.split("\n", 1)[1] for block in page.split("```")[1::2] if "openssl" in block]
    folder.mkdir()
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True)


def test_what_is_asked_amiss_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()

    def said(*arguments: str) -> str:
        done = subprocess.run(
            command(*arguments), cwd=tmp_path, env={**Fleet.environment_of(tmp_path)}, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "no Dask scheduler there" in said("sweep", *ONE, "--on", "tcp://127.0.0.1:9")
    assert "no ca.pem, cert.pem, key.pem there" in said("sweep", *ONE, "--on", "tcp://127.0.0.1:9", "--tls", "tls")
    assert "--tls is for --on" in said("sweep", *ONE, "--tls", "tls")
    assert "expected the scheduler's address, e.g. tcp://here:8786" in said("node", "start", "here")
    assert "unknown executor warp" in said("node", "start", "tcp://127.0.0.1:9", "--executor", "warp")
    assert "cannot join tcp://127.0.0.1:9" in said("node", "start", "tcp://127.0.0.1:9", "--executor", "cpu")


def test_a_plan_needs_no_fleet(tmp_path: Path) -> None:
    done = subprocess.run(
        command("sweep", *ONE, "--on", "tcp://127.0.0.1:9", "--dry-run", "--json"),
        cwd=tmp_path, env=Fleet.environment_of(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [cell["status"] for cell in json.loads(done.stdout)["cells"]] == ["to measure"]
