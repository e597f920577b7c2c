"""`lynxbench tune`: search for a scheme that mends a loss, and say what it is worth on samples apart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from lynxbench.cli.output import Form, write_json
from lynxbench.cli.progress import ProgressLine
from lynxbench.cli.sweep import stopped_by_sigterm_too
from lynxbench.cli.text import minutes
from lynxbench.cli.tune_tables import document, draw_tuning, mended
from lynxbench.conclusions.limits import refuse_any_loss_of
from lynxbench.datasets.parting import part_of
from lynxbench.errors import UsageError
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.load import cache_folder
from lynxbench.specs.resolve import ResolvedSuite, resolve_suite
from lynxbench.specs.suite import BudgetName, Scenario, Workload
from lynxbench.specs.tuned import Part
from lynxbench.sweep.run import prepare_sweep
from lynxbench.tuning.declaring import Job
from lynxbench.tuning.picking import KINDS
from lynxbench.tuning.search import Limits, groups, tune

# Of the search's time, what each diagnosis may spend on trying parts of the model one at a time.
SENSITIVITY_SHARE = 0.2


def tune_command(
    suite: str,
    *,
    max_loss: float | None,
    workload: str | None,
    model: str | None,
    scheme: str | None,
    scenario: str | None,
    executor: str | None,
    candidates: int,
    time_limit_s: float,
    split: float,
    seed: int,
    budget: str,
    out: Path | None,
    rubrics: Path | None,
    executors: Path | None,
    dry_run: bool,
    fresh: bool,
    form: Form,
) -> int:
    """Tune each model of the suite that is asked for; returns the exit code: 1 where some loss found no mend.

    Raises `UsageError` for options that cannot be, before any work.
    """
    if not 0 < split < 1:
        raise UsageError(f"--split {split:g}: a share between 0 and 1 of the originals, e.g. 0.33")
    if max_loss is not None and not max_loss >= 0:
        raise UsageError(f"--max-loss {max_loss:g}: a loss of the primary metric, 0.01 is one point; not negative")
    if budget not in get_args(BudgetName):
        hint = did_you_mean(budget, get_args(BudgetName)) or "quick, standard or thorough"
        raise UsageError(f"--budget {budget}: unknown budget; {hint}")
    only = [f"{axis}={name}" for axis, name in (("workload", workload), ("model", model)) if name is not None]
    resolved = resolve_suite(
        suite,
        rubrics=rubrics,
        executors=executors,
        only=only,
        budget=budget,
        on_executors=[executor] if executor is not None else [],
    )
    folder = out or Path("results") / f"tune-{resolved.suite.name}{'' if budget == 'standard' else f'-{budget}'}"
    jobs = _having(_jobs(resolved, folder, split, seed, scenario), scheme)
    for job in jobs:
        if max_loss is None and job.rubric.tolerance.kind != "absolute":
            raise UsageError(f"rubric {job.rubric.name} has no absolute tolerance: say --max-loss")
        if max_loss is not None:
            primary = job.rubric.primary
            refuse_any_loss_of("--max-loss", max_loss, primary.name, job.workload.name, primary.unit)
    if dry_run:
        _print_plan(jobs, max_loss, candidates, time_limit_s, form)
        return 0
    if fresh:
        _set_aside(folder)
    found = []
    for number, job in enumerate(jobs, 1):
        limits = Limits(
            max_loss=job.rubric.tolerance.value if max_loss is None else max_loss,
            candidates=candidates,
            time_limit_s=time_limit_s,
            sensitivity_s=SENSITIVITY_SHARE * time_limit_s,
        )
        job.folder.mkdir(parents=True, exist_ok=True)
        print(f"{job.workload.name} · {job.model.name} ({number} of {len(jobs)})", file=sys.stderr)
        try:
            with stopped_by_sigterm_too(), ProgressLine() as progress:
                one = tune(
                    job, limits, cache=cache_folder(), executors=executors, base=scheme, on_progress=progress
                )  # fmt: skip
        except KeyboardInterrupt:
            print(
                f"interrupted; what was measured is kept in {folder}. The same command goes on from there.",
                file=sys.stderr,
            )
            return 130
        found.append(one)
        if form == "text":
            draw_tuning(one)
    if form == "json":
        write_json([document(one) for one in found])
    return 0 if all(one.nothing_to_mend or mended(one) for one in found) else 1


def _jobs(resolved: ResolvedSuite, folder: Path, share: float, seed: int, scenario: str | None) -> list[Job]:
    jobs = [
        Job(
            resolved=resolved,
            workload=workload,
            model=model,
            scenario=_scenario(resolved, workload, scenario),
            executor=resolved.suite.executors[0],
            share=share,
            seed=seed,
            folder=folder / f"{workload.name}.{model.name}",
        )
        for workload, model in groups(resolved)
    ]
    if not jobs:
        raise UsageError("nothing is left to tune: --workload and --model filter everything away")
    return jobs


def _having(jobs: Sequence[Job], scheme: str | None) -> list[Job]:
    """The jobs whose workload has the scheme that is to be mended; all of them where none is named."""
    if scheme is None:
        return list(jobs)
    kinds = {one.name: one.kind for job in jobs for one in job.originals if one.name != job.rubric.reference.scheme}
    if scheme not in kinds:
        hint = did_you_mean(scheme, kinds) or "none is there beside the reference"
        raise UsageError(f"--scheme {scheme}: no workload that is asked for has such a scheme; {hint}")
    if kinds[scheme] not in KINDS:
        raise UsageError(f"--scheme {scheme}: of a scheme {kinds[scheme]} there is nothing to choose but its kind")
    return [job for job in jobs if any(one.name == scheme for one in job.originals)]


def _scenario(resolved: ResolvedSuite, workload: Workload, wanted: str | None) -> Scenario:
    """One load is tuned for: the one that is named, else single-stream, else the workload's first."""
    known = {scenario.name: scenario for scenario in resolved.scenarios_of(workload)}
    if wanted is not None and wanted not in known:
        hint = did_you_mean(wanted, known)
        raise UsageError(f"--scenario {wanted}: workload {workload.name} has no such scenario; {hint}")
    if wanted is not None:
        return known[wanted]
    return next((one for one in known.values() if one.kind == "single-stream"), next(iter(known.values())))


def _set_aside(folder: Path) -> None:
    if folder.exists():
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        folder.rename(aside)


def _print_plan(jobs: Sequence[Job], max_loss: float | None, candidates: int, time_limit_s: float, form: Form) -> None:
    material = prepare_sweep(jobs[0].resolved).material
    rows: list[dict[str, Any]] = []
    for job in jobs:
        whole = material.test_sets[job.workload.name].samples
        strata = job.rubric.strata
        tuning = part_of(whole, Part(which="tuning", share=job.share, seed=job.seed), strata)
        rows.append(
            {
                "workload": job.workload.name,
                "model": job.model.name,
                "scenario": job.scenario.name,
                "executor": job.executor,
                "schemes": [scheme.name for scheme in job.originals],
                "tuning_n": len(tuning),
                "untouched_n": len(whole) - len(tuning),
                "max_loss": job.rubric.tolerance.value if max_loss is None else max_loss,
                "candidates": candidates,
                "time_limit_s": time_limit_s,
                "folder": str(job.folder),
            }
        )
    if form == "json":
        write_json(rows)
        return
    for row in rows:
        print(
            f"{row['workload']} · {row['model']}: {row['tuning_n']} samples to tune on, {row['untouched_n']} "
            "untouched; "
            f"schemes {', '.join(row['schemes'])} on {row['executor']}, {row['scenario']}"
        )
    print(
        f"\nfor each: up to {candidates} candidates within {minutes(time_limit_s)}, then the pick beside the suite's "
        f"own on the untouched samples, into {jobs[0].folder.parent}/"
    )
