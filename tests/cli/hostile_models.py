"""ONNX models that try to read, hang or take all memory; six numbers in, three class scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.eye(6, 3, dtype=np.float32)


def model(
    nodes: Sequence[Any],
    initializers: Sequence[Any] = (),
    *,
    inputs: Sequence[Any] = ("N", 6),
    opsets: Sequence[Any] = (),
) -> Any:
    """A model whose nodes make ``y`` of ``x`` and ``w``."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(inputs))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(WEIGHTS, "w"), *initializers],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=9)


def answer(x: str = "x") -> Any:
    return helper.make_node("MatMul", [x, "w"], ["y"])


def good() -> Any:
    return model([answer()])


def custom_op() -> Any:
    """An operator that only somebody's library has."""
    return model(
        [helper.make_node("Own", ["x"], ["h"], domain="evil.ops"), answer("h")],
        opsets=[helper.make_opsetid("evil.ops", 1)],
    )


def negative_dimension() -> Any:
    return model([answer()], inputs=[-4, 6])


def negative_constant() -> Any:
    bent = numpy_helper.from_array(np.zeros((2, 2), dtype=np.float32), "c")
    bent.dims[0], bent.dims[1] = -2, -2
    return model([helper.make_node("Identity", ["c"], ["unused"]), answer()], [bent])


def endless_loop() -> Any:
    """A Loop whose condition stays true, and whose trip count is the largest that there is."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_still"]),
            helper.make_node("Abs", ["held"], ["held_still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held_still", TensorProto.FLOAT, None),
        ],
    )
    constants = [
        numpy_helper.from_array(np.array(2**63 - 1, dtype=np.int64), "most"),
        numpy_helper.from_array(np.array(True), "true"),
    ]
    return model([helper.make_node("Loop", ["most", "true", "x"], ["h"], body=body), answer("h")], constants)


def doubling_concat() -> Any:
    """Each Concat doubles what the one before it made: 2⁴⁰ rows after forty of them."""
    nodes = [helper.make_node("Concat", [f"h{n}", f"h{n}"], [f"h{n + 1}"], axis=0) for n in range(40)]
    return model([helper.make_node("Identity", ["x"], ["h0"]), *nodes, answer("h40")])


def huge_constant() -> Any:
    """40e9 elements made of a shape alone, to be folded before anything runs."""
    shape = numpy_helper.from_array(np.array([200_000, 200_000], dtype=np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["c"]),
        helper.make_node("ReduceMax", ["c"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["h"]),
        answer("h"),
    ]
    return model(nodes, [shape])


def huge_initializer() -> Any:
    """40e9 elements declared, none held."""
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[200_000, 200_000])
    return model(
        [
            helper.make_node("ReduceMax", ["c"], ["m"], keepdims=0),
            helper.make_node("Add", ["x", "m"], ["h"]),
            answer("h"),
        ],
        [tensor],
    )


def external(location: str, length: int = 72) -> Any:
    """The weights in another file, which may be anywhere."""
    made = good()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return made


Write = Callable[[Path], None]


def written(make: Callable[[], Any]) -> Write:
    return lambda path: onnx.save(make(), path)
