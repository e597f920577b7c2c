"""Why: causes as values with advice, and what they are concluded from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lynxbench.diagnosis.facts import KernelFacts, MaskFacts, TensorFacts, TimeFacts, WeightFacts
from lynxbench.specs.scheme import Scheme


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
    Cause.SLOW_INTEGER_KERNEL: "Leave this op type in float (op_types_kept_float); int8-dynamic may give way to "
    "int8-static, whose kernels are others.",
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
    """Everything that causes are concluded from.

    saturates         u8 × s8 products may be cut off on this host
    other_types_time  of the same scheme with uint8 activations, where the candidate's are int8
    """

    scheme: Scheme
    tensors: Sequence[TensorFacts]
    weights: Sequence[WeightFacts]
    masks: Sequence[MaskFacts]
    kernels: KernelFacts
    saturates: bool
    on_x86: bool
    time: TimeFacts | None = None
    reference_time: TimeFacts | None = None
    other_types_time: TimeFacts | None = None
