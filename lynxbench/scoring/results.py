"""What scoring hands back: frozen, plain Python values only, None (with a reason) where a number is undefined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VerdictName = Literal["robust", "fragile", "inconclusive", "reference"]


@dataclass(frozen=True)
class Score:
    """One metric of one candidate on one set of samples, beside the reference on the same samples.

    stratum_field, stratum  which samples, e.g. ("view", "blur-2"); both None for all that the metric is declared on
    n, n_sources            samples, and the originals behind them (views of one original are not independent)
    n_failed, n_failed_reference  how many of the n held a NaN; they are in n and count as wrong
    value, reference_value  in the metric's unit, each with its own interval
    delta                   value − reference_value, in the metric's unit, with a *paired* interval
    loss                    delta signed so that positive is worse, with the same interval
    test, p_value           of "delta is 0": mcnemar-exact, mcnemar-rao-scott, paired-bootstrap,
                            paired-cluster-bootstrap
    p_value_corrected       Holm's correction over all the strata reported; None outside strata
    interval_method         of the paired interval: tango-score, tango-score-rao-scott, bootstrap-bca,
                            bootstrap-percentile, bootstrap-bias-aware; a bootstrap ends in "+tango-bound" where few
                            samples differ (see `intervals`)
    resamples, seed         of the bootstrap; resamples is 0 for closed forms
    reason                  why something above is None
    """

    name: str
    metric: str
    role: str
    direction: str
    unit: str
    stratum_field: str | None
    stratum: str | None
    n: int
    n_sources: int
    n_failed: int
    n_failed_reference: int
    confidence: float
    seed: int
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    reference_value: float | None = None
    reference_low: float | None = None
    reference_high: float | None = None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None
    test: str | None = None
    p_value: float | None = None
    p_value_corrected: float | None = None
    interval_method: str | None = None
    resamples: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the loss of the primary metric stays within the rubric's tolerance.

    tolerance_loss  the tolerance as a loss in the metric's unit, at the reference's score
    excess          loss − tolerance_loss: negative is within the tolerance. Its interval also carries the
                    uncertainty of the reference's score where the tolerance depends on it
    resolvable_loss the smallest loss that these samples would have told from none, four times in five
    required_n      about how many samples would decide (None when decided, or when no number would)
    """

    verdict: VerdictName
    metric: str
    tolerance_kind: str
    tolerance_value: float
    tolerance_loss: float | None = None
    excess: float | None = None
    excess_low: float | None = None
    excess_high: float | None = None
    resolvable_loss: float | None = None
    required_n: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Agreement:
    """How alike candidate and reference answer; needs no labels.

    flip_rate       share of the n samples whose decision differs (class, first id retrieved, text), in [0, 1];
                    a sample that failed on one side only is a flip
    kl_divergence   mean over samples of KL(reference ‖ candidate) of the softmax, in nats
    sqnr_db         10·log10(Σ reference² ∕ Σ (reference − candidate)²) over all logits, in dB
    n_compared      samples behind the last two: those that failed on neither side
    """

    n: int
    n_compared: int
    flip_rate: float | None = None
    flip_rate_low: float | None = None
    flip_rate_high: float | None = None
    kl_divergence: float | None = None
    sqnr_db: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Scores:
    """Everything that a rubric asks of one candidate.

    n, n_candidate, n_reference  samples in common, answered by the candidate, answered by the reference
    metrics        in the rubric's order
    strata         the primary metric by each of the rubric's fields; those too small have value None and a reason
    worst_stratum  the reported stratum with the largest loss; its interval is its own, not corrected for being picked
    """

    n: int
    n_candidate: int
    n_reference: int
    metrics: tuple[Score, ...]
    strata: tuple[Score, ...]
    worst_stratum: Score | None
    verdict: Verdict
    agreement: Agreement

    @property
    def primary(self) -> Score:
        """The score that the verdict is about."""
        return next(score for score in self.metrics if score.role == "primary")
