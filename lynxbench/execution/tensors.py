"""Inputs and outputs of a model: names, NumPy types, shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import CellError

Array = npt.NDArray[np.generic]

# ONNX Runtime's spelling of the types that NumPy has. Others (bfloat16, float8, int4, string) cannot be bound.
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True)
class TensorInfo:
    """One input or output; `shape` has None where a dimension is free."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | None, ...]


def tensor_infos(declared: Iterable[Any]) -> tuple[TensorInfo, ...]:
    """ONNX Runtime's NodeArgs as `TensorInfo`; raises `CellError` (unsupported) for a type that NumPy lacks."""
    infos = []
    for item in declared:
        if item.type not in _TYPES:
            raise CellError("unsupported", f"{item.name} is a {item.type}, which cannot be bound to host memory")
        # A free dimension is a name or None; a negative number is no size either.
        shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in item.shape)
        infos.append(TensorInfo(item.name, np.dtype(_TYPES[item.type]), shape))
    return tuple(infos)


def graph_inputs(path: Path) -> tuple[TensorInfo, ...]:
    """The inputs that the ONNX file at `path` declares, without initializers; reads no external data."""
    graph = _graph(path)
    initialized = {tensor.name for tensor in graph.initializer}
    return _declared(value for value in graph.input if value.name not in initialized)


def graph_outputs(path: Path) -> tuple[TensorInfo, ...]:
    """The outputs that the ONNX file at `path` declares, tensors of known rank alone."""
    return _declared(value for value in _graph(path).output if value.type.tensor_type.HasField("shape"))


def _graph(path: Path) -> Any:
    import onnx

    return onnx.load(str(path), load_external_data=False).graph


def _declared(values: Iterable[Any]) -> tuple[TensorInfo, ...]:
    import onnx

    infos = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(
            dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0 else None
            for dim in tensor.shape.dim
        )
        infos.append(TensorInfo(value.name, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape))
    return tuple(infos)


def check_feed(feed: Mapping[str, Array], inputs: Iterable[TensorInfo]) -> None:
    """Raise `CellError` (failed) unless `feed` has exactly the inputs, each of the right type and shape."""
    expected = {info.name: info for info in inputs}
    if set(feed) != set(expected):
        raise CellError("failed", f"the model's inputs are {sorted(expected)}, the feed has {sorted(feed)}")
    for name, info in expected.items():
        array = feed[name]
        if array.dtype != info.dtype:
            raise CellError("failed", f"input {name} is {info.dtype}, the feed has {array.dtype}")
        fits = len(array.shape) == len(info.shape) and all(
            wanted is None or wanted == size for wanted, size in zip(info.shape, array.shape, strict=True)
        )
        if not fits:
            shape = ["?" if size is None else size for size in info.shape]
            raise CellError("failed", f"input {name} has shape {shape}, the feed has {list(array.shape)}")
