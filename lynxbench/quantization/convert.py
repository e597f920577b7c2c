"""A prepared model rewritten in a scheme's numbers, by ONNX Runtime's own converters."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.quantization.failures import failing_as
from lynxbench.quantization.ranges import Ranges, write_for_onnxruntime
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.scheme import Scheme


def to_float16(prepared: Any, scheme: Scheme) -> Any:
    """The model with float16 weights and activations; ops that have no float16 form stay in float32, between casts."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers import float16

    kept = [*float16.DEFAULT_OP_BLOCK_LIST, *(scheme.op_types_kept_float or ())]
    with failing_as("converting to float16"):
        model = float16.convert_float_to_float16(prepared, keep_io_types=bool(scheme.keep_io_types), op_block_list=kept)
        ONNXModel(model).topological_sort()
    return model


def quantizable_op_types(scheme: Scheme) -> frozenset[str]:
    """The op types that "all" means for an int8 scheme: those that ONNX Runtime's quantizer knows."""
    from onnxruntime.quantization import registry

    if scheme.kind == "int8-dynamic":
        return frozenset(registry.IntegerOpsRegistry)
    if scheme.format == "qoperator":
        return frozenset(registry.QLinearOpsRegistry)
    both = frozenset(registry.QLinearOpsRegistry) | frozenset(registry.QDQRegistry)
    return both - {"Softmax"} if scheme.kind == "fp8" else both  # see `why_unsupported`


def declared_op_types(prepared: Any, scheme: Scheme) -> tuple[str, ...]:
    """The op types to quantize, sorted; raises `CellError` for one that this kind of scheme cannot quantize."""
    known = quantizable_op_types(scheme)
    kept = frozenset(scheme.op_types_kept_float or ())
    present = {node.op_type for node in prepared.graph.node}
    named = frozenset(scheme.op_types) if isinstance(scheme.op_types, tuple) else frozenset()
    quantizable = known | named | ({"Gemm"} if scheme.kind == "int8-dynamic" else set())
    for op_type in sorted(kept - quantizable):
        hint = did_you_mean(op_type, quantizable)
        raise CellError(
            "unsupported",
            f"op_types_kept_float: {scheme.kind} never quantizes {op_type!r}" + (f"; {hint}" if hint else ""),
        )
    if scheme.op_types == "all" or scheme.op_types is None:
        return tuple(sorted(known - kept))
    if scheme.kind == "int8-dynamic":
        known |= {"Gemm"}  # rewritten as MatMul on the way
    elif scheme.format != "qoperator":
        known |= present  # any op can stand between a QuantizeLinear and a DequantizeLinear
    for op_type in scheme.op_types:
        if op_type not in known:
            hint = did_you_mean(op_type, known)
            raise CellError(
                "unsupported", f"{scheme.kind} cannot quantize op type {op_type!r}" + (f"; {hint}" if hint else "")
            )
    return tuple(sorted(frozenset(scheme.op_types) - kept))


def to_int8_dynamic(prepared: Any, scheme: Scheme, left_in_float: Collection[str] = ()) -> Any:
    """The model with int8 weights and scales for activations that each run computes anew."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    op_types = set(declared_op_types(prepared, scheme))
    # ONNX Runtime rewrites each Gemm as NAME_MatMul and NAME_Add; what was declared speaks of the model's own ops.
    excluded = [
        f"{node.name}_MatMul" if node.op_type == "Gemm" else node.name
        for node in prepared.graph.node
        if node.name in left_in_float
    ]
    if scheme.op_types == "all" and "Gemm" not in (scheme.op_types_kept_float or ()) and "MatMul" in op_types:
        op_types.add("Gemm")
    if scheme.op_types != "all" or scheme.op_types_kept_float:
        if "MatMul" in op_types and "Gemm" not in op_types:
            excluded += [f"{node.name}_MatMul" for node in prepared.graph.node if node.op_type == "Gemm"]
        elif "Gemm" in op_types and "MatMul" not in op_types:
            excluded += [node.name for node in prepared.graph.node if node.op_type == "MatMul"]
    op_types = {"MatMul" if op_type == "Gemm" else op_type for op_type in op_types}
    with tempfile.TemporaryDirectory(prefix="lynxbench-quantize-") as folder, failing_as("quantizing"):
        source, target = _placed(prepared, folder)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=sorted(op_types),
            per_channel=bool(scheme.per_channel),
            reduce_range=bool(scheme.reduce_range),
            weight_type=_type(scheme.weight_type, QuantType),
            nodes_to_exclude=sorted(excluded),
        )
        return _loaded(target)


def to_int8_static(prepared: Any, scheme: Scheme, ranges: Ranges, left_in_float: Collection[str]) -> Any:
    """The model with weights and activations in int8, or float8e4m3fn for fp8, on the given ranges.

    Nodes named in `left_in_float` stay float.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory(prefix="lynxbench-quantize-") as folder, failing_as("quantizing"):
        source, target = _placed(prepared, folder)
        observed = Path(folder) / "ranges.json"
        write_for_onnxruntime(ranges, observed)
        quantize_static(
            source,
            target,
            # Ours stand in for the ranges that its own calibrators would find (and would need all activations for).
            calibration_data_reader=None,
            calibration_cache_path=observed,
            calibrate_method=CalibrationMethod.Distribution if scheme.kind == "fp8" else CalibrationMethod.MinMax,
            quant_format=QuantFormat.QOperator if scheme.format == "qoperator" else QuantFormat.QDQ,
            op_types_to_quantize=list(declared_op_types(prepared, scheme)),
            per_channel=bool(scheme.per_channel),
            reduce_range=bool(scheme.reduce_range),
            activation_type=_type(scheme.activation_type or scheme.kind, QuantType),
            weight_type=_type(scheme.weight_type or scheme.kind, QuantType),
            nodes_to_exclude=sorted(left_in_float),
            extra_options={
                name: value
                for name, value in (
                    ("ActivationSymmetric", _symmetric_activations(scheme)),
                    ("WeightSymmetric", scheme.symmetric_weights),
                )
                if value is not None
            },
        )
        return _loaded(target)


def _symmetric_activations(scheme: Scheme) -> bool | None:
    """Whether ranges reach as far below zero as above.

    ONNX Runtime drops a Relu before a quantized tensor unless told so, as the tensor's range would end at zero. A
    distribution's range does not: without this, a network whose ranges come from it has lost its Relus.
    """
    return True if scheme.method == "distribution" else scheme.symmetric_activations


def _type(name: str | None, types: Any) -> Any:
    """ONNX Runtime's name of an integer type: uint8 is QUInt8."""
    assert name is not None  # the kind's default at least
    if name == "fp8":
        return types.QFLOAT8E4M3FN
    return types["Q" + name.replace("uint", "UInt") if name[0] == "u" else "Q" + name.capitalize()]


def _placed(prepared: Any, folder: str) -> tuple[Path, Path]:
    """The model as a file of its own: the quantizer writes a second file beside its source."""
    import onnx

    source = Path(folder) / "source.onnx"
    onnx.save(prepared, source)
    return source, Path(folder) / "target.onnx"


def _loaded(path: Path) -> Any:
    import onnx

    return onnx.load(path)
