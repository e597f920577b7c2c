"""One sweep, from a resolved suite to a folder of records; the same call again resumes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lynxbench.errors import UsageError
from lynxbench.execution import host_facts
from lynxbench.records.declarations import declarations
from lynxbench.records.schema import FINAL_STATUSES
from lynxbench.records.store import ResultStore, read_records
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.sweep.artifacts import Artifact, build_artifacts
from lynxbench.sweep.group import measure_group
from lynxbench.sweep.hosts import Executors, find_executors
from lynxbench.sweep.keeping import Keeper
from lynxbench.sweep.parts import parts_of
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Group, Plan, make_plan
from lynxbench.sweep.prepare import Material, prepare
from lynxbench.sweep.progress import BUILD_S, Meter, Progress
from lynxbench.sweep.rows import Context, skipped_record
from lynxbench.sweep.setting import Setting

# How the digests of files and samples are called, beside those of declarations.
_MATERIAL = ("test set of ", "model file ", "calibration ")


@dataclass(frozen=True)
class Outcome:
    """What a sweep left behind."""

    folder: Path
    plan: Plan
    resumed: int  # cells that were finished before
    rebuilt: tuple[str, ...]  # what was found wrong with cached artifacts, which were then built again
    spent_s: Mapping[str, float]
    own_cpu_s: Mapping[str, float]  # processor time of this process alone, by phase
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


def default_folder(resolved: ResolvedSuite, budget: str, *, changed: bool) -> Path:
    """``results/SUITE``, with the budget, and with a digest where the command changed the declaration."""
    name = resolved.suite.name
    if budget != "standard":
        name += f"-{budget}"
    if changed:
        name += f"-{resolved.suite.digest()[:6]}"
    return Path("results") / name


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
            shutil.rmtree(run.setting.work, ignore_errors=True)
            with run.phases.phase("records"):
                store.merge()
        return Outcome(
            folder=folder,
            plan=prepared.plan,
            resumed=len([cell for cell in prepared.plan.cells if cell.cell_id in finished]),
            rebuilt=tuple(run.rebuilt),
            spent_s=run.phases.spent_s(),
            own_cpu_s=run.phases.own_cpu_s(),
            wall_s=time.monotonic() - begun,
        )


def _kept_statuses(retry: bool) -> frozenset[str]:
    return frozenset({"ok", "partial"}) if retry else FINAL_STATUSES


def _set_aside(folder: Path) -> None:
    """Rename an old folder to the first free NAME.1, NAME.2, …: nothing that was measured is ever deleted."""
    if folder.exists():
        with ResultStore(folder).held():
            pass  # nobody else is writing to it
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        folder.rename(aside)


def _same_declaration(store: ResultStore, prepared: Prepared) -> None:
    """Write down what the folder is about; refuse a folder that is about something else.

    Rubrics, test sets and model files count as well as the suite: rows of two rubrics must not stand side by side as
    if they were comparable. `only` does not count: it adds cells to the same folder, and so does a workload whose
    files were fetched later.
    """
    resolved, material = prepared.resolved, prepared.material
    declared = {
        f"suite {resolved.suite.name}": resolved.suite.digest(),
        **{f"rubric {d.spec.name}": d.digest for d in resolved.rubrics.values()},
        **{f"executor {name}": d.digest for name, d in resolved.executors.items()},
    }
    found = {
        **{f"test set of {name}": test_set.fingerprint for name, test_set in material.test_sets.items()},
        **{f"model file {name}": model.sha256 for name, model in material.models.items()},
        **{f"calibration {name} of {w}": c.digest for (w, name), c in material.calibrations.items()},
    }
    before = store.description() or {"digests": {**declared, **found}, "planned": []}
    held: dict[str, str] = before.get("digests", {})
    # Which material there is follows from the declarations; what is in both must be the same.
    names = declared.keys() | (found.keys() & held.keys()) | {name for name in held if not name.startswith(_MATERIAL)}
    now = {**declared, **found}
    changed = sorted(name for name in names if held.get(name) != now.get(name))
    if changed:
        raise UsageError(
            f"{store.folder} was measured with other declarations or files; what changed: {', '.join(changed)}\n"
            "  try       --out FOLDER to measure into another folder, or --fresh to start over (the old folder is kept)"
        )
    planned = {*before.get("planned", []), *(cell.cell_id for cell in prepared.plan.cells)}
    store.describe(
        {
            "suite_file": resolved.file.name,
            "digests": {**held, **now},
            "planned": sorted(planned),
            "declarations": declarations(resolved.suite, [declared.spec for declared in resolved.rubrics.values()]),
        }
    )


class _Run:
    """One run over what a plan still lacks."""

    def __init__(
        self,
        prepared: Prepared,
        store: ResultStore,
        cache: Path,
        finished: set[str],
        on_progress: Callable[[Progress], None],
    ) -> None:
        work = store.folder / ".work"
        self.setting = Setting(prepared.resolved, prepared.material, prepared.executors.interpreters, work, cache)
        self.phases = Phases()
        self.rebuilt: list[str] = []
        self._store = store
        self._finished = finished
        self._plan = prepared.plan
        self._host = host_facts()
        self._groups = [left for group in prepared.plan.groups if (left := _unfinished(group, finished)) is not None]
        self._meter = Meter(self._groups, prepared.resolved.suite.protocol, on_progress)

    def all_groups(self) -> None:
        """Everything: cells that cannot run, samples to files, model files, then group by group."""
        for group in self._plan.groups:
            context = self._context(group)
            for cell in group.cells:
                if cell.cell_id in group.skipped and cell.cell_id not in self._finished:
                    self._store.write_cell(skipped_record(context, cell, group.skipped[cell.cell_id]))
        if not self._groups:
            return
        shutil.rmtree(self.setting.work, ignore_errors=True)
        self.setting.work.mkdir(parents=True)
        with self.phases.phase("prepare"):
            self.setting.write_samples()
        with self.phases.phase("build"):
            artifacts = build_artifacts(
                self._groups,
                self.setting,
                lambda model, label: self._meter.advance("build", f"{model} {label}", BUILD_S),
            )
        self.rebuilt = sorted({damage for a in artifacts.values() if isinstance(a, Artifact) for damage in a.damage})
        for group in self._groups:
            samples_bytes = self.setting.material.test_sets[group.workload.name].samples.nbytes
            parts = parts_of(group, artifacts, samples_bytes, self.setting.group_limit_bytes)
            finished = set(self._finished)
            for number, part in enumerate(parts):
                context = self._context(part, number)
                keeper = Keeper(context, self._store, finished, meter=self._meter, phases=self.phases)
                measure_group(part, self.setting, artifacts, keeper)
                # Later parts time the reference anew to compare with; its row is that of the first.
                finished |= {cell.cell_id for cell in part.running if cell.is_reference}

    def _context(self, group: Group, part: int = 0) -> Context:
        return Context(
            resolved=self.setting.resolved,
            material=self.setting.material,
            group=group,
            sweep=self._store.folder.name,
            host=self._host,
            started_at=datetime.now(UTC),
            part=part,
        )


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
