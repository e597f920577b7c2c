"""Corruptions of texts: reproducible, heavier with severity, and never more than they say."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.datasets.corruptions import corrupt
from lynxbench.datasets.text_corruptions import CASE_SHARE, KEPT_SHARE, NEIGHBOURS, SWAP_SHARE, TEXT_CORRUPTIONS
from lynxbench.errors import UsageError
from lynxbench.scoring.text import edit_distances

SENTENCE = "The quick brown fox jumps over the lazy dog and 12 other foxes; nobody minds it at all, they say."
texts = st.text(st.sampled_from("abcXYZ éß12 ,.\n\t"), max_size=40)
every_corruption = pytest.mark.parametrize("corruption", TEXT_CORRUPTIONS)


def one(text: str, corruption: str, severity: int, seed: int = 7) -> str:
    return str(corrupt(np.asarray([text]), corruption, severity, seed, ["t"])[0])


@every_corruption
@given(texts, st.integers(1, 5))
def test_the_same_seed_gives_the_same_text_and_never_none(corruption: str, text: str, severity: int) -> None:
    seen = one(text, corruption, severity)
    assert seen == one(text, corruption, severity)
    assert bool(seen) == bool(text)
    if corruption != "truncation":
        assert re.findall(r"\s", seen) == re.findall(r"\s", text)
    if corruption != "character-swaps":
        assert [c for c in seen if c.isdecimal()] == [c for c in text if c.isdecimal()][: sum(map(str.isdecimal, seen))]


@every_corruption
def test_something_changes_and_more_so_with_severity(corruption: str) -> None:
    means = []
    for severity in range(1, 6):
        seen = [one(SENTENCE, corruption, severity, seed) for seed in range(40)]
        assert SENTENCE not in seen
        means.append(float(edit_distances([list(text) for text in seen], [list(SENTENCE)] * 40).mean()))
    assert means == sorted(means)
    assert len(set(means)) == 5


@every_corruption
@pytest.mark.parametrize("text", ["", "7", " ", "\n"])
def test_nothing_to_change_stays_as_it_is(corruption: str, text: str) -> None:
    assert one(text, corruption, 5) == text


@given(texts, st.integers(1, 5))
def test_swaps_keep_every_character(text: str, severity: int) -> None:
    seen = one(text, "character-swaps", severity)
    assert Counter(seen) == Counter(text)
    moved = sum(a != b for a, b in zip(seen, text, strict=True))
    assert moved % 2 == 0
    assert moved <= 2 * max(1, round(SWAP_SHARE[severity - 1] * len(text)))


@given(texts, st.integers(1, 5))
def test_case_alone_changes(text: str, severity: int) -> None:
    seen = one(text, "case", severity)
    assert len(seen) == len(text)
    assert all(a == b or a == b.swapcase() for a, b in zip(seen, text, strict=True))
    if CASE_SHARE[severity - 1] == 1.0:
        assert seen == "".join(c.swapcase() if len(c.swapcase()) == 1 else c for c in text)


def test_truncation_keeps_whole_words_of_the_beginning() -> None:
    text = " ".join(f"w{place}" for place in range(20))
    for severity, share in enumerate(KEPT_SHARE, 1):
        assert one(text, "truncation", severity) == " ".join(text.split()[: int(share * 20)])
    assert one("wonderful", "truncation", 5) == "wo"


def test_a_neighbour_is_beside_the_key() -> None:
    assert NEIGHBOURS["q"] == "w"
    assert NEIGHBOURS["s"] == "ad"
    assert all(key in NEIGHBOURS[near] for key, keys in NEIGHBOURS.items() for near in keys)


def test_a_corruption_of_pictures_is_refused_for_texts() -> None:
    with pytest.raises(UsageError, match="'blur' is not for texts; typos, case, truncation, character-swaps are"):
        one("a b", "blur", 1)
