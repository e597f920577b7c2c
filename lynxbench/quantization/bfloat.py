"""bfloat16: ONNX Runtime has no converter for it, so that its float16 converter places the casts and types follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from lynxbench.errors import CellError
from lynxbench.quantization.failures import failing_as
from lynxbench.quantization.graphs import FLOAT16, all_nodes, all_tensors, element_types, with_opset
from lynxbench.specs.scheme import Scheme

BFLOAT16 = 16
# Conv, pooling and others take bfloat16 from here on.
_OPSET = 22


def to_bfloat16(prepared: Any, scheme: Scheme) -> Any:
    """The model with bfloat16 weights and activations; op types whose ONNX definition has no bfloat16 stay float32."""
    import onnx
    from onnx import numpy_helper
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers import float16

    if FLOAT16 in element_types(prepared).values():
        raise CellError("unsupported", "the model computes in float16 already")
    with failing_as("converting to bfloat16"):
        model = with_opset(prepared, _OPSET)
        opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        model = onnx.shape_inference.infer_shapes(model)
        exact = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        types = {node.op_type for node in all_nodes(model.graph)}
        kept = {op_type for op_type in types if not _takes_bfloat16(op_type, opset)}
        half = float16.convert_float_to_float16(
            model,
            keep_io_types=bool(scheme.keep_io_types),
            op_block_list=sorted({*kept, *(scheme.op_types_kept_float or ())}),
            disable_shape_infer=True,
        )
        ONNXModel(half).topological_sort()
        for tensor in all_tensors(half.graph):
            if tensor.data_type == FLOAT16:
                # From the float32 values: float16's range is smaller, and was clipped to.
                tensor.CopyFrom(_bfloat16(exact.get(tensor.name, numpy_helper.to_array(tensor)), tensor.name))
        _retype(half.graph)
    return half


def _takes_bfloat16(op_type: str, opset: int) -> bool:
    """Whether ONNX defines the op for bfloat16 wherever it does for float32 (not known of other domains)."""
    from onnx import defs

    if not defs.has(op_type, max_inclusive_version=opset, domain=""):
        return False
    schema = defs.get_schema(op_type, max_inclusive_version=opset, domain="")
    return all(
        "tensor(bfloat16)" in constraint.allowed_type_strs
        for constraint in schema.type_constraints
        if "tensor(float)" in constraint.allowed_type_strs
    )


def _bfloat16(values: Any, name: str) -> Any:
    """A bfloat16 tensor of float values, rounded to the nearest, ties to even."""
    import ml_dtypes
    from onnx import helper

    array = np.asarray(values, dtype=np.float32).astype(ml_dtypes.bfloat16)
    return helper.make_tensor(name, BFLOAT16, array.shape, array.tobytes(), raw=True)


def _retype(graph: Any) -> None:
    """float16 → bfloat16, wherever a graph declares a type."""
    for item in (*graph.input, *graph.output, *graph.value_info):
        if item.type.tensor_type.elem_type == FLOAT16:
            item.type.tensor_type.elem_type = BFLOAT16
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == FLOAT16:
                attribute.i = BFLOAT16
            for body in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                _retype(body)
