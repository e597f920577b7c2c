"""bfloat16 and float8: the graphs, by onnx's checker and reference evaluator, and against ONNX Runtime's quantizer."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lynxbench.errors import CellError
from lynxbench.quantization import build_artifact, why_unsupported
from lynxbench.quantization.histogram import Histogram
from lynxbench.quantization.thresholds import spread
from tests.quantization.models import MODELS, Maker, data, info, saved, scheme
from tests.quantization.test_build import Built


def alike(one: Any, other: Any) -> float:
    a, b = (np.asarray(item).astype(np.float32).astype(np.float64).ravel() for item in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keep_io_types", [True, False])
def test_bf16_is_sound_and_computes_the_same(name: str, keep_io_types: bool, tmp_path: Path) -> None:
    built = Built(tmp_path, name, scheme("bf16", keep_io_types=keep_io_types))
    onnx.checker.check_model(built.model, full_check=True)
    kinds = {tensor.data_type for tensor in built.model.graph.initializer}
    assert kinds <= {TensorProto.BFLOAT16, TensorProto.INT64}
    assert built.manifest.nodes_quantized >= 3
    assert not built.manifest.ran
    assert any("no bfloat16 kernels" in warning for warning in built.manifest.warnings)
    edge = {item.type.tensor_type.elem_type for item in built.model.graph.output}
    assert edge == {TensorProto.FLOAT if keep_io_types else TensorProto.BFLOAT16}
    feed = MODELS[name][1](seed=9)[0]
    cast = {
        key: values if keep_io_types or values.dtype != np.float32 else values.astype(ml_dtypes.bfloat16)
        for key, values in feed.items()
    }
    wanted = onnxruntime.InferenceSession(built.source).run(None, feed)[0]
    assert alike(ReferenceEvaluator(built.model).run(None, cast)[0], wanted) > 0.999


def test_bf16_rounds_the_float32_weights_and_keeps_their_range(tmp_path: Path) -> None:
    """Through float16, 1e30 would have become 65504."""
    make = Maker()
    weights = np.array([[1e30, 1 + 2**-8, 1 + 3 * 2**-8, 1e-20]], dtype=np.float32)
    product = make.op("MatMul", "x", make.constant(weights))
    onnx.save(make.model([info("x", ["n", 1])], [info(product, ["n", 4])]), tmp_path / "model.onnx")
    build_artifact(tmp_path / "model.onnx", scheme("bf16"), tmp_path / "out.onnx", calibration=None)
    (tensor,) = (item for item in onnx.load(tmp_path / "out.onnx").graph.initializer if item.dims == [1, 4])
    found = np.frombuffer(tensor.raw_data, dtype=np.uint16)
    # bfloat16 is the upper half of a float32, rounded to the nearest, ties to even.
    bits = weights.view(np.uint32).ravel().astype(np.uint64)
    np.testing.assert_array_equal(found, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


def test_bf16_keeps_op_types_float_and_refuses_half(tmp_path: Path) -> None:
    built = Built(tmp_path, "conv", scheme("bf16", op_types_kept_float=("Conv",)))
    assert {built.constants[node.input[1]].data_type for node in built.nodes("Conv")} == {TensorProto.FLOAT}
    model, _ = saved(tmp_path, "mlp")
    build_artifact(model, scheme("fp16"), tmp_path / "half.onnx", calibration=None)
    with pytest.raises(CellError, match="float16 already"):
        build_artifact(tmp_path / "half.onnx", scheme("bf16"), tmp_path / "out.onnx", calibration=None)


def test_spread_is_the_standard_deviation_of_the_middles() -> None:
    values = np.random.default_rng(0).normal(0.5, 2.0, 100_000).astype(np.float32)
    largest = float(np.abs(values).max())
    histogram = Histogram(largest)
    for part in np.array_split(values, 7):
        histogram.add(part)
    assert spread(histogram.counts, largest) == pytest.approx(float(values.std()), rel=1e-3)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_fp8_is_the_model_that_onnxruntime_makes(name: str, per_channel: bool, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    built = Built(tmp_path, name, scheme("fp8", per_channel=per_channel))
    quant_pre_process(str(built.source), str(tmp_path / "prepared.onnx"))
    iterator = iter(MODELS[name][1]())
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static(
            tmp_path / "prepared.onnx",
            tmp_path / "theirs.onnx",
            type("Reader", (), {"get_next": lambda self: next(iterator, None)})(),
            activation_type=QuantType.QFLOAT8E4M3FN,
            weight_type=QuantType.QFLOAT8E4M3FN,
            calibrate_method=CalibrationMethod.Distribution,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            per_channel=per_channel,
        )
    theirs = {item.name: item for item in onnx.load(tmp_path / "theirs.onnx").graph.initializer}
    assert set(theirs) == set(built.constants)
    for tensor, item in theirs.items():
        assert built.constants[tensor].data_type == item.data_type
        ours, wanted = (numpy_helper.to_array(one).astype(np.float32) for one in (built.constants[tensor], item))
        np.testing.assert_allclose(ours.ravel(), wanted.ravel(), rtol=1e-5, err_msg=tensor)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_fp8_is_sound_and_computes_what_the_reference_does(name: str, tmp_path: Path) -> None:
    built = Built(tmp_path, name, scheme("fp8"))
    onnx.checker.check_model(built.model, full_check=True)
    assert built.activation_types() == {TensorProto.FLOAT8E4M3FN}
    assert built.manifest.ran
    assert built.manifest.calibration == {"digest": "d" * 64, "count": 24, "method": "distribution"}
    assert built.manifest.nodes_quantized == (2 if name == "mlp" else 8)
    feed = MODELS[name][1](seed=9)[0]
    ours = onnxruntime.InferenceSession(built.path).run(None, feed)[0]
    np.testing.assert_allclose(ReferenceEvaluator(built.model).run(None, feed)[0], ours, rtol=1e-4, atol=1e-5)
    assert built.likeness() > 0.95


def test_fp8_before_a_clip_is_unsupported(tmp_path: Path) -> None:
    model, calibration = saved(tmp_path, "conv")
    with pytest.raises(CellError, match="a Clip or Relu right before") as caught:
        build_artifact(model, scheme("fp8"), tmp_path / "out.onnx", calibration=calibration)
    assert caught.value.status == "unsupported"
    assert why_unsupported(scheme("fp8", op_types=("Softmax",))) is not None
    assert why_unsupported(scheme("fp8", op_types="all")) is None


def test_fp8_leaves_a_constant_tensor_in_float(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, "mlp")
    feeds = [{"x": np.zeros((2, 10), dtype=np.float32)}]
    manifest = build_artifact(model, scheme("fp8"), tmp_path / "out.onnx", calibration=data(feeds))
    assert any("left in float: nodes at x: its values do not differ" in warning for warning in manifest.warnings)


@pytest.mark.parametrize("per_channel", [True, False])
def test_fp8_leaves_weights_without_spread_in_float(per_channel: bool, tmp_path: Path) -> None:
    make = Maker()
    pruned = make.rng.standard_normal((10, 6)).astype(np.float32)
    pruned[:, 2] = 0
    one = make.op("MatMul", "x", make.constant(pruned))
    two = make.op("MatMul", "x", make.constant(np.full((10, 6), 0.5, dtype=np.float32)))
    both = make.op("Add", make.op("MatMul", "x", make.weight(10, 6)), make.op("Add", one, two))
    onnx.save(make.model([info("x", ["n", 10])], [info(both, ["n", 6])]), tmp_path / "model.onnx")
    _, calibration = saved(tmp_path, "mlp")
    wish = scheme("fp8", per_channel=per_channel)
    manifest = build_artifact(tmp_path / "model.onnx", wish, tmp_path / "out.onnx", calibration=calibration)
    assert manifest.nodes_quantized == (1 if per_channel else 2)
    assert sum("values of a constant do not differ" in warning for warning in manifest.warnings) == 3 - (
        manifest.nodes_quantized
    )
    assert not any("NaN" in warning for warning in manifest.warnings)
