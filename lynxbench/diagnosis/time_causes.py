"""Why a candidate is not faster: what ONNX Runtime's own profile holds up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lynxbench.diagnosis.causes import Cause, Evidence, Finding
from lynxbench.diagnosis.facts import TimeFacts

# Of the time of a run: what is below a tenth is not why a candidate is slow.
TIME_SHARE = 0.1
# Kernels on integers that take longer than those in float whose place they took, beyond the noise of a profile.
SLOWER_RATIO = 1.5

# Of runs that took turns: more than medians of them move.
TYPES_RATIO = 1.25

_PRODUCTS = ("Conv", "MatMul", "Gemm")
_CASTS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
_SIGNED, _UNSIGNED = "int8", "uint8"


def time_findings(evidence: Evidence) -> Iterator[Finding]:
    """Every cause at every place; none where the candidate is faster, or where there is no profile."""
    time, reference = evidence.time, evidence.reference_time
    if time is None or reference is None or not time.kernels_ns or not reference.kernels_ns:
        return
    yield from _other_types(evidence, time)
    if time.run_ns < reference.run_ns:
        return  # it is faster, whatever the profiler, which slows kernels down, says of one of them
    for product in _PRODUCTS:
        before = sum(op.ns for op in reference.ops if product in op.op_type)
        after = [op for op in time.ops if product in op.op_type]
        spent = sum(op.ns for op in after)
        integers = [op for op in after if _SIGNED in _read(op.reads) or _UNSIGNED in _read(op.reads)]
        if not integers or spent < SLOWER_RATIO * before or spent < TIME_SHARE * time.kernels_ns:
            continue
        worst = max(integers, key=lambda op: op.ns)
        both_signed = all(
            _read((read,)).count(_SIGNED) >= 2 and _UNSIGNED not in _read((read,)) for read in worst.reads
        )
        yield Finding(
            Cause.TYPES_OFF_FAST_PATH if evidence.on_x86 and both_signed else Cause.SLOW_INTEGER_KERNEL,
            worst.op_type,
            f"{_kernels(worst.kernels, worst.op_type)} {worst.reads[0]} {_take(worst.kernels)} "
            f"{worst.ns / 1e3:.0f} µs of a run "
            f"({100 * worst.ns / time.kernels_ns:.0f} %); all {product} kernels of fp32 take {before / 1e3:.0f} µs",
            {"ns": worst.ns, "share": worst.ns / time.kernels_ns, "fp32_ns": before},
        )
    casts = sum(op.ns for op in time.ops if op.op_type in _CASTS)
    if casts >= TIME_SHARE * time.kernels_ns:
        count = sum(op.kernels for op in time.ops if op.op_type in _CASTS)
        who = "kernel that only casts" if count == 1 else "kernels that only cast"
        yield Finding(
            Cause.UNFUSED_QDQ,
            "QuantizeLinear and DequantizeLinear",
            f"{count} {who} numbers {_take(count)} {casts / 1e3:.0f} µs of a run "
            f"({100 * casts / time.kernels_ns:.0f} %)",
            {"ns": casts, "share": casts / time.kernels_ns, "kernels": float(count)},
        )


def _other_types(evidence: Evidence, time: TimeFacts) -> Iterator[Finding]:
    """The same scheme in the types that x86 is fast with, measured beside it: no guess from the types alone."""
    other = evidence.other_types_time
    if other is None or not evidence.on_x86 or time.run_ns < TYPES_RATIO * other.run_ns:
        return
    theirs = {op.op_type: op.ns for op in other.ops}
    worst = max(time.ops, key=lambda op: op.ns - theirs.get(op.op_type, 0.0))
    yield Finding(
        Cause.TYPES_OFF_FAST_PATH,
        worst.op_type,
        f"with uint8 activations, all else the same, a run takes {other.run_ns / 1e3:.0f} µs instead of "
        f"{time.run_ns / 1e3:.0f}; {_kernels(worst.kernels, worst.op_type)} {worst.reads[0]} {_take(worst.kernels)} "
        f"{worst.ns / 1e3:.0f} µs, there {theirs.get(worst.op_type, 0.0) / 1e3:.0f}",
        {"run_ns": time.run_ns, "other_types_run_ns": other.run_ns},
    )


def float_op_type(kernel: str) -> str:
    """The op type of the model that a kernel on integers stands for: QGemm and QLinearConv are ONNX Runtime's names."""
    plain = {"QGemm": "Gemm", "DynamicQuantizeMatMul": "MatMul"}.get(kernel, kernel)
    return plain.removeprefix("QLinear").removesuffix("ToFloat").removesuffix("Integer")


def _kernels(count: int, name: str) -> str:
    return f"{count} kernel{'' if count == 1 else 's'} {name} on"


def _take(count: int) -> str:
    return "takes" if count == 1 else "take"


def _read(reads: Sequence[str]) -> list[str]:
    return " ".join(reads).split()
