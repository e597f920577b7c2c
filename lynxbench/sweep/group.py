"""Measuring one group: workers up, accuracy first, then interleaved rounds, then a last look at the answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import CellError
from lynxbench.execution import worker_command
from lynxbench.measurement import Block, RoundProgress, RoundsResult, run_rounds
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.suite import Scenario
from lynxbench.sweep.artifacts import Artifact, ArtifactKey
from lynxbench.sweep.child import Child, close_all
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Cell, Deployment, Group
from lynxbench.sweep.wire import block_from_wire, load_predictions

MODULE = "lynxbench.sweep.worker"
# A block answers after its own time; this much beside it means that the worker hangs.
BLOCK_GRACE_S = 60.0


@dataclass
class Seat:
    """One deployment of a group and what its worker has said so far; `error` once it is out."""

    deployment: Deployment
    artifact: Artifact | None
    child: Child | None = None
    opened: dict[str, Any] = field(default_factory=dict)
    predictions: dict[int, Predictions] = field(default_factory=dict)
    prepared: dict[str, dict[str, Any]] = field(default_factory=dict)
    rechecked: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: int | None = None
    error: CellError | None = None

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask the worker; a failure takes the seat out of the group and is raised."""
        if self.error is not None:
            raise self.error
        assert self.child is not None
        try:
            return self.child.ask(request, timeout_s)
        except CellError as error:
            self.error = error
            raise


Seats = Mapping[Deployment, Seat]


@dataclass(frozen=True)
class _Entrant:
    """A cell in the rounds: a block is one request to its worker."""

    cell: Cell
    seat: Seat

    @property
    def name(self) -> str:
        return self.cell.cell_id

    def block(self, duration_ns: int) -> Block:
        request = {"do": "block", "scenario": self.cell.scenario.name, "duration_ns": duration_ns}
        return block_from_wire(self.seat.ask(request, duration_ns / 1e9 + BLOCK_GRACE_S))


def measure_group(
    group: Group,
    resolved: ResolvedSuite,
    interpreters: Mapping[str, str],
    artifacts: Mapping[ArtifactKey, Artifact | CellError],
    samples: Path,
    work: Path,
    cache: Path,
    phases: Phases,
    on_step: Callable[[str, str], None],
    after_accuracy: Callable[[Seats], None],
    after_rounds: Callable[[Scenario, Seats, RoundsResult | None], None],
) -> None:
    """Run everything of a group that can run. What fails is in its seat's `error`; nothing is raised for it.

    `after_accuracy` is called between the accuracy passes and the rounds, when no worker is busy: the place to keep
    and score predictions. `after_rounds` is called when a scenario's cells are complete: the place to keep them.
    `on_step(phase, what)` is told of every finished step.
    """
    seats: dict[Deployment, Seat] = {}
    for deployment in group.deployments:
        artifact = artifacts[group.workload.name, deployment]
        failed = isinstance(artifact, CellError)
        seats[deployment] = Seat(deployment, None if failed else artifact, error=artifact if failed else None)  # type: ignore[arg-type]
    protocol = resolved.suite.protocol
    with _workers(list(seats.values()), resolved, interpreters):
        with phases.phase("start"):
            _open(group, seats, resolved, samples, cache, on_step)
        batch_sizes = {d: sorted({c.scenario.batch_size for c in group.running if c.deployment == d}) for d in seats}
        with phases.phase("accuracy"):
            _each(seats.values(), protocol.threads, lambda seat: _answer(seat, batch_sizes[seat.deployment], work, protocol.worker_timeout_s, on_step))
        with phases.phase("scoring"):
            after_accuracy(seats)
        for scenario in dict.fromkeys(cell.scenario for cell in group.running):
            cells = [cell for cell in group.running if cell.scenario == scenario]
            with phases.phase("warm-up"):
                _each(
                    [seats[cell.deployment] for cell in cells],
                    protocol.threads,
                    lambda seat, scenario=scenario: _prepare(seat, scenario, resolved),  # type: ignore[misc]
                )
            with phases.phase("rounds"):
                result = _rounds(cells, seats, resolved, on_step)
            with phases.phase("recheck"):
                _each(
                    [seats[cell.deployment] for cell in cells],
                    protocol.threads,
                    lambda seat, scenario=scenario: _recheck(seat, scenario.name, protocol.worker_timeout_s),  # type: ignore[misc]
                )
            after_rounds(scenario, seats, result)


@contextmanager
def _workers(seats: Sequence[Seat], resolved: ResolvedSuite, interpreters: Mapping[str, str]) -> Iterator[None]:
    """A worker for every seat that has a model file; all ended on the way out, whatever happened."""
    children = []
    try:
        for seat in seats:
            if seat.error is None:
                spec = resolved.executors[seat.deployment.executor].spec
                command = worker_command(spec, MODULE, python=interpreters.get(spec.name))
                # Thread pools of libraries beside ONNX Runtime must not compete with it.
                seat.child = Child(command.argv, {**command.env, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
                children.append(seat.child)
        yield
    finally:
        close_all(children)


def _open(group: Group, seats: Seats, resolved: ResolvedSuite, samples: Path, cache: Path, on_step: Callable[[str, str], None]) -> None:
    """Sessions are opened one at a time, so that cold starts do not compete with each other."""
    timeout_s = resolved.suite.protocol.worker_timeout_s
    rubric = resolved.rubrics[group.workload.name].spec

    def load(seat: Seat) -> None:
        seat.ask(
            {"do": "load", "model": seat.deployment.model.model_dump_json(), "samples": str(samples), "task": rubric.task}, timeout_s
        )

    _each(seats.values(), None, load)
    for seat in seats.values():
        if seat.error is None and seat.artifact is not None:
            executor = resolved.executors[seat.deployment.executor].spec
            try:
                seat.opened = seat.ask(
                    {
                        "do": "open",
                        "executor": executor.model_dump_json(),
                        "artifact": str(seat.artifact.path),
                        "threads": resolved.suite.protocol.threads,
                        "options": {},
                        "scheme_kind": seat.deployment.scheme.kind,
                        "cache": str(cache),
                        "references": list(seat.artifact.references),
                    },
                    timeout_s,
                )
                if seat.opened["status"] not in {"ok", "partial"}:
                    seat.error = CellError(seat.opened["status"], seat.opened["reason"])
            except CellError:
                pass  # kept in the seat
        on_step("start", seat.deployment.label)


def _each(seats: Sequence[Seat] | Any, threads: int | None, action: Callable[[Seat], object]) -> None:
    """Untimed work: as many workers at once as there are cores for their threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    at_once = max(1, cores // (threads or 1))

    def guarded(seat: Seat) -> None:
        if seat.error is None:
            try:
                action(seat)
            except CellError as error:
                seat.error = error

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(guarded, list(seats)))


def _answer(seat: Seat, batch_sizes: Sequence[int], work: Path, timeout_s: float, on_step: Callable[[str, str], None]) -> None:
    for batch_size in batch_sizes:
        out = work / f"{seat.deployment.model.name}-{seat.deployment.label}-{seat.deployment.executor}-{batch_size}.npz"
        seat.ask({"do": "answer", "batch_size": batch_size, "out": str(out)}, timeout_s)
        seat.predictions[batch_size] = load_predictions(out)
        out.unlink()
        on_step("accuracy", seat.deployment.label)


def _prepare(seat: Seat, scenario: Scenario, resolved: ResolvedSuite) -> None:
    protocol = resolved.suite.protocol
    seat.prepared[scenario.name] = seat.ask(
        {"do": "prepare", "scenario": scenario.name, "batch_size": scenario.batch_size, "protocol": protocol.model_dump_json()},
        protocol.worker_timeout_s,
    )


def _rounds(
    cells: Sequence[Cell], seats: Seats, resolved: ResolvedSuite, on_step: Callable[[str, str], None]
) -> RoundsResult | None:
    """Rounds over the cells whose workers stand; None when there are none."""
    protocol = resolved.suite.protocol
    entrants = [_Entrant(cell, seats[cell.deployment]) for cell in cells if seats[cell.deployment].error is None]
    if not entrants:
        return None
    # Without its reference a group is still timed; there are just no ratios to form.
    reference = next((entrant for entrant in entrants if entrant.cell.is_reference), entrants[0])

    def on_round(progress: RoundProgress) -> None:
        share = max(progress.timed_ns.values(), default=0) / 1e9 / protocol.time_limit_s
        on_step("rounds", f"{cells[0].scenario.name} {min(share, 1.0):.0%}")

    return run_rounds(
        entrants,
        reference.name,
        block_ns=round(protocol.block_s * 1e9),
        minimum_rounds=protocol.minimum_rounds,
        time_limit_ns=round(protocol.time_limit_s * 1e9),
        half_width_ratio=protocol.ratio_half_width,
        confidence=protocol.confidence,
        seed=protocol.seed,
        samples_per_query={cell.cell_id: cell.scenario.batch_size for cell in cells},
        on_round=on_round,
    )


def _recheck(seat: Seat, scenario: str, timeout_s: float) -> None:
    seat.rechecked[scenario] = seat.ask({"do": "recheck", "scenario": scenario}, timeout_s)["difference"]
    seat.peak_rss_bytes = seat.ask({"do": "usage"}, timeout_s)["peak_rss_bytes"]
