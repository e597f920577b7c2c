"""Which options mean something for which kind of scheme, and what they are when left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

SchemeKind = Literal["fp32", "fp16", "bf16", "fp8", "int8-dynamic", "int8-static", "weights-only"]
CalibrationMethod = Literal["minmax", "moving-average", "percentile", "entropy", "distribution"]
Algorithm = Literal["rtn", "hqq", "gptq"]
BlockSize = Literal[16, 32, 64, 128, 256]
OpTypes = Literal["all"] | tuple[str, ...]
WeightType = Literal["int8", "uint8", "int16", "uint16", "int4", "uint4"]
ActivationType = Literal["int8", "uint8", "int16", "uint16"]

_MIXED = frozenset({"op_types", "op_types_kept_float", "nodes_kept_float"})
_INTEGER = _MIXED | {"weight_type", "per_channel", "reduce_range"}

# An option given where it has no effect is an error: a record must never show an option that changed nothing.
OPTIONS: Mapping[str, frozenset[str]] = {
    "fp32": frozenset(),
    "fp16": frozenset({"keep_io_types", "op_types_kept_float"}),
    "bf16": frozenset({"keep_io_types", "op_types_kept_float"}),
    "fp8": _MIXED | {"per_channel"},
    "int8-dynamic": _INTEGER,
    "int8-static": _INTEGER
    | {
        "activation_type",
        "format",
        "method",
        "percentile",
        "averaging_constant",
        "symmetric_activations",
        "symmetric_weights",
        "smooth_alpha",
    },
    "weights-only": frozenset(
        {"bits", "block_size", "algorithm", "accuracy_level", "symmetric_weights", "op_types", "nodes_kept_float"}
    ),
}

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {},
    # Graph inputs and outputs stay fp32: the latency then includes the casts that a user would pay for.
    "fp16": {"keep_io_types": True, "op_types_kept_float": ()},
    "bf16": {"keep_io_types": True, "op_types_kept_float": ()},
    "fp8": {"per_channel": True, "op_types": ("Conv", "Gemm", "MatMul")},
    "int8-dynamic": {"weight_type": "int8", "per_channel": True, "reduce_range": False, "op_types": "all"},
    # u8 activations with s8 weights is the pair that x86 kernels run fast; ONNX Runtime's own default is not.
    "int8-static": {
        "weight_type": "int8",
        "activation_type": "uint8",
        "per_channel": True,
        "reduce_range": False,
        "op_types": "all",
        "format": "qdq",
        "method": "minmax",
    },
    # ONNX Runtime's own. Embeddings stay in float, as they cost no products.
    "weights-only": {"bits": 4, "block_size": 128, "algorithm": "rtn", "op_types": ("MatMul",)},
}

# Where a kind takes fewer values than the option has: (kind, option) → those.
VALUES: Mapping[tuple[str, str], tuple[str, ...]] = {("int8-dynamic", "weight_type"): ("int8", "uint8")}

# Options that belong to one value of another: (option, the other, its value, the default then).
DEPENDENT: tuple[tuple[str, str, str, Any], ...] = (
    ("percentile", "method", "percentile", 99.99),
    # ONNX Runtime's own.
    ("averaging_constant", "method", "moving-average", 0.01),
)

# Those of version 0.1, written into a declaration's digest also when they are not given.
FIRST_OPTIONS = frozenset(
    {
        "name",
        "kind",
        "keep_io_types",
        "op_types_kept_float",
        "weight_type",
        "activation_type",
        "per_channel",
        "reduce_range",
        "op_types",
        "format",
        "method",
        "percentile",
    }
)


def filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """A scheme's declaration with the defaults of its kind.

    Options that came later than others stay out where they say what is so without them: equal schemes are then equal,
    and those of earlier versions keep their identity.
    """
    kind = data["kind"]
    given = {**DEFAULTS[kind], **data}
    for option, other, value, default in DEPENDENT:
        if option in OPTIONS[kind] and given.get(other) == value:
            given.setdefault(option, default)
    if kind == "weights-only" and given["algorithm"] != "hqq":
        # ONNX Runtime's own for rtn; of its gptq, the one that works.
        given.setdefault("symmetric_weights", given["algorithm"] == "gptq")
    unsaid: dict[str, Any] = {"symmetric_activations": False, "nodes_kept_float": []}
    if kind.startswith(("int8", "fp8")):
        unsaid["op_types_kept_float"] = []
    if kind == "int8-static":
        # What ONNX Runtime does with weights of a signed type, unless told otherwise.
        unsaid["symmetric_weights"] = not str(given.get("weight_type")).startswith("u")
    for option, same in unsaid.items():
        said = given.get(option)
        if option in OPTIONS[kind] and (list(said) if isinstance(said, tuple) else said) == same:
            del given[option]
    return given
