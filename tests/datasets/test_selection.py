"""Picking samples: seeded, without repeats, balanced, and a smaller pick is the beginning of a larger one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.datasets.selection import select

SELECTIONS = ("first", "random", "stratified")
strata = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.asarray)
seeds = st.integers(0, 2**40)


@given(strata=strata, seed=seeds, selection=st.sampled_from(SELECTIONS), data=st.data())
def test_a_pick_is_seeded_without_repeats_and_a_prefix_of_larger_ones(
    strata: np.ndarray, seed: int, selection: str, data: st.DataObject
) -> None:
    n = len(strata)
    count = data.draw(st.integers(1, n))
    larger = data.draw(st.integers(count, n))
    picked = select(selection, n, count, seed, strata)
    assert len(picked) == len(set(picked.tolist())) == count
    assert picked.min() >= 0
    assert picked.max() < n
    assert picked.tolist() == select(selection, n, larger, seed, strata)[:count].tolist()


@given(strata=strata, seed=seeds, data=st.data())
def test_stratified_takes_from_every_value_in_turn(strata: np.ndarray, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(strata)))
    available = Counter(strata.tolist())
    taken = Counter(strata[select("stratified", len(strata), count, seed, strata)].tolist())
    most = max(taken.values())
    for value, there in available.items():
        # At most one behind the largest, unless the file has no more of them.
        assert taken[value] >= min(there, most - 1)


@given(seed=seeds)
def test_stratified_looks_at_values_not_at_what_they_are_called(seed: int) -> None:
    codes = np.asarray([0, 1, 2, 1, 0, 2, 2, 1])
    words = np.asarray(["a", "b", "c"])[codes]
    assert select("stratified", 8, 5, seed, codes).tolist() == select("stratified", 8, 5, seed, words).tolist()


def test_the_order_is_the_same_on_every_machine() -> None:
    assert select("random", 10, 10, 7).tolist() == [8, 0, 7, 1, 3, 6, 2, 4, 5, 9]
    assert select("stratified", 10, 7, 7, np.asarray([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])).tolist() == [0, 7, 8, 1, 6, 9, 3]


def test_all_and_first_keep_the_files_order() -> None:
    assert select("all", 5, 2, 1).tolist() == [0, 1, 2, 3, 4]
    assert select("first", 5, 2, 1).tolist() == [0, 1]


def test_what_cannot_be_picked() -> None:
    with pytest.raises(ValueError, match="count is 6, but there are only 5 samples"):
        select("random", 5, 6, 0)
    with pytest.raises(ValueError, match="needs a field to stratify by"):
        select("stratified", 5, 2, 0)
