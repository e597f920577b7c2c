"""`lynxbench compare`: what changed between two sets of results; exit code 1 when a gate failed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, get_args

from lynxbench.cli.kept import chosen_records
from lynxbench.cli.notes import hang
from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write_csv, write_json
from lynxbench.cli.text import change, duration, plain, ratio
from lynxbench.conclusions.compare import Change, Compared, Comparison, Gates, compare
from lynxbench.conclusions.effects import Effect
from lynxbench.conclusions.matching import split
from lynxbench.conclusions.words import busy_host
from lynxbench.errors import UsageError
from lynxbench.records.location import Location
from lynxbench.records.record import MEASURED, Record
from lynxbench.specs.base import did_you_mean

_STYLES = {"regressed": "red", "improved": "green", "undecided": "yellow", "unchanged": "dim"}
_COLUMNS = (
    Column("candidate"),
    Column("scenario", expendable=2),
    Column("delta", "Δ accuracy", right=True),
    Column("speed", "speed after/before", right=True),
    Column("p50", "p50 as it was", right=True, expendable=1),
    Column("change", styles=_STYLES),
    Column("why", wraps=True, expendable=3),
)
_LEGEND = (
    "Δ accuracy: score after less before{paired} · speed after/before: the candidate's speed over its own reference's, "
    "after over before (what host and run have in common cancels) · p50 as it was: median latency before → after, of "
    "two {between}, on which no verdict rests · changes up to {gates} count as none"
)
_MOST_UNMATCHED = 4


def compare_command(
    results: Sequence[Location],
    *,
    by: str | None,
    between: Sequence[str],
    max_loss: float | None,
    max_slowdown: float,
    only: str | None,
    where: Sequence[str],
    form: Form,
) -> int:
    """Print what changed; returns 1 when a candidate regressed."""
    if only is not None and only not in get_args(Change):
        choices = get_args(Change)
        raise UsageError(f"--only {only}: {did_you_mean(only, choices) or 'one of: ' + ', '.join(choices)}")
    gates = Gates(max_loss, max_slowdown)
    if by is None:
        if len(results) != 2:
            raise UsageError(
                f"compare: {len(results)} results folders; two are compared, or one with "
                "--by host|lynxbench_version|onnxruntime_version|executor"
            )
        names = [str(path) for path in results]
        sides = [chosen_records([path], where) for path in results]
    else:
        before, after, *names = split(chosen_records(results, where), by, between)
        sides = [before, after]
    found = compare(sides[0], sides[1], gates, by)
    shown = [row for row in found.rows if only is None or row.change == only]
    if form == "json":
        write_json(_document(found, shown, names, by))
    elif form == "csv":
        rows = [_values(row) for row in shown]
        write_csv(list(_values(found.rows[0])), rows)
    else:
        _tell(found, shown, names, form, only)
    return 1 if found.failed else 0


def _document(found: Comparison, shown: Sequence[Compared], names: Sequence[str], by: str | None) -> dict[str, Any]:
    return {
        "before": names[0],
        "after": names[1],
        "by": by,
        "gates": {"max_loss": found.gates.max_loss, "max_slowdown": found.gates.max_slowdown},
        "failed": found.failed,
        "counts": dict(Counter(row.change for row in found.rows)),
        "superseded": found.superseded,
        "busy_host": _busy(found.rows),
        "rows": [_values(row) for row in shown],
        "unmatched": [
            {
                "side": one.side,
                "reason": one.reason,
                "detail": one.detail,
                "folder": str(one.kept.folder),
                **{name: one.kept.record[name] for name in _IDENTITY},
            }
            for one in found.unmatched
        ],
    }


_IDENTITY = ("workload", "model", "scheme", "calibration", "executor", "scenario", "batch_size", "is_reference")


def _values(row: Compared) -> dict[str, Any]:
    """A row for programs."""
    before, after = row.pair.before, row.pair.after
    speed = row.relative_speed or (None, None, None)
    return {
        **{name: after.record[name] for name in _IDENTITY},
        "change": row.change,
        "why": row.why,
        "primary_metric": after.record["primary_metric"] or before.record["primary_metric"],
        "loss_paired": row.paired,
        "loss_n": row.n,
        **_effect("loss", row.loss),
        "relative_speed": speed[0],
        "relative_speed_low": speed[1],
        "relative_speed_high": speed[2],
        **_effect("slowdown_log", row.slowdown),
        "p50_before_ns": before.record["p50_ns"],
        "p50_after_ns": after.record["p50_ns"],
        "p50_ratio": row.p50_ratio,
        "p50_ratio_between": "runs" if row.same_host else "hosts",
        "before": str(before.folder),
        "after": str(after.folder),
        "before_cell_id": before.record["cell_id"],
        "after_cell_id": after.record["cell_id"],
        "notes": list(row.notes),
    }


def _effect(name: str, effect: Effect | None) -> dict[str, Any]:
    members = ("value", "low", "high", "gate", "p_worse", "p_worse_holm", "p_better", "p_better_holm")
    return {
        (name if member == "value" else f"{name}_{member}"): None if effect is None else getattr(effect, member)
        for member in members
    }


def _tell(found: Comparison, shown: Sequence[Compared], names: Sequence[str], form: Form, only: str | None) -> None:
    """Tables by workload for readers, then what could not be compared, then the verdict on the whole."""
    out = console()
    for workload in dict.fromkeys(row.pair.after.record["workload"] for row in shown):
        mine = [row for row in shown if row.pair.after.record["workload"] == workload]
        title = f"{workload}  {names[0]} → {names[1]}"
        table = Table(_COLUMNS, list(_rows(mine)), title)
        if form == "markdown":
            print(markdown(table))
        else:
            draw(out, table)
            out.print()
    if form == "text" and shown:
        out.print(_legend(found, shown), style="dim", markup=False)
    for line in _rest(found):
        hang(out, "", plain(line))
    if only is not None and not shown:
        out.print(f"nothing {only}", markup=False)
    out.print(_verdict(found), markup=False)
    if form == "text":
        sys.stdout.flush()


def _rows(rows: Sequence[Compared]) -> Iterator[Row]:
    calibrations: dict[str, set[str | None]] = {}
    for row in rows:
        record = row.pair.after.record
        calibrations.setdefault(record["scheme"], set()).add(record["calibration"])
    for model in dict.fromkeys(row.pair.after.record["model"] for row in rows):
        yield Row({}, heading=model)
        for row in rows:
            if row.pair.after.record["model"] == model:
                yield Row(_values(row), _texts(row, calibrations[row.pair.after.record["scheme"]]))


def _texts(row: Compared, calibrations: Collection[str | None]) -> dict[str, str]:
    before, after = row.pair.before.record, row.pair.after.record
    loss, speed = row.loss, row.relative_speed
    unit = _unit(after if after["status"] in MEASURED else before)
    delta = "–"
    if loss is not None:
        ends = (loss.value, loss.low, loss.high)
        if before["primary_direction"] == "higher-is-better":
            ends = (-loss.value, -loss.high, -loss.low)
        delta = change(*ends, unit) + ("" if row.paired else " unpaired")
    return {
        "candidate": _label(before, after, with_calibration=len(calibrations) > 1),
        "scenario": f"{after['scenario']}, batch {after['batch_size']}" if after["batch_size"] else after["scenario"],
        "delta": delta,
        "speed": "–" if speed is None else ratio(*speed),
        "p50": f"{duration(before['p50_ns'])} → {duration(after['p50_ns'])}",
        "change": row.change,
        "why": "; ".join([row.why, *row.notes] if row.change != "unchanged" else row.notes),
    }


def _label(before: Record, after: Record, *, with_calibration: bool) -> str:
    name = str(after["scheme"]) + (f" ({after['calibration']})" if with_calibration and after["calibration"] else "")
    if before["executor"] != after["executor"]:
        return name
    return name if after["executor"] == after["reference_executor"] else f"{name}, {after['executor']}"


def _unit(record: Record) -> str:
    return str(next((s["unit"] for s in record["scores"] or () if s["role"] == "primary"), "fraction"))


def _legend(found: Comparison, rows: Sequence[Compared]) -> str:
    gates = found.gates
    loss = "each rubric's tolerance" if gates.max_loss is None else f"a loss of {gates.max_loss:g}"
    return _LEGEND.format(
        paired=" on the same samples" if all(row.paired for row in rows if row.loss) else "",
        between="runs" if all(row.same_host for row in rows) else "hosts",
        gates=f"{loss} and {100 * gates.max_slowdown:g} % of speed",
    )


def _rest(found: Comparison) -> Iterator[str]:
    """What was not compared, by reason; a row that both sides have under the same name is named once."""
    groups: dict[str, list[str]] = {}
    for one in found.unmatched:
        only = f"only {one.side}" if one.reason == "missing" else one.detail
        names = groups.setdefault(f"{one.reason}, {only}", [])
        record = one.kept.record
        name = f"{record['model']} {record['scheme']} {record['scenario']}"
        if name not in names:
            names.append(name)
    for reason, names in groups.items():
        more = f" and {len(names) - _MOST_UNMATCHED} more" if names[_MOST_UNMATCHED:] else ""
        yield f"not compared: {reason}: {', '.join(names[:_MOST_UNMATCHED])}{more}"
    caution = _busy(found.rows)
    if caution:
        yield caution
    if found.superseded:
        yield f"{found.superseded} older rows of the same cells were left out"


def _busy(rows: Sequence[Compared]) -> str | None:
    """Of the rows whose speeds were compared, on either side."""
    return busy_host([kept.record for row in rows if row.slowdown for kept in (row.pair.before, row.pair.after)])


def _verdict(found: Comparison) -> str:
    counts = Counter(row.change for row in found.rows)
    said = ", ".join(f"{counts[name]} {name}" for name in get_args(Change) if counts[name])
    return f"{said} of {len(found.rows)}: {'a gate failed' if found.failed else 'no gate failed'}"
