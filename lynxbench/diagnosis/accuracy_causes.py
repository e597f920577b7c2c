"""Why a candidate loses accuracy: what the numbers hold up, by thresholds that say where they come from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lynxbench.diagnosis.causes import Cause, Evidence, Finding
from lynxbench.diagnosis.facts import TensorFacts

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


def accuracy_findings(evidence: Evidence) -> Iterator[Finding]:
    """Every cause at every place, the worst place of each cause first."""
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
        lost = weight.bulk_sqnr_db is not None and weight.bulk_sqnr_db < POOR_SQNR_DB
        if (weight.outlier_ratio or 0) >= EXTREME_WEIGHT_RATIO and lost:
            yield Finding(
                Cause.EXTREME_WEIGHT,
                weight.name,
                f"its largest weight is {weight.outlier_ratio:.0f} times its 99th percentile, and 1 % of the weights "
                f"hold {100 * (weight.top_share or 0):.0f} % of its norm's square; the others' error is "
                f"{weight.bulk_sqnr_db:.1f} dB below them; node {weight.node}",
                {
                    "outlier_ratio": weight.outlier_ratio,
                    "top_share": weight.top_share,
                    "bulk_sqnr_db": weight.bulk_sqnr_db,
                },
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
            f"one by one, the same samples are answered otherwise than in a batch: the error is {batch:.1f} dB below "
            f"the signal, where fp32's " + ("is none" if math.isinf(float_batch) else f"is {float_batch:.0f} dB below"),
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
