"""Arrays of numbers in, class scores or one number out: tables, time series, sounds, whatever a data file holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Query, Runner, TensorInfo, only_input
from lynxbench.tasks.classes import ClassScores, class_predictions

CLASSIFICATION, REGRESSION = "classification", "regression"


class Classification:
    """The model's first output of two dimensions, [batch, classes], holds the class scores."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return array_feed(inputs, tensors, CLASSIFICATION)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return ClassScores(runner, feed, model)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        return class_predictions(samples, answers, CLASSIFICATION)


class Regression:
    """The model's first output, [batch] or [batch, 1], is the predicted number."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return array_feed(inputs, tensors, REGRESSION)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return BoundQuery(runner, feed)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        given = next(iter(answers.values()))
        if given.dtype.kind not in "fiu" or given.size != len(given):
            raise CellError(
                "failed",
                f"task {REGRESSION} expects one number a sample; the model gave {given.dtype} {list(given.shape)}",
            )
        values = given.reshape(-1).astype(np.float64)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=~np.isfinite(values),
            values=values,
            true_values=samples.values,
        )


def array_feed(inputs: Column, tensors: tuple[TensorInfo, ...], task: str) -> Feed:
    """The samples as the model's one input; `CellError` when their shape is not what it takes."""
    tensor = only_input(tensors, task)
    wanted = tensor.shape[1:]
    fits = len(tensor.shape) == inputs.ndim and all(
        size is None or size == held for size, held in zip(wanted, inputs.shape[1:], strict=True)
    )
    if not fits:
        shape = [size if size is not None else "?" for size in tensor.shape]
        raise CellError("unsupported", f"input {tensor.name} takes {shape}, a batch of samples is {list(inputs.shape)}")
    return {tensor.name: np.ascontiguousarray(inputs, dtype=tensor.dtype)}
