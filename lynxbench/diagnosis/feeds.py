"""Samples as a model takes them, batch by batch, and again as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.samples import Samples
from lynxbench.specs.suite import Model
from lynxbench.tasks import Feed, Task, TensorInfo, batches, fixed_batch, own_inputs


@dataclass(frozen=True)
class Batch:
    """One run's inputs; of its `size` samples the first `rows` count, `start` being the first one's position.

    The rest fills up the last batch of a model whose batch is fixed.
    """

    feed: Feed
    start: int
    rows: int
    size: int

    def own(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`values` without what fills the batch up, where their first axis is the batch."""
        return values[: self.rows] if values.ndim and len(values) == self.size else values

    def is_by_sample(self, values: npt.NDArray[Any]) -> bool:
        """Whether `own(values)` has one entry a sample."""
        return bool(values.ndim) and len(values) == self.size

    def singles(self) -> Iterator[Feed] | None:
        """Each sample's own inputs, as filled up to the length of the batch; None where an input is not by sample."""
        if any(not self.is_by_sample(array) for array in self.feed.values()):
            return None
        return ({name: array[i : i + 1] for name, array in self.feed.items()} for i in range(self.rows))


@dataclass(frozen=True)
class Batches:
    """Batches that can be read again and again; `strata`: field → [n], in the order of the samples."""

    feeds: Callable[[], Iterator[Batch]]
    n: int
    strata: Mapping[str, npt.NDArray[np.str_]]

    def __iter__(self) -> Iterator[Batch]:
        return self.feeds()


def batches_of(
    task: Task,
    model: Model,
    samples: Samples,
    tensors: tuple[TensorInfo, ...],
    *,
    count: int,
    batch_size: int,
    strata: tuple[str, ...] = (),
) -> Batches:
    """The first `count` samples for a model with inputs `tensors`; of a retrieval the queries, not what is searched.

    Batches are of `batch_size`, the last one smaller; of a model whose batch is fixed, all of that size.
    """
    asked: Any = task.inputs(samples)
    if samples.corpus is not None:
        asked = asked[-len(samples) :]
    asked = asked[:count]  # calibration sets come whole, in an order of which each beginning is a fair part
    fixed = fixed_batch(tensors)

    def feeds() -> Iterator[Batch]:
        for positions in batches(len(asked), fixed or batch_size):
            start = int(positions[0])
            rows = min(len(positions), len(asked) - start)
            chosen = asked[positions if fixed else positions[:rows]]
            yield Batch(own_inputs(task.feed(chosen, model, tensors), tensors), start, rows, len(chosen))

    kept = {name: samples.strata[name].astype(np.str_) for name in strata if name in samples.strata}
    return Batches(feeds, len(asked), kept)


def inputs_of(path: Path) -> tuple[TensorInfo, ...]:
    """A model file's inputs, as its graph declares them."""
    from lynxbench.execution import graph_inputs

    return tuple(graph_inputs(path))
