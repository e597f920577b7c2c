"""Every metric of class scores against scikit-learn, or against a few plain loops where that has none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.classification import log_softmax
from lynxbench.scoring.metrics import METRICS
from lynxbench.scoring.statistic import UndefinedError
from tests.scoring.build import EXAMPLES, Array, predictions, value

EPSILON = float(np.finfo(np.float64).eps)


@st.composite
def answers(draw: st.DrawFn) -> Predictions:
    """1–30 samples of 2–4 classes, with many ties, failed rows, and often a single class."""
    n, k = draw(st.integers(1, 30)), draw(st.integers(2, 4))
    top = draw(st.integers(0, k - 1))
    labels = draw(st.lists(st.integers(0, top), min_size=n, max_size=n))
    scores = draw(st.lists(st.lists(st.integers(-3, 3), min_size=k, max_size=k), min_size=n, max_size=n))
    failed = draw(st.lists(st.sampled_from([False, False, False, True]), min_size=n, max_size=n))
    logits = np.array(scores, dtype=np.float32) * np.float32(0.7)
    logits[failed] = np.nan
    return predictions(n, labels=np.array(labels, dtype=np.int64), logits=logits, failed=failed)


def columns(given_answers: Predictions) -> tuple[Array, Array, Array]:
    """Labels, decisions (-1 where failed) and probabilities (all on a wrong class where failed), plainly."""
    assert given_answers.labels is not None
    assert given_answers.logits is not None
    labels, chosen, shares = [], [], []
    for label, row, failed in zip(
        given_answers.labels, given_answers.logits.astype(float), given_answers.failed, strict=True
    ):
        labels.append(int(label))
        chosen.append(-1 if failed else int(max(range(len(row)), key=lambda c: (row[c], -c))))
        if failed:
            shares.append([1.0 if c == (label + 1) % len(row) else 0.0 for c in range(len(row))])
        else:
            total = sum(math.exp(x) for x in row)
            shares.append([math.exp(x) / total for x in row])
    return np.array(labels), np.array(chosen), np.array(shares)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers())
def test_right_answers_match_scikit_learn(given_answers: Predictions) -> None:
    labels, chosen, _ = columns(given_answers)
    assert value("top-1", given_answers) == pytest.approx(sk.accuracy_score(labels, chosen))
    present = np.unique(labels)
    balanced = sk.recall_score(labels, chosen, labels=present, average="macro", zero_division=0)
    assert value("balanced-accuracy", given_answers) == pytest.approx(balanced)
    seen = np.unique(np.concatenate([labels, chosen[chosen >= 0]]))
    for average in ("macro", "micro", "weighted"):
        expected = sk.f1_score(labels, chosen, labels=seen, average=average, zero_division=0)
        assert value("f1", given_answers, average=average) == pytest.approx(expected)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers(), st.integers(1, 2))
def test_top_k_counts_the_first_of_equals(given_answers: Predictions, k: int) -> None:
    assert given_answers.labels is not None
    assert given_answers.logits is not None
    right = 0
    for label, row, failed in zip(given_answers.labels, given_answers.logits, given_answers.failed, strict=True):
        ranked = sorted(range(len(row)), key=lambda c: (-row[c], c))
        right += not failed and int(label) in ranked[:k]
    assert value("top-k", given_answers, k=k) == pytest.approx(right / len(given_answers))
    if k == 1:
        assert value("top-1", given_answers) == value("top-k", given_answers, k=1)


def test_top_k_without_ties_matches_scikit_learn() -> None:
    random = np.random.default_rng(5)
    logits = random.normal(size=(400, 7)).astype(np.float32)
    labels = random.integers(7, size=400)
    given_answers = predictions(400, labels=labels, logits=logits)
    for k in (1, 3, 5):
        expected = sk.top_k_accuracy_score(labels, logits, k=k, labels=range(7))
        assert value("top-k", given_answers, k=k) == pytest.approx(expected)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers())
def test_probability_scores_match_scikit_learn(given_answers: Predictions) -> None:
    labels, _, shares = columns(given_answers)
    classes = range(shares.shape[1])
    assert value("log-loss", given_answers) == pytest.approx(sk.log_loss(labels, shares, labels=classes))
    expected = sk.brier_score_loss(labels, shares, labels=classes, scale_by_half=False)
    assert value("brier", given_answers) == pytest.approx(expected)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers())
def test_auroc_matches_scikit_learn_one_class_against_the_rest(given_answers: Predictions) -> None:
    assert given_answers.logits is not None
    # The same probabilities to the last bit, so that what ties here ties there; their values are tested above.
    labels, shares = columns(given_answers)[0], np.exp(log_softmax(np.nan_to_num(given_answers.logits)))
    areas = []
    for klass in range(shares.shape[1]):
        positive = labels == klass
        if positive.all() or not positive.any():
            continue
        # A failed sample is ranked worst for its own class and best for every other.
        scores = np.where(given_answers.failed, np.where(positive, -1.0, 2.0), shares[:, klass])
        areas.append(sk.roc_auc_score(positive, scores))
    if areas:
        assert value("auroc", given_answers) == pytest.approx(np.mean(areas))
    else:
        with pytest.raises(UndefinedError, match="no class has both"):
            value("auroc", given_answers)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers(), st.integers(1, 7), st.sampled_from(["equal-width", "equal-mass"]))
def test_calibration_error_matches_plain_loops(given_answers: Predictions, bins: int, binning: str) -> None:
    labels, chosen, shares = columns(given_answers)
    sure = [1.0 if failed else max(row) for row, failed in zip(shares, given_answers.failed, strict=True)]
    # Softmax in another order of operations may differ in the last bit; equal confidences must stay equal.
    sure = [round(x, 12) for x in sure]
    if binning == "equal-width":
        edges = [i / bins for i in range(1, bins)]
    else:
        ordered = sorted(sure)
        edges = sorted({ordered[max(0, math.ceil(len(sure) * i / bins) - 1)] for i in range(1, bins)})
    total = 0.0
    for place in range(len(edges) + 1):
        inside = [i for i, x in enumerate(sure) if sum(e < x - 1e-9 for e in edges) == place]
        total += abs(sum(float(chosen[i] == labels[i]) - sure[i] for i in inside))
    error = value("ece", given_answers, bins=bins, binning=binning)
    assert error == pytest.approx(total / len(sure), abs=1e-9)


def test_calibration_error_of_a_textbook_case() -> None:
    # Four samples at confidence 0.75, three of them right, and two at 0.9, none right: (4 · 0 + 2 · 0.9) ∕ 6.
    odds = [np.log(3.0)] * 4 + [np.log(9.0)] * 2
    logits = np.stack([np.zeros(6), np.array(odds)], axis=1).astype(np.float32)
    labels = np.array([1, 1, 1, 0, 0, 0])
    assert value("ece", predictions(6, labels=labels, logits=logits), bins=10) == pytest.approx(0.3, abs=1e-6)


@settings(max_examples=EXAMPLES, deadline=None)
@given(answers(), st.integers(0, 2**32 - 1))
def test_weighting_a_sample_is_repeating_it(given_answers: Predictions, seed: int) -> None:
    index = np.random.default_rng(seed).integers(len(given_answers), size=len(given_answers))
    weights = np.bincount(index, minlength=len(given_answers)).astype(np.float64)
    resampled = given_answers.take(index)
    for name in ("top-1", "balanced-accuracy", "f1", "log-loss", "brier", "ece"):
        known = METRICS[name]
        options: dict[str, Any] = known.options({})
        statistic = known.statistic(known.measure(given_answers, options), options)
        table = statistic.sums(np.arange(len(given_answers)), len(given_answers))
        # Edges and classes are those of the whole; a class that the resample lacks has no weight.
        assert float(statistic.finish(weights @ table)) == pytest.approx(value(name, resampled), abs=1e-12)


def test_infinite_scores_share_the_probability() -> None:
    rows = np.array([[np.inf, 0, np.inf], [-np.inf, 1, -np.inf], [0, -np.inf, 0]], dtype=np.float32)
    assert np.exp(log_softmax(rows)) == pytest.approx(np.array([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]))


def test_a_failed_sample_is_the_worst_answer() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 5.0]], dtype=np.float32)
    good = predictions(2, labels=np.array([0, 1]), logits=logits)
    broken = logits.copy()
    broken[1] = np.nan
    for failed in ([False, True], [False, False]):  # marked, or only to be seen in the logits
        bad = predictions(2, labels=np.array([0, 1]), logits=broken, failed=failed)
        assert (value("top-1", good), value("top-1", bad)) == (1.0, 0.5)
        assert value("log-loss", bad) == pytest.approx((value("log-loss", good) - math.log(EPSILON)) / 2)
        assert value("brier", bad) == pytest.approx((value("brier", good) + 2) / 2)
        # Of the pairs of a positive and a negative, the failed one loses all.
        assert (value("auroc", good), value("auroc", bad)) == (1.0, 0.0)
        assert value("ece", bad) > value("ece", good)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UndefinedError, match="no logits"):
        value("top-1", predictions(3, labels=np.zeros(3, dtype=np.int64)))
    with pytest.raises(UndefinedError, match="no labels"):
        value("ece", predictions(3, logits=np.zeros((3, 2), dtype=np.float32)))
    with pytest.raises(UndefinedError, match="only 2 classes, k = 3"):
        value("top-k", predictions(1, labels=np.array([0]), logits=np.zeros((1, 2), dtype=np.float32)), k=3)
