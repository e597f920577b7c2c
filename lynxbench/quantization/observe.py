"""Which tensors calibration must look at, and which ranges follow from others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lynxbench.quantization.graphs import FLOAT, FLOAT16, element_types

Range = tuple[float, float]
# An operation with a positive constant: ("Mul" or "Div", the constant).
Step = tuple[str, float]

# These pass their first input's values on, each exactly once: the same range, the same histogram.
_SAME_VALUES = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


@dataclass(frozen=True)
class Derived:
    """A tensor whose values are those of `root`, after `steps` in order. Rounding is monotone, so ranges follow."""

    root: str
    steps: tuple[Step, ...] = ()

    def range_from(self, root: Range) -> Range:
        """The range that `root`'s range becomes, in float32 as the graph computes it."""
        ends = np.array(root, dtype=np.float32)
        with np.errstate(over="ignore"):
            for op_type, constant in self.steps:
                ends = ends * np.float32(constant) if op_type == "Mul" else ends / np.float32(constant)
        return float(ends[0]), float(ends[1])


@dataclass(frozen=True)
class Observation:
    """What calibration has to look at for one set of op types.

    tensors  the tensors to observe, in the order in which the graph computes them
    derived  tensor that the quantizer asks about → the observed tensor that its range follows from
    fixed    tensor that the quantizer asks about → its range, known beforehand
    types    each tensor of these → "float32" or "float16"
    """

    tensors: tuple[str, ...]
    derived: Mapping[str, Derived]
    fixed: Mapping[str, Range]
    types: Mapping[str, str]


def observation(prepared: Any, op_types: Collection[str]) -> Observation:
    """What nodes of `op_types` read and write (float activations), less what need not be looked at.

    ONNX Runtime's quantizer takes [0, 1] for what a Softmax writes, and for what a Relu or Clip alone reads the range
    of what it writes (`BaseQuantizer.adjust_tensor_ranges`): those are not observed either.
    """
    graph = prepared.graph
    constants = {tensor.name for tensor in graph.initializer}
    types = {
        name: "float32" if kind == FLOAT else "float16"
        for name, kind in element_types(prepared).items()
        if kind in (FLOAT, FLOAT16) and name not in constants
    }
    asked = dict.fromkeys(
        name for node in graph.node if node.op_type in op_types for name in (*node.input, *node.output) if name in types
    )
    origins = _origins(graph, types)
    lent = _lent(graph, op_types, asked)
    fixed = {
        node.output[0]: (0.0, 1.0)
        for node in graph.node
        if node.op_type == "Softmax" and "Softmax" in op_types and node.output[0] in asked
    }
    derived = {}
    for name in asked:
        if name not in fixed:
            lender = lent.get(name, name)
            derived[name] = origins.get(lender, Derived(lender))
    order = {name: index for index, node in enumerate(graph.node) for name in node.output}
    roots = sorted({item.root for item in derived.values()}, key=lambda name: (order.get(name, -1), name))
    return Observation(tuple(roots), derived, fixed, {name: types[name] for name in sorted({*asked, *roots})})


def _origins(graph: Any, types: Mapping[str, str]) -> dict[str, Derived]:
    """Tensor → where its values come from, for tensors that only rearrange or scale another's."""
    scalars = _positive_scalars(graph)
    origins: dict[str, Derived] = {}
    for node in graph.node:
        source, step = node.input[0] if node.input else "", None
        if node.op_type in ("Mul", "Div"):
            if node.op_type == "Mul" and source in scalars:
                source, constant = node.input[1], scalars[source]
            else:
                constant = scalars.get(node.input[1], 0.0)
            if constant == 0.0 or types.get(source) != "float32":
                continue
            step = (node.op_type, constant)
        elif node.op_type not in _SAME_VALUES or source not in types:
            continue
        before = origins.get(source, Derived(source))
        origins[node.output[0]] = Derived(before.root, before.steps if step is None else (*before.steps, step))
    return origins


def _positive_scalars(graph: Any) -> dict[str, float]:
    """Constants of one positive, finite float32."""
    from onnx import numpy_helper

    found = {}
    for tensor in graph.initializer:
        if tensor.data_type == FLOAT and int(np.prod(tensor.dims, dtype=np.int64)) == 1:
            value = float(numpy_helper.to_array(tensor).reshape(()))
            if 0.0 < value < np.inf:
                found[tensor.name] = value
    return found


def _lent(graph: Any, op_types: Collection[str], asked: Collection[str]) -> dict[str, str]:
    """Tensor → the one whose range it takes: what a Relu or Clip alone reads takes that of what it writes."""
    readers = Counter(name for node in graph.node for name in node.input)
    lent: dict[str, str] = {}
    lenders: set[str] = set()
    for node in graph.node:
        if node.op_type in ("Relu", "Clip") and node.op_type in op_types and readers[node.input[0]] == 1:
            before, after = node.input[0], node.output[0]
            # A tensor that lends its range must be looked at itself.
            if before in asked and after in asked and before not in lenders:
                lent[before] = after
                lenders.add(after)
    return lent
