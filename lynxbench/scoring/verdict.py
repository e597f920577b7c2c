"""Does the loss of the primary metric stay within the tolerance, and if that is open, how many samples would tell?"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from lynxbench.scoring.estimate import Estimate
from lynxbench.scoring.intervals import Interval, normal_quantile
from lynxbench.scoring.results import Verdict, VerdictName
from lynxbench.specs.rubric import MetricUse, Tolerance

POWER = 0.8  # chance that `required_n` samples decide, if the excess is what it was measured to be
MOST_SAMPLES = 10**12


def judge(tolerance: Tolerance, use: MetricUse, estimate: Estimate, n: int, confidence: float) -> Verdict:
    """Robust when the interval of the excess (loss − tolerance) ends at or below 0, fragile when it begins above.

    The tolerance is a straight line in the reference's score (`slope`); where its slope is not 0 the two intervals are
    joined as Zou (2007, MOVER) does for correlated estimates, so that the reference's uncertainty counts too.
    """
    worse = -1.0 if use.direction == "higher-is-better" else 1.0
    allowed, slope = tolerated(tolerance, use.direction, estimate.reference)
    loss = worse * estimate.delta
    excess = loss - allowed
    blank = undecided(tolerance, use)
    if estimate.delta_interval is None:
        return replace(blank, tolerance_loss=allowed, excess=excess, reason=estimate.reason)
    ends = sorted(worse * end for end in estimate.delta_interval)
    low, high = ends[0] - allowed, ends[1] - allowed
    if slope != 0 and estimate.reference_interval is not None:
        below = abs(slope) * (estimate.reference - estimate.reference_interval.low)
        above = abs(slope) * (estimate.reference_interval.high - estimate.reference)
        if slope < 0:
            below, above = above, below
        together = worse * math.copysign(1.0, slope) * estimate.correlation
        low = excess - _joined(loss - ends[0], above, together)
        high = excess + _joined(ends[1] - loss, below, together)
    verdict: VerdictName = "robust" if high <= 0 else "fragile" if low > 0 else "inconclusive"
    required, reason = None, None
    if verdict == "inconclusive":
        required, reason = required_n(excess, Interval(low, high), n, confidence, estimate.sparse)
    return replace(
        blank,
        verdict=verdict,
        tolerance_loss=allowed,
        excess=excess,
        excess_low=low,
        excess_high=high,
        resolvable_loss=(ends[1] - ends[0]) / 2 * _with_power(confidence),
        required_n=required,
        reason=reason,
    )


def undecided(
    tolerance: Tolerance, use: MetricUse, verdict: VerdictName = "inconclusive", reason: str | None = None
) -> Verdict:
    """A verdict without numbers: the reference's own, or one that nothing was measured for."""
    return Verdict(verdict, use.name, tolerance.kind, tolerance.value, reason=reason)


def planned_resolution(n: int, confidence: float, flips: float) -> float:
    """The smallest loss of a right-or-wrong metric that n independent pairs tell from none, four times in five.

    (z + z_power) · √(flips ∕ n), where `flips` is the share of samples on which the two differ (Connor 1987).
    """
    return (normal_quantile(confidence) + NormalDist().inv_cdf(POWER)) * math.sqrt(flips / n)


def required_n(
    excess: float, interval: Interval, n: int, confidence: float, sparse: bool = False
) -> tuple[int | None, str | None]:
    """About how many samples would decide, or None and why no number would.

    n' = n · (h ∕ |excess|)² · ((z + z_power) ∕ z)², where h reaches from the excess to the end of its interval on the
    side of 0: half-widths shrink as 1 ∕ √n, and `POWER` of such sets decide. Where no sample differs (`sparse`) the
    interval shrinks as 1 ∕ n and the factor is h ∕ |excess|.
    """
    half = interval.high - excess if excess < 0 else excess - interval.low
    if excess == 0:
        return None, "the measured loss equals the tolerance: no number of samples decides that"
    ratio = half / abs(excess)
    factor = ratio if sparse else (ratio * _with_power(confidence)) ** 2
    if n * factor > MOST_SAMPLES:
        return None, "the measured loss is so near the tolerance that no practical number of samples decides"
    return max(n + 1, math.ceil(n * factor)), None


def _with_power(confidence: float) -> float:
    """By how much an effect must exceed a half-width to be found with `POWER`."""
    z = normal_quantile(confidence)
    return (z + NormalDist().inv_cdf(POWER)) / z


def tolerated(tolerance: Tolerance, direction: str, reference: float) -> tuple[float, float]:
    """The tolerance as a loss in the metric's unit, and how much it grows with the reference's score."""
    if tolerance.kind == "absolute":
        return tolerance.value, 0.0
    if tolerance.kind == "relative":
        return tolerance.value * abs(reference), math.copysign(tolerance.value, reference)
    # error-ratio: the error is 1 − score where more is better, and the score itself (an error rate) where less is.
    extra = tolerance.value - 1
    if direction == "higher-is-better":
        return extra * (1 - reference), -extra
    return extra * reference, extra


def _joined(first: float, second: float, together: float) -> float:
    return math.sqrt(max(0.0, first**2 + second**2 - 2 * together * first * second))
