"""Which tensor of the candidate's graph stands for which of the fp32 graph's, and what its scale can express."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lynxbench.quantization.graphs import FLOAT, FLOAT16, element_types

Range = tuple[float, float]
_INTEGER_ENDS = {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767)}  # by ONNX element type
# What passes a mask on to a Softmax or makes one: followed backwards from the Softmax.
_MASKING = frozenset({"Add", "Where", "Sub", "Mul", "Reshape", "Unsqueeze", "Expand", "Slice", "Cast", "Identity"})
# A constant this low before a Softmax is there to make a probability 0: no score of a trained network is.
MASK_MAGNITUDE = 1e3


def pairs(prepared: Any, artifact: Any) -> dict[str, str]:
    """Tensor of the prepared fp32 graph → the artifact's tensor that its readers read instead, as a real number.

    What only a Relu or Clip reads that the quantizer dropped, as its range begins where they cut, has no counterpart: the
    quantizer gives the name of what they wrote to the number that they would have read.
    """
    made = {name for node in artifact.graph.node for name in node.output} | {i.name for i in artifact.graph.input}
    types = element_types(prepared)
    constants = {tensor.name for tensor in prepared.graph.initializer}
    found: dict[str, str] = {}
    for node in prepared.graph.node:
        for name in node.output:
            if types.get(name) not in (FLOAT, FLOAT16) or name in constants:
                continue
            twin = next((one for one in (f"{name}_DequantizeLinear_Output", name) if one in made), None)
            if twin is not None:
                found[name] = twin
    return found


def represented(artifact: Any) -> dict[str, Range]:
    """What a quantized activation's scale can express, by the name of the tensor before it was quantized."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in artifact.graph.initializer}
    found = {}
    for node in artifact.graph.node:
        if node.op_type != "QuantizeLinear" or len(node.input) < 3:
            continue
        if node.input[0] in constants or not {node.input[1], node.input[2]} <= constants.keys():
            continue
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        if zero.data_type in _INTEGER_ENDS and int(np.prod(scale.dims)) == 1:
            step, middle = float(numpy_helper.to_array(scale).item()), int(numpy_helper.to_array(zero).item())
            low, high = _INTEGER_ENDS[zero.data_type]
            name = node.input[0].removesuffix("_QuantizeLinear_Input")
            found[name] = ((low - middle) * step, (high - middle) * step)
    return found


def with_all_outputs(model: Any, names: Sequence[str]) -> bytes:
    """The model, serialized, with `names` as its only outputs; ONNX Runtime finds their types."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    content: bytes = copy.SerializeToString()
    return content


def masks(prepared: Any) -> Iterator[tuple[str, float, str, str, tuple[str, ...]]]:
    """Constants of great magnitude that reach a Softmax through nothing but masking.

    Yields the constant's name, its element of largest magnitude, the Softmax's input, the Softmax's name, and the
    computed tensors that the constant is combined with.
    """
    from onnx import numpy_helper

    makers = {name: node for node in prepared.graph.node for name in node.output}
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in prepared.graph.initializer}
    for node in prepared.graph.node:
        if node.op_type == "Constant":
            for item in node.attribute:
                if item.HasField("t"):
                    values[node.output[0]] = numpy_helper.to_array(item.t)
    for softmax in prepared.graph.node:
        if softmax.op_type != "Softmax":
            continue
        waiting, seen = [softmax.input[0]], set[str]()
        while waiting:
            name = waiting.pop()
            maker = makers.get(name)
            if name in seen or maker is None or maker.op_type not in _MASKING:
                continue
            seen.add(name)
            for constant in (one for one in maker.input if one in values):
                array = values[constant]
                if array.dtype.kind != "f" or array.size == 0:
                    continue
                largest = float(array.ravel()[np.argmax(np.abs(array.astype(np.float64)))])
                if abs(largest) >= MASK_MAGNITUDE:
                    yield constant, largest, softmax.input[0], softmax.name, _others(softmax.input[0], makers, values)
            waiting += list(maker.input)


def _others(tensor: str, makers: dict[str, Any], values: dict[str, Any]) -> tuple[str, ...]:
    """What the last masking op before a Softmax combines with the mask."""
    maker = makers.get(tensor)
    return () if maker is None else tuple(name for name in maker.input if name not in values)
