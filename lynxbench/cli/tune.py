"""`lynxbench tune`: search for a scheme that mends a loss, and say what it is worth on samples apart."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from lynxbench.cli.output import Column, Form, Row, Table, console, draw, write_json
from lynxbench.cli.progress import ProgressLine
from lynxbench.cli.sentences import say
from lynxbench.cli.text import change, minutes, ratio
from lynxbench.conclusions.tradeoff import Estimate
from lynxbench.conclusions.words import loss, unit_of
from lynxbench.datasets.parting import part_of
from lynxbench.errors import UsageError
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.load import cache_folder
from lynxbench.specs.resolve import ResolvedSuite, resolve_suite
from lynxbench.specs.suite import BudgetName, Scenario, Workload
from lynxbench.specs.tuned import Part
from lynxbench.sweep.run import prepare_sweep
from lynxbench.tuning.declaring import Job
from lynxbench.tuning.picking import Measured, frontier
from lynxbench.tuning.search import KINDS, Limits, Tuning, groups, tune

# Of the search's time, what each diagnosis may spend on trying parts of the model one at a time.
SENSITIVITY_SHARE = 0.2
MOST_TRIED = 24  # rows of what was tried and not measured again
_STYLES = {"frontier": "green", "dominated": "red"}
_STATES = {
    "held": "holds the limit beyond doubt",
    "undecided": "does so by its estimate at most: more samples would decide",
    "beyond": "does not hold the limit there",
}


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
        if max_loss is None and job.rubric.tolerance.kind != "absolute":
            raise UsageError(f"rubric {job.rubric.name} has no absolute tolerance: say --max-loss")
        job.folder.mkdir(parents=True, exist_ok=True)
        print(f"{job.workload.name} · {job.model.name} ({number} of {len(jobs)})", file=sys.stderr)
        with ProgressLine() as progress:
            one = tune(
                job, limits, cache=cache_folder(), executors=executors, base=scheme, on_progress=progress
            )  # fmt: skip
        found.append(one)
        if form == "text":
            draw_tuning(one)
    if form == "json":
        write_json([document(one) for one in found])
    return 0 if all(one.nothing_to_mend or _mended(one) for one in found) else 1


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


def draw_tuning(found: Tuning) -> None:
    to = console()
    job, unit = found.job, _unit(found)
    tuning_n = max((one.record["test_set_n"] for one in found.tuning), default=0)
    untouched_n = max((one.record["test_set_n"] for one in found.final), default=0)
    allowed = loss(found.limits.max_loss, unit)
    if found.nothing_to_mend:
        to.print()
        draw(to, _tried_table(found, found.tuning, f"{job.workload.name}, {job.model.name}: {tuning_n} samples"))
        say(to, [f"Nothing to mend: no candidate that is tuned here loses more than {allowed} or is slower."])
        return
    title = (
        f"{job.workload.name}, {job.model.name}: {untouched_n} untouched samples beside {tuning_n} tuned on, at most "
        f"{allowed} of {_metric(found)}, {job.scenario.name}"
    )
    to.print()
    draw(to, _final_table(found, title))
    tuned = [one for one in found.tuning if one.record["scheme"] in found.why]
    if tuned:
        to.print()
        draw(to, _tried_table(found, tuned[:MOST_TRIED], "tried, on the tuning samples"))
    to.print()
    say(to, _sentences(found))
    to.print()


def _final_table(found: Tuning, title: str) -> Table:
    unit = "points" if _unit(found) == "fraction" else _unit(found)
    columns = [
        Column("candidate"),
        Column("loss", f"loss, {unit}", right=True),
        Column("speed", right=True),
        Column("before", styles=_STYLES, expendable=3),
        Column("after", styles=_STYLES),
        Column("tuning_loss", "loss, tuning samples", right=True, expendable=2),
        Column("tuning_speed", "speed there", right=True, expendable=1),
    ]
    return Table(columns, [Row({}, texts) for texts in _final_rows(found)], title)


def _final_rows(found: Tuning) -> Iterator[dict[str, str]]:
    own = [one for one in found.final if one.record["scheme"] not in found.why]
    before = dict(zip((one.name for one in own), frontier(own), strict=True))
    after = dict(zip((one.name for one in found.final), frontier(found.final), strict=True))
    for one in found.final:
        there = found.of("tuning", one.name)
        yield {
            "candidate": f"{one.name} ←" if one.name == found.picked else one.name,
            "loss": _loss(one),
            "speed": _speed(one),
            "before": before.get(one.name, "–"),
            "after": after[one.name],
            "tuning_loss": "–" if there is None else _loss(there),
            "tuning_speed": "–" if there is None else _speed(there),
        }


def _tried_table(found: Tuning, rows: Sequence[Measured], title: str) -> Table:
    unit = "points" if _unit(found) == "fraction" else _unit(found)
    columns = [
        Column("candidate"),
        Column("loss", f"loss, {unit}", right=True),
        Column("speed", right=True),
        Column("changes", "what it does otherwise", wraps=True, expendable=1),
    ]
    texts = [
        {
            "candidate": one.name,
            "loss": _loss(one),
            "speed": _speed(one),
            "changes": found.why.get(one.record["scheme"], ""),
        }
        for one in rows
    ]
    return Table(columns, [Row({}, cells) for cells in texts], title)


def _sentences(found: Tuning) -> Iterator[str]:
    for one in found.looked:
        if not one.diagnosed:
            yield f"Started from {one.name} as well, the best of the suite's own there."
            continue
        causes = ", ".join(one.causes) or "no cause found"
        yield f"Looked into {one.name}: {causes}." + (f" First: {one.said[0]}." if one.said else "")
    yield (
        f"{found.tried} candidates were compared on the tuning samples, within {minutes(found.limits.time_limit_s)}; "
        f"it took {minutes(found.spent_s)} and ended with {found.stopped_by.replace('-', ' ')}."
    )
    if found.failed:
        first = found.failed[0]
        yield f"{len(found.failed)} could not be had; the first, {first['scheme']}: {first['reason']}"
    unit = _unit(found)
    allowed = loss(found.limits.max_loss, unit)
    if found.picked is None:
        yield f"Nothing that was tried is faster than the reference and loses at most {allowed}: keep the reference."
        return
    picked, there = found.of("untouched", found.picked), found.of("tuning", found.picked)
    if found.suite is None:
        yield f"The best was in the suite already: {found.picked}."
    if picked is None or there is None:
        return
    yield (
        f"Picked on the tuning samples, as the best of {found.tried}: {found.picked}. There it loses {_loss(there)}, "
        f"which is flattered by the choice; on {picked.record['test_set_n']} untouched samples {_loss(picked)}, where "
        f"it {_STATES[picked.state(found.limits.max_loss)]}. Speed {_speed(picked)} (there {_speed(there)})."
    )
    if found.suite is not None:
        yield f"Ready to use: {found.suite} (lynxbench sweep {found.suite}); the scheme alone: {_scheme_file(found)}."


def _scheme_file(found: Tuning) -> Path:
    return found.job.folder / "scheme.toml"


def _mended(found: Tuning) -> bool:
    """The pick is not beyond the limit on the untouched samples."""
    picked = None if found.picked is None else found.of("untouched", found.picked)
    return picked is not None and picked.state(found.limits.max_loss) != "beyond"


def _unit(found: Tuning) -> str:
    return unit_of(found.tuning[0].record) if found.tuning else "fraction"


def _metric(found: Tuning) -> str:
    return found.job.rubric.primary.name


def _loss(one: Measured) -> str:
    return "" if one.is_reference else change(*_parts(one.loss), unit_of(one.record))


def _speed(one: Measured) -> str:
    return "1×" if one.is_reference else ratio(*_parts(one.speed))


def _parts(estimate: Estimate) -> tuple[float, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high


def document(found: Tuning) -> dict[str, Any]:
    own = [one for one in found.final if one.record["scheme"] not in found.why]
    before = dict(zip((one.name for one in own), frontier(own), strict=True))
    after = dict(zip((one.name for one in found.final), frontier(found.final), strict=True))

    def row(one: Measured) -> dict[str, Any]:
        return {
            "candidate": one.name,
            "scheme_options": one.record["scheme_options"],
            "cell_id": one.record["cell_id"],
            "samples": one.record["test_set_n"],
            "loss": asdict(one.loss),
            "speed": asdict(one.speed),
            "state": one.state(found.limits.max_loss),
            "changes": found.why.get(one.record["scheme"]),
        }

    return {
        "workload": found.job.workload.name,
        "model": found.job.model.name,
        "executor": found.job.executor,
        "scenario": found.job.scenario.name,
        "folder": str(found.job.folder),
        "split": {"share": found.job.share, "seed": found.job.seed},
        "limits": asdict(found.limits),
        "looked": [
            {"candidate": one.name, "diagnosed": one.diagnosed, "causes": one.causes, "said": one.said}
            for one in found.looked
        ],
        "tried": found.tried,
        "spent_s": round(found.spent_s, 1),
        "stopped_by": found.stopped_by,
        "picked": found.picked,
        "mended": _mended(found),
        "suite": None if found.suite is None else str(found.suite),
        "tuning": [row(one) for one in found.tuning],
        "untouched": [{**row(one), "before": before.get(one.name), "after": after[one.name]} for one in found.final],
        "failed": [{"scheme": one["scheme"], "status": one["status"], "reason": one["reason"]} for one in found.failed],
    }
