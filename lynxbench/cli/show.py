"""Results as a reader wants them: one table a workload, then what it means, where the files are, what to type next."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lynxbench.cli.calibrations import by_calibration, told_apart, undisclosed
from lynxbench.cli.cells import OTHERS, Shown, Twins, by_default, columns_named, other_speed, unit_of
from lynxbench.cli.findings import findings
from lynxbench.cli.kept import chosen_records
from lynxbench.cli.notes import hang, label, not_measured, where
from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write_csv, write_json
from lynxbench.cli.text import load, plain
from lynxbench.errors import StoreError, UsageError
from lynxbench.records.declarations import description, kept_rubrics
from lynxbench.records.fields import BY_NAME
from lynxbench.records.location import Location
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.results import Kept

_IDENTITY = ("workload", "model", "scheme", "calibration", "executor", "scenario", "batch_size")
_LEGEND = (
    "speed: throughput over the reference's{server}, ± the wider half of its interval · Δ: score less the reference's "
    "on the same samples · robust: the whole interval of the loss lies within the tolerance · –: too few samples to say"
)
_SERVER_LEGEND = " (at a given rate: its median latency over this one's)"
_STYLES = {"robust": "green", "fragile": "red", "inconclusive": "yellow", "reference": "dim"}

Asked = tuple[Shown | str, ...]


def show_command(results: Sequence[Location], *, columns: str | None, only: Sequence[str], form: Form) -> int:
    """Print the tables of results folders."""
    for path in results:
        if isinstance(path, Path) and not path.is_dir():
            known = sorted(str(found.parent) for found in Path("results").glob("*/sweep.json"))
            near = get_close_matches(str(path), known, n=1, cutoff=0.6) or known[:1]
            hint = f"\n  try       lynxbench show {plain(near[0])}" if near else ""
            raise UsageError(f"{path}: no such results folder{hint}")
    asked = None if columns is None else columns_named(columns)
    kept = chosen_records(results, only)
    _print(kept, form, asked)
    for folder in dict.fromkeys(one.folder for one in kept):
        incomplete = None if only else _incomplete(folder, [one.record for one in kept if one.folder == folder])
        if incomplete:
            print(incomplete, file=sys.stderr)
    return 0


def _incomplete(folder: Location, records: Sequence[Record]) -> str | None:
    """What to say when a folder lacks cells that a sweep into it had planned."""
    planned = set((description(folder) or {}).get("planned", []))
    missing = len(planned - {record["cell_id"] for record in records})
    if not missing:
        return None
    return f"incomplete: {missing} of {len(planned)} cells are still to be measured; the same sweep command goes on"


def print_results(kept: Sequence[Kept], *, as_json: bool) -> None:
    """Everything about these records, to stdout."""
    _print(kept, "json" if as_json else "text", None)


def _print(kept: Sequence[Kept], form: Form, asked: Asked | None) -> None:
    records = [one.record for one in kept]
    folders = list(dict.fromkeys(one.folder for one in kept))
    if form == "json":
        several = len(folders) > 1
        folder: dict[str, Any] = {"folders": [str(f) for f in folders]} if several else {"folder": str(folders[0])}
        rows = [_values(one, asked, with_folder=several) for one in kept]
        write_json({**folder, "records": rows})
    elif form == "csv":
        names = ["folder"] * (len(folders) > 1) + _fields(records, asked)
        write_csv(names, ({**one.record.values, "folder": str(one.folder)} for one in kept))
    else:
        groups = _groups(kept)
        for heading, mine in groups.items():
            _tell(heading if len(groups) > 1 else None, mine, form, asked)


def _fields(records: Sequence[Record], asked: Asked | None) -> list[str]:
    """The fields of a CSV: those behind the columns that were asked for, else what says whose row it is as well."""
    columns = by_default(records) if asked is None else asked
    fields = [field for column in columns if isinstance(column, Shown) for field in column.fields]
    return list(dict.fromkeys([*(_IDENTITY if asked is None else ()), *fields]))


def _values(one: Kept, asked: Asked | None, *, with_folder: bool) -> dict[str, Any]:
    values = dict(one.record.values)
    if asked is not None:
        values = {name: values[name] for name in _fields([one.record], asked)}
    return {"folder": str(one.folder), **values} if with_folder else values


def _groups(kept: Sequence[Kept]) -> dict[str, list[Kept]]:
    """What was measured together, under a heading: a folder; in a set, a host. Of a cell's rows the latest counts."""
    groups: dict[tuple[Location, str], dict[str, Kept]] = {}
    for one in kept:
        cells = groups.setdefault((one.folder, one.record["host_id"]), {})
        known = cells.get(one.record["cell_id"])
        if known is None or known.record["started_at"] < one.record["started_at"]:
            cells[one.record["cell_id"]] = one
    return {f"{folder}, host {host}": list(cells.values()) for (folder, host), cells in groups.items()}


def _tell(heading: str | None, kept: Sequence[Kept], form: Form, asked: Asked | None) -> None:
    """Tables, findings and notes of rows that were measured on one host."""
    records = [one.record for one in kept]
    out = console()
    if heading is not None:
        out.print(f"## {plain(heading)}\n" if form == "markdown" else f"== {plain(heading)}\n", markup=False)
    for workload in dict.fromkeys(str(record["workload"]) for record in records):
        mine = [record for record in records if record["workload"] == workload]
        named = told_apart(mine)
        about, table = _table(named, asked, _one_size(kept[0].folder))
        if form == "markdown":
            print(markdown(replace(table, title=f"{workload}: {about}")))
            continue
        out.print(_title(workload, about))
        draw(out, table)
        for sentence in dict.fromkeys([*findings(named), *by_calibration(mine), *undisclosed(named)]):
            hang(out, "  • ", plain(sentence))
        out.print()
    if form == "markdown":
        return
    if any(record["status"] in MEASURED and not record["is_reference"] for record in records):
        kinds = {record["scenario_kind"] for record in records}
        out.print(
            _LEGEND.format(server=_SERVER_LEGEND if kinds & {"server", "server-search"} else ""),
            style="dim",
            markup=False,
        )
        others = "" if asked is not None else _others(records)
        if others:
            out.print(f"also measured: {others}: --only scenario=NAME, or --columns speed,others", style="dim")
        out.print()
    not_measured(out, records)
    where(out, records, kept[0].folder)
    if heading is not None:
        out.print()


def _title(workload: str, about: str) -> Any:
    from rich.text import Text

    return Text(plain(workload), style="bold") + Text(f"  {plain(about)}", style="dim")


def _base(records: Sequence[Record]) -> str:
    """The scenario that a table is about."""
    scenarios = list(dict.fromkeys(str(r["scenario"]) for r in records))
    return next((s for s in scenarios if _kind(records, s) == "single-stream"), scenarios[0])


def _others(records: Sequence[Record]) -> str:
    """The scenarios that no table is about, by name and heading."""
    said = []
    for workload in dict.fromkeys(record["workload"] for record in records):
        mine = [record for record in records if record["workload"] == workload]
        rest = [s for s in dict.fromkeys(str(r["scenario"]) for r in mine) if s != _base(mine)]
        said += [f"{plain(scenario)} ({plain(_heading(mine, scenario))})" for scenario in rest]
    return ", ".join(dict.fromkeys(said))


def _one_size(folder: Location) -> frozenset[tuple[str, str]]:
    """(digest of a rubric, size): the rubric declares no test set of that size, so that it asked its usual one."""
    with suppress(StoreError):
        return frozenset(
            (digest, size)
            for digest, rubric in kept_rubrics(folder).items()
            for size, count in (
                ("quick", rubric.test_set.quick_count),
                ("thorough", rubric.test_set.thorough_count),
            )
            if count is None
        )
    return frozenset()


def _table(records: Sequence[Record], asked: Asked | None, one_size: frozenset[tuple[str, str]]) -> tuple[str, Table]:
    """What a workload asked, and its rows: those of one scenario, by model."""
    base = _base(records)
    lead = next((r for r in records if r["status"] in MEASURED), records[0])

    def twins(record: Record) -> Twins:
        return {
            scenario: next((r for r in records if r["scenario"] == scenario and _same(r, record)), None)
            for scenario in others
        }

    others = [s for s in dict.fromkeys(str(r["scenario"]) for r in records) if s != base]
    speeds = [other_speed(scenario, _heading(records, scenario), twins) for scenario in others]
    wanted = by_default(records) if asked is None else asked
    columns = [one for column in wanted for one in (speeds if column == OTHERS else [column])]
    shown = [column for column in columns if isinstance(column, Shown)]
    unit = unit_of(lead)
    headings = {
        "score": str(lead["primary_metric"] or "score"),
        "delta": f"Δ {'points' if unit == 'fraction' else unit} [{_confidence(lead)}]",
    }
    rows: list[Row] = []
    for model in dict.fromkeys(str(r["model"]) for r in records):
        mine = [r for r in records if r["model"] == model and r["scenario"] == base]
        rows += [Row({}, heading=model)] * bool(mine)
        rows += [Row({}, {"candidate": label(record), **_texts(record, shown)}) for record in mine]
    styles = {row.text("verdict"): _STYLES.get(row.text("verdict").split(" ")[0], "red") for row in rows}
    drawn = [
        Column(
            column.name,
            headings.get(column.name, column.heading),
            right=column.right,
            expendable=column.expendable if asked is None else 0,
            styles=styles if column.name == "verdict" else None,
        )
        for column in shown
    ]
    about = _asked_about(records, lead, base, one_size)
    return about, Table([Column("candidate"), *drawn], rows)


def _texts(record: Record, shown: Sequence[Shown]) -> dict[str, str]:
    if record["status"] in MEASURED:
        return {column.name: column.text(record) for column in shown}
    # Why stands below the tables; a field that was asked for may be there all the same.
    texts = {column.name: column.text(record) if column.name in BY_NAME else "" for column in shown}
    return {**texts, "verdict": str(record["status"])}


def _asked_about(records: Sequence[Record], lead: Record, base: str, one_size: frozenset[tuple[str, str]]) -> str:
    first = records[0]
    size_note = _protocol(first).get("test_set", "standard")
    size_note = "standard" if (first["rubric_digest"], size_note) in one_size else size_note
    pattern = next(r for r in records if r["scenario"] == base)
    return (
        f"{first['rubric']} {first['rubric_version']}, {first['test_set_n']:,} samples"
        f"{'' if size_note == 'standard' else f' ({size_note} test set)'}, "
        f"tolerance {_tolerance(first, unit_of(lead))}, {base}, {_load(pattern)}, {_threads(lead)}"
    )


def _protocol(record: Record) -> Mapping[str, Any]:
    protocol: Mapping[str, Any] = json.loads(record["protocol"])
    return protocol


def _load(record: Record) -> str:
    """A scenario's load in words."""
    found = record["batch_size"] is None or (record["scenario_kind"] == "offline" and record["searched"] is not None)
    batch = "batch size as found (@)" if found else f"batch {record['batch_size']}"
    lanes = record["in_flight"] or 1
    return load(
        record["p99_limit_ms"], record["rate_per_s"], batch, f"{lanes} in flight" if lanes > 1 and not found else None
    )


def _same(one: Record, other: Record) -> bool:
    return all(one[key] == other[key] for key in ("model", "scheme", "calibration", "executor"))


def _kind(records: Sequence[Record], scenario: str) -> str:
    return str(next(r["scenario_kind"] for r in records if r["scenario"] == scenario))


def _heading(records: Sequence[Record], scenario: str) -> str:
    """Offline is told by its batch size, the server by its rate; two others may share their batch size."""
    first = next(r for r in records if r["scenario"] == scenario)
    if first["scenario_kind"] == "server-search":
        return f"rate at p99 {first['p99_limit_ms']:g} ms"
    if first["batch_size"] is None or first["searched"] is not None:
        return f"{scenario} @batch"
    if first["scenario_kind"] == "server":
        return f"{first['rate_per_s']:g}/s"
    size = int(first["batch_size"])
    return f"batch {size}" if first["scenario_kind"] == "offline" else f"{scenario} {size}"


def _tolerance(record: Record, unit: str) -> str:
    kind, value = record["tolerance_kind"], record["tolerance"]
    if kind == "absolute":
        return f"{100 * value:g} point{'' if value == 0.01 else 's'}" if unit == "fraction" else f"{value:g} {unit}"
    return (
        f"{100 * value:g} % of the reference's score"
        if kind == "relative"
        else f"{value:g} times the reference's errors"
    )


def _threads(record: Record) -> str:
    return "1 thread" if record["threads"] == 1 else f"{record['threads'] or '?'} threads"


def _confidence(record: Record) -> str:
    level = _protocol(record).get("confidence", 0.95)
    return f"{100 * level:.0f} %"
