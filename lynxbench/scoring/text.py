"""Metrics of generated text against the text that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.statistic import Ints, Statistic, UndefinedError, ratio_of

CELLS_AT_ONCE = 2_000_000
Ingredients = tuple[npt.NDArray[np.generic], ...]


def exact_match(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] whether text and target are equal, after trimming and lower-casing where the options say so.

    With `steps`, only so many parts between separators are compared, each of them trimmed: how far an answer that is
    written step by step is right.
    """
    texts, targets = texts_and_targets(predictions)
    steps = options["steps"]

    def plain(text: str) -> str:
        if steps is not None:
            text = options["separator"].join(part.strip() for part in text.split(options["separator"])[:steps])
        text = text.strip() if options["strip"] else text
        return text.casefold() if options["ignore_case"] else text

    same = [plain(text) == plain(target) for text, target in zip(texts, targets, strict=True)]
    return (np.asarray(same, dtype=np.bool_) & ~predictions.failed,)


def positions(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """Characters at their place [n], and places [n]: as many as the longer of text and target has."""
    texts, targets = texts_and_targets(predictions)
    right = np.empty(len(texts), dtype=np.int64)
    places = np.empty(len(texts), dtype=np.int64)
    for row, (text, target) in enumerate(zip(texts, targets, strict=True)):
        places[row] = max(len(text), len(target))
        right[row] = places[row] if text == target else sum(a == b for a, b in zip(text, target, strict=False))
    right[predictions.failed] = 0
    return right, places


def position_accuracy(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Characters at their place over all places, so text that goes on too long or stops early is wrong there."""
    return ratio_of(ingredients[0], ingredients[1], "texts and targets are empty", (0.0, 1.0))


def character_edits(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """Insertions, deletions and substitutions [n], and characters of the target [n]."""
    texts, targets = texts_and_targets(predictions)
    return _edits(texts, targets, predictions.failed)


def word_edits(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """Insertions, deletions and substitutions [n], and words of the target [n]; words are split at white space."""
    texts, targets = texts_and_targets(predictions)
    return _edits([text.split() for text in texts], [target.split() for target in targets], predictions.failed)


def error_rate(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """All edits over all characters (or words) of the targets. Above 1 where texts are much too long."""
    return ratio_of(ingredients[0], ingredients[1], "the targets are empty", (0.0, 1.0))


def edit_distances(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> Ints:
    """[n] Levenshtein distances of n pairs of sequences, by rows of the table for many pairs at once."""
    codes: dict[str, int] = {}
    pairs = [
        ([codes.setdefault(item, len(codes)) for item in a], [codes.setdefault(item, len(codes)) for item in b])
        for a, b in zip(first, second, strict=True)
    ]
    distances = np.zeros(len(pairs), dtype=np.int64)
    order = sorted(range(len(pairs)), key=lambda row: (len(pairs[row][1]), len(pairs[row][0])))
    start = 0
    while start < len(order):
        # Sorted by length, so the last pair of a chunk is its longest: halve until it fits.
        size = len(order) - start
        while size > 1 and size * (len(pairs[order[start + size - 1]][1]) + 1) > CELLS_AT_ONCE:
            size = size // 2
        rows = order[start : start + size]
        distances[rows] = _batch([pairs[row] for row in rows])
        start += size
    return distances


def _batch(pairs: list[tuple[list[int], list[int]]]) -> Ints:
    first_lengths = np.array([len(a) for a, _ in pairs])
    second_lengths = np.array([len(b) for _, b in pairs])
    first = np.full((len(pairs), int(first_lengths.max())), -1)
    second = np.full((len(pairs), int(second_lengths.max())), -2)
    for row, (a, b) in enumerate(pairs):
        first[row, : len(a)] = a
        second[row, : len(b)] = b
    steps = np.arange(second.shape[1] + 1)
    above = np.broadcast_to(steps, (len(pairs), len(steps)))
    distances = second_lengths.copy()
    for place in range(first.shape[1]):
        below = np.empty_like(above)
        below[:, 0] = place + 1
        np.minimum(above[:, 1:] + 1, above[:, :-1] + (first[:, place, None] != second), out=below[:, 1:])
        # Insertions run along the row: d[j] = min over i ≤ j of below[i] + (j − i).
        above = np.minimum.accumulate(below - steps, axis=1) + steps
        ending = np.flatnonzero(first_lengths == place + 1)
        distances[ending] = above[ending, second_lengths[ending]]
    return distances


def _edits(
    texts: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], failed: npt.NDArray[np.bool_]
) -> Ingredients:
    lengths = np.array([len(target) for target in targets], dtype=np.int64)
    edits = np.zeros(len(targets), dtype=np.int64)
    wrong = [row for row in range(len(targets)) if texts[row] != targets[row] and not failed[row]]
    if wrong:
        edits[wrong] = edit_distances([texts[row] for row in wrong], [targets[row] for row in wrong])
    edits[failed] = lengths[failed]
    return edits, lengths


def texts_and_targets(predictions: Predictions) -> tuple[list[str], list[str]]:
    """What was generated and what was asked for; raises `UndefinedError` where either is missing."""
    if predictions.texts is None:
        raise UndefinedError("no texts were kept")
    if predictions.targets is None:
        raise UndefinedError("the test set has no targets")
    return list(map(str, predictions.texts.tolist())), list(map(str, predictions.targets.tolist()))
