"""Integer products computed in float, against whole numbers in NumPy and ONNX's own reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from lynxbench.diagnosis.emulation import products_in_float
from tests.quantization.models import Maker, info


def run(model: Any, **feed: Any) -> Any:
    return ReferenceEvaluator(model).run(None, feed)[0]


@pytest.mark.parametrize("zeros", ["none", "one", "channels"])
def test_products_of_matrices_are_those_of_whole_numbers(zeros: str) -> None:
    make, rng = Maker(), np.random.default_rng(3)
    a = rng.integers(0, 256, (5, 40)).astype(np.uint8)
    b = rng.integers(-128, 128, (40, 7)).astype(np.int8)
    ends = {"none": (None, None), "one": (np.uint8(130), np.int8(-3)), "channels": (np.uint8(130), b[0])}[zeros]
    given = [make.constant(end) for end in ends if end is not None]
    product = make.op("MatMulInteger", "a", make.constant(b), *given)
    model = make.model([info("a", ["n", 40], TensorProto.UINT8)], [info(product, ["n", 7], TensorProto.INT32)])
    emulated = products_in_float(model)
    assert {node.op_type for node in emulated.graph.node} <= {"Cast", "Sub", "MatMul"}
    expected = (a.astype(np.int64) - int(ends[0] or 0)) @ (b.astype(np.int64) - (0 if ends[1] is None else ends[1]))
    assert (run(emulated, a=a) == expected).all()
    # What runs here saturates on some processors; whole numbers do not.
    assert run(emulated, a=a).dtype == np.int32


def test_convolutions_pad_with_the_zero_point_and_have_one_a_channel() -> None:
    make, rng = Maker(), np.random.default_rng(4)
    x = rng.integers(0, 256, (2, 3, 6, 6)).astype(np.uint8)
    w = rng.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    zero, zeros = np.uint8(100), np.array([0, 5, -7, 1], np.int8)
    product = make.op(
        "ConvInteger", "x", make.constant(w), make.constant(zero), make.constant(zeros), pads=[1] * 4, strides=[2, 2]
    )
    model = make.model([info("x", [2, 3, 6, 6], TensorProto.UINT8)], [info(product, None, TensorProto.INT32)])
    centred = np.pad(x.astype(np.int64) - 100, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(centred, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    expected = np.einsum("nchwij,ocij->nohw", windows, w.astype(np.int64) - zeros.reshape(-1, 1, 1, 1))
    assert (run(products_in_float(model), x=x) == expected).all()


def test_other_integer_kernels_are_not_guessed_at_and_floats_stay_as_they_are() -> None:
    make = Maker()
    out = make.op("Relu", "x")
    plain = make.model([info("x", ["n"])], [info(out, ["n"])])
    assert products_in_float(plain) == plain
    plain.graph.node.append(helper.make_node("QLinearSigmoid", [out], ["y"], domain="com.microsoft"))
    assert products_in_float(plain) is None
