"""One sweep, from a resolved suite to a folder of records; the same call again resumes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lynxbench.errors import UsageError
from lynxbench.records.declarations import declarations
from lynxbench.records.location import Location, Url, is_of_objects, location
from lynxbench.records.schema import FINAL_STATUSES
from lynxbench.records.store import ResultStore, read_records
from lynxbench.records.stores import Store, open_store
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.sweep.groups import GroupRunner, unfinished
from lynxbench.sweep.hosts import Executors, find_executors
from lynxbench.sweep.phases import Phases
from lynxbench.sweep.plan import Plan, make_plan
from lynxbench.sweep.prepare import Material, prepare
from lynxbench.sweep.progress import Meter, Progress
from lynxbench.sweep.setting import Setting

# How the digests of files and samples are called, beside those of declarations.
_MATERIAL = ("test set of ", "model file ", "calibration ")


@dataclass(frozen=True)
class Outcome:
    """What a sweep left behind."""

    folder: Location
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
    folder: str | Path | Url,
    *,
    cache: Path,
    retry: bool = False,
    fresh: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Measure every cell that the folder does not hold yet, and write each as it ends.

    `folder` is a path, or the URL of a place of one object a cell. `retry` measures failed cells again; `fresh` sets an
    existing folder aside first. Raises `FolderBusy` when another sweep holds the folder, `StoreError` when it cannot be
    written, `UsageError` when the folder holds results of another declaration.
    """
    begun = time.monotonic()
    if fresh:
        set_aside(folder)
    store = open_store(folder)
    with store.held():
        same_declaration(store, prepared)
        known = {str(record["cell_id"]): str(record["status"]) for record in read_records(store.folder)}
        finished = gone_on_with(store, prepared, known, retry=retry)
        groups = unfinished(prepared.plan.groups, finished)
        setting = Setting(prepared.resolved, prepared.material, prepared.executors.interpreters, store.work, cache)
        phases = Phases()
        meter = Meter(groups, prepared.resolved.suite.protocol, on_progress)
        runner = GroupRunner(setting, store, sweep=store.folder.name, finished=finished, meter=meter, phases=phases)
        try:
            runner.write_skips(prepared.plan.groups)
            runner.run(groups)
        finally:
            shutil.rmtree(setting.work, ignore_errors=True)
            with phases.phase("records"):
                store.merge()
        return Outcome(
            folder=store.folder,
            plan=prepared.plan,
            resumed=len([cell for cell in prepared.plan.cells if cell.cell_id in finished]),
            rebuilt=runner.rebuilt,
            spent_s=phases.spent_s(),
            own_cpu_s=phases.own_cpu_s(),
            wall_s=time.monotonic() - begun,
        )


def kept_statuses(retry: bool) -> frozenset[str]:
    """Statuses of cells that need not be measured again."""
    return frozenset({"ok", "partial"}) if retry else FINAL_STATUSES


def gone_on_with(store: Store, prepared: Prepared, known: Mapping[str, str], *, retry: bool) -> set[str]:
    """The cells of `known` (with their status) that need not be measured again; the rows of others are replaced."""
    finished = {cell_id for cell_id, status in known.items() if status in kept_statuses(retry)}
    store.supersede({cell.cell_id for cell in prepared.plan.cells} & known.keys() - finished)
    return finished


def set_aside(given: str | Path | Url) -> None:
    """Rename an old folder to the first free NAME.1, NAME.2, …: nothing that was measured is ever deleted."""
    if is_of_objects(given):
        raise UsageError(f"--fresh: what lies at {given} cannot be renamed; choose another place with --out")
    folder = location(given)
    if isinstance(folder, Path) and folder.exists():
        with ResultStore(folder).held():
            pass  # nobody else is writing to it
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        folder.rename(aside)


def same_declaration(store: Store, prepared: Prepared) -> None:
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
