"""Why: causes as values, each with the numbers that speak for it, found by thresholds that say where they come from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lynxbench.diagnosis.facts import KernelFacts, MaskFacts, TensorFacts, TimeFacts, WeightFacts
from lynxbench.specs.scheme import Scheme

# Three of eight bits: what is left quantizes the bulk of the values in 32 steps instead of 256.
LOST_RANGE_RATIO = 8.0
# ... and five: below 8 steps a tensor is hardly there. Weights of trained networks stay far below (of the built-in
# models, below 4), so that this is a fault or an outlier that was trained for.
EXTREME_WEIGHT_RATIO = 32.0
# An error of a hundredth of the signal's energy; above it, the tensors of the built-in models keep their predictions.
POOR_SQNR_DB = 20.0
# MinMax on fair samples leaves next to nothing outside, percentile 99.99 by its name 0.01 %.
OUTSIDE_SHARE = 0.01
# Kolmogorov–Smirnov between values met on calibration and on test samples: the built-in in-domain sets stay below
# 0.15, though three of four test images are corrupted; noise gives 0.5 and more.
OTHER_DISTRIBUTION = 0.3
# Half of the error's energy comes from the kernels, not from the scheme.
KERNELS_DB = 3.0
# Answers one by one against those in a batch: a part in ten thousand of the energy; float32's rounding is a millionth
# of that.
BATCH_SQNR_DB = 40.0
# Of the time of a run: what is below a tenth is not why a candidate is slow.
TIME_SHARE = 0.1
# Kernels on integers that take longer than those in float whose place they took, beyond the noise of a profile.
SLOWER_RATIO = 1.5

_PRODUCTS = ("Conv", "MatMul", "Gemm")
_CASTS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
_SIGNED, _UNSIGNED = "int8", "uint8"


class Cause(StrEnum):
    """Why a candidate loses accuracy (first) or is not faster (then), the gravest first; `advice` says what to try."""

    MASK_CONSTANT_STRETCHES_RANGE = "mask_constant_stretches_range"
    EXTREME_WEIGHT = "extreme_weight"
    CALIBRATION_MISSES_RANGE = "calibration_misses_range"
    CALIBRATION_FROM_OTHER_DISTRIBUTION = "calibration_from_other_distribution"
    PRODUCTS_SATURATE = "products_saturate"
    ACTIVATION_OUTLIER = "activation_outlier"
    PER_TENSOR_WEIGHTS = "per_tensor_weights"
    BATCH_DEPENDENT_SCALES = "batch_dependent_scales"
    TYPES_OFF_FAST_PATH = "types_off_fast_path"
    SLOW_INTEGER_KERNEL = "slow_integer_kernel"
    UNFUSED_QDQ = "unfused_qdq"

    @property
    def advice(self) -> str:
        """What to try, in a sentence."""
        return _ADVICE[self]

    @property
    def is_about_time(self) -> bool:
        """Whether it costs time rather than accuracy."""
        return self in {Cause.TYPES_OFF_FAST_PATH, Cause.SLOW_INTEGER_KERNEL, Cause.UNFUSED_QDQ}


_ADVICE = {
    Cause.MASK_CONSTANT_STRETCHES_RANGE: "Export the mask with a smaller constant (−40 hides a score from a Softmax as "
    "well), or keep the op types between the scores and the Softmax in float: op_types_kept_float, or op_types without "
    "them.",
    Cause.EXTREME_WEIGHT: "Look where the weight comes from: a fault in training or export is mended there; else keep "
    "its node in float: nodes_kept_float.",
    Cause.CALIBRATION_MISSES_RANGE: "Calibrate on samples like those that are asked, of every stratum, or by "
    "method minmax.",
    Cause.CALIBRATION_FROM_OTHER_DISTRIBUTION: "Calibrate on samples of the domain that the test set is from.",
    Cause.PRODUCTS_SATURATE: "This processor adds up u8 × s8 products in 16 bits: use 7-bit weights (reduce_range = "
    'true), or weight_type = "uint8", which takes another kernel.',
    Cause.ACTIVATION_OUTLIER: "Try method percentile, smooth_alpha = 0.5, activations of 16 bits, or leave the node in "
    "float.",
    Cause.PER_TENSOR_WEIGHTS: "Give each output channel a scale of its own: per_channel = true.",
    Cause.BATCH_DEPENDENT_SCALES: "Score at the batch size that is deployed, or calibrate: int8-static's scales are "
    "fixed.",
    Cause.TYPES_OFF_FAST_PATH: 'On x86 take activation_type = "uint8" with weight_type = "int8".',
    Cause.SLOW_INTEGER_KERNEL: "Leave this op type in float (op_types_kept_float), or use int8-static, whose kernels "
    "are others.",
    Cause.UNFUSED_QDQ: "Quantize the op types on both sides as well, or neither: numbers are cast back and forth "
    "between them.",
}


@dataclass(frozen=True)
class Finding:
    """A cause with its evidence: `where` names a tensor, weight, constant or op type; `said` is the evidence in words.

    others  further places where the same was found
    numbers what was compared with the thresholds, by name
    """

    cause: Cause
    where: str
    said: str
    numbers: Mapping[str, float | str | None]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Everything that causes are concluded from. `saturates`: u8 × s8 products may be cut off on this host."""

    scheme: Scheme
    tensors: Sequence[TensorFacts]
    weights: Sequence[WeightFacts]
    masks: Sequence[MaskFacts]
    kernels: KernelFacts
    saturates: bool
    on_x86: bool
    time: TimeFacts | None = None
    reference_time: TimeFacts | None = None


def find_causes(evidence: Evidence) -> tuple[Finding, ...]:
    """Every cause that the evidence holds up, the gravest first; one finding a cause, at its worst place."""
    by_cause: dict[Cause, list[Finding]] = {}
    for finding in (*_accuracy(evidence), *_time(evidence)):
        by_cause.setdefault(finding.cause, []).append(finding)
    return tuple(
        Finding(
            first.cause,
            first.where,
            first.said,
            first.numbers,
            tuple(dict.fromkeys(one.where for one in rest if one.where != first.where)),
        )
        for cause in Cause
        if cause in by_cause
        for first, *rest in [by_cause[cause]]
    )


def _accuracy(evidence: Evidence) -> Iterator[Finding]:
    yield from _masks(evidence)
    yield from _extreme_weights(evidence)
    yield from _ranges(evidence)
    yield from _kernels(evidence)
    yield from _outliers(evidence)
    yield from _per_tensor(evidence)


def _masks(evidence: Evidence) -> Iterator[Finding]:
    masks = [mask for mask in evidence.masks if mask.quantized and mask.unmasked_largest > 0]
    for mask in sorted(masks, key=lambda one: -abs(one.value) / one.unmasked_largest):
        ratio = abs(mask.value) / mask.unmasked_largest
        if ratio >= LOST_RANGE_RATIO:
            yield Finding(
                Cause.MASK_CONSTANT_STRETCHES_RANGE,
                mask.constant,
                f"the constant {mask.value:g} before {mask.softmax} stretches the range of {mask.tensor} to "
                f"{ratio:.0f} times that of the scores themselves ({mask.unmasked_largest:.3g}): in 8 bits a step is "
                f"{abs(mask.value) / 255:.3g}",
                {"constant": mask.value, "unmasked_largest": mask.unmasked_largest, "range_ratio": ratio},
            )


def _extreme_weights(evidence: Evidence) -> Iterator[Finding]:
    found = [one for one in evidence.weights if one.outlier_ratio is not None and one.scales is not None]
    for weight in sorted(found, key=lambda one: -(one.outlier_ratio or 0)):
        if (weight.outlier_ratio or 0) >= EXTREME_WEIGHT_RATIO:
            yield Finding(
                Cause.EXTREME_WEIGHT,
                weight.name,
                f"its largest weight is {weight.outlier_ratio:.0f} times its 99th percentile, and 1 % of the weights "
                f"hold {100 * (weight.top_share or 0):.0f} % of its norm's square; node {weight.node}",
                {"outlier_ratio": weight.outlier_ratio, "top_share": weight.top_share, "sqnr_db": weight.sqnr_db},
            )


def _ranges(evidence: Evidence) -> Iterator[Finding]:
    quantized = [one for one in evidence.tensors if one.represented_low is not None]

    def worst(one: TensorFacts) -> float:
        return max(one.outside_share or 0.0, one.worst_outside_share or 0.0)

    for tensor in sorted(quantized, key=lambda one: -worst(one)):
        if worst(tensor) < OUTSIDE_SHARE or tensor.outside_share is None:
            break
        stratum = ""
        if tensor.worst_outside_share is not None:
            stratum = f", {100 * tensor.worst_outside_share:.1f} % for {tensor.worst_field}={tensor.worst_stratum}"
        yield Finding(
            Cause.CALIBRATION_MISSES_RANGE,
            tensor.name,
            f"{100 * tensor.outside_share:.1f} % of its values lie outside of what its scale can express{stratum}: met "
            f"{tensor.low:.3g} to {tensor.high:.3g}, expressed {tensor.represented_low:.3g} to "
            f"{tensor.represented_high:.3g}",
            {
                "outside_share": tensor.outside_share,
                "worst_outside_share": tensor.worst_outside_share,
                "worst_field": tensor.worst_field,
                "worst_stratum": tensor.worst_stratum,
            },
        )
    for tensor in sorted(quantized, key=lambda one: -(one.distance or 0.0)):
        if (tensor.distance or 0.0) < OTHER_DISTRIBUTION:
            break
        yield Finding(
            Cause.CALIBRATION_FROM_OTHER_DISTRIBUTION,
            tensor.name,
            f"its values on the calibration samples ({tensor.calibration_low:.3g} to {tensor.calibration_high:.3g}) "
            f"are distributed otherwise than on the test samples ({tensor.low:.3g} to {tensor.high:.3g}): "
            f"Kolmogorov–Smirnov distance {tensor.distance:.2f}, 0 for the same",
            {"distance": tensor.distance},
        )


def _kernels(evidence: Evidence) -> Iterator[Finding]:
    facts = evidence.kernels
    written, fused = facts.as_written_sqnr_db, facts.fused_sqnr_db
    if (
        evidence.saturates
        and evidence.scheme.multiplies_u8_by_s8
        and written is not None
        and fused is not None
        and written - fused >= KERNELS_DB
    ):
        yield Finding(
            Cause.PRODUCTS_SATURATE,
            "integer kernels",
            f"the same graph, computed op by op in float, is {written:.1f} dB above its error; with this processor's "
            f"integer kernels {fused:.1f} dB",
            {"as_written_sqnr_db": written, "fused_sqnr_db": fused, "kernels_sqnr_db": facts.kernels_sqnr_db},
        )
    batch, float_batch = facts.batch_sqnr_db, facts.fp32_batch_sqnr_db
    if batch is not None and float_batch is not None and batch < BATCH_SQNR_DB < float_batch:
        yield Finding(
            Cause.BATCH_DEPENDENT_SCALES,
            "outputs",
            f"one by one, the same samples are answered otherwise than in a batch: the error is {batch:.1f} dB below the "
            f"signal, where fp32's " + ("is none" if math.isinf(float_batch) else f"is {float_batch:.0f} dB below"),
            {"batch_sqnr_db": batch, "fp32_batch_sqnr_db": float_batch},
        )


def _outliers(evidence: Evidence) -> Iterator[Finding]:
    masked = {mask.tensor for mask in evidence.masks} | {mask.constant for mask in evidence.masks}
    for tensor in sorted(evidence.tensors, key=lambda one: -_stretch(one)):
        if _stretch(tensor) < LOST_RANGE_RATIO:
            break
        if tensor.name not in masked and tensor.sqnr_db is not None and tensor.sqnr_db < POOR_SQNR_DB:
            yield Finding(
                Cause.ACTIVATION_OUTLIER,
                tensor.name,
                f"its range reaches {_stretch(tensor):.0f} times as far as 99.9 % of its values ({tensor.p999:.3g}; "
                f"kurtosis {tensor.kurtosis or 0:.0f}), and its error is {tensor.sqnr_db:.1f} dB below the signal",
                {"range_ratio": _stretch(tensor), "kurtosis": tensor.kurtosis, "sqnr_db": tensor.sqnr_db},
            )


def _stretch(tensor: TensorFacts) -> float:
    """How many times as far as the 99.9th percentile the expressed range reaches; 0 where nothing is quantized."""
    if tensor.represented_low is None or tensor.represented_high is None or tensor.p999 == 0:
        return 0.0
    return max(-tensor.represented_low, tensor.represented_high) / tensor.p999


def _per_tensor(evidence: Evidence) -> Iterator[Finding]:
    found = [one for one in evidence.weights if one.scales == 1 and one.channel_range_ratio is not None]
    for weight in sorted(found, key=lambda one: -(one.channel_range_ratio or 0)):
        if (weight.channel_range_ratio or 0) >= LOST_RANGE_RATIO:
            yield Finding(
                Cause.PER_TENSOR_WEIGHTS,
                weight.name,
                f"one scale serves all channels, and the widest reaches {weight.channel_range_ratio:.0f} times as far "
                f"as the median one; node {weight.node}",
                {"channel_range_ratio": weight.channel_range_ratio, "sqnr_db": weight.sqnr_db},
            )


def _time(evidence: Evidence) -> Iterator[Finding]:
    time, reference = evidence.time, evidence.reference_time
    if time is None or reference is None or not time.kernels_ns or not reference.kernels_ns:
        return
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
            f"{worst.kernels} kernels {worst.op_type} on {worst.reads[0]} take {worst.ns / 1e3:.0f} µs of a run "
            f"({100 * worst.ns / time.kernels_ns:.0f} %); all {product} kernels of fp32 take {before / 1e3:.0f} µs",
            {"ns": worst.ns, "share": worst.ns / time.kernels_ns, "fp32_ns": before},
        )
    casts = sum(op.ns for op in time.ops if op.op_type in _CASTS)
    if casts >= TIME_SHARE * time.kernels_ns:
        count = sum(op.kernels for op in time.ops if op.op_type in _CASTS)
        yield Finding(
            Cause.UNFUSED_QDQ,
            "QuantizeLinear and DequantizeLinear",
            f"{count} kernels that only cast numbers take {casts / 1e3:.0f} µs of a run "
            f"({100 * casts / time.kernels_ns:.0f} %)",
            {"ns": casts, "share": casts / time.kernels_ns, "kernels": float(count)},
        )


def _read(reads: Sequence[str]) -> list[str]:
    return " ".join(reads).split()
