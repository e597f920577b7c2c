"""A table and a sound go from a suite file alone through a whole sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.running import Ran, lynxbench
from tests.tasks.models import FLOAT, INT64, save

FEATURES, N = 12, 240
SUITE = """
name = "arrays"
version = "1"
[[models]]
name = "net"
version = "1"
path = "net.onnx"
{more}
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "int8-dynamic"
kind = "int8-dynamic"
reduce_range = true
[[schemes]]
name = "int8-static"
kind = "int8-static"
reduce_range = true
[[calibrations]]
name = "train"
source = "train.npz"
split = "train"
count = 60
selection = "random"
[[calibrations]]
name = "noise"
source = "train.npz"
split = "train"
count = 60
selection = "random"
kind = "noise"
[[workloads]]
name = "w"
rubric = "rubric.toml"
models = ["net"]
calibrations = ["train", "noise"]
[protocol]
block_s = 0.01
minimum_rounds = 4
time_limit_s = 0.05
warm_up_s = 0.01
"""
RUBRIC = """
name = "arrays"
version = "1"
title = "?"
task = "{task}"
strata = ["site"]
strata_minimum_n = 10
confidence = 0.95
resamples = 200
[test_set]
name = "test"
source = "test.npz"
composition = ["clean"]
composition_note = "drawn"
selection = "random"
count = 120
{views}
{metrics}
[reference]
scheme = "fp32"
executor = "cpu"
[tolerance]
kind = "absolute"
value = {tolerance}
[calibration]
minimum_count = 50
domain = "the same"
"""


def metrics(*declared: tuple[str, str, str]) -> str:
    return "".join(
        f'[[metrics]]\nname = "{name}"\nmetric = "{name}"\ndirection = "{direction}-is-better"\nunit = "{unit}"\n'
        + ('role = "primary"\n' if place == 0 else "")
        for place, (name, direction, unit) in enumerate(declared)
    )


def draw(path: Path, seed: int, answers: str) -> None:
    random = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(FEATURES, 3))
    inputs = random.normal(size=(N, FEATURES)).astype(np.float32)
    scores = inputs @ weights + 0.3 * random.normal(size=(N, 3))
    columns: dict[str, Any] = {"inputs": inputs, "site": np.where(np.arange(N) % 2, "north", "south")}
    columns[answers] = scores.argmax(axis=1) if answers == "labels" else 10 * scores[:, 0]
    np.savez(path, **columns)


def lay_out(folder: Path, task: str, rubric: str, more: str = "") -> None:
    """Data, a linear model that is right up to the noise, a suite and a rubric."""
    answers = "labels" if task == "classification" else "values"
    for seed, name in enumerate(("train", "test")):
        draw(folder / f"{name}.npz", seed, answers)
    weights = np.random.default_rng(99).normal(size=(FEATURES, 3)).astype(np.float32)
    if task == "regression":
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
        save(
            folder / "net.onnx",
            nodes,
            {"x": (FLOAT, ["N", FEATURES])},
            {"y": (FLOAT, ["N", 1])},
            {"w": 10 * weights[:, :1]},
        )
    else:
        # As scikit-learn's converters write it: the label first, then the probabilities.
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["s"]),
            helper.make_node("Softmax", ["s"], ["probabilities"], axis=-1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        save(
            folder / "net.onnx",
            nodes,
            {"x": (FLOAT, ["N", FEATURES])},
            {"label": (INT64, ["N"]), "probabilities": (FLOAT, ["N", 3])},
            {"w": weights},
        )
    (folder / "suite.toml").write_text(SUITE.format(more=more))
    (folder / "rubric.toml").write_text(rubric)


def swept(folder: Path) -> list[dict[str, Any]]:
    ran: Ran = lynxbench("sweep", "suite.toml", "--json", home=folder)
    assert ran.code == 0, ran.err
    return list(ran.json()["records"])


def test_a_table_with_numbers_to_predict(tmp_path: Path) -> None:
    declared = metrics(("rmse", "lower", "kWh"), ("mae", "lower", "kWh"), ("r2", "higher", "R²"))
    lay_out(tmp_path, "regression", RUBRIC.format(task="regression", views="", metrics=declared, tolerance=1.5))
    records = swept(tmp_path)
    assert {(r["scheme"], r["calibration"]) for r in records} == {
        ("fp32", None),
        ("int8-dynamic", None),
        ("int8-static", "train"),
        ("int8-static", "noise"),
    }
    for record in records:
        assert record["status"] == "ok"
        scores = {item["metric"]: item for item in record["scores"]}
        # The noise around the line has a deviation of 3.
        assert scores["rmse"]["reference_value"] == pytest.approx(3.0, rel=0.25)
        assert scores["mae"]["value"] == pytest.approx(3.0 * np.sqrt(2 / np.pi), rel=0.3)
        assert scores["r2"]["value"] > 0.95
        assert {item["stratum"] for item in record["strata_scores"]} == {"north", "south"}
    shown = lynxbench("show", str(next((tmp_path / "results").iterdir())), home=tmp_path)
    assert shown.code == 0
    assert "kWh" in shown.out


def test_a_sound_with_classes_through_noise(tmp_path: Path) -> None:
    declared = metrics(("top-1", "higher", "fraction"), ("log-loss", "lower", "nats")) + 'on = { view = ["clean"] }'
    views = 'views = [{ name = "clean" }, { name = "noise", corruption = "white-noise", severity = 5 }]'
    rubric = RUBRIC.format(task="classification", views=views, metrics=declared, tolerance=0.05)
    rubric = rubric.replace('strata = ["site"]', 'strata = ["view", "site"]')
    lay_out(tmp_path, "classification", rubric, 'scores = "probabilities"')
    records = swept(tmp_path)
    reference = next(r for r in records if r["is_reference"])
    seen = {item["stratum"]: item["reference_value"] for item in reference["strata_scores"]}
    assert seen["clean"] > 0.8 > seen["noise"] > 0.4
    loss = next(item["value"] for item in reference["scores"] if item["metric"] == "log-loss")
    # Probabilities taken for logits could lose no less than ln(1 + 2 ∕ e), however right.
    assert loss < 0.5 < np.log(1 + 2 / np.e)
    assert all(r["status"] == "ok" for r in records)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": np.zeros(N, np.float32)}, ["test.npz", "inputs", "not arrays of numbers", "numbers [n, …]"]),
        ({"inputs": np.full((N, 2), np.nan, np.float32)}, ["test.npz", "inputs", "holds a NaN"]),
        ({"values": np.full(N, np.inf)}, ["test.npz", "values", "not finite numbers"]),
        ({"values": np.full(N, "a")}, ["test.npz", "values", "not finite numbers"]),
    ],
)
def test_data_that_will_not_do_is_named_before_any_work(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    declared = metrics(("rmse", "lower", "kWh"))
    lay_out(tmp_path, "regression", RUBRIC.format(task="regression", views="", metrics=declared, tolerance=1.5))
    with np.load(tmp_path / "test.npz") as held:
        np.savez(tmp_path / "test.npz", **{**dict(held), **change})
    ran = lynxbench("validate", "suite.toml", home=tmp_path)
    assert ran.code == 2
    for word in words:
        assert word in ran.err


def test_a_corruption_of_pictures_is_refused_for_a_table(tmp_path: Path) -> None:
    views = 'views = [{ name = "dim", corruption = "contrast", severity = 5 }]'
    declared = metrics(("mae", "lower", "kWh"))
    lay_out(tmp_path, "regression", RUBRIC.format(task="regression", views=views, metrics=declared, tolerance=1.5))
    ran = lynxbench("validate", "suite.toml", home=tmp_path)
    assert ran.code == 2
    assert "test_set.views[0].corruption" in ran.err
    assert "is not for sounds" in ran.err
    assert "white-noise, low-pass, high-pass" in ran.err
