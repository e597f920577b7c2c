"""What a third party's metrics look like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions


def right(predictions: Predictions, margin: float = 0.0) -> npt.NDArray[np.bool_]:
    """Right by at least a margin: one bool a sample."""
    assert predictions.logits is not None
    ordered = np.sort(predictions.logits, axis=1)
    correct = predictions.logits.argmax(axis=1) == predictions.labels
    return np.asarray(correct & (ordered[:, -1] - ordered[:, -2] >= margin))


def largest(predictions: Predictions) -> npt.NDArray[np.float32]:
    """The highest logit: one number a sample."""
    assert predictions.logits is not None
    return np.asarray(predictions.logits.max(axis=1))


def accuracy(predictions: Predictions) -> float:
    """One number for the whole set."""
    return float(right(predictions).mean())


def broken(predictions: Predictions) -> npt.NDArray[np.float64]:
    """No number for any sample."""
    return np.full(len(predictions), np.nan)


def misshapen(predictions: Predictions) -> npt.NDArray[np.float64]:
    """One number too many."""
    return np.zeros(len(predictions) + 1)
