"""Facts about weights, against SciPy and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from scipy import linalg, stats

from lynxbench.diagnosis.graphs import masks, pairs, represented
from lynxbench.diagnosis.weights import effective_rank, outlier_ratio, top_share, weight_facts
from lynxbench.quantization.build import build_artifact
from lynxbench.quantization.prepare import prepared_model
from tests.quantization.models import Maker, info, saved, scheme


def test_effective_rank_is_the_entropy_of_the_singular_values() -> None:
    values = np.random.default_rng(3).standard_normal((12, 7))
    singular = linalg.svdvals(values)
    assert effective_rank(values) == pytest.approx(np.exp(stats.entropy(singular / singular.sum())))
    assert effective_rank(np.outer(np.arange(1, 5), np.arange(1, 4))) == pytest.approx(1.0, abs=1e-6)
    assert effective_rank(np.eye(5)) == pytest.approx(5.0)
    assert effective_rank(np.zeros((3, 3))) is None


def test_the_share_of_the_largest_weights_and_the_outlier() -> None:
    values = np.ones(1000)
    values[17] = -50
    # Ten weights are 1 %: the outlier and nine ones.
    assert top_share(values) == pytest.approx((2500 + 9) / (2500 + 999))
    assert outlier_ratio(values) == pytest.approx(50)
    assert top_share(np.zeros(10)) is None
    assert outlier_ratio(np.zeros(10)) is None


@pytest.mark.parametrize(("per_channel", "scales"), [(True, [8, 8, 8, 5]), (False, [1, 1, 1, 1])])
def test_stored_weights_are_read_back_with_their_scales(tmp_path: Path, per_channel: bool, scales: list[int]) -> None:
    path, data = saved(tmp_path, "conv")
    target = tmp_path / "out.onnx"
    build_artifact(path, scheme("int8-static", per_channel=per_channel), target, calibration=data)
    prepared, _ = prepared_model(path, "0" * 64, None)
    facts = list(weight_facts(prepared, onnx.load(target)))
    assert [one.scales for one in facts] == scales
    for one in facts:
        weight = next(numpy_helper.to_array(w) for w in prepared.graph.initializer if w.name == one.name)
        axis = 0
        channels = np.moveaxis(weight, axis, 0).reshape(len(weight), -1)
        ends = np.abs(channels).max(axis=1, keepdims=True) if per_channel else np.abs(weight).max()
        rounded = np.round(channels / (ends / 127)) * (ends / 127)
        expected = 10 * np.log10(np.sum(channels**2) / np.sum((channels - rounded) ** 2))
        assert one.sqnr_db == pytest.approx(expected, abs=0.1)


def test_a_relu_that_the_quantizer_dropped_is_compared_after_it_and_what_it_read_is_not(tmp_path: Path) -> None:
    path, data = saved(tmp_path, "conv")
    target = tmp_path / "out.onnx"
    build_artifact(path, scheme("int8-static"), target, calibration=data)
    prepared, _ = prepared_model(path, "0" * 64, None)
    artifact = onnx.load(target)
    twins, ends = pairs(prepared, artifact), represented(artifact)
    relu = next(node for node in prepared.graph.node if node.op_type == "Relu")
    assert relu.input[0] not in twins
    assert twins[relu.output[0]] == f"{relu.output[0]}_DequantizeLinear_Output"
    assert ends[relu.output[0]][0] == 0.0
    assert not any(node.op_type == "Relu" for node in artifact.graph.node)


def test_a_mask_is_found_behind_what_merely_passes_it_on_and_a_bias_is_none() -> None:
    make = Maker()
    mask = make.constant(np.array([0, -10000], dtype=np.float32))
    shape = make.constant(np.array([1, 2]))
    bias = make.constant(np.array([0.5, -3], dtype=np.float32))
    scores = make.op("Add", "x", bias)
    masked = make.op("Add", scores, make.op("Reshape", mask, shape))
    soft = make.op("Softmax", masked, axis=-1)
    plain = make.op("Softmax", make.op("Add", "x", bias), axis=-1)
    out = make.op("Add", soft, plain)
    model = make.model([info("x", ["n", 2])], [info(out, ["n", 2])])
    ((constant, value, tensor, _, others),) = masks(model)
    assert (constant, value, tensor) == (mask, -10000.0, masked)
    assert scores in others
