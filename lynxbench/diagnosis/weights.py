"""How the norm of a weight is spread, and what quantizing leaves of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.diagnosis.facts import WeightFacts
from lynxbench.diagnosis.streaming import Error

# Ops whose second input is a weight, and the axis of its output channels.
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": 1}
# A singular value decomposition of more takes seconds: the rank is then left out.
MOST_FOR_RANK = 2_000_000


def effective_rank(values: npt.NDArray[np.floating]) -> float | None:
    """exp of the entropy of the normalized singular values (Roy & Vetterli, EUSIPCO 2007) of [m, n]; None for zeros."""
    singular = np.linalg.svd(values.astype(np.float64), compute_uv=False)
    total = singular.sum()
    if total == 0:
        return None
    shares = singular[singular > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def top_share(values: npt.NDArray[np.floating], part: float = 0.01) -> float | None:
    """The share of Σ w² that the largest `part` of the weights (one at least) hold; None for zeros."""
    squares = np.sort(values.astype(np.float64).ravel() ** 2)[::-1]
    total = squares.sum()
    return None if total == 0 else float(squares[: max(1, int(part * squares.size))].sum() / total)


def outlier_ratio(values: npt.NDArray[np.floating]) -> float | None:
    """The largest magnitude over the 99th percentile's; None where that is 0."""
    usual = _usual(values)
    return None if usual == 0 else float(np.abs(values.astype(np.float64)).max() / usual)


def _usual(values: npt.NDArray[np.floating]) -> float:
    """The 99th percentile of the magnitudes, the lower of two neighbours: in a small tensor the largest must not vouch
    for itself.
    """
    return float(np.quantile(np.abs(values.astype(np.float64)), 0.99, method="lower"))


def weight_facts(prepared: Any, artifact: Any) -> Iterator[WeightFacts]:
    """Facts about each weight of the prepared model, in the graph's order, each once."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in prepared.graph.initializer}
    quantized = {tensor.name: tensor for tensor in artifact.graph.initializer}
    seen = set()
    for node in prepared.graph.node:
        if node.op_type not in CHANNEL_AXIS or len(node.input) < 2:
            continue
        name = node.input[1]
        if name in seen or name not in constants or len(constants[name].dims) < 2:
            continue
        seen.add(name)
        values = numpy_helper.to_array(constants[name]).astype(np.float32)
        axis = CHANNEL_AXIS[node.op_type]
        if node.op_type == "Gemm" and any(item.name == "transB" and item.i for item in node.attribute):
            axis = 0
        channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        largest = np.abs(channels).max(axis=1)
        middle = float(np.median(largest))
        stored = _stored(name, values, axis, quantized)
        error, bulk = Error(), Error()
        if stored is not None:
            error.add(values, stored[0])
            usual = np.abs(values) <= _usual(values)
            bulk.add(values[usual], stored[0][usual])
        yield WeightFacts(
            name=name,
            node=node.name,
            op_type=node.op_type,
            shape=tuple(values.shape),
            channel_range_ratio=float(largest.max()) / middle if middle else None,
            top_share=top_share(values),
            effective_rank=effective_rank(channels) if values.size <= MOST_FOR_RANK else None,
            outlier_ratio=outlier_ratio(values),
            scales=None if stored is None else stored[1],
            sqnr_db=error.sqnr_db if stored is not None else None,
            bulk_sqnr_db=bulk.sqnr_db if stored is not None else None,
        )


def _stored(
    name: str, values: npt.NDArray[np.float32], axis: int, quantized: dict[str, Any]
) -> tuple[npt.NDArray[np.float64], int] | None:
    """The weight as the artifact's integers say, and how many scales it has; None where it has none of that name."""
    from onnx import numpy_helper

    found = [quantized.get(f"{name}_{part}") for part in ("quantized", "scale", "zero_point")]
    there = [numpy_helper.to_array(tensor).astype(np.float64) for tensor in found if tensor is not None]
    if len(there) < len(found):
        return None
    numbers, scale, zero = there
    if numbers.shape != values.shape or scale.size not in (1, values.shape[axis]):
        return None
    shape = [1] * values.ndim
    shape[axis] = scale.size
    return (numbers - zero.reshape(shape)) * scale.reshape(shape), int(scale.size)
