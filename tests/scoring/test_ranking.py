"""Metrics of ranked lists against scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.statistic import UndefinedError
from tests.scoring.build import EXAMPLES, predictions, value


@st.composite
def retrieved(draw: st.DrawFn) -> Predictions:
    """1–12 queries, each answered by 2–6 different ids of a small database, with labels; some failed."""
    n, depth = draw(st.integers(1, 12)), draw(st.integers(2, 6))
    database = [f"d{place}" for place in range(8)]
    ranked = [draw(st.permutations(database))[:depth] for _ in range(n)]
    sources = [draw(st.sampled_from(database)) for _ in range(n)]
    label_of = {item: place % 3 for place, item in enumerate(database)}
    return predictions(
        n,
        sources=sources,
        failed=[draw(st.sampled_from([False, False, True])) for _ in range(n)],
        labels=np.array([label_of[item] for item in sources], dtype=np.int64),
        ranked_ids=np.array(ranked, dtype=str),
        ranked_labels=np.array([[label_of[item] for item in row] for row in ranked], dtype=np.int64),
    )


def hits(answers: Predictions, relevant: str) -> list[list[bool]]:
    rows = []
    for place in range(len(answers)):
        if relevant == "source":
            assert answers.ranked_ids is not None
            found = [str(item) == str(answers.source_ids[place]) for item in answers.ranked_ids[place]]
        else:
            assert answers.ranked_labels is not None
            assert answers.labels is not None
            found = [int(item) == int(answers.labels[place]) for item in answers.ranked_labels[place]]
        rows.append([hit and not answers.failed[place] for hit in found])
    return rows


@settings(max_examples=EXAMPLES, deadline=None)
@given(retrieved(), st.sampled_from(["source", "label"]), st.integers(1, 2))
def test_recall_and_reciprocal_rank_match_plain_loops(answers: Predictions, relevant: str, k: int) -> None:
    rows = hits(answers, relevant)
    recall = sum(any(row[:k]) for row in rows) / len(rows)
    assert value("recall", answers, k=k, relevant=relevant) == pytest.approx(recall)
    for cut in (k, None):
        ranks = [next((place + 1 for place, hit in enumerate(row[:cut]) if hit), math.inf) for row in rows]
        expected = sum(1 / rank for rank in ranks) / len(ranks)
        assert value("mrr", answers, k=cut, relevant=relevant) == pytest.approx(expected)


@settings(max_examples=EXAMPLES, deadline=None)
@given(retrieved(), st.integers(1, 2))
def test_ndcg_matches_scikit_learn_and_plain_loops(answers: Predictions, k: int) -> None:
    rows = np.array(hits(answers, "source"), dtype=float)
    order = np.tile(np.arange(rows.shape[1], 0, -1.0), (len(rows), 1))
    assert value("ndcg", answers, k=k) == pytest.approx(ndcg_score(rows, order, k=k))
    gains = [sum(hit / math.log2(place + 2) for place, hit in enumerate(row[:k])) for row in hits(answers, "label")]
    best = sum(1 / math.log2(place + 2) for place in range(k))
    assert value("ndcg", answers, k=k, relevant="label") == pytest.approx(np.mean(gains) / best)


def test_too_short_a_list_has_no_recall() -> None:
    answers = predictions(2, ranked_ids=np.array([["a", "b"], ["c", "d"]]))
    with pytest.raises(UndefinedError, match="only the first 2 results were kept, k = 10"):
        value("recall", answers, k=10)
    with pytest.raises(UndefinedError, match="no ranked labels"):
        value("recall", answers, k=1, relevant="label")
    with pytest.raises(UndefinedError, match="no results"):
        value("mrr", predictions(1, ranked_ids=np.zeros((1, 0), dtype=str)))
