"""Transcription (OCR, speech) by connectionist temporal classification: images or sounds in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import numpy as np

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model, SpelledOutput
from lynxbench.tasks.arrays import array_feed
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo
from lynxbench.tasks.images import image_feed

NAME = "transcription"


class Transcription:
    """The model's first output is [batch, time, symbols] of scores (or time first, as `spelling` says), decoded
    greedily: the best symbol of each step, repeats merged, blanks dropped (Graves et al. 2006).
    """

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        if inputs.dtype == np.uint8:
            return image_feed(inputs, model, tensors, NAME)
        return array_feed(inputs, tensors, NAME)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        if model.spelling is None:
            raise CellError("unsupported", f"model {model.name} declares no [models.spelling], which task {NAME} needs")
        return SpellingQuery(runner, feed, model.spelling)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=answers["failed"].astype(np.bool_),
            targets=samples.targets,
            texts=answers["text"],
        )


class SpellingQuery(BoundQuery):
    """A query that answers with texts."""

    def __init__(self, runner: Runner, feed: Feed, declared: SpelledOutput) -> None:
        super().__init__(runner, feed)
        self._declared = declared

    def answer(self) -> dict[str, Array]:
        declared, scores = self._declared, next(iter(super().answer().values()))
        if scores.ndim == 3 and declared.time_first:
            scores = np.moveaxis(scores, 1, 0)
        symbols = len(declared.vocabulary) + 1
        if scores.ndim != 3 or scores.shape[2] != symbols or scores.dtype.kind != "f":
            found, wanted = f"{scores.dtype} {list(scores.shape)}", f"[batch, time, {symbols}]"
            raise CellError(
                "failed", f"task {NAME} expects scores {wanted}, the blank included; the model gave {found}"
            )
        if declared.blank >= symbols:
            raise CellError("failed", f"blank is {declared.blank}, there are {symbols} symbols")
        spelled = list(declared.vocabulary)
        spelled.insert(declared.blank, "")
        texts = ["".join(spelled[symbol] for symbol, _ in groupby(row)) for row in scores.argmax(axis=2).tolist()]
        failed = np.asarray(~np.isfinite(scores).all(axis=(1, 2)), dtype=np.bool_)
        # A fixed width, so that batches can be put together.
        return {"text": np.asarray(texts, dtype=f"<U{max(1, scores.shape[1])}"), "failed": failed}
