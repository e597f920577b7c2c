"""Which nodes a scheme quantizes with an effect of their own: what can be tried one at a time."""

from __future__ import annotations

from typing import Any

from lynxbench.diagnosis.sensitivity import Node
from lynxbench.quantization.convert import declared_op_types
from lynxbench.quantization.graphs import FLOAT, FLOAT16, element_types
from lynxbench.quantization.kept import nodes_kept_float
from lynxbench.specs.scheme import Scheme

# They hand values on as they are: quantized, they round nothing that was not rounded before.
_PASSING = frozenset(
    {
        *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Identity", "Expand"),
        *("MaxPool", "ArgMax", "TopK", "Shape"),
    }
)
# With scales computed in each run, and with weights alone, only products with a constant are quantized.
_WITH_CONSTANTS = {"MatMul": 1, "Gemm": 1, "Conv": 1, "Gather": 0}


def quantized_nodes(prepared: Any, scheme: Scheme) -> list[Node]:
    """The nodes of the prepared model that `scheme` quantizes, without those left in float, in the graph's order.

    Of fp16 and bf16, that is every node that computes floating-point numbers. Raises `CellError` for a scheme that does
    not fit the model.
    """
    if scheme.kind in ("fp16", "bf16"):
        wanted = {node.op_type for node in prepared.graph.node} - set(scheme.op_types_kept_float or ())
    elif scheme.kind == "weights-only":
        wanted = set(scheme.op_types or ())
    else:
        wanted = set(declared_op_types(prepared, scheme))
        if scheme.kind == "int8-dynamic" and scheme.op_types == "all" and "MatMul" in wanted:
            wanted |= {"Gemm"} - set(scheme.op_types_kept_float or ())  # written as a MatMul on the way
    kept = nodes_kept_float(prepared, scheme.nodes_kept_float or ())
    constants = {tensor.name for tensor in prepared.graph.initializer}
    types = element_types(prepared)
    dynamic = scheme.kind in ("int8-dynamic", "weights-only")
    found = []
    for node in prepared.graph.node:
        if node.op_type not in wanted - _PASSING or node.name in kept:
            continue
        if not any(types.get(name) in (FLOAT, FLOAT16) for name in node.output):
            continue
        place = _WITH_CONSTANTS.get(node.op_type)
        if dynamic and place is not None and (len(node.input) <= place or node.input[place] not in constants):
            continue
        found.append(
            Node(
                node.name,
                node.op_type,
                tuple(name for name in node.input if name not in constants),
                tuple(node.output),
            )
        )
    return found
