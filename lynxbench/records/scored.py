"""From scores to the fields of a record, where a sweep writes them and where another rubric is asked later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lynxbench.scoring import Score, Scores


def score_fields(scores: Scores, *, is_reference: bool) -> dict[str, Any]:
    """Every field of a record that comes from its scores."""
    primary, worst = scores.primary, scores.worst_stratum
    fields: dict[str, Any] = {
        "primary_metric": primary.name,
        "primary_direction": primary.direction,
        "primary_value": primary.value,
        "primary_value_low": primary.value_low,
        "primary_value_high": primary.value_high,
        "primary_n": primary.n,
        "primary_failed_n": primary.n_failed,
        "primary_delta": primary.delta,
        "primary_delta_low": primary.delta_low,
        "primary_delta_high": primary.delta_high,
        "primary_loss": primary.loss,
        "primary_loss_low": primary.loss_low,
        "primary_loss_high": primary.loss_high,
        "primary_test": primary.test,
        "primary_p_value": primary.p_value,
        # The reference at another batch size than its own is still compared with itself.
        "verdict": "reference" if is_reference else scores.verdict.verdict,
        "required_n": scores.verdict.required_n,
        "tolerance_loss": scores.verdict.tolerance_loss,
        "resolvable_loss": scores.verdict.resolvable_loss,
        "flip_rate": scores.agreement.flip_rate,
        "kl_divergence": scores.agreement.kl_divergence,
        "sqnr_db": scores.agreement.sqnr_db,
        "scores": [_score(score) for score in scores.metrics],
        "strata_scores": [_score(score) for score in scores.strata],
    }
    if worst is not None and not is_reference:
        fields |= {
            "worst_stratum": f"{worst.stratum_field}={worst.stratum}",
            "worst_stratum_loss": worst.loss,
            "worst_stratum_loss_low": worst.loss_low,
            "worst_stratum_loss_high": worst.loss_high,
        }
    return fields


_SCORE_MEMBERS: Mapping[str, str] = {
    "metric": "name", "role": "role", "direction": "direction", "unit": "unit", "stratum_field": "stratum_field",
    "stratum": "stratum", "n": "n", "failed_n": "n_failed", "value": "value", "low": "value_low", "high": "value_high",
    "reference_value": "reference_value", "delta": "delta", "delta_low": "delta_low", "delta_high": "delta_high",
    "loss": "loss", "loss_low": "loss_low", "loss_high": "loss_high", "test": "test", "p_value": "p_value",
    "p_value_holm": "p_value_corrected", "interval_method": "interval_method", "resamples": "resamples",
    "seed": "seed", "reason": "reason",
}  # fmt: skip


def _score(score: Score) -> dict[str, Any]:
    return {member: getattr(score, name) for member, name in _SCORE_MEMBERS.items()}
