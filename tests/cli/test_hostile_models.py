"""38: models that reach out, hang or burst. Refused before any work, or a typed status while the sweep goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from lynxbench.quantization import model_files
from tests.cli import hostile_models as hostile
from tests.running import lynxbench
from tests.sweep.test_own_data import RUBRIC

SUITE = """
name = "stranger"
version = "1"
{models}
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "int8-dynamic"
kind = "int8-dynamic"
[[workloads]]
name = "w"
rubric = "rubric.toml"
models = {names}
schemes = ["fp32"]
[protocol]
block_s = 0.01
minimum_rounds = 4
time_limit_s = 0.05
warm_up_s = 0.01
worker_timeout_s = 20
worker_memory_bytes = 1000000000
"""


def declared(home: Path, *names: str) -> None:
    """A suite of the models `names`, each in a file of its name."""
    random = np.random.default_rng(0)
    np.savez(home / "test.npz", inputs=random.normal(size=(60, 6)).astype(np.float32), labels=np.arange(60) % 3)
    parts = {"task": "classification", "stratum": "class", "source": 'source = "test.npz"', "metric": "top-1"}
    (home / "rubric.toml").write_text(RUBRIC.format_map({**parts, "parameters": ""}))
    models = [f'[[models]]\nname = "{name}"\nversion = "1"\npath = "{name}.onnx"' for name in names]
    (home / "suite.toml").write_text(SUITE.format(models="\n".join(models), names=list(names)))


def _external(location: str, make: Callable[[Path], None]) -> hostile.Write:
    def write(path: Path) -> None:
        path.write_bytes(hostile.external(location).SerializeToString())
        make(path.parent)

    return write


def _outside(folder: Path) -> Path:
    outside = folder.parent / "outside.bin"
    outside.write_bytes(hostile.WEIGHTS.tobytes())
    return outside


REFUSED: list[tuple[str, hostile.Write, str]] = [
    ("data through ..", _external("../outside.bin", lambda f: None), "wants data outside its own folder"),
    ("data by an absolute path", _external("/dev/zero", lambda f: None), "wants data outside its own folder"),
    ("data by a symbolic link", _external("w.bin", lambda f: (f / "w.bin").symlink_to(_outside(f))), "symbolic link"),
    ("data by a hard link", _external("w.bin", lambda f: os.link(_outside(f), f / "w.bin")), "which is a hard link"),
    ("data from a device", _external("w.bin", lambda f: (f / "w.bin").symlink_to("/dev/zero")), "is a symbolic link"),
    ("data from a pipe", _external("w.bin", lambda f: os.mkfifo(f / "w.bin")), "which is no regular file"),
    ("data from a folder", _external("w.bin", lambda f: (f / "w.bin").mkdir()), "which is no regular file"),
    ("a device", lambda path: path.symlink_to("/dev/zero"), "no such file"),
    ("a pipe", os.mkfifo, "no such file"),
    ("an operator of somebody's", hostile.written(hostile.custom_op), "does not have (evil.ops: Own)"),
    ("a dimension below zero", hostile.written(hostile.negative_dimension), "has a dimension of -4 in x"),
    ("a constant below zero", hostile.written(hostile.negative_constant), "has a dimension of -2 in c"),
    ("40e9 elements declared", hostile.written(hostile.huge_initializer), "is not a valid ONNX model"),
    ("garbage", lambda path: path.write_bytes(os.urandom(5000)), "is not an ONNX model"),
    ("empty", lambda path: path.touch(), "is not an ONNX model"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_is_refused_before_any_work(tmp_path: Path, write: hostile.Write, words: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    declared(home, "evil")
    write(home / "evil.onnx")
    ran = lynxbench("sweep", "suite.toml", home=home, timeout_s=120)
    assert ran.code == 2, ran.err
    assert "suite.toml: models[0].path: " in ran.err
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not (home / "results").exists()


def test_data_in_a_hubs_cache_is_not_refused(tmp_path: Path) -> None:
    """There model and data are links to files of one other folder."""
    blobs, home = tmp_path / "blobs", tmp_path / "home"
    blobs.mkdir()
    home.mkdir()
    (blobs / "a").write_bytes(hostile.external("w.bin").SerializeToString())
    (blobs / "b").write_bytes(hostile.WEIGHTS.tobytes())
    (home / "net.onnx").symlink_to(blobs / "a")
    (home / "w.bin").symlink_to(blobs / "b")
    assert [file.name for file in model_files(home / "net.onnx")] == ["net.onnx", "w.bin"]


def test_what_hangs_or_bursts_is_ended_and_the_sweep_goes_on(tmp_path: Path) -> None:
    made = {
        "loop": hostile.endless_loop,
        "concat": hostile.doubling_concat,
        "constant": hostile.huge_constant,
        "good": hostile.good,
    }
    declared(tmp_path, *made)
    for name, make in made.items():
        onnx.save(make(), tmp_path / f"{name}.onnx")
    ran = lynxbench("sweep", "suite.toml", "--json", home=tmp_path)
    assert ran.code == 3, ran.err
    rows = json.loads(ran.out)["records"]
    assert {row["model"]: row["status"] for row in rows} == {
        "loop": "timeout",
        "concat": "oom",
        "constant": "oom",
        "good": "ok",
    }
    assert all(row["reason"] for row in rows if row["model"] != "good")
    assert all(row["p50_ns"] is None for row in rows if row["model"] != "good")
