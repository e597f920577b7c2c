"""Measuring one group: workers up, accuracy first, then interleaved rounds, then a last look at the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import CellError
from lynxbench.execution import usable_threads, worker_command
from lynxbench.measurement import Block, RoundProgress, RoundsResult, run_rounds
from lynxbench.specs.suite import Scenario
from lynxbench.sweep.artifacts import Artifact, ArtifactKey
from lynxbench.sweep.child import Child, close_all
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Cell, Deployment, Group
from lynxbench.sweep.setting import Setting
from lynxbench.sweep.wire import block_from_wire, load_predictions

MODULE = "lynxbench.sweep.worker"
BLOCK_GRACE_S = 60.0
LEAST_ARRIVALS = 50  # on average, in a block of the server scenario


@dataclass
class Seat:
    """One deployment of a group and what its worker has said so far; `error` once it is out."""

    deployment: Deployment
    artifact: Artifact | None
    child: Child | None = None
    opened: dict[str, Any] = field(default_factory=dict)
    predictions: dict[int, Predictions] = field(default_factory=dict)
    prepared: dict[str, dict[str, Any]] = field(default_factory=dict)
    searched: dict[str, dict[str, Any]] = field(default_factory=dict)  # loads that were found by trying
    rechecked: dict[str, float] = field(default_factory=dict)
    sensed: dict[str, dict[str, Any]] = field(default_factory=dict)
    peak_rss_bytes: int | None = None
    raw_answers: dict[int, Path] = field(default_factory=dict)  # for its later processes
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

    def batch_size(self, scenario: Scenario) -> int:
        """Samples a query: as declared, or as found."""
        return int(self.searched.get(scenario.name, {}).get("batch_size", scenario.batch_size))

    def in_flight(self, scenario: Scenario) -> int:
        """Queries under way at a time: as declared, or as found."""
        return int(self.searched.get(scenario.name, {}).get("in_flight", scenario.in_flight))

    def rate_per_s(self, scenario: Scenario) -> float | None:
        """Arrivals a second: as declared, or as found; None for closed loops and where no rate held."""
        rate: float | None = self.searched.get(scenario.name, {}).get("rate_per_s", scenario.rate_per_s)
        return rate


Seats = Mapping[Deployment, Seat]


@dataclass(frozen=True)
class _Entrant:
    """A cell in the rounds: a block is one request to its worker.

    Under the server scenario the n-th block of every cell has the same arrivals, drawn from `seed` and n.
    """

    cell: Cell
    seat: Seat
    seeds: Iterator[int]
    grace_s: float  # a block answers after its own time; this much beside it means that the worker hangs

    @property
    def name(self) -> str:
        return self.cell.cell_id

    def block(self, duration_ns: int) -> Block:
        scenario = self.cell.scenario
        request = {
            "do": "block",
            "scenario": scenario.name,
            "duration_ns": duration_ns,
            "rate_per_s": self.seat.rate_per_s(scenario),
            "seed": next(self.seeds),
        }
        return block_from_wire(self.seat.ask(request, duration_ns / 1e9 + self.grace_s))


def _block_ns(entrants: Sequence[_Entrant], block_s: float) -> int:
    """A block is long enough for some arrivals: each begins with an empty queue, which a short one hardly leaves."""
    rates = [rate for e in entrants if (rate := e.seat.rate_per_s(e.cell.scenario)) is not None]
    return round(max([block_s, *(LEAST_ARRIVALS / rate for rate in rates)]) * 1e9)


class Watch(Protocol):
    """Who is told how a group goes, and keeps what comes of it."""

    @property
    def phases(self) -> Phases: ...

    def step(self, phase: str, what: str, share: float | None = None) -> None:
        """Something was finished; `share` says how much of the rounds of scenario `what` is done."""

    def after_accuracy(self, seats: Seats) -> None:
        """Every answer is in and no worker is busy: the place to keep and score predictions."""

    def after_rounds(self, scenario: Scenario, seats: Seats, result: RoundsResult | None) -> None:
        """A scenario's cells are complete: the place to keep them."""


def measure_group(
    group: Group, setting: Setting, artifacts: Mapping[ArtifactKey, Artifact | CellError], watch: Watch
) -> None:
    """Run everything of a group that can run. What fails is in its seat's `error`; nothing is raised for it."""
    seats = {}
    for deployment in group.deployments:
        artifact = artifacts[group.workload.name, deployment]
        if isinstance(artifact, CellError):
            seats[deployment] = Seat(deployment, None, error=artifact)
        else:
            seats[deployment] = Seat(deployment, artifact)
    with _workers(seats, setting):
        _GroupRun(group, setting, seats, watch).all()


@contextmanager
def _workers(seats: Seats, setting: Setting) -> Iterator[None]:
    """A worker for every seat that has a model file; all ended on the way out, whatever happened."""
    try:
        for seat in seats.values():
            if seat.error is None:
                seat.child = _worker(seat.deployment, setting)
        yield
    finally:
        close_all([seat.child for seat in seats.values() if seat.child is not None])


def _worker(deployment: Deployment, setting: Setting) -> Child:
    spec = setting.resolved.executors[deployment.executor].spec
    command = worker_command(spec, MODULE, python=setting.interpreters.get(spec.name))
    # Thread pools of libraries beside ONNX Runtime must not compete with it.
    env = {**command.env, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return Child(command.argv, env, memory_limit_bytes=setting.memory_limit_bytes)


class _GroupRun:
    """The steps of one group, over workers that are up."""

    def __init__(self, group: Group, setting: Setting, seats: Seats, watch: Watch) -> None:
        self._group = group
        self._setting = setting
        self._seats = seats
        self._watch = watch
        self._protocol = setting.resolved.suite.protocol

    def all(self) -> None:
        """Sessions, accuracy, then for each scenario warm-up, rounds and the last look."""
        phase = self._watch.phases.phase
        with phase("start"):
            self._each(self._seats.values(), self._load, at_once=len(self._seats))
            # One at a time, so that cold starts do not compete with each other.
            self._each(self._seats.values(), self._open, at_once=1)
        searched = [cell for cell in self._group.running if cell.scenario.is_searched]
        if searched:
            with phase("search"):
                for cell in searched:
                    self._each([self._seats[cell.deployment]], partial(self._search_load, cell.scenario))
        with phase("accuracy"):
            self._each(self._seats.values(), self._answer)
        with phase("scoring"):
            self._watch.after_accuracy(self._seats)
        for scenario in dict.fromkeys(cell.scenario for cell in self._group.running):
            cells = [cell for cell in self._group.running if cell.scenario == scenario]
            present = [self._seats[cell.deployment] for cell in cells]
            with phase("warm-up"):
                self._each(present, partial(self._prepare, scenario))
            if scenario.kind == "server-search":
                with phase("search"):
                    # One at a time: a search loads the machine as far as it will go.
                    self._each(present, partial(self._search_rate, scenario), at_once=1)
            with phase("rounds"):
                result = self._rounds(cells)
            with phase("recheck"):
                self._each(present, partial(self._recheck, scenario))
            self._watch.after_rounds(scenario, self._seats, result)

    def _each(self, seats: Iterable[Seat], action: Callable[[Seat], object], *, at_once: int | None = None) -> None:
        """Untimed work: as many workers at once as there are cores for their threads."""

        def guarded(seat: Seat) -> None:
            if seat.error is None:
                try:
                    action(seat)
                except CellError as error:
                    seat.error = error

        with ThreadPoolExecutor(
            at_once or max(1, usable_threads() // (self._protocol.threads or usable_threads()))
        ) as pool:
            list(pool.map(guarded, list(seats)))

    def _ask(self, seat: Seat, do: str, **request: Any) -> dict[str, Any]:
        return seat.ask({"do": do, **request}, self._protocol.worker_timeout_s)

    def _load(self, seat: Seat) -> None:
        rubric = self._setting.resolved.rubrics[self._group.workload.name].spec
        samples = self._setting.sample_folder(self._group.workload.name)
        self._ask(
            seat, "load", model=self._setting.model_json(seat.deployment.model), samples=str(samples), task=rubric.task
        )

    def _open(self, seat: Seat) -> None:
        seat.opened = self._opened(seat)
        if seat.opened["status"] not in {"ok", "partial"}:
            seat.error = CellError(seat.opened["status"], seat.opened["reason"])
        self._watch.step("start", seat.deployment.label)

    def _opened(self, seat: Seat) -> dict[str, Any]:
        assert seat.artifact is not None
        return self._ask(
            seat,
            "open",
            executor=self._setting.resolved.executors[seat.deployment.executor].spec.model_dump_json(),
            artifact=str(seat.artifact.path),
            threads=self._protocol.threads,
            options={},
            scheme_kind=seat.deployment.scheme.kind,
            cache=str(self._setting.cache),
            references=list(seat.artifact.references),
            shapes=list(seat.artifact.shapes),
        )

    def _renew(self, scenario: Scenario, seat: Seat) -> None:
        """A fresh process in the place of the old one, as far as the warm-up; what the first one told is kept.

        The old one ends first: two sessions of a candidate at once might not fit into memory.
        """
        assert seat.child is not None
        seat.child.close()
        seat.child = _worker(seat.deployment, self._setting)
        self._load(seat)
        opened = self._opened(seat)
        for key in ("status", "nodes", "threads"):
            if opened[key] != seat.opened[key]:
                raise CellError("rejected", f"a second process of it came up with another {key}: {opened[key]}")
        self._ask(seat, "adopt", answers=[[size, str(file)] for size, file in seat.raw_answers.items()])
        self._prepare(scenario, seat)

    def _answer(self, seat: Seat) -> None:
        mine = {seat.batch_size(cell.scenario) for cell in self._group.running if cell.deployment == seat.deployment}
        for batch_size in sorted(mine):
            out = self._setting.work / f"answers-{id(seat)}-{batch_size}.npz"
            raw = out.with_suffix(".raw.npz") if self._protocol.processes > 1 else None
            self._ask(seat, "answer", batch_size=batch_size, out=str(out), raw=None if raw is None else str(raw))
            if raw is not None:
                seat.raw_answers[batch_size] = raw
            seat.predictions[batch_size] = load_predictions(out)
            out.unlink()
            self._watch.step("accuracy", seat.deployment.label)

    def _prepare(self, scenario: Scenario, seat: Seat) -> None:
        seat.prepared[scenario.name] = self._ask(
            seat,
            "prepare",
            scenario=scenario.name,
            batch_size=seat.batch_size(scenario),
            in_flight=seat.in_flight(scenario),
            protocol=self._protocol.model_dump_json(),
        )

    def _search_load(self, scenario: Scenario, seat: Seat) -> None:
        threads = self._protocol.threads or usable_threads()
        most = min(scenario.most_in_flight or 1, max(1, usable_threads() // threads))
        in_flight = [scenario.in_flight] if scenario.most_in_flight is None else list(range(1, most + 1))
        seat.searched[scenario.name] = self._ask(
            seat, "search_load", batch_sizes=list(scenario.batch_sizes), in_flight=in_flight
        )
        self._watch.step("search", seat.deployment.label)

    def _search_rate(self, scenario: Scenario, seat: Seat) -> None:
        assert scenario.latency_limit_ms is not None
        seat.searched[scenario.name] = self._ask(
            seat,
            "search_rate",
            scenario=scenario.name,
            limit_ns=round(scenario.latency_limit_ms * 1e6),
            time_limit_s=self._protocol.search_limit_s,
            seed=self._protocol.seed,
        )
        self._watch.step("search", seat.deployment.label)

    def _rounds(self, cells: Sequence[Cell]) -> RoundsResult | None:
        """Rounds over the cells whose workers stand; None when there are none."""
        protocol = self._protocol
        seats = {cell: self._seats[cell.deployment] for cell in cells}
        entrants = [
            _Entrant(cell, seat, count(protocol.seed << 20), min(BLOCK_GRACE_S, protocol.worker_timeout_s))
            for cell, seat in seats.items()
            if seat.error is None and not (cell.scenario.is_open_loop and seat.rate_per_s(cell.scenario) is None)
        ]
        if not entrants:
            return None
        # Without its reference a group is still timed; there are just no ratios to form.
        reference = next((entrant for entrant in entrants if entrant.cell.is_reference), entrants[0])

        def on_round(progress: RoundProgress) -> None:
            share = max(progress.timed_ns.values(), default=0) / 1e9 / protocol.time_limit_s
            self._watch.step("rounds", cells[0].scenario.name, min(share, 1.0))

        def renew(sitting: int) -> None:
            # One at a time and by the main thread, which a child must not outlive; a failure shows at the next block.
            for entrant in entrants:
                if entrant.seat.error is None:
                    try:
                        self._renew(entrant.cell.scenario, entrant.seat)
                    except CellError as error:
                        entrant.seat.error = error

        return run_rounds(
            entrants,
            reference.name,
            block_ns=_block_ns(entrants, protocol.block_s),
            minimum_rounds=protocol.minimum_rounds,
            time_limit_ns=round(protocol.time_limit_s * 1e9),
            half_width_ratio=protocol.ratio_half_width,
            confidence=protocol.confidence,
            seed=protocol.seed,
            sittings=protocol.processes,
            renew=renew,
            samples_per_query={entrant.name: entrant.seat.batch_size(entrant.cell.scenario) for entrant in entrants},
            on_round=on_round,
        )

    def _recheck(self, scenario: Scenario, seat: Seat) -> None:
        answer = self._ask(seat, "recheck", scenario=scenario.name)
        seat.rechecked[scenario.name], seat.sensed[scenario.name] = answer["difference"], answer["sensed"]
        seat.peak_rss_bytes = self._ask(seat, "usage")["peak_rss_bytes"]
