"""One sweep, from a resolved suite to a folder of records; the same call again resumes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lynxbench.errors import CellError, UsageError
from lynxbench.execution import HostFacts, host_facts
from lynxbench.measurement import RoundsResult
from lynxbench.records.schema import FINAL_STATUSES
from lynxbench.records.store import ResultStore, read_records
from lynxbench.scoring import Scores, score
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.suite import Scenario
from lynxbench.sweep.artifacts import Artifact, ArtifactKey, build_artifacts
from lynxbench.sweep.group import Seat, Seats, measure_group
from lynxbench.sweep.hosts import Executors, find_executors
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Cell, Deployment, Group, Plan, make_plan
from lynxbench.sweep.prepare import Material, prepare
from lynxbench.sweep.rows import Context, cell_record, latency_table, predictions_id, skipped_record


@dataclass(frozen=True)
class Progress:
    """How far a sweep is. `done` of `total` are steps of unequal length; `left_s` is the estimate, None at first."""

    done: int
    total: int
    phase: str
    what: str
    left_s: float | None


@dataclass(frozen=True)
class Outcome:
    """What a sweep left behind."""

    folder: Path
    plan: Plan
    resumed: int  # cells that were finished before
    rebuilt: tuple[str, ...]  # what was found wrong with cached artifacts, which were then built again
    spent_s: Mapping[str, float]
    wall_s: float


@dataclass(frozen=True)
class Prepared:
    """A sweep ready to run: everything read and checked, nothing measured."""

    resolved: ResolvedSuite
    material: Material
    executors: Executors
    plan: Plan


def prepare_sweep(resolved: ResolvedSuite) -> Prepared:
    """Read, check and plan. Raises `DeclarationError` with every problem."""
    material = prepare(resolved)
    executors = find_executors(resolved)
    plan = make_plan(resolved, material, executors.unavailable)
    if not plan.cells:
        raise UsageError("nothing is left to measure: --only filters every cell away")
    return Prepared(resolved, material, executors, plan)


def run_sweep(
    prepared: Prepared,
    folder: Path,
    *,
    cache: Path,
    retry: bool = False,
    fresh: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Measure every cell that the folder does not hold yet, and write each as it ends.

    `retry` measures failed cells again; `fresh` sets an existing folder aside first. Raises `FolderBusy` when
    another sweep holds the folder, `StoreError` when it cannot be written, `UsageError` when the folder holds results
    of another declaration.
    """
    begun = time.monotonic()
    if fresh:
        _set_aside(folder)
    store = ResultStore(folder)
    with store.held():
        _same_declaration(store, prepared)
        finished = {str(r["cell_id"]) for r in read_records(folder) if r["status"] in _kept_statuses(retry)}
        run = _Run(prepared, store, cache, finished, on_progress)
        try:
            run.all_groups()
        finally:
            shutil.rmtree(run.work, ignore_errors=True)
            with run.phases.phase("records"):
                store.merge()
        return Outcome(
            folder=folder,
            plan=prepared.plan,
            resumed=len([cell for cell in prepared.plan.cells if cell.cell_id in finished]),
            rebuilt=tuple(run.rebuilt),
            spent_s=run.phases.spent_s(),
            wall_s=time.monotonic() - begun,
        )


def _kept_statuses(retry: bool) -> frozenset[str]:
    return frozenset({"ok", "partial"}) if retry else FINAL_STATUSES


def _set_aside(folder: Path) -> None:
    """Rename an old folder to the first free NAME.1, NAME.2, …: nothing that was measured is ever deleted."""
    if folder.exists():
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        folder.rename(aside)


def _same_declaration(store: ResultStore, prepared: Prepared) -> None:
    suite = prepared.resolved.suite
    before = store.description()
    if before is not None and before.get("suite_digest") != suite.digest():
        raise UsageError(
            f"{store.folder} holds results of another declaration of suite {before.get('suite')!r}.\n"
            "  try       --out FOLDER to measure into another folder, or --fresh to start over (the old folder is kept)"
        )
    store.describe(
        {"suite": suite.name, "suite_version": suite.version, "suite_digest": suite.digest(), "suite_file": prepared.resolved.file.name}
    )


class _Run:
    """The state of one run over a plan."""

    def __init__(
        self, prepared: Prepared, store: ResultStore, cache: Path, finished: set[str], on_progress: Callable[[Progress], None]
    ) -> None:
        self._resolved = prepared.resolved
        self._material = prepared.material
        self._interpreters = prepared.executors.interpreters
        self._plan = prepared.plan
        self._store = store
        self._cache = cache
        self._finished = finished
        self._on_progress = on_progress
        self.phases = Phases()
        self.rebuilt: list[str] = []
        self.work = store.folder / ".work"
        self._host: HostFacts = host_facts()
        self._groups = [left for group in prepared.plan.groups if (left := _unfinished(group, finished)) is not None]
        self._begun = time.monotonic()
        self._done_s = 0.0
        self._total_s = sum(sum(self._weights(group).values()) for group in self._groups) or 1.0

    def all_groups(self) -> None:
        """Everything: samples to files, model files, then group by group."""
        for group in self._plan.groups:
            self._write_skipped(group)
        if not self._groups:
            return
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        with self.phases.phase("prepare"):
            files = self._sample_files()
        with self.phases.phase("build"):
            artifacts = build_artifacts(
                self._groups, self._resolved, self._material, files, self.work, self._cache, lambda model, label: self._step("build", f"{model} {label}", BUILD_S)
            )
        self.rebuilt = sorted({damage for a in artifacts.values() if isinstance(a, Artifact) for damage in a.damage})
        for group in self._groups:
            self._one_group(group, artifacts, files[group.workload.name])

    def _sample_files(self) -> dict[str, Path]:
        """Test and calibration samples as files, by workload and ``workload.calibration``, for the children to read."""
        samples = {name: sample_set.samples for name, sample_set in self._material.test_sets.items()}
        samples |= {f"{w}.{name}": c.samples for (w, name), c in self._material.calibrations.items()}
        files = {}
        for name, chosen in samples.items():
            files[name] = self.work / f"{name}.samples.npz"
            files[name].write_bytes(chosen.to_npz())
        return files

    def _one_group(self, group: Group, artifacts: Mapping[ArtifactKey, Artifact | CellError], samples: Path) -> None:
        context = self._context(group)
        scores: dict[tuple[Deployment, int], Scores] = {}
        weights = self._weights(group)
        rounds_told = {"share": 0.0}

        def on_step(phase: str, what: str) -> None:
            step = weights[phase] / max(1, _steps(group, phase)) if phase != "rounds" else 0.0
            if phase == "rounds":
                share = float(what.rsplit(" ", 1)[1].rstrip("%")) / 100
                before = rounds_told["share"] if share >= rounds_told["share"] else 0.0
                step = (share - before) * weights["rounds"] / max(1, _scenarios(group))
                rounds_told["share"] = share
            self._step(phase, f"{group.workload.name} · {group.model.name} · {what}", step)

        def after_accuracy(seats: Seats) -> None:
            scores.update(self._score(group, seats))

        def after_rounds(scenario: Scenario, seats: Seats, result: RoundsResult | None) -> None:
            with self.phases.phase("records"):
                for cell in group.running:
                    if cell.scenario == scenario and cell.cell_id not in self._finished:
                        self._write(context, cell, seats[cell.deployment], scores, result)

        measure_group(
            group, self._resolved, self._interpreters, artifacts, samples, self.work, self._cache, self.phases, on_step, after_accuracy, after_rounds
        )

    def _score(self, group: Group, seats: Seats) -> dict[tuple[Deployment, int], Scores]:
        """Every candidate against the reference; predictions are kept first, so that they outlive any trouble here."""
        rubric = self._resolved.rubrics[group.workload.name].spec
        scores = {}
        for deployment, seat in seats.items():
            for batch_size, predictions in seat.predictions.items():
                self._store.write_predictions(predictions_id(group, deployment, batch_size), predictions)
                reference = _reference_of(group, seats, batch_size)
                if reference is not None:
                    scores[deployment, batch_size] = score(rubric, predictions, reference)
        return scores

    def _write(
        self, context: Context, cell: Cell, seat: Seat, scores: Mapping[tuple[Deployment, int], Scores], result: RoundsResult | None
    ) -> None:
        record = cell_record(context, cell, seat, scores.get((cell.deployment, cell.scenario.batch_size)), result)
        measured = result is not None and record["status"] in {"ok", "partial"}
        self._store.write_cell(record, latency_table(cell, result) if measured and result is not None else None)

    def _write_skipped(self, group: Group) -> None:
        context = self._context(group)
        for cell in group.cells:
            if cell.cell_id in group.skipped and cell.cell_id not in self._finished:
                self._store.write_cell(skipped_record(context, cell, group.skipped[cell.cell_id]))

    def _context(self, group: Group) -> Context:
        return Context(
            resolved=self._resolved,
            material=self._material,
            group=group,
            sweep=self._store.folder.name,
            host=self._host,
            started_at=datetime.now(UTC),
        )

    def _weights(self, group: Group) -> dict[str, float]:
        """Expected seconds by phase, for the progress bar alone."""
        protocol = self._resolved.suite.protocol
        cells = len(group.running)
        return {
            "build": BUILD_S * len(group.deployments),
            "start": 0.6 * len(group.deployments),
            "accuracy": 1.0 * cells,
            "rounds": (protocol.time_limit_s * 1.1 + protocol.warm_up_s / 2) * cells,
        }

    def _step(self, phase: str, what: str, seconds: float) -> None:
        self._done_s = min(self._done_s + seconds, self._total_s)
        elapsed = time.monotonic() - self._begun
        share = self._done_s / self._total_s
        left_s = None if share < 0.02 else elapsed / share - elapsed
        self._on_progress(Progress(round(share * 1000), 1000, phase, what, left_s))


BUILD_S = 0.7


def _steps(group: Group, phase: str) -> int:
    if phase == "accuracy":
        return len({(cell.deployment, cell.scenario.batch_size) for cell in group.running})
    return len(group.deployments)


def _scenarios(group: Group) -> int:
    return len({cell.scenario for cell in group.running})


def _reference_of(group: Group, seats: Seats, batch_size: int):  # type: ignore[no-untyped-def]
    cell = next((c for c in group.running if c.is_reference and c.scenario.batch_size == batch_size), None)
    return None if cell is None else seats[cell.deployment].predictions.get(batch_size)


def _unfinished(group: Group, finished: set[str]) -> Group | None:
    """The group reduced to the scenarios that still lack cells; their reference stays in, finished or not."""
    missing = [cell for cell in group.running if cell.cell_id not in finished]
    if not missing:
        return None
    scenarios = {cell.scenario for cell in missing}
    kept = [
        cell
        for cell in group.cells
        if cell in missing or cell.cell_id in group.skipped or (cell.is_reference and cell.scenario in scenarios)
    ]
    return replace(group, cells=tuple(kept))
