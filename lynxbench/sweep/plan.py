"""What is to be measured: candidates, cells and groups, in a deterministic order, before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lynxbench import __version__
from lynxbench.errors import FailureStatus
from lynxbench.execution import usable_threads
from lynxbench.quantization import why_unsupported
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.scheme import Calibration, Scheme
from lynxbench.specs.suite import Model, Scenario, Workload
from lynxbench.sweep.prepare import Material


@dataclass(frozen=True)
class Deployment:
    """A model file on an executor: what one worker process holds."""

    model: Model
    scheme: Scheme
    calibration: Calibration | None
    executor: str

    @property
    def label(self) -> str:
        """The scheme as tables call it: with its calibration set where the suite has several."""
        return self.scheme.name if self.calibration is None else f"{self.scheme.name}@{self.calibration.name}"


@dataclass(frozen=True)
class Cell:
    """A candidate (deployment and batch size) under a scenario: one row of the results."""

    cell_id: str
    candidate_id: str
    position: int
    deployment: Deployment
    scenario: Scenario
    is_reference: bool


@dataclass(frozen=True)
class Skip:
    """Why a cell cannot run here."""

    status: FailureStatus
    reason: str


@dataclass(frozen=True)
class Group:
    """The cells of one model under one rubric: measured in the same interleaved rounds, the reference among them."""

    group_id: str
    workload: Workload
    model: Model
    cells: tuple[Cell, ...]
    skipped: Mapping[str, Skip]  # by cell_id

    @property
    def running(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.cell_id not in self.skipped)

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """Those with a cell that runs, each once, the reference first."""
        ordered = sorted(self.running, key=lambda cell: not cell.is_reference)
        return tuple(dict.fromkeys(cell.deployment for cell in ordered))


@dataclass(frozen=True)
class Plan:
    """All groups of a sweep."""

    groups: tuple[Group, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for group in self.groups for cell in group.cells)


def make_plan(resolved: ResolvedSuite, material: Material, unavailable: Mapping[str, Skip]) -> Plan:
    """Every cell of the suite, skips with reasons among them; `unavailable` names executors that cannot run here.

    The reference is in every group, whether the suite listed it or not, and whatever was filtered away.
    """
    groups: list[Group] = []
    for workload in resolved.workloads:
        if not resolved.wanted("workload", workload.name):
            continue
        for model_name in workload.models:
            if resolved.wanted("model", model_name):
                group = plan_group(
                    resolved, material, workload, resolved.model(model_name), unavailable, first=1000 * len(groups)
                )
                if group is not None:
                    groups.append(group)
    return Plan(tuple(groups))


def plan_group(
    resolved: ResolvedSuite,
    material: Material,
    workload: Workload,
    model: Model,
    unavailable: Mapping[str, Skip],
    first: int,
) -> Group | None:
    """One model under one workload's rubric, cells numbered from `first`; None where filters leave nothing."""
    rubric = resolved.rubrics[workload.name].spec
    reference_scheme = next(s for s in resolved.suite.schemes if s.name == rubric.reference.scheme)
    calibrations = resolved.calibrations_of(workload)

    def variants(scheme: Scheme) -> tuple[Calibration | None, ...]:
        return calibrations if scheme.needs_calibration else (None,)

    reference = Deployment(model, reference_scheme, variants(reference_scheme)[0], rubric.reference.executor)
    wanted = [
        Deployment(model, scheme, calibration, executor)
        for scheme in resolved.schemes_of(workload)
        if resolved.wanted("scheme", scheme.name)
        for calibration in variants(scheme)
        if calibration is None or resolved.wanted("calibration", calibration.name)
        for executor in resolved.suite.executors
        if resolved.wanted("executor", executor)
    ]
    scenarios = [s for s in resolved.scenarios_of(workload) if resolved.wanted("scenario", s.name)]
    if not wanted or not scenarios:
        return None
    deployments = list(dict.fromkeys([reference, *wanted]))
    cells: list[Cell] = []
    skipped: dict[str, Skip] = {}
    for scenario in scenarios:
        for deployment in deployments:
            identity = _identity(resolved, material, workload, deployment, scenario)
            candidate = {
                key: identity[key]
                for key in ("model_sha256", "tokenizer_sha256", "scheme", "calibration", "executor", "batch_size")
            }
            cell = Cell(
                _digest(identity), _digest(candidate), first + len(cells), deployment, scenario, deployment == reference
            )
            cells.append(cell)
            skip = _skip(resolved, deployment, scenario, unavailable)
            if skip is not None:
                skipped[cell.cell_id] = skip
    group_id = _digest({"workload": workload.name, "model": model.name, "cells": [cell.cell_id for cell in cells]})
    return Group(group_id, workload, model, tuple(cells), skipped)


def _skip(
    resolved: ResolvedSuite, deployment: Deployment, scenario: Scenario, unavailable: Mapping[str, Skip]
) -> Skip | None:
    if deployment.executor in unavailable:
        return unavailable[deployment.executor]
    executor = resolved.executors[deployment.executor].spec
    if executor.schemes and deployment.scheme.kind not in executor.schemes:
        return Skip(
            "unsupported",
            f"executor {executor.name} does not run {deployment.scheme.kind} (it runs {', '.join(executor.schemes)})",
        )
    threads, usable = resolved.suite.protocol.threads or usable_threads(), usable_threads()
    if scenario.in_flight > 1 and scenario.in_flight * threads > usable:
        return Skip(
            "unsupported",
            f"{scenario.in_flight} queries in flight with {threads} threads each are more than the {usable} cores that "
            "may be used here: lower in_flight or protocol.threads",
        )
    reason = why_unsupported(deployment.scheme)
    return None if reason is None else Skip("unsupported", reason)


def _identity(
    resolved: ResolvedSuite, material: Material, workload: Workload, deployment: Deployment, scenario: Scenario
) -> dict[str, Any]:
    """Everything that was asked for: two cells with one identity are the same measurement."""
    calibration = None
    if deployment.calibration is not None:
        calibration = material.calibrations[workload.name, deployment.calibration.name].digest
    return {
        "lynxbench": __version__,
        "workload": workload.name,
        "model": deployment.model.digest(),
        "model_sha256": material.models[deployment.model.name].sha256,
        "tokenizer_sha256": material.models[deployment.model.name].tokenizer_sha256,
        "scheme": {"name": deployment.scheme.name, **deployment.scheme.options()},
        "calibration": calibration,
        "executor": resolved.executors[deployment.executor].digest,
        "scenario": scenario.model_dump(mode="json"),
        # Two scenarios that search may find different sizes, so they are no one candidate.
        "batch_size": scenario.given_batch_size or f"found by {scenario.name}",
        "rubric": resolved.rubrics[workload.name].digest,
        "test_set": material.test_sets[workload.name].fingerprint,
        "protocol": resolved.suite.protocol.model_dump(mode="json"),
    }


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
