"""Weights of a few bits in blocks, activations in float: ONNX Runtime's MatMulNBits and GatherBlockQuantized."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Collection, Iterator
from typing import Any

from lynxbench.quantization.calibration import CalibrationData, Feed
from lynxbench.quantization.failures import failing_as
from lynxbench.quantization.graphs import FLOAT, with_opset
from lynxbench.specs.scheme import Scheme

BLOCK_OPS = frozenset({"MatMulNBits", "GatherBlockQuantized"})
_KNOWN = ("Gather", "MatMul")
# Where int4 tensors begin, which GatherBlockQuantized reads.
_GATHER_OPSET = 21


class _Batches:
    """A calibration set as ONNX Runtime's GPTQ reads it: iterated, and deep-copied before."""

    def __init__(self, data: CalibrationData) -> None:
        self._data = data

    def __deepcopy__(self, _: Any) -> _Batches:
        return self

    def __iter__(self) -> Iterator[Feed]:
        return self._data.feeds()


def block_op_types(scheme: Scheme) -> tuple[str, ...]:
    """The op types whose weights are to be written in blocks. A Gemm counts as the MatMul that it is rewritten as."""
    return _KNOWN if scheme.op_types == "all" or scheme.op_types is None else tuple(sorted(scheme.op_types))


def to_weights_only(
    prepared: Any, scheme: Scheme, left_in_float: Collection[str], calibration: CalibrationData | None
) -> Any:
    """The model with weights of MatMul, Gemm and, where declared, Gather in blocks of a few bits."""
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(prepared)
    excluded = [
        f"{node.name}_MatMul" if node.op_type == "Gemm" else node.name
        for node in prepared.graph.node
        if node.name in left_in_float
    ]
    op_types = block_op_types(scheme)
    tables = _tables(prepared) - set(left_in_float) if "Gather" in op_types else set()
    if tables:
        excluded += [node.name for node in prepared.graph.node if node.op_type == "Gather" and node.name not in tables]
        with failing_as(f"raising the opset to {_GATHER_OPSET}"):
            model = ONNXModel(with_opset(prepared, _GATHER_OPSET))
    else:
        # Without one, ONNX Runtime would change the opset for nothing.
        op_types = tuple(op_type for op_type in op_types if op_type != "Gather")
    config: Any = None
    if scheme.algorithm == "hqq":
        config = nbits.HQQWeightOnlyQuantConfig(
            block_size=scheme.block_size, bits=scheme.bits, op_types_to_quantize=op_types
        )
    elif scheme.algorithm == "gptq":
        assert calibration is not None  # build_artifact refused
        config = nbits.GPTQWeightOnlyQuantConfig(
            calibration_data_reader=_Batches(calibration), op_types_to_quantize=op_types
        )
    # GPTQ draws a progress bar on stdout; PyTorch warns of arrays that nobody writes to.
    with failing_as("quantizing weights"), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "MatMul" in op_types:
            model.replace_gemm_with_matmul()
        quantizer = nbits.MatMulNBitsQuantizer(
            model.model,
            bits=scheme.bits,
            block_size=scheme.block_size,
            is_symmetric=bool(scheme.symmetric_weights),
            accuracy_level=scheme.accuracy_level,
            nodes_to_exclude=excluded,
            op_types_to_quantize=op_types,
            algo_config=config,
        )
        quantizer.process()
        done = ONNXModel(quantizer.model.model)
        done.clean_initializers()  # GPTQ leaves the float weights behind
    return done.model


def _tables(prepared: Any) -> set[str]:
    """The names of Gather nodes that read a constant table of floats."""
    constants = {
        tensor.name for tensor in prepared.graph.initializer if tensor.data_type == FLOAT and len(tensor.dims) > 1
    }
    return {node.name for node in prepared.graph.node if node.op_type == "Gather" and node.input[0] in constants}


def check_op_types(scheme: Scheme) -> str | None:
    """Why the declared op types cannot be had, or None."""
    wrong = [op_type for op_type in block_op_types(scheme) if op_type not in _KNOWN]
    if wrong:
        return f"weights-only cannot quantize op type {wrong[0]!r} (it can: {', '.join(_KNOWN)}; Gemm counts as MatMul)"
    if "Gather" in block_op_types(scheme) and (scheme.bits != 4 or scheme.algorithm != "rtn"):
        return "ONNX Runtime quantizes embeddings (Gather) with 4 bits by rtn only"
    return None
