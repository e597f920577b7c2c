"""A graph with its integer products computed in float: what it says, whatever this processor's kernels make of it."""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOAT, _INT32 = 1, 6
_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
# Kernels on integers that are not taken apart here.
_OPAQUE = ("QLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm", "QAttention")


def products_in_float(artifact: Any) -> Any | None:
    """A copy of the model whose MatMulInteger and ConvInteger are products of floats, cast back to int32.

    Whole numbers up to 2²⁴ are exact in float32, and larger sums rounded to a part in ten million: no other number of
    the graph changes. Graphs of QuantizeLinear and DequantizeLinear compute in float as they are. None where there are
    kernels on integers of another kind, such as QLinearConv.
    """
    import onnx

    if any(node.op_type.startswith(_OPAQUE) for node in artifact.graph.node):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(artifact)
    constants = {tensor.name: tensor for tensor in artifact.graph.initializer}
    del copy.graph.node[:]
    for node in artifact.graph.node:
        if node.op_type in _PRODUCTS:
            _add_product(copy.graph, node, constants)
        else:
            copy.graph.node.append(node)
    return copy


def _add_product(graph: Any, node: Any, constants: dict[str, Any]) -> None:
    """Cast both sides to float, take their zero points off, multiply, cast back."""
    from onnx import helper, numpy_helper

    def add(op_type: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(op_type, inputs, [output], name=f"{output}.{op_type}", **attributes))
        return output

    ends = []
    for place, given in enumerate(node.input[:2]):
        name = f"{node.output[0]}.{place}"
        end = add("Cast", [given], f"{name}.float", to=_FLOAT)
        zero = node.input[place + 2] if len(node.input) > place + 2 else ""
        if zero:
            off = add("Cast", [zero], f"{name}.zero", to=_FLOAT)
            if node.op_type == "ConvInteger" and place == 1 and given in constants:
                # One a channel, or one for all: in front of the kernel's other axes.
                shape = np.array([-1] + [1] * (len(constants[given].dims) - 1), dtype=np.int64)
                graph.initializer.append(numpy_helper.from_array(shape, f"{name}.shape"))
                off = add("Reshape", [off, f"{name}.shape"], f"{name}.zeros")
            end = add("Sub", [end, off], f"{name}.centred")
        ends.append(end)
    product = add(_PRODUCTS[node.op_type], ends, f"{node.output[0]}.sum")
    graph.node[-1].attribute.extend(node.attribute)
    add("Cast", [product], node.output[0], to=_INT32)
