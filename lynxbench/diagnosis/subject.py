"""What is diagnosed: one candidate of a suite with its reference, and a declared, seeded part of the data."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lynxbench.datasets.parting import taken
from lynxbench.datasets.selection import select
from lynxbench.errors import UsageError
from lynxbench.records.declarations import kept_suite
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.resolve import ResolvedSuite, builtin_suites, resolve_suite
from lynxbench.sweep.hosts import find_executors
from lynxbench.sweep.plan import Cell, Deployment, Group, make_plan
from lynxbench.sweep.prepare import Material, prepare

SEED = 0  # of the part of the data that is looked at
_MOST_NAMED = 8
_SELECTOR = re.compile(
    r"(?P<scheme>\S+?)(?:(?:@| \()(?P<calibration>[^()\s]+?)\)?)?(?: on (?P<model>\S+))?(?: by (?P<executor>\S+))?"
)


@dataclass(frozen=True)
class Subject:
    """A candidate, its reference, and where both come from. `material` holds the chosen samples alone."""

    resolved: ResolvedSuite
    material: Material
    group: Group
    cell: Cell
    reference: Cell
    interpreters: dict[str, str]
    test_set_n: int  # before the part was taken

    @property
    def name(self) -> str:
        return f"{self.cell.deployment.label} on {self.cell.deployment.model.name}"


def suite_of(asked: str, *, rubrics: Path | None = None, executors: Path | None = None) -> ResolvedSuite:
    """A suite by name or file; of a results folder, the built-in suite that it was measured by.

    Raises `DeclarationError`, `StoreError`, and `UsageError` for results of another suite, or of a changed one: the
    files that it names are then to be found by its own file only.
    """
    folder = Path(asked)
    if not (folder / "sweep.json").is_file():
        return resolve_suite(asked, rubrics=rubrics, executors=executors)
    kept = kept_suite(folder)
    if kept.name in builtin_suites():
        resolved = resolve_suite(kept.name, rubrics=rubrics, executors=executors)
        if (kept.models, kept.schemes, kept.calibrations, kept.workloads) == (
            resolved.suite.models, resolved.suite.schemes, resolved.suite.calibrations, resolved.suite.workloads,
        ):  # fmt: skip
            return resolved
    raise UsageError(
        f"{folder} was measured by a suite {kept.name!r} that is not built in, or was changed by the command; give the "
        "suite's .toml file instead of the results folder"
    )


def subject(
    resolved: ResolvedSuite,
    candidate: str,
    *,
    workload: str | None = None,
    samples: int,
) -> Subject:
    """The one candidate that ``SCHEME [(CALIBRATION)] [on MODEL] [by EXECUTOR]`` means, on so many samples at most.

    Raises `UsageError` naming the nearest when there is none, all of them when there are several, and for one that
    cannot run here; `DeclarationError` for what is wrong with the suite.
    """
    resolved = _narrowed(resolved, candidate, workload)
    material = prepare(resolved)
    executors = find_executors(resolved)
    plan = make_plan(resolved, material, executors.unavailable)
    found: dict[tuple[str, Deployment], tuple[Group, Cell]] = {}
    for group in plan.groups:
        for cell in group.cells:
            if _is_meant(cell.deployment, candidate):
                found.setdefault((group.group_id, cell.deployment), (group, cell))  # of its scenarios, the first
    known = {f"{c.deployment.scheme.name} on {c.deployment.model.name}" for group in plan.groups for c in group.cells}
    if not found:
        close = did_you_mean(candidate, known) or "there is: " + ", ".join(sorted(known)[:_MOST_NAMED])
        raise UsageError(f"no candidate {candidate!r} in suite {resolved.suite.name}; {close}")
    if len(found) > 1:
        some = [
            f"{cell.deployment.label} on {cell.deployment.model.name} by {cell.deployment.executor}, "
            f"{group.workload.name}"
            for group, cell in found.values()
        ]
        raise UsageError(
            f"{candidate!r} means {len(found)} candidates; say which:\n  " + "\n  ".join(some[:_MOST_NAMED])
        )
    ((group, cell),) = found.values()
    if cell.cell_id in group.skipped:
        raise UsageError(f"{candidate} cannot run here: {group.skipped[cell.cell_id].reason}")
    reference = next(one for one in group.cells if one.is_reference and one.scenario == cell.scenario)
    if cell.is_reference:
        raise UsageError(f"{candidate} is the reference itself: there is nothing to compare it with")
    chosen = _part_of(material, resolved, group.workload.name, samples)
    whole = len(material.test_sets[group.workload.name].samples)
    return Subject(resolved, chosen, group, cell, reference, dict(executors.interpreters), whole)


def _narrowed(resolved: ResolvedSuite, candidate: str, workload: str | None) -> ResolvedSuite:
    """The suite without workloads that the candidate cannot belong to: their data need not be read."""
    names = [one.name for one in resolved.workloads]
    if workload is not None and workload not in names:
        raise UsageError(
            f"no workload {workload!r} here; {did_you_mean(workload, names) or 'one of: ' + ', '.join(names)}"
        )
    parts = _SELECTOR.fullmatch(" ".join(candidate.split()))
    model = None if parts is None else parts["model"]
    kept = {
        one.name
        for one in resolved.workloads
        if workload in (None, one.name) and (model is None or model in one.models)
    } or set(names)
    away = {name: "not asked about" for name in names if name not in kept}
    return replace(resolved, left_out={**resolved.left_out, **away})


def _is_meant(deployment: Deployment, candidate: str) -> bool:
    parts = _SELECTOR.fullmatch(" ".join(candidate.split()))
    if parts is None:
        return False
    own = {
        "scheme": deployment.scheme.name,
        "calibration": None if deployment.calibration is None else deployment.calibration.name,
        "model": deployment.model.name,
        "executor": deployment.executor,
    }
    return all(own[axis] == name for axis, name in parts.groupdict().items() if name is not None)


def _part_of(material: Material, resolved: ResolvedSuite, workload: str, most: int) -> Material:
    """With at most so many of the workload's test samples, spread over the rubric's first field."""
    test_set = material.test_sets[workload]
    strata = resolved.rubrics[workload].spec.strata
    everything = test_set.samples
    if len(everything) > most:
        by = everything.strata[strata[0]] if strata else None
        index = select("random" if by is None else "stratified", len(everything), most, SEED, by)
        everything = taken(everything, np.sort(index))
    # Calibration sets stay whole, as the candidate is built on them.
    calibrations = {key: one for key, one in material.calibrations.items() if key[0] == workload}
    return Material(material.models, {workload: replace(test_set, samples=everything)}, calibrations)
