"""Corruptions of texts: reproducible, heavier with severity, and never more than they say."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.datasets.corruptions import corrupt
from lynxbench.datasets.text_corruptions import (
    CASE_SHARE,
    KEPT_SHARE,
    NEIGHBOURS,
    SWAP_SHARE,
    TEXT_CORRUPTIONS,
    TYPO_SHARE,
)
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


def restricted_edit_distance(a: str, b: str) -> int:
    """Insertions, omissions, substitutions and swaps of neighbours, by the textbook's table."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            ways = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1])]
            if i > 1 and j > 1 and a[i - 2 : i] == b[j - 2 : j][::-1]:
                ways.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(ways)
    return table[len(a), len(b)]


@given(st.lists(st.text(st.sampled_from("abcXYZéß12,."), max_size=40), min_size=1, max_size=4), st.integers(1, 5))
def test_swaps_stay_in_their_words(words: list[str], severity: int) -> None:
    text = " ".join(words)
    seen = one(text, "character-swaps", severity)
    assert [sorted(word) for word in seen.split(" ")] == [sorted(word) for word in words]
    assert (seen != text) == any(len(set(word)) > 1 for word in words)


@given(st.permutations("abcdefghijklmnopqrstuvwxyzABCDEF"), st.lists(st.integers(0, 32), max_size=5), st.integers(1, 5))
def test_the_edit_distance_of_swaps_is_their_declared_number(
    letters: list[str], cuts: list[int], severity: int
) -> None:
    # No letter twice: in "ababab" three swaps are a shift by one, at a distance of two.
    for cut in sorted(cuts, reverse=True):
        letters = [*letters[:cut], " ", *letters[cut:]]
    text = "".join(letters)
    possible = sum(len(word) - 1 for word in text.split())
    declared = max(1, round(SWAP_SHARE[severity - 1] * possible))
    assert restricted_edit_distance(text, one(text, "character-swaps", severity)) == declared


@given(texts, st.integers(1, 5), st.integers(0, 99))
def test_a_text_with_a_letter_is_mistyped(text: str, severity: int, seed: int) -> None:
    seen = one(text, "typos", severity, seed)
    letters = sum(map(str.isalpha, text))
    assert (seen != text) == (letters > 0)
    most = max(1, round(TYPO_SHARE[severity - 1] * letters))
    assert edit_distances([list(seen)], [list(text)])[0] <= most


def test_a_doubled_letter_and_its_twin_left_out_do_not_cancel() -> None:
    text = "a" * 10
    assert all(one(text, "typos", 5, seed) != text for seed in range(50))


def test_letters_off_the_keyboard_survive_or_go_but_never_become_others() -> None:
    for letter in ("é", "漢", "ж", "\N{KELVIN SIGN}"):  # the last one's small letter is a plain k
        assert {one(letter, "typos", 5, seed) for seed in range(20)} == {letter * 2}
        assert {one(letter + "7", "typos", 5, seed) for seed in range(20)} == {letter * 2 + "7", "7"}


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


PINNED = {
    ("typos", 1): "The quick brown fox jumps over the lazy dog and 12 other foxees; nobody minds it at all, they say.",
    ("typos", 2): "The qiick brown fox jumps over the lzy dog and 12 other foes; nobody minds it att all, they say.",
    (
        "typos",
        3,
    ): "The quixk brown foox jumps over the laxy do annd 12 other foxes; nobody mindss it at all, they sayy.",
    ("typos", 4): "The quick beown fc jumos over the lazyy dog aand 12 ther foces; nobdy minds t at all, they ay.",
    ("typos", 5): "Yhw quickk own fox jumps ovwr the lazy dpg and 12 oteer ffoxs; nobodyy mds it at all, they sat.",
    ("case", 1): "ThE quIck Brown fox jumps over the lazy dog and 12 othEr foxeS; nObodY minds it at all, they say.",
    ("case", 2): "The QuicK BrOWn Fox jUmps OVer The lAzy dog and 12 OthEr foxes; nobody minds it At All, theY SAy.",
    ("case", 3): "tHe qUiCk BRown fOX Jumps oVeR The lAZY DOG AND 12 otHER FoxES; NOboDY Minds It at All, thEy sAy.",
    ("case", 4): "thE QuICK BROWN FOX jUMPs OVER tHE lAzY DOg AnD 12 OThEr fOXES; NoBODY MINDs iT AT ALL, tHeY SaY.",
    ("case", 5): "tHE QUICK BROWN FOX JUMPS OVER THE LAZY DOG AND 12 OTHER FOXES; NOBODY MINDS IT AT ALL, THEY SAY.",
    ("truncation", 1): "The quick brown fox jumps over the lazy dog and 12 other foxes; nobody minds it at all,",
    ("truncation", 2): "The quick brown fox jumps over the lazy dog and 12 other foxes; nobody minds",
    ("truncation", 3): "The quick brown fox jumps over the lazy dog and 12 other",
    ("truncation", 4): "The quick brown fox jumps over the lazy dog",
    ("truncation", 5): "The quick brown fox jumps over",
    (
        "character-swaps",
        1,
    ): "The quick brown fxo jumps over the lazy dog and 12 other foxes; nobody minds it at all, they say.",
    (
        "character-swaps",
        2,
    ): "The quick brown fox jumps over the layz dog and 12 ohter foxes; nobody minds ti at all, they say.",
    (
        "character-swaps",
        3,
    ): "The quikc brown fox jumps over the lazy odg nad 12 other foxe;s nobody minds it at al,l htey say.",
    (
        "character-swaps",
        4,
    ): "hTe qucik brown fxo jumps over the lazy odg and 21 other foxes; nbooyd mnids it at all, they sya.",
    (
        "character-swaps",
        5,
    ): "hTe quick borwn fox jumsp ovre hte alyz dog and 12 othre foxse; nobody minds it at all, tehy sya.",
}


def test_the_same_text_on_every_machine() -> None:
    seen = {(name, severity): one(SENTENCE, name, severity) for name in TEXT_CORRUPTIONS for severity in range(1, 6)}
    assert seen == PINNED
