"""`lynxbench init` says what a model is, and what it writes can be swept at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import helper
from PIL import Image

from lynxbench.intake import inspect_model, start
from lynxbench.scoring import check_rubric
from lynxbench.specs.base import build
from lynxbench.specs.load import read_toml
from lynxbench.specs.rubric import Rubric
from tests.running import lynxbench
from tests.tasks.models import FLOAT, INT64, save
from tests.tasks.texts import V, random_table, summed, tokenizer

RANDOM = np.random.default_rng(7)


def dense(path: Path, *, classes: int = 3) -> Path:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    weights = {"w": RANDOM.normal(size=(6, classes)).astype(np.float32), "b": np.zeros(classes, dtype=np.float32)}
    return save(path, nodes, {"x": (FLOAT, ["N", 6])}, {"y": (FLOAT, ["N", classes])}, weights)


def convolution(path: Path) -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    weights = {"w": RANDOM.normal(size=(2, 3, 3, 3)).astype(np.float32)}
    return save(path, nodes, {"x": (FLOAT, ["N", 3, 8, 8])}, {"y": (FLOAT, ["N", 2])}, weights)


def test_what_a_model_is(tmp_path: Path) -> None:
    found = inspect_model(dense(tmp_path / "m.onnx"))
    assert (found.task, found.opset, found.parameters) == ("classification", 17, 21)
    assert found.schemes == ("fp32", "int8-dynamic", "int8-static", "fp16")
    assert found.op_types == {"Gemm": 1, "Softmax": 1}
    seen = inspect_model(convolution(tmp_path / "c.onnx"))
    assert seen.task == "image-classification"
    assert "int8-dynamic" not in seen.schemes
    assert any("convolutions" in note for note in seen.notes)
    text = inspect_model(summed(tmp_path / "t.onnx", random_table(2)))
    assert text.task == "text-classification"
    assert any("dimensions beside the batch are free" in note for note in text.notes)
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)]
    unknown = save(tmp_path / "u.onnx", nodes, {"x": (INT64, [4, 2])}, {"y": (FLOAT, [4, 2])})
    assert inspect_model(unknown).task is None
    assert any("the batch is fixed (x)" in note for note in inspect_model(unknown).notes)
    shown = lynxbench("init", "m.onnx", "--inspect", "--json", home=tmp_path)
    assert shown.json()["op_types"] == {"Gemm": 1, "Softmax": 1}
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_a_table_can_be_swept_at_once(tmp_path: Path, form: str) -> None:
    dense(tmp_path / "m.onnx")
    inputs, labels = RANDOM.normal(size=(200, 6)).astype(np.float32), np.arange(200) % 3
    data = tmp_path / f"data.{form}"
    if form == "npz":
        np.savez(data, inputs=inputs, labels=labels)
    else:
        pq.write_table(pa.table({"inputs": [row.tolist() for row in inputs], "labels": labels}), data)
    ran = lynxbench("init", "m.onnx", "--data", data.name, "--out", "mine", home=tmp_path)
    assert ran.code == 0, ran.err
    assert "scores" in (tmp_path / "mine" / "suite.toml").read_text()  # they add up to 1
    dry = lynxbench("sweep", "mine/suite.toml", "--dry-run", home=tmp_path)
    assert dry.code == 0, dry.err
    swept = lynxbench("sweep", "mine/suite.toml", "--budget", "quick", "--json", home=tmp_path)
    assert swept.code == 0, swept.err
    again = lynxbench("init", "m.onnx", "--data", data.name, "--out", "mine", home=tmp_path)
    assert again.code == 2
    assert "is there already" in again.err


def test_texts_with_the_tokenizer_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    summed(tmp_path / "model" / "m.onnx", np.zeros((V, 2), dtype=np.float32))
    tokenizer(tmp_path / "model" / "tokenizer.json")
    rows = [{"id": str(n), "text": "a b c"[: 1 + n % 5], "label": n % 2} for n in range(60)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = start(tmp_path / "model" / "m.onnx", tmp_path / "s", data=tmp_path / "d.jsonl")
    assert done.task == "text-classification"
    held = [set(path.read_text().splitlines()) for path in done.files[2:]]
    assert [len(one) for one in held] == [48, 12]
    assert not held[0] & held[1]
    # This one has nothing to quantize, and no calibration then.
    ran = lynxbench("sweep", "s/suite.toml", "--dry-run", home=tmp_path)
    assert ran.code == 0, ran.err


def test_folders_of_pictures(tmp_path: Path) -> None:
    convolution(tmp_path / "c.onnx")
    for split in ("test", "train"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for n in range(30):
                pixels = RANDOM.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{n}.png")
    refused = lynxbench("init", "c.onnx", "--data", "test", home=tmp_path)
    assert refused.code == 2
    assert "--calibration FOLDER" in refused.err
    ran = lynxbench("init", "c.onnx", "--data", "test", "--calibration", "train", home=tmp_path)
    assert ran.code == 0, ran.err
    dry = lynxbench("sweep", "c/suite.toml", "--dry-run", home=tmp_path)
    assert dry.code == 0, dry.err


def test_without_data_what_is_to_be_filled_in_is_said(tmp_path: Path) -> None:
    dense(tmp_path / "m.onnx")
    ran = lynxbench("init", "m.onnx", "--out", "mine", home=tmp_path)
    assert ran.code == 0, ran.err
    assert "fill in where your data lies" in ran.out
    wrong = lynxbench("init", "m.onnx", "--task", "clasification", "--out", "other", home=tmp_path)
    assert wrong.code == 2
    assert "did you mean 'classification'?" in wrong.err
    (tmp_path / "none.onnx").write_text("no model")
    assert lynxbench("init", "none.onnx", home=tmp_path).code == 2


@pytest.mark.parametrize(
    ("task", "unit"), [("regression", "units"), ("language-modelling", "tokens"), (None, "fraction")]
)
def test_what_is_no_fraction_is_not_declared_as_one(task: str | None, unit: str, tmp_path: Path) -> None:
    dense(tmp_path / "m.onnx")
    start(tmp_path / "m.onnx", tmp_path / "mine", task=task)
    declared = build(Rubric, read_toml(tmp_path / "mine" / "rubric.toml"), "rubric.toml")
    assert declared.primary.unit == unit
    assert check_rubric(declared) == []


def rows(path: Path, *, label: str = "label", width: int = 6, first: object = 0.5) -> Path:
    inputs = RANDOM.normal(size=(60, width)).tolist()
    inputs[0][0] = first
    lines = [json.dumps({"inputs": row, label: n % 3}) for n, row in enumerate(inputs)]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_json_lines_of_numbers_with_the_label_in_the_singular(tmp_path: Path) -> None:
    dense(tmp_path / "m.onnx")
    rows(tmp_path / "h.jsonl")
    ran = lynxbench("init", "m.onnx", "--data", "h.jsonl", home=tmp_path)
    assert ran.code == 0, ran.err
    for name in ("suite.toml", "rubric.toml"):
        assert 'fields = { label = "label" }' in (tmp_path / "m" / name).read_text()
    assert "probabilities" in (tmp_path / "m" / "suite.toml").read_text()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"width": 5}, "5"),
        ({"label": "answer"}, "no column 'labels'"),
        ({"first": float("nan")}, "NaN"),
        ({"first": None}, "not arrays of numbers"),
    ],
)
def test_data_that_cannot_work_is_refused_at_once(tmp_path: Path, data: dict[str, object], said: str) -> None:
    dense(tmp_path / "m.onnx")
    rows(tmp_path / "h.jsonl", **data)  # type: ignore[arg-type]
    ran = lynxbench("init", "m.onnx", "--data", "h.jsonl", home=tmp_path)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert "next" not in ran.out
    assert (tmp_path / "m" / "suite.toml").is_file()


def test_a_model_called_model_is_named_after_its_folder(tmp_path: Path) -> None:
    for name in ("digits", "letters"):
        (tmp_path / name).mkdir()
        dense(tmp_path / name / "model.onnx")
        ran = lynxbench("init", f"{name}/model.onnx", "--out", f"{name}-suite", home=tmp_path)
        assert ran.code == 0, ran.err
        assert f'name = "{name}"' in (tmp_path / f"{name}-suite" / "suite.toml").read_text()
