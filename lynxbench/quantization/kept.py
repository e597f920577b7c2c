"""Nodes that a scheme leaves in float, by name or by pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from lynxbench.errors import CellError
from lynxbench.quantization.graphs import FLOAT
from lynxbench.specs.base import did_you_mean

_WITH_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})


def nodes_kept_float(prepared: Any, declared: Sequence[str], source_names: Iterable[str] = ()) -> frozenset[str]:
    """The names of the prepared model's nodes that `declared` names, exactly or by a pattern with * ? [].

    A name counts as it is before it counts as a pattern. Raises `CellError` for one that names no node; `source_names`
    are those before preparation, so that a node that was fused away is told from a misspelt one.
    """
    names = {node.name for node in prepared.graph.node}
    kept: set[str] = set()
    for wanted in declared:
        found = {wanted} & names or {name for name in names if fnmatchcase(name, wanted)}
        if not found:
            raise CellError("unsupported", f"nodes_kept_float: {_why(wanted, names, set(source_names))}")
        kept |= found
    return frozenset(kept)


def _why(wanted: str, names: set[str], source_names: set[str]) -> str:
    if any(character in wanted for character in "*?["):
        return f"no node's name matches {wanted!r}"
    hint = did_you_mean(wanted, names)
    gone = "was folded or fused into another node before quantization" if wanted in source_names else "names no node"
    return f"{wanted!r} {gone}" + (f"; {hint}" if hint else "")


def nodes_without_spread(prepared: Any, op_types: Iterable[str], per_channel: bool) -> list[str]:
    """Nodes of `op_types` that read constants whose values do not differ, in all or in one of their channels.

    A float8 scale is made of a standard deviation, and that of such constants is 0. Biases are not asked about: they
    get no scale of their own.
    """
    from onnx import numpy_helper

    wanted = frozenset(op_types)
    constants = {tensor.name: tensor for tensor in prepared.graph.initializer if tensor.data_type == FLOAT}
    found = []
    for node in prepared.graph.node:
        if node.op_type not in wanted:
            continue
        names = node.input[:2] if node.op_type in _WITH_BIAS else node.input
        for values in (numpy_helper.to_array(constants[name]) for name in names if name in constants):
            axis = _channel_axis(node) if per_channel else None
            rows = values.reshape(1, -1)
            if axis is not None and values.ndim > 1:
                rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
            if (rows.std(axis=1) == 0).any():
                found.append(node.name)
                break
    return found


def _channel_axis(node: Any) -> int | None:
    """The axis along which a weight has one scale a channel, or None."""
    if node.op_type == "Gemm":
        return 0 if any(item.name == "transB" and item.i for item in node.attribute) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}.get(node.op_type)
