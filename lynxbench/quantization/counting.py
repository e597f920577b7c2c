"""How many nodes of an artifact are in its scheme's numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lynxbench.errors import CellError
from lynxbench.quantization.bfloat import BFLOAT16
from lynxbench.quantization.graphs import (
    has_channel_scales,
    nodes_between_casts,
    nodes_in_half,
    nodes_on_integers,
    op_counts,
)
from lynxbench.quantization.weights import BLOCK_OPS
from lynxbench.specs.scheme import Scheme


def count_quantized(artifact: Any, scheme: Scheme, kept_float: Collection[str] = ()) -> tuple[int, list[str]]:
    """The number of nodes, `kept_float` by name not among them, and remarks on options without effect.

    Raises `CellError` when there are none, as that were fp32 under another name.
    """
    if scheme.kind == "fp32":
        return 0, []
    if scheme.kind == "fp16":
        count = nodes_in_half(artifact)
    elif scheme.kind == "bf16":
        count = nodes_in_half(artifact, BFLOAT16)
    elif scheme.kind == "weights-only":
        count = sum(number for op_type, number in op_counts(artifact).items() if op_type in BLOCK_OPS)
    elif scheme.kind == "fp8" or scheme.format == "qdq":
        declared = set(scheme.op_types) if isinstance(scheme.op_types, tuple) else None
        if scheme.op_types_kept_float:
            declared = (declared or set(op_counts(artifact))) - set(scheme.op_types_kept_float)
        count = nodes_between_casts(artifact, declared, kept_float)
    else:
        count = nodes_on_integers(artifact)
    if count == 0:
        present = ", ".join(op_counts(artifact))
        raise CellError("unsupported", f"{scheme.kind} changed no node of this model (its op types: {present})")
    if scheme.per_channel and not has_channel_scales(artifact):
        return count, ["per_channel had no effect: no op of this model takes one scale a channel in this scheme"]
    return count, []
