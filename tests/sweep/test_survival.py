"""Sweeps that are killed, repeated, contradicted or shared: finished cells stay, numbers that must not move do not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.survival import kill_again_and_again
from lynxbench.records.store import read_records, read_table
from tests.running import ROOT, SMALL, Ran, command, environment, lynxbench

# Fields that two runs of one command on one machine must agree on.
MOVING = (
    "_ns",
    "throughput",
    "p50_ratio",
    "blocks_",
    "latency",
    "peak_rss",
    "load_1min",
    "frequency",
    "temperature",
    "energy_joules",
    "throttled",
    "started_at",
    "ended_at",
    "cpu_over",
    "scheduler_delay",
    "warnings",
    "rounds",
    "stopped_by",
    "warm_up",
    "sweep",
)


def sweep(home: Path, *more: str) -> Ran:
    return lynxbench("sweep", *SMALL, *more, home=home)


def started(home: Path, *more: str) -> subprocess.Popen[str]:
    """The same, under way."""
    return subprocess.Popen(
        command("sweep", *SMALL, *more),
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fixed(folder: Path) -> list[dict]:
    rows = [dict(record.values) for record in read_records(folder)]
    return [{k: v for k, v in row.items() if not any(word in k for word in MOVING)} for row in rows]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small sweep."""
    home = tmp_path_factory.mktemp("done")
    ran = sweep(home)
    assert ran.code == 0, ran.err
    return home


def test_twice_gives_the_same_answers(done: Path, tmp_path: Path) -> None:
    assert sweep(tmp_path).code == 0  # with a cache of its own: every model file is built anew
    one, two = done / "results" / "starter-quick", tmp_path / "results" / "starter-quick"
    assert fixed(one) == fixed(two)
    assert len(fixed(one)) == 4
    by = ["predictions_id", "sample_id"]
    answers = [read_table(folder, "predictions").sort_by([(key, "ascending") for key in by]) for folder in (one, two)]
    assert answers[0].equals(answers[1])


def test_killed_again_and_again_it_ends_whole(done: Path, tmp_path: Path) -> None:
    """`benchmarks/survival.py --kills 100` is the same at length."""
    shutil.copytree(done / "cache", tmp_path / "cache")
    found = kill_again_and_again(tmp_path, 6, seed=20261123)
    assert found.whole, found
    assert found.of_parents
    assert found.of_children
    folder = tmp_path / "results" / "starter-quick"
    assert fixed(folder) == fixed(done / "results" / "starter-quick")
    records = read_table(folder, "records")
    assert records.num_rows == len(set(records["cell_id"].to_pylist())) == 4
    assert not list((folder / "parts").glob("*.parquet"))
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        (signal.SIGSTOP, "timeout", "the worker was stopped"),
        (signal.SIGSEGV, "failed", "SIGSEGV"),
        (signal.SIGTERM, "failed", "SIGTERM"),
        (signal.SIGKILL, "oom", "SIGKILL"),
    ],
)
def test_a_worker_that_fails_costs_its_own_cells_alone(
    done: Path, tmp_path: Path, how: signal.Signals, status: str, words: str
) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    limits = ("--set", "protocol.worker_timeout_s=20", "--set", "protocol.time_limit_s=120")
    # So precise that the rounds go on until the candidate fails.
    running = started(tmp_path, *limits, "--set", "protocol.ratio_half_width=1e-9", "--out", "out", "--json")
    end = time.monotonic() + 120
    while len(workers := [p for p in psutil.Process(running.pid).children() if is_worker(p)]) < 2:
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(1)
    max(workers, key=lambda process: process.pid).send_signal(how)  # the reference is started first
    out, err = running.communicate(timeout=300)
    assert running.returncode == 3, err
    rows = json.loads(out)["records"]
    assert {row["scheme"]: row["status"] for row in rows} == {"fp32": "ok", "int8-static": status}
    assert all(words in row["reason"] for row in rows if row["scheme"] == "int8-static")
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def is_worker(process: psutil.Process) -> bool:
    try:
        return "lynxbench.sweep.worker" in process.cmdline()
    except psutil.Error:
        return False


@pytest.mark.parametrize("largest_bytes", [0, 200, 3_000, 20_000, 60_000, 200_000])
def test_a_full_disk_is_named_and_costs_nothing_that_was_finished(
    done: Path, tmp_path: Path, largest_bytes: int
) -> None:
    """Every write above a size fails, as on a full disk; which writes those are changes with the size."""
    shutil.copytree(done / "cache", tmp_path / "cache")
    earlier = sweep(tmp_path, "--only", "scenario=single-stream")
    assert earlier.code == 0, earlier.err
    folder = tmp_path / "results" / "starter-quick"
    before = fixed(folder)
    assert len(before) == 2

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, resource.RLIM_INFINITY))

    ran = subprocess.run(
        command("sweep", *SMALL),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=fill_the_disk,
    )
    assert "Traceback" not in ran.stderr
    kept = fixed(folder)
    assert [row for row in kept if row["scenario"] == "single-stream"] == before
    if ran.returncode != 0:
        assert ran.returncode == 3, ran.stderr
        assert "results/starter-quick" in ran.stderr + ran.stdout
        assert "File too large" in ran.stderr + ran.stdout
    else:
        assert largest_bytes >= 60_000  # nothing that a sweep writes is larger
    assert sweep(tmp_path).code == 0
    whole, whole_at_once = fixed(folder), fixed(done / "results" / "starter-quick")
    for row in whole + whole_at_once:
        del row["group_id"], row["position"]  # which cells stood together when the first half was measured
    assert whole == whole_at_once


def test_a_wall_clock_that_jumps_by_days_moves_no_duration(done: Path, tmp_path: Path) -> None:
    """In every process of the sweep the wall clock goes a day back or forth with each look at it."""
    shutil.copytree(done / "cache", tmp_path / "cache")
    (tmp_path / "patched").mkdir()
    (tmp_path / "patched" / "sitecustomize.py").write_text(
        """
import itertools, time

shift_s = itertools.cycle([0, 86400, -86400])
wall, wall_ns = time.time, time.time_ns
time.time = lambda: wall() + next(shift_s)
time.time_ns = lambda: wall_ns() + 10**9 * next(shift_s)
"""
    )
    env = environment(tmp_path)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "patched"), env["PYTHONPATH"]])
    looks = subprocess.run(
        [sys.executable, "-c", "import time; a, b, c = (time.time() for _ in 'abc'); print(b - a, c - b)"],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    forth, back = map(float, looks.stdout.split())
    assert forth > 80_000
    assert back < -80_000
    ran = subprocess.run(
        command("sweep", *SMALL, "--json"), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)["records"]
    assert [row["status"] for row in rows] == ["ok"] * 4
    durations = [
        (key, value) for row in rows for key, value in row.items() if key.endswith("_ns") and value is not None
    ]
    assert len(durations) > 50
    assert all(0 <= value < 600e9 for _, value in durations), durations


def test_a_kill_leaves_no_process_behind(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    running = started(tmp_path)
    end = time.monotonic() + 60
    while not (children := psutil.Process(running.pid).children(recursive=True)):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(1)
    children += psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_goes_on(done: Path, tmp_path: Path, how: signal.Signals) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    running = started(tmp_path)
    end = time.monotonic() + 60
    while not psutil.Process(running.pid).children():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(1.5)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(how)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert "interrupted; what was finished is kept" in err
    assert "Traceback" not in err
    assert sweep(tmp_path).code == 0


def test_a_second_sweep_on_the_folder_is_refused_at_once(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    first = started(tmp_path)
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "results" / "starter-quick" / ".holder").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        second = sweep(tmp_path)
        assert second.code == 2
        assert f"is in use by process {first.pid} on" in second.err
    finally:
        first.kill()
        first.communicate()


def test_another_declaration_in_the_folder_is_refused(done: Path) -> None:
    ran = sweep(done, "--set", "protocol.threads=2", "--out", "results/starter-quick")
    assert ran.code == 2
    assert "was measured with other declarations or files; what changed: suite starter" in ran.err
    assert "--fresh" in ran.err


def test_fresh_sets_the_old_folder_aside(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "home")
    home = tmp_path / "home"
    before = fixed(home / "results" / "starter-quick")
    assert sweep(home, "--fresh").code == 0
    assert fixed(home / "results" / "starter-quick.1") == before
    assert fixed(home / "results" / "starter-quick") == before


@pytest.mark.parametrize("kind", ["artifacts/*.onnx", "artifacts/*.json", "ranges/*.extremes", "ranges/*.prepared"])
def test_a_flipped_byte_in_the_cache_is_found_and_mended(done: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    files = sorted((tmp_path / "cache").glob(kind))
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0x01
        file.write_bytes(content)
    if kind.startswith("ranges"):
        # They are looked at only where a model file has to be built.
        for file in (tmp_path / "cache" / "artifacts").iterdir():
            file.unlink()
    ran = sweep(tmp_path)
    assert ran.code == 0, ran.err
    told = [line for line in ran.err.splitlines() if line.startswith("warning: cache: ")]
    assert sorted(line.split()[2] for line in told) == [file.name for file in files]
    assert all(line.endswith("it was built again") for line in told)
    assert fixed(tmp_path / "results" / "starter-quick") == fixed(done / "results" / "starter-quick")
    again = lynxbench("sweep", *SMALL, "--out", "again", home=tmp_path)
    assert "warning: cache" not in again.err


def test_a_worker_that_exits_costs_its_own_cells_alone(done: Path, tmp_path: Path) -> None:
    """The second worker, the candidate's, ends itself with exit code 7 while it is timed."""
    shutil.copytree(done / "cache", tmp_path / "cache")
    (tmp_path / "patched").mkdir()
    (tmp_path / "patched" / "sitecustomize.py").write_text(
        """
import os, pathlib, sys, threading

if "lynxbench.sweep.worker" in sys.orig_argv:
    try:
        (pathlib.Path(__file__).parent / "first").touch(exist_ok=False)
    except FileExistsError:
        leaving = threading.Timer(3.0, os._exit, (7,))
        leaving.daemon = True
        leaving.start()
"""
    )
    env = environment(tmp_path)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "patched"), env["PYTHONPATH"]])
    limits = ("--set", "protocol.time_limit_s=120", "--set", "protocol.ratio_half_width=1e-9")
    ran = subprocess.run(
        command("sweep", *SMALL, *limits, "--json"),
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 3, ran.stderr
    rows = json.loads(ran.stdout)["records"]
    assert {row["scheme"]: row["status"] for row in rows} == {"fp32": "ok", "int8-static": "failed"}
    reasons = {row["reason"] for row in rows if row["scheme"] == "int8-static"}
    assert all("exit code 7" in reason for reason in reasons), reasons


def test_a_model_that_cannot_do_the_task_is_rows_with_reasons(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(
        """
name = "mismatch"
version = "1"
[[models]]
name = "resnet"
version = "1"
path = "builtin:starter/fashion-resnet8.onnx"
generation = { vocabulary = "0123456789+-*=;#.", pad_id = 17, prompt_length = 27, max_new_tokens = 24, stop = "." }
[[schemes]]
name = "fp32"
kind = "fp32"
[[workloads]]
name = "reason"
rubric = "arithmetic-steps"
models = ["resnet"]
"""
    )
    ran = lynxbench("sweep", "suite.toml", "--set", "protocol.time_limit_s=0.1", home=tmp_path)
    assert ran.code == 3
    (record,) = read_records(tmp_path / "results" / f"mismatch-{digest(tmp_path)}")
    assert record["status"] == "failed"
    assert record["reason"]
    assert record["p50_ns"] is None
    assert "failed" in ran.out
    assert str(record["reason"])[:40] in ran.out.replace("\n", " ")


def digest(home: Path) -> str:
    (folder,) = (home / "results").iterdir()
    return folder.name.rsplit("-", 1)[1]


def test_a_last_batch_that_was_filled_up_is_no_difference(tmp_path: Path) -> None:
    """Dynamic scales depend on the whole batch; 40 samples in batches of 32 leave one that is filled up."""
    only = "model=fashion-resnet8,scheme=int8-dynamic,scenario=offline"
    (tmp_path / "rubrics").mkdir()
    rubric = (ROOT / "rubrics" / "fashion-classification.toml").read_text()
    rubric = rubric.replace("quick_count = 120", "quick_count = 10").replace(
        'name = "fashion-classification"', 'name = "few"'
    )
    (tmp_path / "rubrics" / "few.toml").write_text(rubric)
    ran = lynxbench(
        "sweep", "--budget", "quick", "--only", only, "--set", "workloads.classify.rubric=few", "--rubrics", "rubrics",
        "--json", home=tmp_path,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert [row["recheck_difference"] for row in ran.json()["records"]] == [0.0, 0.0]


def test_other_preprocessing_is_calibrated_anew(done: Path) -> None:
    """The same file and samples, fed otherwise: ranges in the cache from the first must not serve the second."""
    artifacts = []
    for mean in ("0.2860", "0.5"):
        ran = sweep(done, "--set", f"models.fashion-resnet8.image.mean=[{mean}]", "--json")
        assert ran.code == 0, ran.err
        (row,) = [r for r in ran.json()["records"] if r["scheme"] == "int8-static" and r["batch_size"] == 1]
        artifacts.append((row["artifact_sha256"], row["calibration_digest"]))
    assert artifacts[0][0] != artifacts[1][0]
    assert artifacts[0][1] == artifacts[1][1]  # the samples are the same


def test_more_memory_than_allowed_is_a_row_that_says_so(done: Path, tmp_path: Path) -> None:
    """Builders and workers alike: each cell ends as `oom`, with the limit and what was held."""
    shutil.copytree(done / "cache", tmp_path / "cache")
    ran = lynxbench("sweep", *SMALL, "--set", "protocol.worker_memory_bytes=20000000", "--json", home=tmp_path)
    assert ran.code == 3, ran.err
    rows = ran.json()["records"]
    assert [row["status"] for row in rows] == ["oom"] * 4
    assert all("limit of 0.02 GB (protocol.worker_memory_bytes)" in row["reason"] for row in rows)


def test_fresh_processes_share_the_rounds_and_answer_alike(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    ran = sweep(tmp_path, "--set", "protocol.processes=2", "--set", "protocol.minimum_rounds=4", "--json")
    assert ran.code == 0, ran.err
    rows = ran.json()["records"]
    assert [(row["status"], row["processes"], row["recheck_difference"]) for row in rows] == [("ok", 2, 0.0)] * 4
    alone = {str(row["cell_id"]): row for row in fixed(done / "results" / "starter-quick")}
    assert {row["primary_value"] for row in rows} == {row["primary_value"] for row in alone.values()}
    assert {row["artifact_sha256"] for row in rows} == {row["artifact_sha256"] for row in alone.values()}
