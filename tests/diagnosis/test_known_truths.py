"""What is known to be wrong, each found without being told, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lynxbench.diagnosis.causes import Cause, Finding
from lynxbench.diagnosis.run import Diagnosis, diagnose
from lynxbench.diagnosis.subject import subject, suite_of
from lynxbench.errors import UsageError
from lynxbench.execution import host_facts, products_saturate
from lynxbench.specs.load import PACKAGE
from tests.quantization.models import Maker, info, mlp

IMAGES = """
name = "known"
version = "1"
[[models]]
name = "resnet"
version = "1"
path = "{path}"
image = {{ scale = 0.00392156862745098, mean = [0.2860], std = [0.3530] }}
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "static"
kind = "int8-static"
reduce_range = true
[[schemes]]
name = "signed"
kind = "int8-static"
activation_type = "int8"
[[schemes]]
name = "dynamic"
kind = "int8-dynamic"
[[calibrations]]
name = "train"
source = "builtin:starter/fashion-calibration.npz"
split = "train"
count = 120
[[calibrations]]
name = "noise"
source = "builtin:starter/fashion-calibration.npz"
split = "train"
count = 120
kind = "noise"
[[workloads]]
name = "classify"
rubric = "fashion-classification"
models = ["resnet"]
calibrations = ["train", "noise"]
[protocol]
test_set = "quick"
threads = 1
"""
NUMBERS = """
name = "sensors"
version = "1"
[[models]]
name = "net"
version = "1"
path = "net.onnx"
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "static"
kind = "int8-static"
reduce_range = true
[[calibrations]]
name = "train"
source = "train.npz"
split = "train"
selection = "random"
count = 120
[[workloads]]
name = "w"
rubric = "rubric.toml"
models = ["net"]
calibrations = ["train"]
"""
RUBRIC = """
name = "sensors"
version = "1"
title = "?"
task = "classification"
strata = ["sensor"]
strata_minimum_n = 10
confidence = 0.95
resamples = 200
[test_set]
name = "test"
source = "test.npz"
composition = ["stratified"]
composition_note = "drawn"
selection = "random"
count = 120
[[metrics]]
name = "top-1"
metric = "top-1"
role = "primary"
direction = "higher-is-better"
[reference]
scheme = "fp32"
executor = "cpu"
[tolerance]
kind = "absolute"
value = 0.01
[calibration]
minimum_count = 60
domain = "drawn"
"""


def images(folder: Path, path: str = "builtin:starter/fashion-resnet8.onnx") -> str:
    (folder / "suite.toml").write_text(IMAGES.format(path=path))
    return str(folder / "suite.toml")


def diagnosed(suite: str, candidate: str, samples: int = 32) -> Diagnosis:
    resolved = suite_of(suite)
    return diagnose(subject(resolved, candidate, samples=samples), cache=Path(resolved.file.parent) / "cache")


def builtin(candidate: str, cache: Path, samples: int) -> Diagnosis:
    return diagnose(subject(suite_of("starter"), candidate, samples=samples), cache=cache)


def found(diagnosis: Diagnosis) -> dict[Cause, Finding]:
    return {finding.cause: finding for finding in diagnosis.findings}


def accuracy(diagnosis: Diagnosis) -> set[Cause]:
    return {finding.cause for finding in diagnosis.findings if not finding.cause.is_about_time}


def test_the_arithmetic_transformer_names_the_causal_mask(tmp_path: Path) -> None:
    diagnosis = builtin("int8-static on arithmetic-transformer", tmp_path, 16)
    first = diagnosis.findings[0]
    assert first.cause == Cause.MASK_CONSTANT_STRETCHES_RANGE
    assert first.where == "mask"
    assert first.numbers["constant"] == -10000
    assert diagnosis.scores.primary.value == 0.0
    # The Softmax is where it goes wrong: good before the mask, bad after.
    by_name = {one.name: one for one in diagnosis.tensors}
    before, after = by_name["/blocks.0/Div_output_0"].sqnr_db, by_name["/blocks.0/Softmax_output_0"].sqnr_db
    assert before is not None
    assert after is not None
    assert before > 25
    assert after < 10


def test_a_candidate_with_nothing_wrong_says_so_and_noise_is_found(tmp_path: Path) -> None:
    suite = images(tmp_path)
    good = diagnosed(suite, "static (train) on resnet", 96)
    assert accuracy(good) == set()
    # One scale a channel, and every weight and activation near fp32's.
    assert {one.scales for one in good.weights} == {one.shape[0] for one in good.weights}
    assert min(one.sqnr_db for one in good.tensors if one.sqnr_db is not None) > 15
    noise = found(diagnosed(suite, "static (noise) on resnet", 96))
    assert Cause.CALIBRATION_FROM_OTHER_DISTRIBUTION in noise
    assert noise[Cause.CALIBRATION_FROM_OTHER_DISTRIBUTION].where == "image"


def test_one_weight_multiplied_by_a_thousand_is_found(tmp_path: Path) -> None:
    model = onnx.load(PACKAGE / "suites" / "starter" / "fashion-resnet8.onnx")
    weight = next(one for one in model.graph.initializer if one.name == "3.first.conv.weight")
    values = numpy_helper.to_array(weight).copy()
    values[3, 2, 1, 1] *= 1000
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "planted.onnx")
    finding = found(diagnosed(images(tmp_path, "planted.onnx"), "static (train) on resnet"))[Cause.EXTREME_WEIGHT]
    assert finding.where == "3.first.conv.weight"
    assert finding.others == ()


def test_a_stratum_with_another_input_scale_is_named(tmp_path: Path) -> None:
    onnx.save(mlp(), tmp_path / "net.onnx")
    rng = np.random.default_rng(5)
    labels = np.arange(240) % 4
    inputs = rng.standard_normal((240, 10)).astype(np.float32)
    sensor = np.where(np.arange(240) % 6 == 0, "old", "new")
    inputs[sensor == "old"] *= 30
    np.savez(tmp_path / "test.npz", inputs=inputs, labels=labels, sensor=sensor)
    np.savez(tmp_path / "train.npz", inputs=rng.standard_normal((200, 10)).astype(np.float32), labels=labels[:200])
    (tmp_path / "suite.toml").write_text(NUMBERS)
    (tmp_path / "rubric.toml").write_text(RUBRIC)
    finding = found(diagnosed(str(tmp_path / "suite.toml"), "static on net", 120))[Cause.CALIBRATION_MISSES_RANGE]
    assert (finding.numbers["worst_field"], finding.numbers["worst_stratum"]) == ("sensor", "old")
    assert "sensor=old" in finding.said


def test_products_saturate_where_the_processor_has_no_wide_ones_and_nowhere_else(tmp_path: Path) -> None:
    diagnosis = builtin("int8-static on fashion-embedder", tmp_path, 32)
    kernels = diagnosis.kernels
    assert kernels.as_written_sqnr_db is not None
    assert kernels.fused_sqnr_db is not None
    saturates = products_saturate(host_facts())
    assert (Cause.PRODUCTS_SATURATE in found(diagnosis)) == saturates
    assert (kernels.as_written_sqnr_db - kernels.fused_sqnr_db > 3) == saturates


def test_dynamic_products_saturate_where_the_processor_has_no_wide_ones_and_nowhere_else(tmp_path: Path) -> None:
    """Large weights and inputs of one sign: sums of two products pass 16 bits unless they are added up wide."""
    make = Maker()
    wide = make.constant(np.random.default_rng(1).uniform(0.8, 1.0, (10, 16)).astype(np.float32))
    hidden = make.op("Tanh", make.op("MatMul", "x", wide))
    logits = make.op("MatMul", hidden, make.weight(16, 4))
    onnx.save(make.model([info("x", ["n", 10])], [info(logits, ["n", 4])]), tmp_path / "net.onnx")
    rng = np.random.default_rng(5)
    for name in ("test", "train"):
        # Near to the largest of a row, far from zero.
        inputs = (rng.uniform(0.02, 0.04, (120, 10)) * rng.choice([1, 1, 1, -1], (120, 1))).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", inputs=inputs, labels=np.arange(120) % 4, sensor=np.array(["a", "b"] * 60))
    (tmp_path / "suite.toml").write_text(NUMBERS.replace("int8-static", "int8-dynamic").replace("= true", "= false"))
    (tmp_path / "rubric.toml").write_text(RUBRIC)
    diagnosis = diagnosed(str(tmp_path / "suite.toml"), "static on net", 64)
    saturates = products_saturate(host_facts())
    assert (Cause.PRODUCTS_SATURATE in found(diagnosis)) == saturates
    # As written the error is that of eight bits, on every processor.
    assert diagnosis.kernels.as_written_sqnr_db is not None
    assert diagnosis.kernels.as_written_sqnr_db > 25


def test_a_convolutional_network_with_dynamic_scales_names_convinteger(tmp_path: Path) -> None:
    diagnosis = diagnosed(images(tmp_path), "dynamic on resnet")
    finding = found(diagnosis)[Cause.SLOW_INTEGER_KERNEL]
    assert finding.where == "ConvInteger"
    assert finding.numbers["share"] == max(op.ns for op in diagnosis.time.ops) / diagnosis.time.kernels_ns  # type: ignore[union-attr]
    # A batch's scales are those of all its samples, so that one sample alone is answered otherwise; fp32 does not mind.
    batch = found(diagnosis)[Cause.BATCH_DEPENDENT_SCALES]
    assert isinstance(batch.numbers["batch_sqnr_db"], float)
    assert batch.numbers["batch_sqnr_db"] < 40
    assert diagnosis.kernels.fp32_batch_sqnr_db is not None
    assert diagnosis.kernels.fp32_batch_sqnr_db > 100
    # One calibration set fewer to be scored, and none to compare with.
    assert all(one.distance is None for one in diagnosis.tensors)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ("int8-statik on fashion-resnet8", "did you mean 'int8-static on fashion-resnet8'"),
        ("int8-static", "means 5 candidates"),
        ("fp32 on fashion-resnet8", "is the reference itself"),
    ],
)
def test_what_cannot_be_diagnosed_says_why(candidate: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        subject(suite_of("starter"), candidate, samples=16)
