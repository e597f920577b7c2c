"""What an ONNX file is: inputs, outputs, operations, and which schemes it blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.errors import CellError, DeclarationError, Problem
from lynxbench.execution import TensorInfo, graph_inputs, graph_outputs
from lynxbench.quantization import model_files

_TEXT_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
_PAST = "past_key_values."  # what Hugging Face's exporters call a decoder's cache
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "LSTM", "GRU"})
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "MatMulNBits"})
LEAST_OPSET = 13


@dataclass(frozen=True)
class Tensor:
    """An input or output; a free dimension is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Inspection:
    """What a model's graph says about itself. `schemes` are worth trying; `notes` say what blocks or hurts others."""

    path: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    parameters: int
    size_bytes: int
    op_types: Mapping[str, int]
    task: str | None
    schemes: tuple[str, ...]
    notes: tuple[str, ...]


def inspect_model(path: Path) -> Inspection:
    """Read the graph, no weights of external data. Raises `DeclarationError` for what is no ONNX model."""
    import onnx

    try:
        files = model_files(path)
    except CellError as error:
        raise DeclarationError([Problem(str(path), "", error.reason)]) from None
    model = onnx.load(path, load_external_data=False)
    op_types: dict[str, int] = {}
    for node in model.graph.node:
        op_types[node.op_type] = op_types.get(node.op_type, 0) + 1
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
    inputs, outputs = graph_inputs(path), graph_outputs(path)
    schemes, notes = _schemes(op_types, opset, inputs)
    return Inspection(
        path=path,
        inputs=tuple(map(_tensor, inputs)),
        outputs=tuple(map(_tensor, outputs)),
        opset=opset,
        parameters=sum(int(np.prod(tensor.dims, dtype=np.int64)) for tensor in model.graph.initializer),
        size_bytes=sum(file.stat().st_size for file in files),
        op_types=dict(sorted(op_types.items(), key=lambda item: (-item[1], item[0]))),
        task=_task(inputs, outputs),
        schemes=schemes,
        notes=notes,
    )


def _schemes(op_types: Mapping[str, int], opset: int, inputs: tuple[TensorInfo, ...]) -> tuple[Any, Any]:
    notes: list[str] = []
    if _QUANTIZED & op_types.keys():
        notes.append("it is quantized already: schemes start from a model in float")
        return ("fp32",), tuple(notes)
    schemes = ["fp32"]
    products, convolutions = op_types.keys() & {"MatMul", "Gemm"}, op_types.keys() & {"Conv", "ConvTranspose"}
    if products and not convolutions:
        schemes.append("int8-dynamic")
    if products or convolutions:
        schemes.append("int8-static")
    if op_types.keys() & _WEIGHTED:
        schemes.append("fp16")
    else:
        notes.append("no operation in it can be quantized (no Conv, Gemm or MatMul): only fp32 is left to measure")
    if convolutions:
        notes.append("int8-dynamic is left out: on x86 it makes convolutions 3 to 15 times slower than fp32")
    if opset < LEAST_OPSET:
        notes.append(f"opset {opset} is raised to {LEAST_OPSET} before quantizing, as per-channel scales need it")
    fixed = sorted({tensor.name for tensor in inputs if tensor.shape and tensor.shape[0] is not None})
    if fixed:
        notes.append(f"the batch is fixed ({', '.join(fixed)}): only that batch size can be measured")
    free = [tensor.name for tensor in inputs if any(size is None for size in tensor.shape[1:])]
    if free:
        notes.append(f"dimensions beside the batch are free ({', '.join(free)}): the samples decide them")
    return tuple(schemes), tuple(notes)


def _task(inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]) -> str | None:
    """What the shapes suggest; None where they don't."""
    if not inputs or not outputs:
        return None
    scores = next((o for o in outputs if len(o.shape) == 2 and o.dtype.kind == "f"), None)
    if any(tensor.name.startswith(_PAST) for tensor in inputs):
        return "generation"
    if {tensor.name for tensor in inputs} <= _TEXT_INPUTS:
        names = {output.name for output in outputs}
        if any("start" in name for name in names) and any("end" in name for name in names):
            return "question-answering"
        return "text-classification" if scores is not None else "text-retrieval"
    if len(inputs) != 1 or inputs[0].dtype.kind != "f":
        return None
    if scores is not None and scores.shape[1] != 1:
        return "image-classification" if len(inputs[0].shape) == 4 else "classification"
    single = outputs[0]
    return "regression" if single.dtype.kind == "f" and single.shape[1:] in ((), (1,)) else None


def _tensor(info: TensorInfo) -> Tensor:
    return Tensor(info.name, str(info.dtype), info.shape)
