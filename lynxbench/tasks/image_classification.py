"""Image classification: an image in, one score a class out."""

from __future__ import annotations

from collections.abc import Mapping

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, Feed, Query, Runner, TensorInfo
from lynxbench.tasks.classes import ClassScores, class_predictions
from lynxbench.tasks.images import image_feed

NAME = "image-classification"


class ImageClassification:
    """The model's first output [batch, classes] of floating point holds the class scores, as `Model.scores` says."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return image_feed(inputs, model, tensors, NAME)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return ClassScores(runner, feed, model)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return class_predictions(samples, answers, NAME)
