"""What no model can be had in, whatever it is: said before any work."""

from __future__ import annotations

import importlib.util

from lynxbench.quantization.weights import check_op_types
from lynxbench.specs.scheme import Scheme

_EIGHT_BITS = frozenset({"int8", "uint8"})


def why_unsupported(scheme: Scheme) -> str | None:
    """Why no model can be had in this scheme, whatever it is; None when one may. Loads no library."""
    if scheme.weight_type == "uint8" and scheme.activation_type == "int8":
        return "ONNX Runtime has no kernels for int8 activations with uint8 weights"
    if scheme.format == "qoperator":
        for what in ("activation", "weight"):
            kind = getattr(scheme, f"{what}_type")
            if kind not in _EIGHT_BITS:
                return f"ONNX Runtime writes {kind} {what}s only in format qdq"
    if scheme.kind == "weights-only":
        return _why_no_blocks(scheme)
    if scheme.kind == "fp8" and "Softmax" in (scheme.op_types or ()):
        return "ONNX Runtime's float8 quantizer takes no Softmax: it knows no distribution of what a Softmax writes"
    return None


def _why_no_blocks(scheme: Scheme) -> str | None:
    if scheme.algorithm == "hqq":
        if scheme.bits == 8:
            return "ONNX Runtime has no CPU kernel for hqq's float zero points with 8 bits"
        if importlib.util.find_spec("torch") is None:
            return "ONNX Runtime's hqq needs PyTorch: pip install torch"
    if scheme.algorithm == "gptq":
        if scheme.bits == 8:
            return "ONNX Runtime's gptq writes 4 bits only"
        if not scheme.symmetric_weights:
            return "ONNX Runtime's gptq fails to pack zero points: it needs symmetric_weights"
        if scheme.nodes_kept_float:
            return "ONNX Runtime's gptq leaves no node in float"
    return check_op_types(scheme)
