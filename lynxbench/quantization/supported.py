"""What no model can be had in, whatever it is: said before any work."""

from __future__ import annotations

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
    return None
