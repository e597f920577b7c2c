"""Metrics of text against plain definitions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring import text as module
from lynxbench.scoring.statistic import UndefinedError
from lynxbench.scoring.text import edit_distances
from tests.scoring.build import EXAMPLES, predictions, value

WORDS = st.text(alphabet="ab .", max_size=7)


def distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Levenshtein's distance by its recursive definition."""

    @cache
    def rest(i: int, j: int) -> int:
        if i == len(first) or j == len(second):
            return len(first) - i + len(second) - j
        if first[i] == second[j]:
            return rest(i + 1, j + 1)
        return 1 + min(rest(i + 1, j), rest(i, j + 1), rest(i + 1, j + 1))

    return rest(0, 0)


def written(texts: Sequence[str], targets: Sequence[str], failed: Sequence[bool] | None = None) -> Predictions:
    return predictions(
        len(texts),
        texts=np.array(texts, dtype=object),
        targets=np.array(targets, dtype=object),
        failed=failed,
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, st.booleans()), min_size=1, max_size=12))
def test_text_metrics_match_plain_definitions(rows: list[tuple[str, str, bool]]) -> None:
    texts, targets, failed = zip(*rows, strict=True)
    answers = written(texts, targets, failed)
    kept = ["" if bad else text for text, bad in zip(texts, failed, strict=True)]
    same = [text == target and not bad for text, target, bad in rows]
    assert value("exact-match", answers) == pytest.approx(sum(same) / len(rows))
    places = sum(max(len(text), len(target)) for text, target in zip(texts, targets, strict=True))
    right = sum(a == b for text, target in zip(kept, targets, strict=True) for a, b in zip(text, target, strict=False))
    if places:
        assert value("token-accuracy", answers) == pytest.approx(right / places)
    for name, split in (("character-error-rate", list), ("word-error-rate", str.split)):
        length = sum(len(split(target)) for target in targets)
        edits = sum(distance(split(text), split(target)) for text, target in zip(kept, targets, strict=True))
        if length:
            assert value(name, answers) == pytest.approx(edits / length)
        else:
            with pytest.raises(UndefinedError, match="targets are empty"):
                value(name, answers)


def test_distances_do_not_depend_on_how_pairs_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    pairs = [
        ("".join(random.choice(list("abc"), size=size)), "".join(random.choice(list("abc"), size=30 - size)))
        for size in range(31)
    ]
    expected = [distance(a, b) for a, b in pairs]
    for cells in (1, 40, 10_000):
        monkeypatch.setattr(module, "CELLS_AT_ONCE", cells)
        assert edit_distances([a for a, _ in pairs], [b for _, b in pairs]).tolist() == expected


def test_known_values() -> None:
    answers = written(["kitten", "the cat sat"], ["sitting", "the bat sat on"])
    assert value("character-error-rate", answers) == pytest.approx((3 + 4) / (7 + 14))
    assert value("word-error-rate", answers) == pytest.approx((1 + 2) / (1 + 4))


def test_options_of_exact_match() -> None:
    answers = written([" Yes\n", "no"], ["yes", "NO"])
    assert value("exact-match", answers) == 0
    assert value("exact-match", answers, ignore_case=True) == 0.5
    assert value("exact-match", answers, ignore_case=True, strip=True) == 1
    steps = written([" 14; 14 + 8 = 22; 22 + 8 = 31; 31", "14;14 + 8 = 22", "15; 14 + 8 = 22; 22 + 8 = 30", ""], ["14; 14 + 8 = 22; 22 + 8 = 30"] * 4)
    assert [value("exact-match", steps, steps=k) for k in (1, 2, 3)] == [0.5, 0.5, 0]
    assert value("exact-match", written(["a, b, c"], ["a,b"]), separator=",", steps=2) == 1
    with pytest.raises(UndefinedError, match="no texts"):
        value("exact-match", predictions(1))
    with pytest.raises(UndefinedError, match="no targets"):
        value("exact-match", predictions(1, texts=np.array(["a"], dtype=object)))
