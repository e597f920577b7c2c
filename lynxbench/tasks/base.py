"""What a task is, and the one loop that answers a test set with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column, Predictions
from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.specs.suite import Model

Array = npt.NDArray[np.generic]
Feed = dict[str, Array]

# Queries of different shapes that are bound at a time in the accuracy pass.
MOST_BOUND = 64


class TensorInfo(Protocol):
    """A model's input or output: `shape` has None where a dimension is free, `dtype` is NumPy's."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> np.dtype[np.generic]: ...
    @property
    def shape(self) -> tuple[int | None, ...]: ...


class Bound(Protocol):
    """A run whose inputs and outputs are bound once. `inputs` may be overwritten in place between calls."""

    @property
    def inputs(self) -> Mapping[str, Array]: ...
    @property
    def outputs(self) -> Mapping[str, Array]: ...
    @property
    def call(self) -> Callable[[], None]: ...


class Steps(Protocol):
    """Runs in steps; `execution.Stepper` is one."""

    def reset(self, first: Feed) -> None: ...
    def step(self, feed: Feed) -> dict[str, Array]: ...


class Runner(Protocol):
    """Something that runs a model; `execution.Executor` is one."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...
    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...
    def bind(self, feed: Feed) -> Bound: ...
    def stepper(self, carried: Mapping[str, str]) -> Steps: ...


class Query(Protocol):
    """One query, ready to be timed: `run` answers a whole batch, from inputs in place to outputs on the host."""

    @property
    def run(self) -> Callable[[], None]:
        """What is timed."""

    def load(self, feed: Feed) -> None:
        """Put other samples of the same shape in place (never inside a timed span)."""

    def answer(self) -> dict[str, Array]:
        """A copy of what the last run answered: name → [batch, …]."""


class Task(Protocol):
    """How samples become model runs, and outputs become predictions."""

    def inputs(self, samples: Samples) -> Column:
        """Everything that the model is asked about, [m, …]: the samples, and for retrieval the corpus before them."""

    def feed(self, inputs: Column, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
        """A batch of `inputs` as the model's input tensors; entries that are no input of it are for the query alone."""

    def query(self, runner: Runner, feed: Feed, model: Model) -> Query:
        """Bind a batch."""

    def predictions(self, samples: Samples, answers: Mapping[str, Array]) -> Predictions:
        """Answers to all inputs ([m, …] each) as predictions."""


class BoundQuery:
    """A query that is one run of the model."""

    def __init__(self, runner: Runner, feed: Feed) -> None:
        self._bound = runner.bind(own_inputs(feed, runner.inputs))
        # The bound run itself: no method of ours stands between the clock and the session.
        self.run: Callable[[], None] = self._bound.call

    def load(self, feed: Feed) -> None:
        for name, bound in self._bound.inputs.items():
            np.copyto(bound, feed[name])

    def answer(self) -> dict[str, Array]:
        return {name: np.array(values) for name, values in self._bound.outputs.items()}


def batches(total: int, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions 0 … total-1 in batches of exactly `batch_size`; the last is filled up from the start.

    Filled, not cut, because a scheme with dynamic scales answers a smaller batch otherwise than a full one.
    """
    for start in range(0, total, batch_size):
        yield np.arange(start, start + batch_size) % total


def answer_all(task: Task, runner: Runner, samples: Samples, model: Model, batch_size: int) -> dict[str, Array]:
    """Every input's answer at one batch size, by the same bound code path that is timed: name → [m, …].

    Raises `CellError` when an output does not have one entry for each sample of a batch.
    """
    inputs = task.inputs(samples)
    # Texts of another length are tensors of another shape, and bound anew.
    queries: dict[tuple[tuple[int, ...], ...], Query] = {}
    parts: list[dict[str, Array]] = []
    for positions in batches(len(inputs), batch_size):
        feed = task.feed(inputs[positions], model, runner.inputs)
        shapes = tuple(array.shape for array in feed.values())
        if shapes not in queries:
            if len(queries) == MOST_BOUND:
                queries.pop(next(iter(queries)))
            queries[shapes] = task.query(runner, feed, model)
        query = queries[shapes]
        query.load(feed)
        query.run()
        parts.append(query.answer())
    for name, values in parts[0].items():
        if values.ndim == 0 or len(values) != batch_size:
            raise CellError(
                "failed",
                f"output {name} has shape {list(values.shape)} for a batch of {batch_size}: not one entry a sample",
            )
    return {name: np.concatenate([part[name] for part in parts])[: len(inputs)] for name in parts[0]}


def fixed_batch(tensors: tuple[TensorInfo, ...]) -> int | None:
    """The batch size that a model insists on, by its first input; None where it takes any."""
    return tensors[0].shape[0] if tensors and tensors[0].shape else None


def first_feed(task: Task, samples: Samples, model: Model, tensors: tuple[TensorInfo, ...]) -> Feed:
    """The first sample's own inputs of the model, or those of as many as a model of fixed batch takes."""
    inputs = task.inputs(samples)
    chosen = inputs[np.arange(fixed_batch(tensors) or 1) % len(inputs)]
    return own_inputs(task.feed(chosen, model, tensors), tensors)


def own_inputs(feed: Feed, tensors: tuple[TensorInfo, ...]) -> Feed:
    """The entries of a feed that are inputs of the model."""
    names = {tensor.name for tensor in tensors}
    return {name: array for name, array in feed.items() if name in names}


def only_input(tensors: tuple[TensorInfo, ...], task: str) -> TensorInfo:
    """The model's single input; raises `CellError` when it has another number."""
    if len(tensors) != 1:
        names = ", ".join(tensor.name for tensor in tensors) or "none"
        raise CellError("unsupported", f"task {task} feeds one input, the model has {len(tensors)}: {names}")
    return tensors[0]


def only_output(answers: Mapping[str, Array], task: str, at_least: int = 1) -> npt.NDArray[np.float32]:
    """The model's first output as [m, k] float32; raises `CellError` on another shape, on k < `at_least`, on text."""
    values = next(iter(answers.values()))
    if values.ndim != 2 or values.shape[1] < at_least or values.dtype.kind not in "fiu":
        raise CellError(
            "failed",
            f"task {task} expects an output [samples, k] of numbers, k at least {at_least}; "
            f"the model gave {values.dtype} {list(values.shape)}",
        )
    return values.astype(np.float32)


def finite_rows(values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """[m, k] → [m]: no NaN and no infinity in the row."""
    return np.asarray(np.isfinite(values).all(axis=1), dtype=np.bool_)
