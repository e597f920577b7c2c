"""Metrics of predicted numbers, of options chosen by likelihood, of likelihoods and of labelled pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.classification import mean_defined
from lynxbench.scoring.statistic import Floats, Ints, Statistic, UndefinedError, divide, mean_of, sums_of
from lynxbench.scoring.unusable import unusable

CONSTANT = 1e-12  # share of the sum of squares below which true values count as all the same
Ingredients = tuple[npt.NDArray[np.generic], ...]


def deviations(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """Predicted − true value [n], and true value less the first [n].

    A failed sample counts as predicting the end of the range of true values that is farther from its own.
    """
    if predictions.values is None or predictions.true_values is None:
        missing = "predicted values were kept" if predictions.values is None else "true values are in the test set"
        raise UndefinedError(f"no {missing}")
    true = predictions.true_values.astype(np.float64)
    if not np.isfinite(true).all():
        raise UndefinedError("a true value is not finite")
    if len(true) == 0:
        return np.empty(0), np.empty(0)
    off = predictions.values.astype(np.float64) - true
    above, below = true.max() - true, true.min() - true
    worst = np.where(above > -below, above, below)
    return np.where(unusable(predictions), worst, off), true - true[0]


def mean_absolute_error(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Mean of |predicted − true|, in the unit of the values."""
    return mean_of(np.abs(ingredients[0]), bounds=(0.0, np.inf))


def root_mean_squared_error(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Square root of the mean of (predicted − true)², in the unit of the values."""
    squares = ingredients[0].astype(np.float64) ** 2
    return sums_of(
        np.stack([squares, np.ones(len(squares))], axis=1),
        lambda sums: np.sqrt(divide(sums[..., 0], sums[..., 1])),
        (0.0, np.inf),
    )


def r_squared(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """1 − Σ(predicted − true)² ∕ Σ(true − mean)²; undefined where the true values are all the same."""
    off, true = (column.astype(np.float64) for column in ingredients)

    def finish(sums: Floats) -> Floats:
        total = sums[..., 2] - divide(sums[..., 1] ** 2, sums[..., 3])
        varied = total > CONSTANT * sums[..., 2]
        return 1.0 - divide(sums[..., 0], np.where(varied, total, 0.0))

    columns = np.stack([off**2, true, true**2, np.ones(len(off))], axis=1)
    made = sums_of(columns, finish, (-np.inf, 1.0))
    if np.isnan(finish(columns.sum(axis=0))):
        raise UndefinedError("the true values are all the same")
    return made


def right_option(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] whether the right option has the highest log-likelihood, plain or over its length; the first of equals."""
    chosen = chosen_option(predictions, normalise=options["normalise"] == "length")
    if predictions.labels is None:
        raise UndefinedError("the test set has no labels")
    return ((chosen == predictions.labels) & ~unusable(predictions),)


def chosen_option(predictions: Predictions, normalise: bool) -> Ints:
    """[n] the option with the highest log-likelihood, or the highest for its length."""
    scores, lengths = predictions.option_scores, predictions.option_lengths
    if scores is None or lengths is None:
        raise UndefinedError("no log-likelihoods of options were kept")
    compared = scores.astype(np.float64)
    if normalise:
        compared = compared / np.maximum(lengths, 1)
    return np.asarray(np.where((lengths > 0) & ~np.isnan(compared), compared, -np.inf).argmax(axis=1))


def likelihoods(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n, 2] log-likelihood of each target in nats, and its tokens; a failed sample has ln(clip) a token."""
    if predictions.log_likelihoods is None or predictions.token_counts is None:
        raise UndefinedError("no log-likelihoods of targets were kept")
    tokens = predictions.token_counts.astype(np.float64)
    worst = tokens * np.log(float(options["clip"]))
    return (np.stack([np.where(unusable(predictions), worst, predictions.log_likelihoods), tokens], axis=1),)


def perplexity(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """exp(−Σ log-likelihood ∕ Σ tokens): over all tokens, so long targets count for more."""
    columns = ingredients[0].astype(np.float64)
    if columns[:, 1].sum() == 0:
        raise UndefinedError("the targets have no tokens")
    return sums_of(columns, lambda sums: np.exp(-divide(sums[..., 0], sums[..., 1])), (0.0, np.inf))


def pixels(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """[n, k, 3] pixels of each class: right, predicted, true. A failed sample predicts no class anywhere."""
    if predictions.region_pixels is None:
        raise UndefinedError("no counts of pixels were kept")
    counts = predictions.region_pixels.copy()
    counts[unusable(predictions), :, :2] = 0
    return (counts,)


def mean_iou(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Mean over classes of right ∕ (predicted or true) pixels of all samples; classes that never occur are left out."""
    counts = ingredients[0].astype(np.float64)
    if counts[:, :, 1:].sum() == 0:
        raise UndefinedError("there are no labelled pixels")
    classes = counts.shape[1]

    def finish(sums: Floats) -> Floats:
        right, predicted, true = np.moveaxis(sums.reshape(*sums.shape[:-1], classes, 3), -1, 0)
        return mean_defined(divide(right, predicted + true - right))

    weakest = int((counts[:, :, 2] > 0).sum(axis=0)[counts[:, :, 1:].sum(axis=(0, 2)) > 0].min())
    return sums_of(counts.reshape(len(counts), 3 * classes), finish, (0.0, 1.0), weakest_n=weakest)
