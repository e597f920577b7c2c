"""Picking samples: seeded, the same on every machine, and a smaller pick is not a different question."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column


def select(selection: str, n: int, count: int, seed: int, strata: Column | None = None) -> npt.NDArray[np.int64]:
    """Positions of `count` of `n` samples, in the order in which they are asked.

    ``all`` and ``first`` keep the file's order. ``random`` permutes by `seed`. ``stratified`` takes from the
    values of `strata` ([n]) in turn, each value's samples permuted by `seed`: the counts differ by at most one
    while every value has samples left. A smaller count is a prefix of a larger one.
    Raises `ValueError` when `count` exceeds `n`.
    """
    if selection == "all":
        return np.arange(n)
    if count > n:
        raise ValueError(f"count is {count}, but there are only {n} samples")
    if selection == "first":
        return np.arange(count)
    order = np.random.default_rng(seed).permutation(n)
    if selection == "random":
        return order[:count]
    if strata is None:
        raise ValueError("a stratified selection needs a field to stratify by")
    # Rank within its own stratum, then by stratum: round-robin over the strata.
    values, codes = np.unique(np.asarray(strata), return_inverse=True)
    rank = np.empty(n, dtype=np.int64)
    for code in range(len(values)):
        mine = order[codes[order] == code]
        rank[mine] = np.arange(len(mine))
    return np.lexsort((codes, rank))[:count]
