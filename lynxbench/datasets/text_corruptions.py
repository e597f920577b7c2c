"""Deterministic corruptions of texts, severities 1 to 5: typing mistakes, wrong case, an early end, swapped characters.

Only letters are mistyped, so numbers keep their value; swaps move any characters of a word. White space and line
breaks stay, no text becomes empty, and where a change is possible there is at least one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

# One parameter a severity: shares of the places where a change is possible, and of the words that are kept.
TYPO_SHARE = (0.02, 0.05, 0.1, 0.15, 0.2)
CASE_SHARE = (0.1, 0.25, 0.5, 0.75, 1.0)
SWAP_SHARE = (0.02, 0.05, 0.1, 0.15, 0.2)
KEPT_SHARE = (0.9, 0.75, 0.6, 0.45, 0.3)

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# Keys beside each other on a row of a QWERTY keyboard; the neighbours on other rows differ between keyboards.
NEIGHBOURS = {
    key: "".join(row[place] for place in (index - 1, index + 1) if 0 <= place < len(row))
    for row in _ROWS
    for index, key in enumerate(row)
}


def _typos(text: str, level: int, random: np.random.Generator) -> str:
    characters = list(text)
    places = [place for place, character in enumerate(text) if character.isalpha()]
    left = len(text)
    chosen = _some(places, TYPO_SHARE[level], random)
    for place in chosen:
        letter = characters[place]
        kinds = ["double"]
        if left > 1:
            kinds.append("leave out")
        if letter.isascii():  # other letters have keys of their own, or none
            kinds.append("neighbour")
        kind = kinds[random.integers(len(kinds))]
        if kind == "double":
            characters[place] = letter * 2
        elif kind == "leave out":
            characters[place] = ""
            left -= 1
        else:
            near = NEIGHBOURS[letter.lower()]
            struck = near[random.integers(len(near))]
            characters[place] = struck.upper() if letter.isupper() else struck
    mistyped = "".join(characters)
    if chosen and mistyped == text:  # one letter doubled and its twin left out: as in "ee", nothing to be seen
        return text[: chosen[0] + 1] + text[chosen[0] :]
    return mistyped


def _case(text: str, level: int, random: np.random.Generator) -> str:
    characters = list(text)
    # A few letters have no single counterpart (ß) and stay as they are.
    places = [place for place, c in enumerate(text) if c.swapcase() != c and len(c.swapcase()) == 1]
    for place in _some(places, CASE_SHARE[level], random):
        characters[place] = characters[place].swapcase()
    return "".join(characters)


def _truncation(text: str, level: int, random: np.random.Generator) -> str:
    words = list(re.finditer(r"\S+", text))
    if not words:
        return text
    if len(words) == 1:
        start, end = words[0].span()
        return text[: start + _fewer(end - start, level)]
    return text[: words[_fewer(len(words), level) - 1].end()]


def _character_swaps(text: str, level: int, random: np.random.Generator) -> str:
    characters = list(text)
    places = [
        place
        for place in range(len(text) - 1)
        if text[place] != text[place + 1] and not text[place].isspace() and not text[place + 1].isspace()
    ]
    wanted = _how_many(len(places), SWAP_SHARE[level])
    taken: set[int] = set()
    for place in random.permutation(places).tolist():
        if len(taken) == 2 * wanted:
            break
        if place not in taken and place + 1 not in taken:
            taken |= {place, place + 1}
            characters[place], characters[place + 1] = characters[place + 1], characters[place]
    return "".join(characters)


def _some(places: Sequence[int], share: float, random: np.random.Generator) -> list[int]:
    chosen = random.permutation(len(places))[: _how_many(len(places), share)]
    return sorted(places[index] for index in chosen.tolist())


def _how_many(places: int, share: float) -> int:
    return min(places, max(1, round(share * places)))


def _fewer(count: int, level: int) -> int:
    """How many of `count` are kept: at least one, and fewer than all where that is possible."""
    return max(1, min(count - 1, math.floor(KEPT_SHARE[level] * count)))


TEXT_CORRUPTIONS: dict[str, Callable[[str, int, np.random.Generator], str]] = {
    "typos": _typos,
    "case": _case,
    "truncation": _truncation,
    "character-swaps": _character_swaps,
}
