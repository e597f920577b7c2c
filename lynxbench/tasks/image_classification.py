"""Image classification: an image in, one score a class out."""

from __future__ import annotations

from collections.abc import Mapping

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo, finite_rows, only_output
from lynxbench.tasks.images import image_feed

NAME = "image-classification"


class ImageClassification:
    """The model's first output is [batch, classes]: logits, or probabilities' logarithms."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return image_feed(inputs, model, tensors, NAME)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return BoundQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        labels = samples.labels
        classes = 1 if labels is None else int(labels.max()) + 1
        logits = only_output(answers, NAME, classes)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=~finite_rows(logits),
            labels=labels,
            logits=logits,
        )
