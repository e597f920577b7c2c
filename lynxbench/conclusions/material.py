"""What conclusions are drawn from: a results folder's records, answers, latencies and rubrics, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import UsageError
from lynxbench.records.answers import predictions_of
from lynxbench.records.declarations import kept_rubrics
from lynxbench.records.files import files_at
from lynxbench.records.generations import described
from lynxbench.records.location import Location
from lynxbench.records.record import Record
from lynxbench.records.store import read_records, read_table
from lynxbench.specs.rubric import Rubric

if TYPE_CHECKING:
    import pyarrow as pa


class Answers(Mapping[str, Predictions]):
    """The rows of `predictions.parquet` by `predictions_id`; a candidate's are made into arrays when it is looked up.

    Looking up raises KeyError for an id without rows, `StoreError` for rows that are no answers to one test set.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._ids: list[str] = rows["predictions_id"].unique().to_pylist()
        self._made: dict[str, Predictions] = {}

    def __getitem__(self, predictions_id: str) -> Predictions:
        import pyarrow.compute as pc

        if predictions_id not in self._made:
            if predictions_id not in self._ids:
                raise KeyError(predictions_id)
            mine = self._rows.filter(pc.equal(self._rows["predictions_id"], predictions_id))
            self._made[predictions_id] = predictions_of(mine)
        return self._made[predictions_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(frozen=True)
class Material:
    """One results folder. `records` are validated and in the plan's order."""

    folder: Location
    records: tuple[Record, ...]

    @cached_property
    def predictions(self) -> pa.Table:
        """One row a candidate and sample."""
        return read_table(self.folder, "predictions")

    @cached_property
    def answers(self) -> Answers:
        """What each candidate answered, by `predictions_id`."""
        return Answers(self.predictions)

    @cached_property
    def latencies(self) -> pa.Table:
        """One row a timed query."""
        return read_table(self.folder, "latencies")

    @cached_property
    def rubrics(self) -> Mapping[str, Rubric]:
        """What the folder was measured by, by digest. Raises `StoreError` where it was not kept."""
        return kept_rubrics(self.folder)


def material(folder: Location) -> Material:
    """Open a results folder. Raises `UsageError` when it is none or holds no records, `StoreError` when damaged."""
    if described(files_at(folder)) is None:
        raise UsageError(f"{folder} is no results folder: it has no sweep.json")
    records = tuple(read_records(folder))
    if not records:
        raise UsageError(f"{folder} holds no records yet")
    return Material(folder, records)
