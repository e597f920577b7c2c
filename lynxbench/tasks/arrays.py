"""Arrays of numbers in, class scores or one number out: tables, time series, sounds, whatever a data file holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import (
    Array,
    BoundQuery,
    Feed,
    Query,
    Runner,
    TensorInfo,
    finite_rows,
    only_input,
    only_output,
)

CLASSIFICATION, REGRESSION = "classification", "regression"
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


class Classification:
    """The model's first output of two dimensions, [batch, classes], holds the class scores."""

    def inputs(self, samples: Samples) -> Column:
        return samples.inputs

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        return array_feed(inputs, tensors, CLASSIFICATION)

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        return ClassScores(runner, feed, model)

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        labels = samples.labels
        logits = only_output(answers, CLASSIFICATION, 1 if labels is None else int(labels.max()) + 1)
        return Predictions(
            sample_ids=samples.ids,
            source_ids=samples.source_ids,
            strata=samples.strata,
            failed=~finite_rows(logits),
            labels=labels,
            logits=logits,
        )


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


class ClassScores(BoundQuery):
    """A query that answers with class scores alone, as logits, whatever else the model says."""

    def __init__(self, runner: Runner, feed: Feed, model: Model) -> None:
        super().__init__(runner, feed)
        self._probabilities = model.scores == "probabilities"

    def answer(self) -> dict[str, Array]:
        given = super().answer()
        name = next((name for name, values in given.items() if values.ndim == 2 and values.dtype.kind == "f"), None)
        if name is None:
            shapes = ", ".join(f"{name} {values.dtype} {list(values.shape)}" for name, values in given.items())
            raise CellError("failed", f"task {CLASSIFICATION} expects class scores [samples, classes]; found {shapes}")
        if not self._probabilities:
            return {name: given[name]}
        # A softmax of logarithms gives the probabilities back; one of 0 stands for the smallest that there is.
        return {name: np.log(np.maximum(given[name], SMALLEST_PROBABILITY))}


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
