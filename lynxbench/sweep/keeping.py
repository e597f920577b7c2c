"""Scoring and keeping what a group yields, at the moments when no worker is busy."""

from __future__ import annotations

from lynxbench.datasets.predictions import Predictions
from lynxbench.measurement import RoundsResult
from lynxbench.records.record import MEASURED
from lynxbench.records.store import CellStore
from lynxbench.scoring import Scores, score
from lynxbench.specs.suite import Scenario
from lynxbench.sweep.group import Seats
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Cell
from lynxbench.sweep.progress import Meter, expected_s, steps
from lynxbench.sweep.rows import Context, cell_record, predictions_id
from lynxbench.sweep.timing import latency_table


class Keeper:
    """The watch of one group (see `group.Watch`): predictions, scores and records to the store, steps to the meter.

    `finished` are cells that the store holds already; they are measured along where the rounds need them (the
    reference), but not written again.
    """

    def __init__(self, context: Context, store: CellStore, finished: set[str], *, meter: Meter, phases: Phases) -> None:
        self.phases = phases
        self._context = context
        self._group = context.group
        self._store = store
        self._finished = finished
        self._meter = meter
        self._scores: dict[str, Scores] = {}  # by candidate_id
        self._expected_s = expected_s(context.group, context.resolved.suite.protocol)
        self._rounds_done: dict[str, float] = {}

    def step(self, phase: str, what: str, share: float | None = None) -> None:
        """Something was finished; `share` says how much of the rounds of scenario `what` is done."""
        if share is None:
            seconds = self._expected_s[phase] / steps(self._group, phase)
        else:
            scenarios = len({cell.scenario for cell in self._group.running})
            before = self._rounds_done.get(what, 0.0)
            self._rounds_done[what] = max(before, share)
            seconds = (self._rounds_done[what] - before) * self._expected_s[phase] / scenarios
            what = f"{what} {share:.0%}"
        self._meter.advance(phase, f"{self._group.workload.name} · {self._group.model.name} · {what}", seconds)

    def after_accuracy(self, seats: Seats) -> None:
        """Every candidate against the reference; predictions are kept first, so that they outlive any trouble here."""
        rubric = self._context.resolved.rubrics[self._group.workload.name].spec
        # What is only measured along gets no row that could lead to its answers.
        wanted = {cell.candidate_id for cell in self._group.running if cell.cell_id not in self._finished}
        for candidate_id, cell in {cell.candidate_id: cell for cell in self._group.running}.items():
            predictions = _answers(seats, cell)
            if predictions is not None:
                if candidate_id in wanted:
                    self._store.write_predictions(predictions_id(self._context, cell, predictions), predictions)
                reference = self._reference(seats, cell.scenario)
                if reference is not None:
                    self._scores[candidate_id] = score(rubric, predictions, reference)

    def after_rounds(self, scenario: Scenario, seats: Seats, result: RoundsResult | None) -> None:
        """Write the scenario's cells that the store does not hold yet."""
        with self.phases.phase("records"):
            for cell in self._group.running:
                if cell.scenario == scenario and cell.cell_id not in self._finished:
                    scores = self._scores.get(cell.candidate_id)
                    record = cell_record(self._context, cell, seats[cell.deployment], scores, result)
                    timed = result is not None and record["status"] in MEASURED
                    self._store.write_cell(record, latency_table(cell, result) if timed and result else None)

    def _reference(self, seats: Seats, scenario: Scenario) -> Predictions | None:
        for cell in self._group.running:
            if cell.is_reference and cell.scenario == scenario:
                return _answers(seats, cell)
        return None


def _answers(seats: Seats, cell: Cell) -> Predictions | None:
    seat = seats[cell.deployment]
    return seat.predictions.get(seat.batch_size(cell.scenario))
