"""Question answering: the span of a context that answers a question."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo
from lynxbench.tasks.texts import encoded, feed_of

NAME = "question-answering"
SPANS = "lynxbench.spans"
LONGEST_ANSWER_TOKENS = 30


class QuestionAnswering:
    """Two outputs [batch, length], scores of a token to begin and to end the answer (named with start and end, or first
    and second). The best span of the context, at most 30 tokens long, is the answer; a context too long is cut.
    """

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        encodings = encoded([tuple(pair) for pair in inputs.tolist()], model, tensors, NAME)
        # Where each token of the context lies in it; -1 for all other tokens.
        spans = np.full((len(encodings), len(encodings[0].ids), 2), -1, dtype=np.int64)
        for row, item in enumerate(encodings):
            for position, (sequence, span) in enumerate(zip(item.sequence_ids, item.offsets, strict=True)):
                if sequence == 1 and span[1] > span[0]:
                    spans[row, position] = span
        return {**feed_of(encodings, tensors, NAME), SPANS: spans}

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return SpanQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        contexts = samples.inputs[:, 1].tolist()
        spans = answers["span"].tolist()
        texts = [context[start:end] for context, (start, end) in zip(contexts, spans, strict=True)]
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=answers["failed"].astype(np.bool_),
            targets=samples.targets,
            texts=np.asarray(texts, dtype=np.str_),
        )


class SpanQuery(BoundQuery):
    """A query that answers with characters from … to … of the context, [batch, 2]."""

    def __init__(self, runner: Runner, feed: Feed) -> None:
        super().__init__(runner, feed)
        self._spans = np.array(feed[SPANS])

    def load(self, feed: Feed) -> None:
        super().load(feed)
        np.copyto(self._spans, feed[SPANS])

    def answer(self) -> dict[str, Array]:
        starts, ends = _scores(super().answer())
        inside = self._spans[:, :, 1].astype(np.int64) > 0
        failed = np.asarray(~np.isfinite(np.where(inside, starts + ends, 0.0)).all(axis=1), dtype=np.bool_)
        starts = np.where(inside & ~failed[:, None], starts, -np.inf)
        ends = np.where(inside & ~failed[:, None], ends, -np.inf)
        answers = np.zeros((len(starts), 2), dtype=np.int64)
        for row in range(len(starts)):
            sums = starts[row][:, None] + ends[row][None, :]
            allowed = np.tril(np.triu(np.ones_like(sums, dtype=bool)), LONGEST_ANSWER_TOKENS - 1)
            sums = np.where(allowed, sums, -np.inf)
            first, last = np.unravel_index(int(sums.argmax()), sums.shape)
            if np.isfinite(sums[first, last]):
                answers[row] = self._spans[row, first, 0], self._spans[row, last, 1]
        return {"span": answers, "failed": failed}


def _scores(outputs: Mapping[str, Array]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    found = [values for values in outputs.values() if values.ndim == 2 and values.dtype.kind == "f"]
    named = [
        next((v for n, v in outputs.items() if word in n.lower() and v.ndim == 2), None) for word in ("start", "end")
    ]
    if named[0] is not None and named[1] is not None:
        return named[0].astype(np.float32), named[1].astype(np.float32)
    if len(found) < 2:
        shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in outputs.items())
        raise CellError(
            "failed", f"task {NAME} expects scores of starts and of ends, [batch, length] each; got {shapes}"
        )
    return found[0].astype(np.float32), found[1].astype(np.float32)
