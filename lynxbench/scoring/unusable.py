"""Which samples failed, whatever a task answers with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions


def unusable(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """[n]: the samples that failed, including those that answer with a NaN though nobody marked them.

    NaN rows of boxes and NaN scores of options that a sample does not have are padding.
    """
    failed = predictions.failed
    if predictions.logits is not None:
        # A sum of float32 can only be NaN where a NaN (or both infinities) went in; rows are then looked at closely.
        with np.errstate(invalid="ignore", over="ignore"):
            suspects = np.flatnonzero(np.isnan(predictions.logits.sum(axis=1)))
        if len(suspects):
            failed = failed.copy()
            failed[suspects] |= np.isnan(predictions.logits[suspects]).any(axis=1)
    for answers in (predictions.values, predictions.log_likelihoods):
        if answers is not None:
            failed = failed | ~np.isfinite(answers)
    if predictions.option_scores is not None and predictions.option_lengths is not None:
        failed = failed | (np.isnan(predictions.option_scores) & (predictions.option_lengths > 0)).any(axis=1)
    return failed
