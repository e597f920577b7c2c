"""Text classification and token classification: one class for a text, or one for each of its words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.answers import NO_TAG
from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo, finite_rows
from lynxbench.tasks.classes import ClassScores, class_predictions
from lynxbench.tasks.texts import declared_text, encoded, feed_of, text_feed

TEXTS, TOKENS = "text-classification", "token-classification"
WORD_STARTS = "lynxbench.word_starts"


class TextClassification:
    """The model's first output [batch, classes] of floating point holds the class scores, as `Model.scores` says."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return text_feed(inputs, model, tensors, TEXTS)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return ClassScores(runner, feed, model)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return class_predictions(samples, answers, TEXTS)


class TokenClassification:
    """The model's first output is [batch, length, classes]; a word's class is that of its first token.

    Each word is a prediction of its own, called SAMPLE/0, SAMPLE/1, …; words of one text are not independent. A word
    that was cut off counts as wrong.
    """

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        encodings = encoded([text.split() for text in inputs.tolist()], model, tensors, TOKENS, words=True)
        starts = np.full((len(encodings), declared_text(model, TOKENS).max_length), -1, dtype=np.int64)
        for row, item in enumerate(encodings):
            for position, word in reversed(list(enumerate(item.word_ids))):
                if word is not None and word < starts.shape[1]:
                    starts[row, word] = position
        return {**feed_of(encodings, tensors, TOKENS), WORD_STARTS: starts}

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return WordQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        logits, tags = answers["logits"].astype(np.float32), samples.tags
        if tags is None:
            raise CellError("unsupported", f"task {TOKENS} needs tags, and the test set has none")
        if int(tags.max()) >= logits.shape[2]:
            raise CellError(
                "failed", f"the model tells {logits.shape[2]} classes apart, there are tags up to {tags.max()}"
            )
        sample, word = np.nonzero(tags != NO_TAG)
        kept = word < logits.shape[1]
        scores = np.full((len(sample), logits.shape[2]), np.nan, dtype=np.float32)
        scores[kept] = logits[sample[kept], word[kept]]
        failed = ~finite_rows(scores)
        return Predictions(
            sample_ids=np.char.add(np.char.add(samples.ids[sample].astype(np.str_), "/"), word.astype(np.str_)),
            source_ids=samples.source_ids[sample],
            strata={name: column[sample] for name, column in samples.strata.items()},
            failed=failed,
            labels=np.asarray(tags[sample, word], dtype=np.int64),
            logits=scores,
        )


class WordQuery(BoundQuery):
    """A query that answers with class scores for each word, NaN for those that there are not: [batch, words, k]."""

    def __init__(self, runner: Runner, feed: Feed) -> None:
        super().__init__(runner, feed)
        self._starts = feed[WORD_STARTS].astype(np.int64)

    def load(self, feed: Feed) -> None:
        super().load(feed)
        np.copyto(self._starts, feed[WORD_STARTS])

    def answer(self) -> dict[str, Array]:
        values = next(iter(super().answer().values()))
        if values.ndim != 3 or values.dtype.kind != "f":
            found = f"{values.dtype} {list(values.shape)}"
            raise CellError("failed", f"task {TOKENS} expects scores [batch, length, classes]; the model gave {found}")
        rows = np.arange(len(values))[:, None]
        scores = values[rows, np.maximum(self._starts, 0)]
        return {"logits": np.where(self._starts[:, :, None] >= 0, scores, np.nan).astype(np.float32)}
