"""Agreement with the reference against SciPy and plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy
from statsmodels.stats.proportion import proportion_confint

from lynxbench.scoring import Agreement, score
from tests.scoring.build import Array, metric, predictions, rubric


def agreement_of(candidate: Array, reference: Array, failed: Array | None = None) -> Agreement:
    n = len(candidate)
    labels = np.zeros(n, dtype=np.int64)
    sides = (
        predictions(n, labels=labels, logits=candidate.astype(np.float32), failed=failed),
        predictions(n, labels=labels, logits=reference.astype(np.float32)),
    )
    return score(rubric(metric("top-1")), *sides).agreement


def test_divergence_noise_and_flips_match_plain_formulas() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(300, 5)).astype(np.float32)
    candidate = reference + random.normal(size=(300, 5)).astype(np.float32) * np.float32(0.3)
    found = agreement_of(candidate, reference)
    divergence = entropy(
        softmax(reference.astype(float), axis=1), softmax(candidate.astype(float), axis=1), axis=1
    ).mean()
    assert found.kl_divergence == pytest.approx(divergence, rel=1e-6)
    noise = ((reference.astype(float) - candidate) ** 2).sum()
    assert found.sqnr_db == pytest.approx(10 * np.log10((reference.astype(float) ** 2).sum() / noise), rel=1e-6)
    flips = int((reference.argmax(1) != candidate.argmax(1)).sum())
    assert found.flip_rate == flips / 300
    assert (found.flip_rate_low, found.flip_rate_high) == pytest.approx(proportion_confint(flips, 300, method="wilson"))


def test_identical_outputs_have_no_noise() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3))
    found = agreement_of(logits, logits)
    assert (found.flip_rate, found.kl_divergence, found.sqnr_db) == (0.0, 0.0, None)
    assert found.reason is not None
    assert "identical" in found.reason


def test_a_failure_on_one_side_is_a_flip_and_is_not_compared() -> None:
    logits = np.random.default_rng(0).normal(size=(10, 3))
    candidate = logits + 0.001
    candidate[2] = np.nan
    found = agreement_of(candidate, logits, failed=np.arange(10) == 2)
    assert found.flip_rate == 0.1
    assert found.n_compared == 9
    assert found.sqnr_db is not None


def test_ranked_ids_and_texts_flip_too() -> None:
    ranked = np.array([["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]])
    moved = ranked.copy()
    moved[3] = ["h", "g"]
    use = rubric(metric("recall", parameters={"k": 1}), task="image-retrieval")
    found = score(use, predictions(4, ranked_ids=moved), predictions(4, ranked_ids=ranked)).agreement
    assert found.flip_rate == 0.25
    assert found.reason == "divergence and noise need logits"
    texts = np.array(["1", "2"], dtype=object)
    use = rubric(metric("exact-match"), task="generation")
    found = score(
        use, predictions(2, texts=texts, targets=texts), predictions(2, texts=texts[::-1], targets=texts)
    ).agreement
    assert found.flip_rate == 1.0
    nothing = score(use, predictions(2), predictions(2)).agreement
    assert nothing.flip_rate is None
    assert nothing.reason == "neither logits, ranked ids, options nor texts were kept"
