"""Metrics of how much of the target's wording a generated text shares: BLEU, chrF and ROUGE-L.

A failed sample counts as an empty text. All are fractions in [0, 1], where some tools print per cent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.statistic import Floats, Statistic, UndefinedError, mean_of, sums_of
from lynxbench.scoring.text import texts_and_targets

BLEU_ORDER = 4
CHRF_ORDER = 6
SMALL = 1e-16  # what chrF takes for an n-gram precision or recall of nothing
Ingredients = tuple[npt.NDArray[np.generic], ...]


def ngram_matches(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n, 10] for BLEU: matches of 1- to 4-grams, as many n-grams of the text, and tokens of text and target."""
    from sacrebleu.metrics.bleu import BLEU

    # `effective_order` only keeps the library from warning about single sentences; counts do not depend on it.
    counter = BLEU(tokenize=options["tokenize"], lowercase=options["ignore_case"], effective_order=True)
    texts, targets = _texts(predictions)
    rows = []
    for text, target in zip(texts, targets, strict=True):
        one = counter.sentence_score(text, [target])
        rows.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
    return (np.asarray(rows, dtype=np.int64).reshape(len(texts), 2 * BLEU_ORDER + 2),)


def bleu(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """Corpus BLEU (Papineni et al. 2002) with exponential smoothing, as sacreBLEU computes it: `method:exp`."""

    def finish(sums: Floats) -> Floats:
        matches, totals = sums[..., :BLEU_ORDER], sums[..., BLEU_ORDER : 2 * BLEU_ORDER]
        length, wanted = sums[..., -2], sums[..., -1]
        # The k-th order without a match counts as 2^-k matches.
        halvings = np.cumsum((matches == 0) & (totals > 0), axis=-1)
        smoothed = np.where(matches > 0, matches, 0.5**halvings)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(smoothed / totals).mean(axis=-1)
            brevity = np.where(length < wanted, 1 - wanted / length, 0.0)
            score = np.exp(logs + brevity)
        return np.where((matches[..., 0] > 0) & (totals > 0).all(axis=-1), np.minimum(score, 1.0), 0.0)

    return sums_of(ingredients[0], finish, (0.0, 1.0))


def character_ngrams(predictions: Predictions, _: Mapping[str, Any]) -> Ingredients:
    """[n, 18] for chrF: of 1- to 6-grams of characters without white space those of the text, the target, and both."""
    texts, targets = _texts(predictions)
    rows = np.zeros((len(texts), CHRF_ORDER, 3), dtype=np.int64)
    for row, pair in enumerate(zip(texts, targets, strict=True)):
        text, target = ("".join(side.split()) for side in pair)
        for order in range(1, CHRF_ORDER + 1):
            first, second = _ngrams(text, order), _ngrams(target, order)
            # As in sacreBLEU, n-grams of a text whose target has none of that order count for nothing.
            rows[row, order - 1] = first.total() if second else 0, second.total(), (first & second).total()
    return (rows.reshape(len(texts), 3 * CHRF_ORDER),)


def chrf(ingredients: Ingredients, options: Mapping[str, Any]) -> Statistic:
    """Corpus chrF (Popović 2015): F of the mean precision and recall over orders that both sides have."""
    weight = float(options["beta"]) ** 2

    def finish(sums: Floats) -> Floats:
        counts = sums.reshape(*sums.shape[:-1], CHRF_ORDER, 3)
        ours, theirs, both = counts[..., 0], counts[..., 1], counts[..., 2]
        present = (ours > 0) & (theirs > 0)
        orders = np.maximum(present.sum(axis=-1), 1)
        precision = np.where(present, both / np.maximum(ours, 1), 0.0).sum(axis=-1) / orders
        recall = np.where(present, both / np.maximum(theirs, 1), 0.0).sum(axis=-1) / orders
        below = weight * precision + recall
        return np.where(below > 0, (1 + weight) * precision * recall / np.maximum(below, SMALL), 0.0)

    return sums_of(ingredients[0], finish, (0.0, 1.0))


def rouge_l(predictions: Predictions, options: Mapping[str, Any]) -> Ingredients:
    """[n] F1 of the longest common subsequence of words (Lin 2004); words are runs of a–z and 0–9 in lower case."""
    texts, targets = _texts(predictions)
    return (np.asarray([_shared(_words(text), _words(target)) for text, target in zip(texts, targets, strict=True)]),)


def mean_overlap(ingredients: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """The mean over samples."""
    return mean_of(ingredients[0])


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by whole rows of the table as bits of one number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, item in enumerate(first):
        places[item] = places.get(item, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for item in second:
        met = row & places.get(item, 0)
        row = ((row + met) | (row - met)) & everything
    return len(first) - row.bit_count()


def _shared(text: list[str], target: list[str]) -> float:
    common = longest_common_subsequence(text, target)
    return 2 * common / (len(text) + len(target)) if common else 0.0


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


def _texts(predictions: Predictions) -> tuple[list[str], list[str]]:
    texts, targets = texts_and_targets(predictions)
    if not any(targets):
        raise UndefinedError("the targets are empty")
    return ["" if failed else text for text, failed in zip(texts, predictions.failed, strict=True)], targets
