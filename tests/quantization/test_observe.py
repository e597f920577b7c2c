from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lynxbench.quantization.augment import MAXIMA, MINIMA, SIZES, with_extremes, with_outputs
from lynxbench.quantization.observe import Derived, observation
from tests.quantization.models import MODELS, Maker, conv_net, info


def typed(make: Maker, outputs: list[str], shape: list[Any]) -> Any:
    """The model, shapes inferred, with these outputs."""
    model = make.model([info("x", shape)], [info(name, None) for name in outputs])
    return onnx.shape_inference.infer_shapes(model)


def run(model: Any, feed: dict[str, Any]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, feed), strict=True))


def test_rearranged_and_scaled_tensors_are_not_looked_at_again() -> None:
    make = Maker()
    product = make.op("MatMul", "x", make.weight(4, 4))
    turned = make.op("Transpose", make.op("Reshape", product, make.constant(np.array([2, 2, -1]))))
    halved = make.op("Mul", make.constant(np.float32(0.5)), turned)
    divided = make.op("Div", halved, make.constant(np.array([3.0], dtype=np.float32)))
    observed = observation(typed(make, [divided], ["n", 4]), ["MatMul", "Reshape", "Transpose", "Mul", "Div"])
    assert observed.tensors == ("x", product)
    assert observed.derived[turned] == Derived(product)
    assert observed.derived[divided] == Derived(product, (("Mul", 0.5), ("Div", 3.0)))
    assert observed.derived[divided].range_from((-1.0, 3.0)) == (
        float(np.float32(-0.5) / np.float32(3)),
        float(np.float32(1.5) / np.float32(3)),
    )


@pytest.mark.parametrize("constant", [-2.0, 0.0, [1.0, 2.0, 3.0, 4.0]])
def test_other_constants_do_not_count_as_scaling(constant: Any) -> None:
    make = Maker()
    product = make.op("MatMul", "x", make.weight(4, 4))
    scaled = make.op("Mul", product, make.constant(np.array(constant, dtype=np.float32)))
    observed = observation(typed(make, [scaled], ["n", 4]), ["MatMul", "Mul"])
    assert observed.tensors == ("x", product, scaled)


def test_dividing_a_constant_is_no_scaling() -> None:
    make = Maker()
    inverse = make.op("Div", make.constant(np.float32(2.0)), "x")
    observed = observation(typed(make, [inverse], ["n", 4]), ["Div"])
    assert set(observed.tensors) == {"x", inverse}


def test_relu_and_clip_lend_their_range_to_what_they_alone_read() -> None:
    make = Maker()
    product = make.op("MatMul", "x", make.weight(4, 4))
    relu = make.op("Relu", product)
    clip = make.op("Clip", relu)
    shared = make.op("MatMul", clip, make.weight(4, 4))
    also = make.op("Relu", shared)
    both = make.op("Add", shared, also)
    model = typed(make, [both], ["n", 4])
    observed = observation(model, ["MatMul", "Relu", "Clip", "Add"])
    assert observed.derived[product] == Derived(relu)
    assert relu in observed.tensors  # it lends its own range, so it is looked at, though Clip alone reads it
    assert observed.derived[shared] == Derived(shared)  # read twice
    assert product in observation(model, ["MatMul"]).tensors  # here the Relu is no concern of the quantizer


def test_softmax_is_known_beforehand() -> None:
    make = Maker()
    softmax = make.op("Softmax", make.op("MatMul", "x", make.weight(4, 4)))
    model = typed(make, [softmax], ["n", 4])
    assert observation(model, ["MatMul", "Softmax"]).fixed == {softmax: (0.0, 1.0)}
    assert softmax not in observation(model, ["MatMul", "Softmax"]).tensors


def test_only_floats_of_the_named_op_types_are_asked_about() -> None:
    model = onnx.shape_inference.infer_shapes(conv_net())
    observed = observation(model, ["Gemm"])
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    assert set(observed.derived) == {gemm.input[0], gemm.output[0]}
    assert observation(model, ["LSTM"]).tensors == ()


@pytest.mark.parametrize("name", MODELS)
def test_a_cut_model_computes_the_same(name: str) -> None:
    make, feeds = MODELS[name]
    model, feed = onnx.shape_inference.infer_shapes(make()), feeds()[0]
    tensors = observation(model, ["MatMul", "Conv"]).tensors[:3]
    computed = [tensor for tensor in tensors if tensor not in feed]
    cut = with_outputs(model, computed)
    assert len(cut.graph.node) < len(model.graph.node)
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    known = {item.name for item in wide.graph.output}
    wide.graph.output.extend(
        item for item in model.graph.value_info if item.name in computed and item.name not in known
    )
    everything = run(wide, feed)
    for tensor, values in run(cut, feed).items():
        np.testing.assert_allclose(values, everything[tensor], rtol=1e-6)


def test_extremes_are_those_of_the_tensors() -> None:
    model = onnx.shape_inference.infer_shapes(conv_net())
    feed = MODELS["conv"][1]()[0]
    tensors = observation(model, ["Conv", "Gemm"]).tensors
    found = run(with_extremes(model, tensors), feed)
    values = {**run(with_outputs(model, [tensor for tensor in tensors if tensor != "x"]), feed), **feed}
    for index, tensor in enumerate(tensors):
        assert found[MINIMA][index] == pytest.approx(values[tensor].min(), rel=1e-6)
        assert found[MAXIMA][index] == pytest.approx(values[tensor].max(), rel=1e-6)
        assert found[SIZES][index] == values[tensor].size


def test_half_precision_activations(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "half",
        [info("x", ["n"], TensorProto.FLOAT16)],
        [info("y", ["n"], TensorProto.FLOAT16)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    observed = observation(model, ["Relu"])
    assert set(observed.types.values()) == {"float16"}
    found = run(with_extremes(model, ["y"]), {"x": np.array([-3, 2.5], dtype=np.float16)})
    assert (found[MINIMA][0], found[MAXIMA][0]) == (0.0, 2.5)


def test_what_a_body_reads_from_outside_is_kept() -> None:
    """A tensor that only the branches of an If read must still be computed."""
    make = Maker()
    inner = make.op("MatMul", "x", make.weight(4, 4))
    then = helper.make_graph([helper.make_node("Relu", [inner], ["a"])], "then", [], [info("a", None)])
    other = helper.make_graph([helper.make_node("Neg", [inner], ["b"])], "other", [], [info("b", None)])
    chosen = make.op("If", make.constant(np.array(True)), then_branch=then, else_branch=other)
    after = make.op("MatMul", chosen, make.weight(4, 4))
    model = typed(make, [after], ["n", 4])
    feed = {"x": np.ones((1, 4), dtype=np.float32)}
    np.testing.assert_array_equal(run(with_outputs(model, [after]), feed)[after], run(model, feed)[after])
