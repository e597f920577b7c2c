"""SmoothQuant against NumPy: scales by the formula, outputs that do not change, quantized ones that come nearer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lynxbench.errors import CellError
from lynxbench.quantization import build_artifact
from lynxbench.quantization.calibration import CalibrationData
from lynxbench.quantization.collect import Reading
from lynxbench.quantization.smooth import Smoothed, channel_maxima, channel_scales, smoothed
from tests.quantization import models
from tests.quantization.models import MODELS, Feed, Maker, data, info, scheme, texts
from tests.quantization.test_ranges import prepared

PRODUCTS = ("MatMul", "Gemm")
WIDTH = 16


def outlier_model(kind: str, opset: int = 17) -> onnx.ModelProto:
    """`x` [n, 4, 16] through a LayerNormalization, a Mul or neither into two products; channel 3 is 60 times larger."""
    make = Maker()
    gain = np.ones(WIDTH, dtype=np.float32)
    gain[3] = 60.0
    y = "x"
    if kind == "norm":
        y = make.op("LayerNormalization", "x", make.constant(gain), make.constant(gain / 7), axis=-1)
    elif kind == "mul":
        y = make.op("Mul", make.constant(gain), make.op("Tanh", "x"))
    one = make.op("MatMul", y, make.weight(WIDTH, 8, scale=0.1))
    two = make.op("MatMul", y, make.weight(WIDTH, 8, scale=0.2))
    both = make.op("Add", one, make.op("Tanh", two))
    return make.model([info("x", ["n", 4, WIDTH])], [info(both, ["n", 4, 8])], opset=opset)


def batches(kind: str, seed: int = 1) -> list[Feed]:
    rng = np.random.default_rng(seed)
    feeds: list[Feed] = [{"x": rng.standard_normal((8, 4, WIDTH)).astype(np.float32)} for _ in range(4)]
    if kind == "input":
        for feed in feeds:
            feed["x"][..., 3] *= 60
    return feeds


def smooth(model: Any, feeds: list[Feed], alpha: float = 0.5, kept: tuple[str, ...] = ()) -> Smoothed:
    return smoothed(Reading(model, data(feeds)), alpha, PRODUCTS, kept)


def answer(model: Any, feed: Feed) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


def test_scales_are_the_papers() -> None:
    x, w = np.array([16.0, 1.0, 0.0, 2.0], np.float32), np.array([4.0, 0.25, 1.0, 0.0], np.float32)
    np.testing.assert_allclose(channel_scales(x, w, 0.5), [2.0, 2.0, 1.0, 1.0])
    np.testing.assert_allclose(channel_scales(x, w, 0.75), [16**0.75 / 4**0.25, 1 / 0.25**0.25, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("opset", [17, 20])
def test_channel_maxima_are_numpys(opset: int, tmp_path: Path) -> None:
    model, feeds = prepared(tmp_path, outlier_model("input", opset)), batches("input")
    found = channel_maxima(Reading(model, data(feeds)), {"x": WIDTH})
    wanted = np.abs(np.concatenate([feed["x"] for feed in feeds])).reshape(-1, WIDTH).max(axis=0)
    np.testing.assert_array_equal(found["x"], wanted)


@pytest.mark.parametrize("name", [*MODELS, "norm", "mul", "input"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
def test_float_outputs_do_not_change(name: str, alpha: float, tmp_path: Path) -> None:
    make, feeds = MODELS.get(name, (lambda: outlier_model(name), lambda **options: batches(name, **options)))
    model = prepared(tmp_path, make())
    found = smooth(model, feeds(), alpha)
    onnx.checker.check_model(found.model)
    unseen = feeds(seed=9)[0]
    wanted = answer(model, unseen)
    np.testing.assert_allclose(answer(found.model, unseen), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(("kind", "nodes_more"), [("norm", 0), ("mul", 0), ("input", 1)])
def test_scales_are_folded_where_they_can_be(kind: str, nodes_more: int, tmp_path: Path) -> None:
    model = prepared(tmp_path, outlier_model(kind))
    found = smooth(model, batches(kind))
    assert len(found.model.graph.node) == len(model.graph.node) + nodes_more
    assert len(found.inserted) == nodes_more
    assert len(found.folded) == 1 - nodes_more
    # The two products, of other weights, share one scale.
    products = [node for node in found.model.graph.node if node.op_type == "MatMul"]
    assert products[0].input[0] == products[1].input[0]


def test_weights_and_activations_meet_in_the_middle(tmp_path: Path) -> None:
    """At alpha 0.5 both have the same largest magnitude in every channel: sqrt(max|X| max|W|)."""
    make = Maker()
    y = make.op("MatMul", "x", make.weight(WIDTH, 8))
    model = prepared(tmp_path, make.model([info("x", ["n", 4, WIDTH])], [info(y, ["n", 4, 8])]))
    feeds = batches("input")
    found = smooth(model, feeds)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in found.model.graph.initializer}
    multiply, product = found.model.graph.node
    x = np.concatenate([feed["x"] for feed in feeds]).reshape(-1, WIDTH) * constants[multiply.input[1]]
    np.testing.assert_allclose(np.abs(x).max(axis=0), np.abs(constants[product.input[1]]).max(axis=1), rtol=1e-5)


def test_a_tensor_that_others_read_keeps_its_values(tmp_path: Path) -> None:
    model = prepared(tmp_path, outlier_model("norm"))
    products = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    found = smooth(model, batches("norm"), kept=(products[0],))
    assert len(found.inserted) == 1  # the other still reads the unsmoothed one, so that nothing can be folded
    unseen = batches("norm", seed=5)[0]
    np.testing.assert_allclose(answer(found.model, unseen), answer(model, unseen), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["norm", "mul", "input"])
@pytest.mark.parametrize("format", ["qdq", "qoperator"])
def test_with_an_outlier_channel_the_quantized_output_comes_nearer(kind: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(outlier_model(kind), path)
    unseen = batches(kind, seed=9)[0]
    wanted = onnxruntime.InferenceSession(path).run(None, unseen)[0]
    distances = {}
    for alpha in (None, 0.5):
        options = {} if alpha is None else {"smooth_alpha": alpha}
        out = tmp_path / f"{alpha}.onnx"
        # 7-bit weights: what is asked is how near quantizing comes, on processors with and without VNNI.
        wish = scheme("int8-static", op_types=("MatMul",), format=format, reduce_range=True, **options)
        manifest = build_artifact(path, wish, out, calibration=data(batches(kind)))
        assert manifest.options.get("smooth_alpha") == alpha
        assert manifest.nodes_quantized == 2
        got = onnxruntime.InferenceSession(out).run(None, unseen)[0]
        distances[alpha] = float(np.sqrt(np.mean((got - wanted) ** 2)))
    assert distances[0.5] < 0.6 * distances[None], distances


def test_with_all_op_types_the_new_nodes_stay_in_float(tmp_path: Path) -> None:
    path, out = tmp_path / "model.onnx", tmp_path / "out.onnx"
    onnx.save(outlier_model("input"), path)
    build_artifact(path, scheme("int8-static", smooth_alpha=0.5), out, calibration=data(batches("input")))
    (multiply,) = (node for node in onnx.load(out).graph.node if node.op_type == "Mul")
    assert multiply.input[0] == "x"


def test_nothing_to_smooth_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(models.conv_net(), path)
    wish = scheme("int8-static", smooth_alpha=0.5, op_types=("Conv",))
    with pytest.raises(CellError, match="no MatMul or Gemm") as caught:
        build_artifact(path, wish, tmp_path / "out.onnx", calibration=data(models.pixels()))
    assert caught.value.status == "unsupported"


def test_data_is_streamed_and_texts_may_differ_in_length(tmp_path: Path) -> None:
    model = prepared(tmp_path, models.transformer())
    alive: list[int] = []

    def feeds() -> Any:
        for feed in texts(48, batch=4, lengths=(3, 9, 1, 6)):
            alive.append(1)
            yield feed

    found = smoothed(Reading(model, CalibrationData(feeds, 48, "d")), 0.5, PRODUCTS, ())
    assert len(alive) == 12  # one pass
    assert found.inserted
