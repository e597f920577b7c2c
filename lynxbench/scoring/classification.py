"""Metrics of class scores. `metrics` says what a failed sample counts as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.statistic import Floats, Ints, Statistic, UndefinedError, divide
from lynxbench.scoring.unusable import unusable

ROWS_AT_ONCE = 65_536
Ingredients = tuple[npt.NDArray[np.generic], ...]


def decisions(predictions: Predictions) -> Ints:
    """[n] the class with the highest score, the first of equals; -1 where the sample failed."""
    logits = _logits(predictions)
    failed = unusable(predictions)
    chosen = np.empty(len(logits), dtype=np.int64)
    for rows in _slices(len(logits)):
        chosen[rows] = logits[rows].argmax(axis=1)
    chosen[failed] = -1
    return chosen


def log_softmax(rows: npt.NDArray[np.floating[Any]]) -> Floats:
    """Natural logarithm of the softmax of [m, k] scores; infinite winners share the probability."""
    scores = rows.astype(np.float64)
    top = scores.max(axis=1, keepdims=True)
    infinite = np.isinf(top[:, 0])
    if infinite.any():
        scores[infinite] = np.where(scores[infinite] == top[infinite], 0.0, -np.inf)
        top[infinite] = 0.0
    scores -= top
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def within_top(predictions: Predictions, k: int) -> Ingredients:
    """[n] whether the label is among the k highest scores; of equal scores the lower class comes first."""
    logits, labels = _logits(predictions), _labels(predictions)
    if k > logits.shape[1]:
        raise UndefinedError(f"there are only {logits.shape[1]} classes, k = {k}")
    known, safe = _known(labels, logits.shape[1])
    classes = np.arange(logits.shape[1])
    right = np.empty(len(logits), dtype=np.bool_)
    for rows in _slices(len(logits)):
        own = np.take_along_axis(logits[rows], safe[rows, None], axis=1)
        before = (logits[rows] > own) | ((logits[rows] == own) & (classes < safe[rows, None]))
        right[rows] = before.sum(axis=1) < k
    return (right & known & ~unusable(predictions),)


def decided(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """Labels [n] and decisions [n]."""
    return _labels(predictions), decisions(predictions)


def log_loss(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] −ln p(label), p clipped to [clip, 1 − clip], in nats."""
    clip = float(options["clip"])

    def own(logs: Floats, labels: Ints) -> Floats:
        return np.asarray(-np.log(np.clip(np.exp(logs[np.arange(len(labels)), labels]), clip, 1 - clip)))

    return (_of_probabilities(predictions, own, -np.log(clip)),)


def brier(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """[n] Σ over classes of (p − y)², from 0 to 2 (Brier 1950)."""

    def squared(logs: Floats, labels: Ints) -> Floats:
        shares = np.exp(logs)
        shares[np.arange(len(labels)), labels] -= 1.0
        return np.asarray((shares**2).sum(axis=1))

    return (_of_probabilities(predictions, squared, 2.0),)


def confidence(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """The highest probability [n] and whether that class is right [n]."""
    sure = _of_probabilities(predictions, lambda logs, labels: np.asarray(np.exp(logs.max(axis=1))), 1.0, unknown=False)
    return sure, decisions(predictions) == _labels(predictions)


def class_scores(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """Labels [n] and probabilities [n, k]; a failed sample −1 for its own class and 2 for all others."""
    logits, labels = _logits(predictions), _labels(predictions)
    known, safe = _known(labels, logits.shape[1])
    failed = unusable(predictions)
    scores = np.empty(logits.shape)
    for rows in _slices(len(logits)):
        scores[rows] = np.exp(log_softmax(np.where(failed[rows, None], np.float32(0.0), logits[rows])))
    scores[failed] = 2.0
    scores[failed & known, safe[failed & known]] = -1.0
    return labels, scores


def balanced_accuracy(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Mean over the classes present of the share of each that is decided right."""
    labels, chosen = ingredients[0].astype(np.int64), ingredients[1].astype(np.int64)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) == 0:
        raise UndefinedError("no samples")
    k = len(classes)

    def finish(sums: Floats) -> Floats:
        return mean_defined(divide(sums[..., :k], sums[..., k:]))

    right = (chosen == labels).astype(np.float64)
    entries = ((codes, right), (codes + k, np.ones(len(labels))))
    return Statistic(2 * k, entries, finish, (0.0, 1.0), int(np.bincount(codes).min()))


def f1(ingredients: Ingredients, options: Mapping[str, Any]) -> Statistic:
    """F1 over the classes that are labels or decisions here: macro, micro or weighted by label."""
    labels, chosen = ingredients[0].astype(np.int64), ingredients[1].astype(np.int64)
    if len(labels) == 0:
        raise UndefinedError("no samples")
    answered = chosen >= 0
    classes, codes = np.unique(np.concatenate([labels, np.where(answered, chosen, labels)]), return_inverse=True)
    k, average = len(classes), options["average"]
    label_codes, chosen_codes = codes[: len(labels)], codes[len(labels) :]

    def finish(sums: Floats) -> Floats:
        hits, asked, given = sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k :]
        if average == "micro":
            return divide(2 * hits.sum(axis=-1), (asked + given).sum(axis=-1))
        scores = divide(2 * hits, asked + given)
        if average == "weighted":
            return divide(np.nansum(scores * asked, axis=-1), asked.sum(axis=-1))
        return mean_defined(scores)

    entries = (
        (label_codes, (chosen == labels).astype(np.float64)),
        (label_codes + k, np.ones(len(labels))),
        (chosen_codes + 2 * k, answered.astype(np.float64)),
    )
    return Statistic(3 * k, entries, finish, (0.0, 1.0), int(np.unique(labels, return_counts=True)[1].min()))


def calibration_error(ingredients: Ingredients, options: Mapping[str, Any]) -> Statistic:
    """Expected calibration error: Σ over bins of |Σ (right − confidence)| ∕ n (Naeini 2015, Guo 2017).

    equal-width bins are (i/bins, (i+1)/bins]; equal-mass ones end at the quantiles of these samples' confidences,
    equal confidences share a bin, and a bootstrap keeps the edges.
    """
    sure, right = ingredients[0].astype(np.float64), ingredients[1].astype(np.float64)
    if len(sure) == 0:
        raise UndefinedError("no samples")
    bins = int(options["bins"])
    if options["binning"] == "equal-width":
        # Compared with the edges themselves: confidence * bins can round to the wrong side of one.
        edges = np.arange(1, bins) / bins
    else:
        edges = np.unique(np.quantile(sure, np.arange(1, bins) / bins, method="inverted_cdf"))
    column = np.searchsorted(edges, sure, side="left").astype(np.int64)
    width = len(edges) + 2

    def finish(sums: Floats) -> Floats:
        return divide(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])

    entries = ((column, right - sure), (np.full(len(sure), width - 1), np.ones(len(sure))))
    return Statistic(width, entries, finish, (0.0, 1.0), len(sure), interval="bias-aware")


def auroc(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Area under the ROC curve, one class against the rest, mean over the classes that have both.

    As sums: each positive adds the share of negatives below it (ties count half), each negative the share of positives
    above it; with weights the area is the mean of both parts less the area of the sample itself. That is DeLong's
    (1988) expansion: exact at equal weights, and the first-order term of any resample.
    """
    labels, scores = ingredients[0].astype(np.int64), ingredients[1].astype(np.float64)
    classes = [k for k in range(scores.shape[1]) if 0 < np.count_nonzero(labels == k) < len(labels)]
    if not classes:
        raise UndefinedError("no class has both positive and negative samples")
    k = len(classes)
    entries: list[tuple[Ints, Floats]] = []
    areas, counts = np.empty(k), np.empty(k, dtype=np.int64)
    for place, klass in enumerate(classes):
        positive = labels == klass
        above, below = scores[positive, klass], scores[~positive, klass]
        amount = np.empty(len(labels))
        amount[positive] = _share_below(above, below)
        amount[~positive] = 1.0 - _share_below(below, above)
        areas[place] = amount[positive].mean()
        counts[place] = min(len(above), len(below))
        column = np.where(positive, place, 2 * k + place)
        entries += [(column, amount), (column + k, np.ones(len(labels)))]

    def finish(sums: Floats) -> Floats:
        first = divide(sums[..., :k], sums[..., k : 2 * k])
        second = divide(sums[..., 2 * k : 3 * k], sums[..., 3 * k :])
        return np.clip(mean_defined(first + second - areas), 0.0, 1.0)

    return Statistic(4 * k, tuple(entries), finish, (0.0, 1.0), int(counts.min()))


def _share_below(points: Floats, others: Floats) -> Floats:
    ordered = np.sort(others)
    places = np.searchsorted(ordered, points, "left") + np.searchsorted(ordered, points, "right")
    return np.asarray(places / (2 * len(others)))


def mean_defined(values: Floats) -> Floats:
    """The mean over the last axis, NaN left out."""
    present = ~np.isnan(values)
    return divide(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def _of_probabilities(
    predictions: Predictions, function: Callable[[Floats, Ints], Floats], worst: float, unknown: bool = True
) -> Floats:
    logits, labels = _logits(predictions), _labels(predictions)
    known, safe = _known(labels, logits.shape[1])
    failed = unusable(predictions)
    values = np.empty(len(logits))
    for rows in _slices(len(logits)):
        usable = np.where(failed[rows, None], np.float32(0.0), logits[rows])
        values[rows] = function(log_softmax(usable), safe[rows])
    values[(failed | ~known) if unknown else failed] = worst
    return values


def _known(labels: Ints, classes: int) -> tuple[npt.NDArray[np.bool_], Ints]:
    known = (labels >= 0) & (labels < classes)
    return known, np.where(known, labels, 0)


def _logits(predictions: Predictions) -> npt.NDArray[np.float32]:
    if predictions.logits is None:
        raise UndefinedError("no logits were kept")
    return predictions.logits


def _labels(predictions: Predictions) -> Ints:
    if predictions.labels is None:
        raise UndefinedError("the test set has no labels")
    return predictions.labels


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, n, ROWS_AT_ONCE))
