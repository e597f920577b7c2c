"""The prepared model cut and widened, so that a run answers what calibration asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lynxbench.quantization.graphs import FLOAT, FLOAT16, all_nodes, element_types

MINIMA, MAXIMA, SIZES = "lynxbench_minima", "lynxbench_maxima", "lynxbench_sizes"


def with_outputs(prepared: Any, tensors: Sequence[str]) -> Any:
    """A copy of the model that computes `tensors`, which become its only outputs, and nothing that they don't need."""
    from onnx import helper

    graph = prepared.graph
    wanted = set(tensors)
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            for body in _bodies(node):
                # What is computed inside goes by the same names only inside; keeping too much does no harm.
                wanted.update(name for inner in all_nodes(body) for name in inner.input)
                wanted.update(item.name for item in body.output)
    infos = {info.name: info for info in (*graph.value_info, *graph.output, *graph.input)}
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    outputs = [infos[name] for name in tensors]
    cut = helper.make_graph(kept[::-1], "observed", list(graph.input), outputs, constants)
    opsets, functions = list(prepared.opset_import), list(prepared.functions)
    return helper.make_model(cut, opset_imports=opsets, ir_version=prepared.ir_version, functions=functions)


def with_extremes(prepared: Any, tensors: Sequence[str]) -> Any:
    """A copy of the model whose outputs are the minima, maxima ([n] float32) and sizes ([n] int64) of `tensors`.

    The lowest of an empty tensor is +inf, its highest -inf.
    """
    from onnx import TensorProto, helper, numpy_helper

    model = with_outputs(prepared, tensors)
    graph = model.graph
    del graph.output[:]
    graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "lynxbench_flat"))
    types = element_types(prepared)
    parts: dict[str, list[str]] = {MINIMA: [], MAXIMA: [], SIZES: []}
    for index, name in enumerate(tensors):
        observed = name
        if types[name] == FLOAT16:
            observed = f"lynxbench_float_{index}"
            graph.node.append(helper.make_node("Cast", [name], [observed], to=FLOAT))
        for output, op_type in ((MINIMA, "ReduceMin"), (MAXIMA, "ReduceMax"), (SIZES, "Size")):
            found, flat = f"{output}_{index}", f"{output}_{index}_flat"
            # Over all axes, each kept with length 1: without that, an empty axis is an error.
            graph.node.append(helper.make_node(op_type, [observed], [found]))
            graph.node.append(helper.make_node("Reshape", [found, "lynxbench_flat"], [flat]))
            parts[output].append(flat)
    for output, flats in parts.items():
        graph.node.append(helper.make_node("Concat", flats, [output], axis=0))
        kind = TensorProto.INT64 if output == SIZES else TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(output, kind, [len(tensors)]))
    return model


def _bodies(node: Any) -> list[Any]:
    """The bodies of an If, Loop or Scan, which may read tensors of the graph around them."""
    return [body for item in node.attribute for body in (*item.graphs, *((item.g,) if item.HasField("g") else ()))]
