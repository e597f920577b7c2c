"""`hf://`, on a local copy laid out as the hub's own library lays it out; nothing is fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_bad_models import prepared, refused
from tests.running import lynxbench

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf" / "hub"


def test_a_model_and_data_at_a_commit(tmp_path: Path, hub: Path) -> None:
    prepared(tmp_path)
    for name, file in (("models--org--net", "net.onnx"), ("datasets--org--set", "test.npz")):
        folder = hub / name / "snapshots" / COMMIT / "files"
        folder.mkdir(parents=True)
        shutil.move(tmp_path / file, folder / file)
    suite, rubric = tmp_path / "suite.toml", tmp_path / "rubric.toml"
    suite.write_text(suite.read_text().replace('path = "net.onnx"', f'path = "hf://org/net@{COMMIT}/files/net.onnx"'))
    source = f'source = "hf://datasets/org/set@{COMMIT}/files/test.npz"'
    rubric.write_text(rubric.read_text().replace('source = "test.npz"', source))
    ran = lynxbench("sweep", "suite.toml", "--json", home=tmp_path)
    assert ran.code == 0, ran.err


def test_what_is_not_pinned_or_not_there(tmp_path: Path, hub: Path) -> None:
    prepared(tmp_path)
    suite = tmp_path / "suite.toml"
    plain = suite.read_text()
    for address, words in (
        ("hf://org/net@main/net.onnx", "is no pinned address on the hub"),
        ("hf://net.onnx", "is no pinned address on the hub"),
        (f"hf://org/net@{COMMIT}/net.onnx", "cannot be had: LocalEntryNotFoundError"),
    ):
        suite.write_text(plain.replace('path = "net.onnx"', f'path = "{address}"'))
        refused(tmp_path, "suite.toml", "models[0].path", words)
    assert np.load(tmp_path / "test.npz").files
