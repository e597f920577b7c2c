"""`lynxbench sweep`: run it, tell how far it is, say what came out."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn, get_args

from lynxbench.cli.fleet import FleetView
from lynxbench.cli.progress import ProgressLine
from lynxbench.cli.text import counted, load, minutes, plain
from lynxbench.errors import LynxBenchError, UsageError
from lynxbench.records.files import files_at
from lynxbench.records.location import Location, Url, location
from lynxbench.records.places import find_places
from lynxbench.records.results import Kept
from lynxbench.records.store import read_records, statuses
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.load import cache_folder
from lynxbench.specs.resolve import ResolvedSuite, resolve_suite
from lynxbench.specs.suite import BudgetName, Scenario
from lynxbench.sweep.fleet.run import prepare_fleet, run_fleet
from lynxbench.sweep.groups import unfinished
from lynxbench.sweep.plan import Cell, Group
from lynxbench.sweep.progress import expected_s
from lynxbench.sweep.run import Outcome, Prepared, default_folder, kept_statuses, prepare_sweep, run_sweep

# More are not printed one by one, nor held.
MANY_CELLS = 2_000


def sweep_command(
    suite: str,
    *,
    budget: str,
    only: Sequence[str],
    assignments: Sequence[str],
    executor: Sequence[str],
    out: str | None,
    on: str | None,
    tls: Path | None,
    rubrics: Path | None,
    executors: Path | None,
    dry_run: bool,
    retry: bool,
    fresh: bool,
    as_json: bool,
) -> int:
    """Run the sweep; returns the exit code."""
    budgets = get_args(BudgetName)
    if budget not in budgets:
        raise UsageError(
            f"--budget {budget}: unknown budget; {did_you_mean(budget, budgets) or 'one of: ' + ', '.join(budgets)}"
        )
    resolved = resolve_suite(
        suite,
        rubrics=rubrics,
        executors=executors,
        assignments=assignments,
        only=only,
        budget=budget,
        on_executors=executor,
    )
    if tls is not None and on is None:
        raise UsageError("--tls is for --on")
    folder = out or str(default_folder(resolved, budget, changed=bool(assignments or executor)))
    place = location(folder)
    files = files_at(place)
    if isinstance(place, Url) and not dry_run:
        files.entries()  # what is wrong with protocol, bucket or credentials is said before any work
    prepared = prepare_sweep(resolved) if on is None else prepare_fleet(resolved)
    _say_what_is_left_out(resolved)
    if dry_run:
        # On a fleet, what each kind of host has finished is known when it has joined.
        finished = set() if fresh or on is not None else _finished(place, retry=retry)
        _print_plan(prepared, place, finished, as_json)
        return 0
    try:
        if on is not None:
            with FleetView() as view:
                outcome = run_fleet(
                    prepared, folder, on=on, tls=tls, cache=cache_folder(), retry=retry, fresh=fresh, on_progress=view
                )
        else:
            with stopped_by_sigterm_too(), ProgressLine() as progress:
                outcome = run_sweep(
                    prepared, folder, cache=cache_folder(), retry=retry, fresh=fresh, on_progress=progress
                )
    except KeyboardInterrupt:
        return _interrupted(prepared, place)
    return _report(prepared, outcome, as_json)


def _say_what_is_left_out(resolved: ResolvedSuite) -> None:
    for workload, parts in resolved.left_out.items():
        if resolved.wanted("workload", workload):
            suite = parts.split("/")[0]
            print(
                f"left out: {workload} ({parts} has not been fetched; lynxbench suite fetch {suite} adds it)",
                file=sys.stderr,
            )


@contextmanager
def stopped_by_sigterm_too() -> Iterator[None]:
    """What a batch system or `docker stop` sends ends a sweep as Ctrl-C does: cleaned up, with a report."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(prepared: Prepared, folder: Location) -> int:
    wanted = {cell.cell_id for cell in prepared.plan.cells}
    counts = [sum(cell in wanted for cell in dict(statuses(place))) for place in _places(folder)]
    done = f"{sum(counts)} of {len(wanted)} cells" if len(counts) == 1 else f"{sum(counts)} cells of several hosts"
    print(
        f"interrupted; what was finished is kept: {done} in {folder}.\n"
        f"The same command goes on from there; lynxbench show {folder} prints what there is.",
        file=sys.stderr,
    )
    return 130


def _finished(folder: Location, *, retry: bool) -> set[str]:
    """Cells in `folder` that would not be measured again; none where nothing is there, or nothing answers."""
    with suppress(LynxBenchError):
        if isinstance(folder, Path) and not folder.is_dir():
            return set()
        if files_at(folder).entries():
            return {cell for cell, status in dict(statuses(folder)).items() if status in kept_statuses(retry)}
    return set()


def _print_plan(prepared: Prepared, folder: Location, finished: set[str], as_json: bool) -> None:
    plan = prepared.plan
    protocol = prepared.resolved.suite.protocol
    left = unfinished(plan.groups, finished)
    estimate_s = sum(sum(expected_s(group, protocol).values()) for group in left)
    done = sum(cell.cell_id in finished for group in plan.groups for cell in group.running)

    def status(group: Group, cell: Cell) -> str:
        if cell.cell_id in group.skipped:
            return group.skipped[cell.cell_id].status
        return "finished" if cell.cell_id in finished else "to measure"

    rows = [
        {
            "workload": group.workload.name,
            "model": group.model.name,
            "scheme": cell.deployment.label,
            "executor": cell.deployment.executor,
            "scenario": cell.scenario.name,
            "batch_size": cell.scenario.given_batch_size,
            "load": _load(cell.scenario),
            "reference": cell.is_reference,
            "status": status(group, cell),
            "reason": group.skipped[cell.cell_id].reason if cell.cell_id in group.skipped else None,
        }
        for group in plan.groups
        for cell in group.cells
    ]
    if as_json:
        document = {"folder": str(folder), "estimated_s": round(estimate_s), "cells": rows}
        print(json.dumps({**document, "left_out": dict(prepared.resolved.left_out)}, indent=2))
        return
    for group in plan.groups:
        n = len(prepared.material.test_sets[group.workload.name].samples)
        print(f"{group.workload.name} · {group.model.name} · {n} samples")
        for cell in group.cells:
            mark = " (reference)" if cell.is_reference else ""
            skip = group.skipped.get(cell.cell_id)
            note = f"  {status(group, cell)}" if skip is None and cell.cell_id in finished else ""
            note = note if skip is None else f"  {skip.status}: {plain(skip.reason)}"
            print(
                f"  {cell.deployment.label}{mark} on {cell.deployment.executor}, "
                f"{cell.scenario.name}, {_load(cell.scenario)}{note}"
            )
    skipped = sum(len(group.skipped) for group in plan.groups)
    cells, groups = counted(len(plan.cells), "cell"), counted(len(plan.groups), "group")
    so_far = f", {done:,} finished already" if done else ""
    rest = f"about {minutes(estimate_s)}{' for the rest' if done else ''} on a machine like this one"
    print(f"\n{cells} in {groups}, {skipped} skipped{so_far}; {rest if left else 'nothing is left'}, into {folder}/")


def _load(scenario: Scenario) -> str:
    """A scenario's load in words, before anything is measured."""
    size, most = scenario.largest_batch_size, scenario.most_in_flight
    batch = f"batch {scenario.batch_size}" if size is None else f"best batch up to {size}"
    lanes = f"{scenario.in_flight} in flight" if scenario.in_flight > 1 else None
    if most is not None:
        lanes = f"best of up to {most} in flight"
    return load(scenario.latency_limit_ms, scenario.rate_per_s, batch, lanes)


def _places(folder: Location) -> list[Location]:
    """The results of a sweep: of one place, or of one for each kind of host."""
    with suppress(UsageError):
        return [place.folder for place in find_places([folder])]
    return [folder]


def _report(prepared: Prepared, outcome: Outcome, as_json: bool) -> int:
    from lynxbench.cli.show import print_results

    wanted = {cell.cell_id for cell in prepared.plan.cells}
    places = _places(outcome.folder)
    if len(wanted) * len(places) > MANY_CELLS and not as_json:
        counts = Counter(status for place in places for cell, status in dict(statuses(place)).items() if cell in wanted)
        print(", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())))
        print(f"lynxbench show {outcome.folder} --only model=NAME prints a part; lynxbench query asks anything")
    else:
        kept = [Kept(place, record) for place in places for record in read_records(place)]
        kept = [one for one in kept if one.record["cell_id"] in wanted]
        print_results(kept, as_json=as_json)
        counts = Counter(str(one.record["status"]) for one in kept)
    for damage in outcome.rebuilt:
        print(f"warning: cache: {damage}; it was built again", file=sys.stderr)
    if outcome.resumed:
        cells = len(wanted) * max(1, len(places))
        print(f"{outcome.resumed} of {cells} cells were finished before and kept", file=sys.stderr)
    phases = ", ".join(
        f"{name} {seconds:.0f} s"
        for name, seconds in sorted(outcome.spent_s.items(), key=lambda i: -i[1])
        if seconds >= 0.5
    )
    print(f"took {minutes(outcome.wall_s)}{f': {phases}' if phases else ''}", file=sys.stderr)
    failed = sum(counts[status] for status in ("failed", "timeout", "oom", "rejected", "interrupted"))
    return 3 if failed else 0
