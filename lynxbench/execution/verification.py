"""What a session really is: the judgement that stands between a claim and a timed row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from lynxbench.execution.tensors import Array

# A float32 model that is computed in float32 differs by rounding: 1e-6 to 1e-5 of the largest output on the providers
# seen. Half precision and TF32 round at 2**-11 = 4.9e-4. The threshold lies between.
FLOAT32_DIFFERENCE_RATIO = 1e-4
# Beyond this root-mean-square error (relative to the reference's own) the outputs are those of another function.
# Quantized models differ legitimately, so their bound is wide.
WRONG_RATIO = {"fp32": 0.05, "fp16": 0.2}
WRONG_RATIO_OTHERWISE = 0.5
# Threads at work above those that were asked for: more than the runtime's bookkeeping explains.
SPARE_THREADS = 0.35


class Caution(StrEnum):
    """Something that a reader of the record should know, though the candidate runs."""

    PRECISION_DIFFERS = "precision-differs"
    THREADS_UNSUPPORTED = "threads-unsupported"
    THREADS_NOT_HONOURED = "threads-not-honoured"
    SOME_NODES_ON_CPU = "some-nodes-on-cpu"
    SIMULATED = "simulated"
    OPTIONS_NOT_REPORTED = "options-not-reported"
    PRODUCTS_SATURATE = "products-saturate"

    @property
    def advice(self) -> str:
        return _ADVICE[self]


_ADVICE = {
    Caution.PRECISION_DIFFERS: "The provider computes in another precision than the scheme says; declare the option "
    "that decides it, and compare its speed with schemes of that precision.",
    Caution.THREADS_UNSUPPORTED: "This provider has no setting for threads; do not compare it at equal threads.",
    Caution.THREADS_NOT_HONOURED: "The run used more CPU time than its threads allow; compare it only with all cores "
    "given to every candidate.",
    Caution.SOME_NODES_ON_CPU: "Part of the model runs on the CPU, as the executor's declaration tolerates.",
    Caution.SIMULATED: "Times are those of a simulator; they are never ranked.",
    Caution.OPTIONS_NOT_REPORTED: "The provider does not report all options that it was given; nothing proves that "
    "they have an effect.",
    Caution.PRODUCTS_SATURATE: "This processor has no VNNI: products of uint8 activations and int8 weights may be cut "
    "off at 16 bits, and the accuracy is that of such processors only. Declare reduce_range = true, or weight_type "
    "uint8, for a scheme that is the same everywhere.",
}


@dataclass(frozen=True)
class Verification:
    """What was found out about an open session by running it once.

    providers_before, providers_after  as the session lists them; they must be equal
    nodes            provider → op type → count, before fusion
    cpu_node_share_ratio  nodes left to other providers, 0 for the CPU provider itself
    options          options in effect, as the session reports them, completed with those given but not reported
    threads          intra-op threads that were asked for and set
    cpu_wall_ratio   CPU seconds per wall second over a short burst; None where the run is too slow to repeat
    busy_threads     all CPU time over the busiest thread's in that burst; None likewise, or outside Linux
    wheel            the distribution that owns `onnxruntime`, and the plugin's, with versions
    differences      largest absolute difference of the first outputs to each reference; None: not comparable
    """

    status: Literal["ok", "partial", "rejected", "failed"]
    reason: str | None
    providers_before: tuple[str, ...]
    providers_after: tuple[str, ...]
    nodes: Mapping[str, Mapping[str, int]]
    cpu_node_share_ratio: float
    options: Mapping[str, str]
    threads: int
    cpu_wall_ratio: float | None
    busy_threads: float | None
    differences: tuple[float | None, ...]
    finite: bool
    first_run_ns: int
    precision: str | None
    onnxruntime_version: str
    wheel: str
    device: str | None
    cautions: tuple[Caution, ...]


@dataclass(frozen=True)
class Difference:
    """How far outputs lie from a reference. absolute None: shapes differ, or NaN stands where the reference has none.

    relative_max is the largest difference over the largest reference value, relative_rms the same in the mean square;
    each the worst over the outputs.
    """

    absolute: float | None
    relative_max: float
    relative_rms: float


def compare(outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> Difference:
    """The worst difference over all outputs; a missing output or another shape is not comparable."""
    if set(outputs) != set(reference):
        return Difference(None, np.inf, np.inf)
    absolute = relative_max = relative_rms = 0.0
    for name, expected in reference.items():
        found = outputs[name]
        if found.shape != expected.shape:
            return Difference(None, np.inf, np.inf)
        if found.size == 0:
            continue
        a, b = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        delta = np.where(same, 0.0, a - np.where(np.isfinite(b), b, 0.0))
        if not np.isfinite(delta).all() or not np.isfinite(b[~same]).all():
            return Difference(None, np.inf, np.inf)
        finite = np.where(np.isfinite(b), b, 0.0)
        largest, rms = float(np.abs(finite).max()), float(np.sqrt(np.mean(finite**2)))
        worst = float(np.abs(delta).max())
        absolute = max(absolute, worst)
        relative_max = max(relative_max, worst / largest if largest else (np.inf if worst else 0.0))
        off = float(np.sqrt(np.mean(delta**2)))
        relative_rms = max(relative_rms, off / rms if rms else (np.inf if off else 0.0))
    return Difference(absolute, relative_max, relative_rms)


def wrong_outputs(differences: Sequence[Difference], scheme: str | None) -> str | None:
    """Why the outputs are not those of this model, or None. They are wrong when they are wrong by *every* reference:
    the CPU provider's own int8 kernels differ with the instruction set and the optimization level."""
    if not differences:
        return None
    bound = WRONG_RATIO.get(scheme or "", WRONG_RATIO_OTHERWISE)
    best = min(difference.relative_rms for difference in differences)
    if best <= bound:
        return None
    if not np.isfinite(best):
        return "the first run's outputs cannot be compared with the reference: NaN, infinity or another shape"
    return f"the first run differs from every reference by {best:.0%} (root mean square; {bound:.0%} is tolerated)"


def other_precision(differences: Sequence[Difference], scheme: str | None) -> bool:
    """True when a float32 model gave what float32 arithmetic does not explain."""
    return (
        scheme == "fp32" and bool(differences) and min(d.relative_max for d in differences) > FLOAT32_DIFFERENCE_RATIO
    )


def is_finite(outputs: Mapping[str, Array]) -> bool:
    """True when no floating-point output holds NaN or infinity."""
    return all(bool(np.isfinite(array).all()) for array in outputs.values() if array.dtype.kind in "fc")
