"""Retrieval: a real embedding, searched as brute force in double precision would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lynxbench.datasets.predictions import Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.tasks import answer_all, get_task
from lynxbench.tasks.retrieval import KEPT_RANKS
from tests.tasks.models import images, model, opened, projection

RETRIEVE = get_task("image-retrieval")


def asked(queries: int, corpus: int, *, seed: int = 0) -> Samples:
    return images(queries, seed=seed, corpus=images(corpus, seed=seed + 1))


def embedded(samples: Samples, weights: np.ndarray, path: Path, batch_size: int = 4) -> Predictions:
    with opened(projection(path, weights.astype(np.float32))) as executor:
        return RETRIEVE.predictions(samples, answer_all(RETRIEVE, executor, samples, model(), batch_size))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_ranks_are_those_of_brute_force(tmp_path: Path, batch_size: int) -> None:
    samples = asked(600, 40)  # more queries than one chunk of the search
    weights = np.random.default_rng(3).normal(size=(16, 5))
    found = embedded(samples, weights, tmp_path / "m.onnx", batch_size)
    assert samples.corpus is not None
    assert samples.corpus.labels is not None

    def unit(images: np.ndarray) -> np.ndarray:
        vectors = images.reshape(len(images), -1) / 255 @ weights
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    similarity = unit(samples.inputs) @ unit(samples.corpus.inputs).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :KEPT_RANKS]
    assert found.ranked_ids is not None
    assert found.ranked_labels is not None
    assert found.ranked_scores is not None
    expected = np.take_along_axis(similarity, order, axis=1)
    np.testing.assert_allclose(found.ranked_scores, expected, atol=1e-5)
    # Where neighbours are closer than float32 can tell apart, either may come first.
    clear = np.abs(
        np.diff(np.take_along_axis(similarity, np.argsort(-similarity, axis=1)[:, : KEPT_RANKS + 1], axis=1))
    )
    sure = (clear > 1e-5).all(axis=1)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(found.ranked_ids[sure], samples.corpus.source_ids[order][sure])
    np.testing.assert_array_equal(found.ranked_labels[sure], samples.corpus.labels[order][sure])
    assert found.sample_ids.tolist() == samples.ids.tolist()


def test_equal_scores_rank_by_the_corpus_order(tmp_path: Path) -> None:
    samples = asked(3, 60)  # so many that a sort that is not stable would show
    assert samples.corpus is not None
    samples.corpus.inputs[0::2] = samples.inputs[0]
    samples.corpus.inputs[1::2] = samples.corpus.inputs[1]
    found = embedded(samples, np.random.default_rng(3).normal(size=(16, 5)), tmp_path / "m.onnx")
    assert found.ranked_ids is not None
    assert found.ranked_ids[0].tolist() == [f"i{k}" for k in range(0, 2 * KEPT_RANKS, 2)]


def test_length_does_not_count(tmp_path: Path) -> None:
    samples = asked(1, 3)
    assert samples.corpus is not None
    samples.corpus.inputs[1] = samples.inputs[0] // 2  # the same direction, half as long
    samples.inputs[0] = samples.corpus.inputs[1] * 2
    found = embedded(samples, np.eye(16), tmp_path / "m.onnx")
    assert found.ranked_ids is not None
    assert found.ranked_scores is not None
    assert found.ranked_ids[0, 0] == "i1"
    assert found.ranked_scores[0, 0] == pytest.approx(1.0, abs=1e-6)


def test_a_nan_embedding_fails_its_query_and_finds_nothing_better(tmp_path: Path) -> None:
    samples = asked(4, 6)
    with opened(projection(tmp_path / "m.onnx", np.eye(16, dtype=np.float32))) as executor:
        answers = answer_all(RETRIEVE, executor, samples, model(), 5)
    answers["y"][6 + 2] = np.nan
    answers["y"][0, 3] = np.inf
    found = RETRIEVE.predictions(samples, answers)
    assert found.failed.tolist() == [False, False, True, False]
    assert found.ranked_scores is not None
    assert found.ranked_ids is not None
    assert np.isfinite(found.ranked_scores).all()
    # Positive pictures have positive similarities: the corpus entry that failed comes last.
    assert {found.ranked_ids[query, -1] for query in (0, 1, 3)} == {"i0"}


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    path = projection(tmp_path / "m.onnx", np.eye(16, dtype=np.float32))
    with opened(path) as executor, pytest.raises(CellError, match="needs a corpus to search"):
        RETRIEVE.predictions(images(3), answer_all(RETRIEVE, executor, images(3), model(), 1))
    with pytest.raises(CellError, match=r"expects an output \[samples, k\]"):
        RETRIEVE.predictions(asked(1, 1), {"y": np.zeros((2, 3, 4), np.float32)})
