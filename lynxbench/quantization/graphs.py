"""Questions about ONNX graphs that several modules ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

# ONNX's element types that hold a real number.
FLOAT, FLOAT16 = 1, 10
_INTEGERS = frozenset({2, 3})  # uint8, int8
_QUANTIZERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})


def all_nodes(graph: Any) -> Iterator[Any]:
    """Every node of an onnx.GraphProto, bodies of If, Loop and Scan included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from all_nodes(body)


def all_tensors(graph: Any) -> Iterator[Any]:
    """Every onnx.TensorProto of a graph: initializers and attributes, bodies included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for body in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from all_tensors(body)


def op_counts(model: Any) -> dict[str, int]:
    """Op type → number of nodes, by name."""
    return dict(sorted(Counter(node.op_type for node in all_nodes(model.graph)).items()))


def element_types(model: Any) -> dict[str, int]:
    """Tensor name → ONNX element type, for what the graph or its shape inference declares (top level)."""
    graph = model.graph
    types = {info.name: info.type.tensor_type.elem_type for info in (*graph.value_info, *graph.output, *graph.input)}
    types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    return types


def name_nodes(model: Any) -> None:
    """Give every node without a name, or with another's, a name of its own: exclusion goes by name."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
        taken.add(node.name)


def with_opset(model: Any, least: int) -> Any:
    """A copy of the model whose ops are those of opset `least` or later; raises what onnx's converter raises.

    Domains that preparation lists and no node uses are left out: onnx knows no versions of them.
    """
    from onnx import ModelProto, version_converter

    copy = ModelProto()
    copy.CopyFrom(model)
    used = {node.domain for node in all_nodes(copy.graph)} | {"", "ai.onnx"}
    kept = [item for item in model.opset_import if item.domain in used]
    del copy.opset_import[:]
    copy.opset_import.extend(kept)
    if all(item.version >= least for item in kept if item.domain in ("", "ai.onnx")):
        return copy
    return version_converter.convert_version(copy, least)


def nodes_in_half(model: Any, kind: int = FLOAT16) -> int:
    """How many nodes compute in float16, or the element type `kind` (casts not counted)."""
    types = element_types(model)
    return sum(
        node.op_type != "Cast" and any(types.get(name) == kind for name in (*node.input, *node.output))
        for node in all_nodes(model.graph)
    )


def nodes_on_integers(model: Any) -> int:
    """How many nodes read 8-bit integers, quantizing and dequantizing not counted."""
    return len(_followed(model)[0])


def nodes_between_casts(model: Any, op_types: Collection[str] | None = None, kept: Collection[str] = ()) -> int:
    """How many nodes (of `op_types`, where given) read a number that was dequantized right before: the QDQ form.

    A float neighbour of a quantized node reads such a number too, so that only `op_types` and the names `kept` in float
    tell the two apart.
    """
    return sum((op_types is None or node.op_type in op_types) and node.name not in kept for node in _followed(model)[1])


def _followed(model: Any) -> tuple[list[Any], list[Any]]:
    """The nodes that read 8-bit integers, and the others that read dequantized ones."""
    raw = {tensor.name for tensor in model.graph.initializer if tensor.data_type in _INTEGERS}
    dequantized: set[str] = set()
    on_integers, between = [], []
    for node in model.graph.node:
        if node.op_type in _QUANTIZERS:
            raw.add(node.output[0])
        elif node.op_type == "DequantizeLinear":
            dequantized.update(node.output)
        elif raw.intersection(node.input):
            on_integers.append(node)
            # These accumulate in 32 bits or answer in float; the others pass 8-bit numbers on.
            if not (node.op_type.endswith("Integer") or node.op_type.startswith("DynamicQuantize")):
                raw.update(node.output)
        elif dequantized.intersection(node.input):
            between.append(node)
    return on_integers, between


def has_channel_scales(model: Any) -> bool:
    """Whether any weight has more than one scale."""
    return any(
        tensor.name.endswith("_scale") and int(np.prod(tensor.dims, dtype=np.int64)) > 1
        for tensor in model.graph.initializer
    )
