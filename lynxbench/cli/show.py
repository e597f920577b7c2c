"""Results as a reader wants them: one table a workload, then what it means, where the files are, what to type next."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

from lynxbench.cli.calibrations import by_calibration, told_apart, undisclosed
from lynxbench.cli.findings import findings, speed_of
from lynxbench.cli.text import change, duration, fraction, load, plain, ratio, size
from lynxbench.errors import UsageError
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.store import ResultStore, read_records

# Column → how soon it is left out when the terminal is narrow; 0 never.
_COLUMNS = {
    "scheme": 0,
    "p50": 5,
    "p99": 3,
    "speed": 0,
    "score": 6,
    "delta": 0,
    "worst stratum": 4,
    "size": 1,
    "verdict": 0,
}
_OTHER_SCENARIO = 2  # a column of speeds for each scenario beside the one that the table is about
_GAP = 2
_MOST_WARNINGS = 4
_MOST_NAMES = 4
_LEGEND = (
    "speed: throughput over the reference's{server}, ± the wider half of its interval · Δ: score less the reference's "
    "on the same samples · robust: the whole interval of the loss lies within the tolerance · –: too few samples to say"
)
_SERVER_LEGEND = " (at a given rate: its median latency over this one's)"
PIPED_WIDTH = 160  # a file or a pager has no width of its own
_STYLES = {"robust": "green", "fragile": "red", "inconclusive": "yellow", "reference": "dim"}


def show_command(results: Path, *, as_json: bool) -> int:
    """Print the tables of a results folder."""
    if not results.is_dir():
        known = sorted(path.parent for path in Path("results").glob("*/sweep.json")) if Path("results").is_dir() else []
        hint = f"\n  try       lynxbench show {known[0]}" if known else ""
        raise UsageError(f"{results}: no such results folder{hint}")
    records = read_records(results)
    if not records:
        raise UsageError(f"{results} holds no records yet")
    print_results(records, results, as_json=as_json)
    incomplete = _incomplete(results, records)
    if incomplete:
        print(incomplete, file=sys.stderr)
    return 0


def _incomplete(folder: Path, records: Sequence[Record]) -> str | None:
    """What to say when a folder lacks cells that a sweep into it had planned."""
    planned = set((ResultStore(folder).description() or {}).get("planned", []))
    missing = len(planned - {record["cell_id"] for record in records})
    if not missing:
        return None
    return f"incomplete: {missing} of {len(planned)} cells are still to be measured; the same sweep command goes on"


def print_results(records: Sequence[Record], folder: Path, *, as_json: bool) -> None:
    """Everything about `records`, to stdout."""
    if as_json:
        print(
            json.dumps(
                {"folder": str(folder), "records": [_plain_row(record) for record in records]}, ensure_ascii=False
            )
        )
        return
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for workload in dict.fromkeys(str(record["workload"]) for record in records):
        mine = [record for record in records if record["workload"] == workload]
        named = told_apart(mine)
        _table(console, workload, named)
        for sentence in dict.fromkeys([*findings(named), *by_calibration(mine), *undisclosed(named)]):
            _hang(console, "  • ", plain(sentence))
        console.print()
    if any(record["status"] in MEASURED and not record["is_reference"] for record in records):
        server = (
            _SERVER_LEGEND if any(record["scenario_kind"] in {"server", "server-search"} for record in records) else ""
        )
        console.print(_LEGEND.format(server=server), style="dim", markup=False)
        console.print()
    _not_measured(console, records)
    _where(console, records, folder)


def _plain_row(record: Record) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in record.values.items()}


def _table(console: Any, workload: str, records: Sequence[Record]) -> None:
    from rich.table import Table
    from rich.text import Text

    first = records[0]
    scenarios = list(dict.fromkeys(str(r["scenario"]) for r in records))
    base = next((s for s in scenarios if _kind(records, s) == "single-stream"), scenarios[0])
    others = {f"speed {s}": s for s in scenarios if s != base}
    order = [c for column in _COLUMNS for c in ((column, *others) if column == "speed" else (column,))]
    lead = next((r for r in records if r["status"] in MEASURED), first)
    metric, unit = lead["primary_metric"] or "score", _unit(lead)
    size_note = json.loads(first["protocol"]).get("test_set", "standard")
    asked = (
        f"{first['rubric']} {first['rubric_version']}, {first['test_set_n']:,} samples"
        f"{'' if size_note == 'standard' else f' ({size_note} test set)'}, tolerance {_tolerance(first, unit)}"
    )
    pattern = next(r for r in records if r["scenario"] == base)
    queries = _load(pattern)
    about = f"{asked}, {base}, {queries}, {_threads(lead)}"
    console.print(Text(workload, style="bold") + Text(f"  {about}", style="dim"))
    headings = {
        "score": str(metric),
        "delta": f"Δ {'points' if unit == 'fraction' else unit} [{_confidence(lead)}]",
        **{column: _heading(records, scenario) for column, scenario in others.items()},
    }
    rows: list[tuple[str | None, dict[str, str], str]] = []
    for model in dict.fromkeys(str(r["model"]) for r in records):
        rows.append((model, {**dict.fromkeys(order, ""), "scheme": model}, ""))
        for record in (r for r in records if r["model"] == model and r["scenario"] == base):
            twins = {
                column: next((r for r in records if r["scenario"] == scenario and _same(r, record)), None)
                for column, scenario in others.items()
            }
            rows.append((None, _cells(record, twins, unit), _STYLES.get(str(record["verdict"]), "red")))
    columns, left_out = _fitting(console.width, order, headings, [cells for _, cells, _ in rows])
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for column in columns:
        left = column in {"scheme", "worst stratum", "verdict"}
        table.add_column(headings.get(column, column), justify="left" if left else "right", no_wrap=True)
    for model_row, cells, style in rows:
        if model_row is not None:
            table.add_row(Text(model_row, style="bold"))
        else:
            table.add_row(*[Text(cells[c], style=style if c == "verdict" else "") for c in columns])
    console.print(table)
    if left_out:
        console.print(
            Text(f"  (left out for width: {', '.join(left_out)}; widen the terminal, or --json)", style="dim")
        )


def _hang(console: Any, lead: str, text: str) -> None:
    """Print `lead` and `text`, with the lines that follow set in under the first."""
    lines = wrap(text, console.width, initial_indent=lead, subsequent_indent="    ", break_on_hyphens=False)
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _fitting(
    width: int, order: Sequence[str], headings: Mapping[str, str], rows: Sequence[Mapping[str, str]]
) -> tuple[list[str], list[str]]:
    """The columns that fit side by side, and those left out, the least telling first."""
    columns = list(order)
    wide = {c: max(len(headings.get(c, c)), *(len(row[c]) for row in rows)) for c in columns}
    left_out = []
    while sum(wide[c] + _GAP for c in columns) > width:
        droppable = [c for c in columns if _COLUMNS.get(c, _OTHER_SCENARIO)]
        if not droppable:
            break
        goes = min(droppable, key=lambda c: _COLUMNS.get(c, _OTHER_SCENARIO))
        columns.remove(goes)
        left_out.append(headings.get(goes, goes))
    return columns, left_out


def _cells(record: Record, twins: Mapping[str, Record | None], unit: str) -> dict[str, str]:
    """A row's text by column; `twins` holds the same candidate's rows in the other scenarios, by column."""
    name = _label(record)
    if record["status"] not in MEASURED:
        return {**dict.fromkeys([*_COLUMNS, *twins], ""), "scheme": name, "verdict": str(record["status"])}
    worst = ""
    if not record["is_reference"] and record["worst_stratum_loss"] is not None and record["worst_stratum_loss"] > 0:
        loss = record["worst_stratum_loss"]
        higher = record["primary_direction"] == "higher-is-better"
        worst = f"{plain(record['worst_stratum'])} {change(-loss if higher else loss, None, None, unit)}"
    return {
        "scheme": name,
        "p50": duration(record["p50_ns"]),
        "p99": duration(record["p99_ns"]),
        "speed": _speed(record),
        **{c: _speed(twin) if twin is not None and twin["status"] in MEASURED else "–" for c, twin in twins.items()},
        "score": fraction(record["primary_value"], unit),
        "delta": ""
        if record["is_reference"]
        else change(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], unit),
        "worst stratum": worst,
        "size": size(record["artifact_bytes"]),
        "verdict": str(record["verdict"]) + ("" if record["status"] == "ok" else f" ({record['status']})"),
    }


def _speed(record: Record) -> str:
    if record["scenario_kind"] == "server-search":
        return f"{record['rate_per_s']:.4g}/s"
    speed = "1×" if record["is_reference"] else ratio(*speed_of(record))
    if record["scenario_kind"] == "offline" and record["searched"] is not None:
        lanes = "" if record["in_flight"] == 1 else f"×{record['in_flight']}"
        return f"{speed} @{record['batch_size']}{lanes}"
    return speed


def _load(record: Record) -> str:
    """A scenario's load in words."""
    found = record["batch_size"] is None or (record["scenario_kind"] == "offline" and record["searched"] is not None)
    batch = "batch size as found (@)" if found else f"batch {record['batch_size']}"
    lanes = record["in_flight"] or 1
    return load(
        record["p99_limit_ms"], record["rate_per_s"], batch, f"{lanes} in flight" if lanes > 1 and not found else None
    )


def _label(record: Record) -> str:
    name = str(record["scheme"])
    return name if record["executor"] == record["reference_executor"] else f"{name}, {record['executor']}"


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


def _unit(record: Record) -> str:
    scores: Sequence[Mapping[str, Any]] = record["scores"] or ()
    return str(next((s["unit"] for s in scores if s["role"] == "primary"), "fraction"))


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
    level = json.loads(record["protocol"]).get("confidence", 0.95)
    return f"{100 * level:.0f} %"


def _not_measured(console: Any, records: Sequence[Record]) -> None:
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record["status"] not in MEASURED:
            who = f"{record['model']} {_label(record)}"
            named = reasons.setdefault((str(record["status"]), str(record["reason"])), [])
            if who not in named:
                named.append(who)
    if reasons:
        console.print("not measured", style="bold")
        for (status, reason), named in reasons.items():
            some = "; ".join(named[:_MOST_NAMES]) + (
                f" and {len(named) - _MOST_NAMES} more" if named[_MOST_NAMES:] else ""
            )
            _hang(console, "  ", f"{status}: {plain(some)}: {plain(reason)}")
        console.print()
    codes: dict[str, tuple[str, int]] = {}
    for record in records:
        for warning in record["warnings"]:
            advice, count = codes.get(warning["code"], (warning["advice"], 0))
            codes[warning["code"]] = (advice, count + 1)
    if codes:
        console.print("worth knowing", style="bold")
        ordered = sorted(codes.items(), key=lambda item: -item[1][1])
        for code, (advice, count) in ordered[:_MOST_WARNINGS]:
            _hang(console, "  ", f"{code} ({count} of {len(records)} cells): {plain(advice)}")
        if ordered[_MOST_WARNINGS:]:
            rest = ", ".join(f"{code} ({count})" for code, (_, count) in ordered[_MOST_WARNINGS:])
            _hang(console, "  ", f"and {rest}: each with advice in the records")
        console.print()


def _where(console: Any, records: Sequence[Record], folder: Path) -> None:
    first = records[0]
    version = next((r["onnxruntime_version"] for r in records if r["onnxruntime_version"]), "?")
    console.print(
        f"measured on {plain(first['cpu'])} ({', '.join(first['isa_flags']) or 'no int8 instructions'}), "
        f"{first['cores_usable']:g} cores, ONNX Runtime {version}",
        style="dim", markup=False,
    )  # fmt: skip
    console.print(
        f"files     {folder}/records.parquet  predictions.parquet  latencies.parquet", markup=False, soft_wrap=True
    )
    console.print(f"again     lynxbench show {folder}", markup=False, soft_wrap=True)
