"""Sweeps that are killed, repeated, contradicted or shared: finished cells stay, numbers that must not move do not."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

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
    "started_at",
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
    shutil.copytree(done / "cache", tmp_path / "cache")
    folder = tmp_path / "results" / "starter-quick"
    seen: dict[str, object] = {}
    dice = random.Random(20261123)
    for _ in range(6):
        running = subprocess.Popen(
            command("sweep", *SMALL),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(dice.uniform(0.3, 6.0))
        running.send_signal(signal.SIGKILL)
        running.wait()
        for file in folder.rglob("*.parquet"):
            pq.read_table(file)
        now = {str(r["cell_id"]): r["started_at"] for r in read_records(folder)} if folder.exists() else {}
        assert {key: now[key] for key in seen} == seen, "a finished cell was lost or measured again"
        seen = dict(now)
    ended = sweep(tmp_path)
    assert ended.code == 0, ended.err
    assert fixed(folder) == fixed(done / "results" / "starter-quick")
    records = read_table(folder, "records")
    assert records.num_rows == len(set(records["cell_id"].to_pylist())) == 4
    assert not list((folder / "parts").glob("*.parquet"))
    assert not list(folder.rglob("*.tmp"))


def test_a_kill_leaves_no_process_behind(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    running = subprocess.Popen(
        command("sweep", *SMALL),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not (children := psutil.Process(running.pid).children(recursive=True)):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(1)
    children += psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_goes_on(done: Path, tmp_path: Path, how: signal.Signals) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    running = subprocess.Popen(
        command("sweep", *SMALL),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
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
    first = subprocess.Popen(
        command("sweep", *SMALL),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
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
        first.wait()


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


def test_a_flipped_byte_in_the_cache_is_found_and_mended(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "cache", tmp_path / "cache")
    artifact = max((tmp_path / "cache" / "artifacts").glob("*.onnx"), key=lambda path: path.stat().st_size)
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 0x40
    artifact.write_bytes(content)
    ran = sweep(tmp_path)
    assert ran.code == 0, ran.err
    assert "warning: cached model file" in ran.err
    assert fixed(tmp_path / "results" / "starter-quick") == fixed(done / "results" / "starter-quick")


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
