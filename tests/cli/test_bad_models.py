"""Models and data that do not go together: one clear error each, with file and key, before any work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.running import lynxbench
from tests.sweep.test_own_data import RUBRIC, SUITE
from tests.tasks.models import FLOAT, INT64, save

WEIGHTS = {"w": np.eye(6, 3, dtype=np.float32)}


def prepared(tmp_path: Path, *, element: int = FLOAT, classes: int = 3, **parts: str) -> None:
    """A suite in which everything fits: six numbers in, three classes out."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=FLOAT), helper.make_node("MatMul", ["f", "w"], ["y"])]
    path = tmp_path / "net.onnx"
    if not path.exists():
        save(path, nodes, {"x": (element, ["N", 6])}, {"y": (FLOAT, ["N", 3])}, WEIGHTS)
    for name, seed in (("test", 1), ("train", 2)):
        random = np.random.default_rng(seed)
        inputs, labels = random.normal(size=(60, 6)).astype(np.float32), np.arange(60) % classes
        np.savez(tmp_path / f"{name}.npz", inputs=inputs, labels=labels)
    given = {
        "task": "classification",
        "model": "",
        "calibration": 'source = "train.npz"',
        "schemes": '["fp32", "int8-static"]',
        "stratum": "class",
        "source": 'source = "test.npz"',
        "metric": "top-1",
        "parameters": "",
        **parts,
    }
    (tmp_path / "suite.toml").write_text(SUITE.format_map(given))
    (tmp_path / "rubric.toml").write_text(RUBRIC.format_map(given))


def refused(tmp_path: Path, file: str, key: str, words: str) -> None:
    """One error with file and key, from `sweep` and from `validate`, and nothing built or measured."""
    for command in (["sweep", "suite.toml"], ["validate", "suite.toml"]):
        ran = lynxbench(*command, home=tmp_path)
        assert ran.code == 2, ran.err
        told = ran.err + ran.out
        assert f"{file}: {key}: " in told
        assert words in told
        assert "Traceback" not in told
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache" / "artifacts").exists()


def test_what_fits_is_not_refused(tmp_path: Path) -> None:
    prepared(tmp_path)
    assert lynxbench("sweep", "suite.toml", "--dry-run", home=tmp_path).code == 0


def external(tmp_path: Path) -> Path:
    """The model with its weights in a file beside it."""
    prepared(tmp_path)
    model = onnx.load(tmp_path / "net.onnx")
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_external_data(tmp_path: Path) -> None:
    path = external(tmp_path)
    assert (tmp_path / "weights.bin").exists()
    ran = lynxbench("sweep", "suite.toml", "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    assert onnx.load(path, load_external_data=False).graph.initializer[0].external_data


def test_an_external_file_that_is_missing(tmp_path: Path) -> None:
    external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    refused(tmp_path, "suite.toml", "models[0].path", "net.onnx needs weights.bin beside it, which is missing")


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname"])
def test_a_path_outside_the_models_folder(tmp_path: Path, location: str) -> None:
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    refused(tmp_path, "suite.toml", "models[0].path", "net.onnx wants data outside its own folder")


def test_another_sha256(tmp_path: Path) -> None:
    prepared(tmp_path, model=f'sha256 = "{"0" * 64}"')
    refused(tmp_path, "suite.toml", "models[0].sha256", "the file has another SHA-256")


def test_labels_that_do_not_fit_the_outputs(tmp_path: Path) -> None:
    prepared(tmp_path, classes=5)
    refused(tmp_path, "suite.toml", "models[0].path", "labels up to 4")


def test_a_wrong_dtype(tmp_path: Path) -> None:
    prepared(tmp_path, element=INT64)
    refused(tmp_path, "suite.toml", "models[0].path", "wrong dtype: the model takes whole numbers")


def test_another_shape(tmp_path: Path) -> None:
    prepared(tmp_path)
    np.savez(tmp_path / "test.npz", inputs=np.zeros((60, 7), dtype=np.float32), labels=np.arange(60) % 3)
    refused(tmp_path, "suite.toml", "models[0].path", "the samples of workload 'w' do not fit")


def test_a_fixed_batch(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    save(tmp_path / "net.onnx", nodes, {"x": (FLOAT, [4, 6])}, {"y": (FLOAT, [4, 3])}, WEIGHTS)
    prepared(tmp_path)
    refused(tmp_path, "suite.toml", "models[0].path", "the model's batch is fixed")


def test_a_text_model_whose_length_nobody_says(tmp_path: Path) -> None:
    """A free dimension that the samples alone do not decide."""
    nodes = [helper.make_node("Gather", ["w", "input_ids"], ["y"])]
    save(tmp_path / "net.onnx", nodes, {"input_ids": (INT64, ["N", "L"])}, {"y": (FLOAT, ["N", "L", 3])}, WEIGHTS)
    parts = {"task": "text-classification", "source": 'source = "test.jsonl"', "calibration": 'source = "train.jsonl"'}
    prepared(tmp_path, **parts)
    for name in ("test", "train"):
        rows = [{"id": f"{name}{n}", "text": f"{name} {n}", "label": n % 3} for n in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(tmp_path, "suite.toml", "models[0].text", "needs the model's tokenizer and length")
    prepared(tmp_path, **parts, model='text = { tokenizer = "tokenizer.json" }')
    refused(tmp_path, "suite.toml", "models[0].text.tokenizer", "no such file")
    (tmp_path / "tokenizer.json").write_text("{}")
    refused(tmp_path, "suite.toml", "models[0].text.tokenizer", "is not a tokenizer.json")


def test_an_empty_stratum(tmp_path: Path) -> None:
    prepared(tmp_path, parameters='on = { view = ["noisy"] }')
    refused(tmp_path, "rubric.toml", "metrics[0].on.view", "an empty stratum: no sample has this value")
    prepared(tmp_path, parameters='on = { sight = ["noisy"] }')
    refused(tmp_path, "rubric.toml", "metrics[0].on.sight", "the samples have no such field")


def test_a_calibration_set_too_small(tmp_path: Path) -> None:
    prepared(tmp_path)
    suite = tmp_path / "suite.toml"
    suite.write_text(suite.read_text().replace("count = 30", "count = 5"))
    refused(tmp_path, "suite.toml", "calibrations[0].count", "asks for more calibration samples")


def test_two_origins_or_none(tmp_path: Path) -> None:
    prepared(tmp_path, source="")
    refused(tmp_path, "rubric.toml", "test_set", "give either source")
    prepared(tmp_path, calibration='source = "train.npz"\ntarget = "data:train"')
    refused(tmp_path, "suite.toml", "calibrations[0]", "give either source")
