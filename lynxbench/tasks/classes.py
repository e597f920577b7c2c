"""What the classification tasks share: class scores out of whatever the model says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lynxbench.datasets.predictions import Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.specs.suite import Model
from lynxbench.tasks.base import Array, BoundQuery, Feed, Runner, finite_rows, only_output

SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


class ClassScores(BoundQuery):
    """A query that answers with the class scores alone, as logits.

    Scores are the first output [batch, classes] of floating point: converters of scikit-learn write the label first.
    A model without one is left to `class_predictions` to refuse.
    """

    def __init__(self, runner: Runner, feed: Feed, model: Model) -> None:
        super().__init__(runner, feed)
        self._probabilities = model.scores == "probabilities"

    def answer(self) -> dict[str, Array]:
        given = super().answer()
        name = next((name for name, values in given.items() if values.ndim == 2 and values.dtype.kind == "f"), None)
        if name is None:
            return given
        if not self._probabilities:
            return {name: given[name]}
        # A softmax of logarithms gives the probabilities back; one of 0 stands for the smallest that there is.
        return {name: np.log(np.maximum(given[name], SMALLEST_PROBABILITY))}


def class_predictions(samples: Samples, answers: Mapping[str, Array], task: str) -> Predictions:
    """Class scores as predictions; raises `CellError` when there are none, or fewer than labels."""
    labels = samples.labels
    logits = only_output(answers, task, 1 if labels is None else int(labels.max()) + 1)
    return Predictions(
        sample_ids=samples.ids,
        source_ids=samples.source_ids,
        strata=samples.strata,
        failed=~finite_rows(logits),
        labels=labels,
        logits=logits,
    )
