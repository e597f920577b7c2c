"""How alike two candidates answer, whatever the right answer is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.scoring.classification import ROWS_AT_ONCE, decisions, log_softmax
from lynxbench.scoring.estimate import Sampling, share
from lynxbench.scoring.numeric import chosen_option
from lynxbench.scoring.results import Agreement
from lynxbench.scoring.unusable import unusable


def agreement(candidate: Predictions, reference: Predictions, sampling: Sampling) -> Agreement:
    """Flips, divergence and noise of paired predictions; fields that do not apply are None and `reason` says why."""
    n = len(candidate)
    failed = (unusable(candidate), unusable(reference))
    usable = ~(failed[0] | failed[1])
    answers = (_answers(candidate), _answers(reference))
    if n == 0 or answers[0] is None or answers[1] is None:
        missing = "no samples in common" if n == 0 else "neither logits, ranked ids, options nor texts were kept"
        return Agreement(n=n, n_compared=0, reason=missing)
    flips = np.where(usable, answers[0] != answers[1], failed[0] != failed[1]).astype(np.float64)
    interval = share(flips, sampling)
    divergence, noise, reason = _of_logits(candidate, reference, usable)
    return Agreement(
        n=n,
        n_compared=int(usable.sum()),
        flip_rate=float(flips.mean()),
        flip_rate_low=interval.low,
        flip_rate_high=interval.high,
        kl_divergence=divergence,
        sqnr_db=noise,
        reason=reason,
    )


def _answers(predictions: Predictions) -> Column | None:
    if predictions.logits is not None:
        return decisions(predictions)
    if predictions.ranked_ids is not None and predictions.ranked_ids.shape[1] > 0:
        return predictions.ranked_ids[:, 0]
    if predictions.option_scores is not None:
        return chosen_option(predictions, normalise=False)
    return predictions.texts


def _of_logits(
    candidate: Predictions, reference: Predictions, usable: npt.NDArray[np.bool_]
) -> tuple[float | None, float | None, str | None]:
    if candidate.logits is None or reference.logits is None:
        return None, None, "divergence and noise need logits"
    if candidate.logits.shape != reference.logits.shape:
        return None, None, "candidate and reference score different numbers of classes"
    rows = np.flatnonzero(usable)
    if len(rows) == 0:
        return None, None, "every sample failed on one side"
    divergence = signal = noise = 0.0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        ours, theirs = candidate.logits[some], reference.logits[some]
        log_p, log_q = log_softmax(theirs), log_softmax(ours)
        p = np.exp(log_p)
        with np.errstate(invalid="ignore"):
            # A class of probability 0 in the reference adds nothing (0 · ln 0 = 0).
            divergence += float(np.where(p > 0, p * (log_p - log_q), 0.0).sum())
            signal += float((theirs.astype(np.float64) ** 2).sum())
            noise += float(((theirs.astype(np.float64) - ours) ** 2).sum())
    mean = max(0.0, divergence / len(rows))
    if not np.isfinite(mean):
        return None, None, "the candidate gives probability 0 to a class that the reference does not"
    if noise == 0:
        return mean, None, "the outputs are identical: there is no noise"
    if not (np.isfinite(signal) and np.isfinite(noise)) or signal == 0:
        return mean, None, "the outputs hold infinities, or the reference's are all zero"
    return mean, float(10 * np.log10(signal / noise)), None
