"""What was found about one candidate: frozen, plain values only, None where a number is undefined.

The parts of a `Diagnosis` cross the pipe from the child as JSON (`as_plain`, `from_plain`), and are what `--json`
prints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class TensorFacts:
    """An activation: as fp32 computes it over the test samples, and how far the candidate's is from it.

    producer         the op type that computes it; ``input`` for an input of the graph
    node, readers    the node that computes it, and those that read it: it is in float once all of them are left there
    sqnr_db, cosine  of the candidate's values against fp32's, errors of earlier layers included; None where the
                     candidate has no such tensor
    low, high, kurtosis, p999  over all values; kurtosis is 3 for a normal distribution, p999 the magnitude that 99.9 %
                     do not exceed
    represented_low, represented_high  what the candidate's scale can express; None where it is not quantized
    calibration_low, calibration_high  met on the calibration samples; None without any
    outside_share    of fp32's values more than one of its 256 steps beyond what can be expressed
    worst_field, worst_stratum, worst_outside_share  where that share is largest, of strata with enough samples
    distance         Kolmogorov–Smirnov, in [0, 1], of the values met on calibration and on test samples
    """

    name: str
    producer: str
    sqnr_db: float | None
    cosine: float | None
    low: float
    high: float
    kurtosis: float | None
    p999: float
    represented_low: float | None = None
    represented_high: float | None = None
    calibration_low: float | None = None
    calibration_high: float | None = None
    outside_share: float | None = None
    worst_field: str | None = None
    worst_stratum: str | None = None
    worst_outside_share: float | None = None
    distance: float | None = None
    node: str = ""
    readers: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)

    @property
    def outlier_ratio(self) -> float | None:
        """The largest magnitude over the 99.9th percentile's."""
        return self.largest / self.p999 if self.p999 else None


@dataclass(frozen=True)
class WeightFacts:
    """A weight of the fp32 model.

    channel_range_ratio  the largest magnitude of the widest output channel over that of the median one
    top_share            share of Σ w² in the largest 1 % of the weights
    effective_rank       exp of the entropy of the normalized singular values of [channels, rest]
    outlier_ratio        the largest magnitude over the 99th percentile's
    scales               how many the candidate stores it with: 1 per tensor, else one a channel; None if in float
    sqnr_db              of the stored integers against the weight
    bulk_sqnr_db         the same of all but the largest 1 %: what an outlier leaves of the others
    """

    name: str
    node: str
    op_type: str
    shape: tuple[int, ...]
    channel_range_ratio: float | None
    top_share: float | None
    effective_rank: float | None
    outlier_ratio: float | None
    scales: int | None
    sqnr_db: float | None
    bulk_sqnr_db: float | None


@dataclass(frozen=True)
class MaskFacts:
    """A constant that is added or chosen before a Softmax.

    constant, value  its name and its element of largest magnitude
    tensor           what it stretches the range of: the Softmax's input
    unmasked_largest the largest magnitude of the values that it is combined with
    quantized        whether the candidate quantizes that tensor
    """

    constant: str
    value: float
    tensor: str
    softmax: str
    unmasked_largest: float
    quantized: bool


@dataclass(frozen=True)
class KernelFacts:
    """How the candidate's outputs depend on the kernels and on the batch, in dB (SQNR) over the model's outputs.

    as_written_sqnr_db   fp32 against the candidate's graph computed op by op, graph optimizations disabled
    fused_sqnr_db        fp32 against the candidate as it runs, integer kernels included
    kernels_sqnr_db      the one against the other: what the integer kernels alone change
    batch_sqnr_db        the candidate's answers one by one against those in a batch; fp32_batch_sqnr_db likewise
    """

    as_written_sqnr_db: float | None
    fused_sqnr_db: float | None
    kernels_sqnr_db: float | None
    batch_sqnr_db: float | None
    fp32_batch_sqnr_db: float | None


@dataclass(frozen=True)
class OpTime:
    """Kernels of one op type in one run: how many, their time in all, and the types of what they read."""

    op_type: str
    kernels: int
    ns: float
    reads: tuple[str, ...]


@dataclass(frozen=True)
class TimeFacts:
    """Where the time of one run goes, by op type, largest first, from ONNX Runtime's own profile.

    run_ns      median of a run without the profiler; profiled_ns with it; kernels_ns is the sum over `ops`
    runs        how many were profiled
    """

    run_ns: float
    profiled_ns: float
    kernels_ns: float
    runs: int
    batch_size: int
    ops: tuple[OpTime, ...]


def as_plain(facts: Any) -> dict[str, Any]:
    """A dataclass of this module as JSON's own types."""
    return asdict(facts)


def from_plain(kind: type[T], data: dict[str, Any]) -> T:
    """The inverse of `as_plain`, after JSON has made lists of tuples."""
    assert is_dataclass(kind)
    known = {field.name for field in fields(kind)}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in data.items() if name in known})
