"""Bring two sets of predictions to the same samples, in one order that does not depend on how they came."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.errors import UsageError
from lynxbench.scoring.statistic import Ints


def pair(candidate: Predictions, reference: Predictions) -> tuple[Predictions, Predictions]:
    """Both on the common sample ids, sorted by id.

    Raises `UsageError` when ids repeat, or when the two disagree on what a sample is (source, label, target, stratum).
    """
    order, ids = _sorted_ids(candidate, "candidate")
    if reference is candidate:
        both = _take(candidate, order)
        return both, both
    other_order, other_ids = _sorted_ids(reference, "reference")
    if not np.array_equal(ids, other_ids):
        _, here, there = np.intersect1d(ids, other_ids, assume_unique=True, return_indices=True)
        order, other_order = order[here], other_order[there]
    pairs = _take(candidate, order), _take(reference, other_order)
    _check_same_samples(*pairs)
    return pairs


def source_codes(predictions: Predictions) -> Ints:
    """[n] which source each sample has, as numbers that depend on the sources' names only."""
    if np.array_equal(predictions.source_ids, predictions.sample_ids):
        return np.arange(len(predictions), dtype=np.int64)
    codes = np.unique(predictions.source_ids.astype(str), return_inverse=True)[1]
    return codes.astype(np.int64)


def compact(codes: Ints) -> tuple[Ints, int]:
    """The codes [n] of some samples as 0 … count − 1, in the same order."""
    values, compacted = np.unique(codes, return_inverse=True)
    return compacted.astype(np.int64), len(values)


def _sorted_ids(predictions: Predictions, who: str) -> tuple[Ints, npt.NDArray[np.str_]]:
    ids = predictions.sample_ids.astype(str)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if len(repeated):
        raise UsageError(
            f"the {who}'s predictions answer {len(repeated)} samples more than once, first {str(ids[repeated[0]])!r}"
        )
    return order.astype(np.int64), ids


def _take(predictions: Predictions, order: Ints) -> Predictions:
    if len(order) == len(predictions) and np.array_equal(order, np.arange(len(order))):
        return predictions
    return predictions.take(order)


def _check_same_samples(candidate: Predictions, reference: Predictions) -> None:
    columns = [
        ("source", candidate.source_ids, reference.source_ids),
        ("label", candidate.labels, reference.labels),
        ("target", candidate.targets, reference.targets),
        ("true value", candidate.true_values, reference.true_values),
        ("option lengths", candidate.option_lengths, reference.option_lengths),
        ("target's tokens", candidate.token_counts, reference.token_counts),
        ("objects", candidate.objects, reference.objects),
    ]
    columns += [
        (f"stratum {name}", candidate.strata[name], reference.strata[name])
        for name in candidate.strata
        if name in reference.strata
    ]
    for what, here, there in columns:
        if here is None or there is None:
            continue
        wrong = np.flatnonzero(_differs(here, there))
        if len(wrong):
            raise UsageError(
                f"candidate and reference disagree on the {what} of {len(wrong)} samples, first "
                f"{str(candidate.sample_ids[wrong[0]])!r}: they answer different test sets"
            )


def _differs(here: Column, there: Column) -> npt.NDArray[np.bool_]:
    """[n] where two columns [n, …] are not the same; NaN equals NaN, and another shape differs everywhere."""
    if here.shape != there.shape:
        return np.ones(len(here), dtype=np.bool_)
    different = here != there
    if here.dtype.kind == "f":
        different &= ~(np.isnan(here) & np.isnan(there))
    return np.asarray(different.any(axis=tuple(range(1, different.ndim))))
