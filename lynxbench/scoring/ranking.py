"""Metrics of ranked lists. A retrieved item is relevant when it is the query's own source, or has its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.statistic import UndefinedError

Ingredients = tuple[npt.NDArray[np.generic], ...]


def found(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] whether at least one of the first k is relevant."""
    return (np.asarray(_relevant(predictions, options["relevant"], options["k"]).any(axis=1)),)


def ndcg(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] discounted cumulative gain of the first k, gain 1 if relevant, over that of the best order.

    With relevant = "source" one item is relevant; with "label" the database is taken to hold at least k of each label.
    Järvelin and Kekäläinen (2002), discount 1 ∕ log2(rank + 1).
    """
    discounts = 1.0 / np.log2(np.arange(options["k"]) + 2.0)
    best = discounts[0] if options["relevant"] == "source" else discounts.sum()
    return ((_relevant(predictions, options["relevant"], options["k"]) @ discounts) / best,)


def reciprocal_rank(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] 1 ∕ rank of the first relevant item, 0 if none is among the first k (all that were kept, without a k)."""
    hits = _relevant(predictions, options["relevant"], options["k"])
    return (np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1.0), 0.0),)


def _relevant(predictions: Predictions, relevant: str, k: int | None) -> npt.NDArray[np.bool_]:
    items = predictions.ranked_ids if relevant == "source" else predictions.ranked_labels
    own = predictions.source_ids if relevant == "source" else predictions.labels
    if items is None or own is None:
        what = "ids" if relevant == "source" else "labels"
        raise UndefinedError(f"no ranked {what} were kept" if items is None else "the test set has no labels")
    depth = items.shape[1]
    if k is not None and k > depth:
        raise UndefinedError(f"only the first {depth} results were kept, k = {k}")
    if depth == 0:
        raise UndefinedError("no results were kept")
    hits: npt.NDArray[np.bool_] = items[:, :k] == own[:, None]
    hits[predictions.failed] = False
    return hits
