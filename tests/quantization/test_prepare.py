"""Prepared models: what exporters write and quantizers stumble over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lynxbench.quantization import CalibrationData, build_artifact
from lynxbench.quantization.prepare import prepared_model
from tests.execution.models import save
from tests.quantization.models import scheme

DICE = np.random.default_rng(0)
INPUTS = DICE.normal(size=(8, 16)).astype(np.float32)


def network(path: Path, *, read_twice: bool) -> Path:
    """Gemm with a bias of [1, 4], as scikit-learn's exporter writes it; perhaps read by an Add as well."""
    weights = {
        "w": DICE.normal(0, 0.3, (16, 4)).astype(np.float32),
        "b": DICE.normal(0, 0.3, (1, 4)).astype(np.float32),
    }
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"])]
    nodes.append(helper.make_node("Sub", ["h", "b"], ["y"]) if read_twice else helper.make_node("Relu", ["h"], ["y"]))
    return save(path, nodes, {"x": ("N", 16)}, {"y": ("N", 4)}, weights, element=TensorProto.FLOAT)


@pytest.mark.parametrize("read_twice", [False, True])
def test_a_bias_of_one_row_is_quantized_channel_by_channel(tmp_path: Path, read_twice: bool) -> None:
    source = network(tmp_path / "source.onnx", read_twice=read_twice)
    prepared, _ = prepared_model(source, "0" * 64, None)
    onnx.checker.check_model(prepared, full_check=True)
    (gemm,) = [node for node in prepared.graph.node if node.op_type == "Gemm"]
    shapes = {item.name: list(item.dims) for item in prepared.graph.initializer}
    assert shapes[gemm.input[2]] == [4]
    assert ([1, 4] in shapes.values()) == read_twice

    wanted = onnxruntime.InferenceSession(str(source)).run(None, {"x": INPUTS})[0]
    assert np.array_equal(
        onnxruntime.InferenceSession(prepared.SerializeToString()).run(None, {"x": INPUTS})[0], wanted
    )
    target = tmp_path / "int8.onnx"
    calibration = CalibrationData(feeds=lambda: iter([{"x": INPUTS}]), count=8, digest="0")
    build_artifact(source, scheme("int8-static", per_channel=True), target, calibration=calibration)
    found = onnxruntime.InferenceSession(str(target)).run(None, {"x": INPUTS})[0]
    np.testing.assert_allclose(found, wanted, atol=0.1)
