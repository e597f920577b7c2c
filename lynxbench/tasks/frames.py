"""Frame classification: one decision for each of a sequence's frames, as voice activity detection makes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.answers import NO_TAG
from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.arrays import array_feed
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo, finite_rows
from lynxbench.tasks.classes import SMALLEST_PROBABILITY

NAME = "frame-classification"


class FrameClassification:
    """The model's first output is [batch, frames, classes], or [batch, frames] with the score of class 1 of two.

    Each frame is a prediction of its own, called SAMPLE/0, SAMPLE/1, …; frames of one sequence are not independent.
    Frames without a label are not asked.
    """

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return array_feed(inputs, tensors, NAME)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return FrameQuery(runner, feed, model)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        scores, tags = answers["logits"].astype(np.float32), samples.tags
        if tags is None:
            raise CellError("unsupported", f"task {NAME} needs tags, and the test set has none")
        if scores.shape[:2] != tags.shape or int(tags.max()) >= scores.shape[2]:
            held = f"{tags.shape[1]} frames a sample, labels up to {tags.max()}"
            raise CellError("failed", f"the model gives scores {list(scores.shape)}; the test set has {held}")
        sample, frame = np.nonzero(tags != NO_TAG)
        logits = scores[sample, frame]
        names = samples.ids[sample].astype(np.str_)
        return Predictions(
            sample_ids=np.char.add(np.char.add(names, "/"), frame.astype(np.str_)),
            source_ids=samples.source_ids[sample],
            strata={name: column[sample] for name, column in samples.strata.items()},
            failed=~finite_rows(logits),
            labels=np.asarray(tags[sample, frame], dtype=np.int64),
            logits=logits,
        )


class FrameQuery(BoundQuery):
    """A query that answers with class scores for each frame, as logits: [batch, frames, classes]."""

    def __init__(self, runner: Runner, feed: Feed, model: Model) -> None:
        super().__init__(runner, feed)
        self._probabilities = model.scores == "probabilities"

    def answer(self) -> dict[str, Array]:
        scores = next(iter(super().answer().values()))
        if scores.ndim not in (2, 3) or scores.dtype.kind != "f":
            found = f"{scores.dtype} {list(scores.shape)}"
            raise CellError("failed", f"task {NAME} expects scores [batch, frames(, classes)]; the model gave {found}")
        if scores.ndim == 2:
            # A sigmoid's logit against 0, or its probability against the rest.
            other = 1 - scores if self._probabilities else np.zeros_like(scores)
            scores = np.stack([other, scores], axis=2)
        if self._probabilities:
            scores = np.log(np.maximum(scores, SMALLEST_PROBABILITY))
        return {"logits": scores}
