"""Retrieval: queries and a corpus are embedded, and the corpus is searched exactly by inner product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo, finite_rows, only_output
from lynxbench.tasks.images import image_feed
from lynxbench.tasks.texts import ATTENTION_MASK, declared_text, text_feed

IMAGES, TEXTS = "image-retrieval", "text-retrieval"
KEPT_RANKS = 20  # enough for recall@10 and to rescore by a somewhat longer list
SEARCH_CHUNK = 512  # queries a matrix product: memory stays flat in the number of queries


class ImageRetrieval:
    """The model's first output is an embedding, [batch, dimensions]; similarity is the cosine."""

    def inputs(self, samples: Samples) -> Column:
        return with_corpus(samples)

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return image_feed(inputs, model, tensors, IMAGES)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return BoundQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return ranked(samples, only_output(answers, IMAGES))


class TextRetrieval:
    """The same for texts. A model that gives a vector a token, [batch, length, dimensions], is pooled as declared."""

    def inputs(self, samples: Samples) -> Column:
        return with_corpus(samples)

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return text_feed(inputs, model, tensors, TEXTS)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return PooledQuery(runner, feed, model)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return ranked(samples, only_output(answers, TEXTS))


class PooledQuery(BoundQuery):
    """A query whose answer is one vector a text, whatever the model gives."""

    def __init__(self, runner: Runner, feed: Feed, model: Model) -> None:
        super().__init__(runner, feed)
        self._pooling = declared_text(model, TEXTS).pooling
        self._mask = np.array(feed[ATTENTION_MASK])

    def load(self, feed: Feed) -> None:
        super().load(feed)
        np.copyto(self._mask, feed[ATTENTION_MASK])

    def answer(self) -> dict[str, Array]:
        name, given = next(iter(super().answer().items()))
        values: Array = given
        if given.ndim == 3:
            if self._pooling == "first":
                values = given[:, 0]
            else:
                weights = self._mask[:, :, None].astype(np.float32)
                values = (given.astype(np.float32) * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
        return {name: values}


def with_corpus(samples: Samples) -> Column:
    """What is searched, then what is asked; calibration samples have no corpus."""
    return samples.inputs if samples.corpus is None else np.concatenate([samples.corpus.inputs, samples.inputs])


def ranked(samples: Samples, embeddings: npt.NDArray[np.float32]) -> Predictions:
    """Each query's nearest documents by cosine, best first; `embeddings` [m, d] are the corpus's, then the queries'."""
    corpus = samples.corpus
    if corpus is None:
        raise CellError("unsupported", "retrieval needs a corpus to search, and the test set has none")
    finite = finite_rows(embeddings)
    embeddings = np.where(finite[:, None], embeddings, 0.0).astype(np.float32)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = embeddings / np.maximum(norms, np.finfo(np.float32).tiny)
    searched, queries = embeddings[: len(corpus)], embeddings[len(corpus) :]
    kept = min(KEPT_RANKS, len(corpus))
    ranks = np.empty((len(queries), kept), dtype=np.int64)
    scores = np.empty((len(queries), kept), dtype=np.float32)
    for start in range(0, len(queries), SEARCH_CHUNK):
        similarity = queries[start : start + SEARCH_CHUNK] @ searched.T
        # A stable sort, so that equal scores rank by corpus order on every machine.
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :kept]
        ranks[start : start + SEARCH_CHUNK] = order
        scores[start : start + SEARCH_CHUNK] = np.take_along_axis(similarity, order, axis=1)
    return Predictions(
        sample_ids=samples.ids,
        source_ids=samples.source_ids,
        strata=samples.strata,
        failed=~finite[len(corpus) :],
        labels=samples.labels,
        ranked_ids=corpus.source_ids[ranks],
        ranked_labels=None if corpus.labels is None else corpus.labels[ranks],
        ranked_scores=scores,
    )
