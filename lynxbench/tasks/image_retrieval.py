"""Image retrieval: queries and a corpus are embedded, and the corpus is searched exactly by inner product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo, finite_rows, only_output
from lynxbench.tasks.images import image_feed

NAME = "image-retrieval"
KEPT_RANKS = 20  # enough for recall@10 and to rescore by a somewhat longer list
SEARCH_CHUNK = 512  # queries a matrix product: memory stays flat in the number of queries


class ImageRetrieval:
    """The model's first output is an embedding, [batch, dimensions]; similarity is the cosine."""

    def inputs(self, samples: Samples) -> Column:
        return np.concatenate([self._corpus(samples).inputs, samples.inputs])

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return image_feed(inputs, model, tensors, NAME)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return BoundQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        corpus = self._corpus(samples)
        embeddings = only_output(answers, NAME)
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

    @staticmethod
    def _corpus(samples: Samples) -> Samples:
        if samples.corpus is None:
            raise CellError("unsupported", "retrieval needs a corpus to search, and the test set has none")
        return samples.corpus
