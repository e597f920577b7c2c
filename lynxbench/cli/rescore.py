"""`lynxbench rescore`: what the same answers are worth when another question is asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write_csv, write_json
from lynxbench.cli.sentences import say
from lynxbench.cli.text import change, plain
from lynxbench.conclusions.asking import asked_rubric, rescored_material, write_rescored
from lynxbench.conclusions.material import material
from lynxbench.conclusions.naming import names
from lynxbench.conclusions.rescoring import Change, Rescored, Unanswered
from lynxbench.records.location import Location
from lynxbench.records.record import Record
from lynxbench.specs.rubric import MetricUse, Rubric, Tolerance

_STYLES = {"robust": "green", "fragile": "red", "inconclusive": "yellow", "reference": "dim"}
_VALUES = ("workload", "model", "scheme", "calibration", "executor", "batch_size")
_SCORED = ("metric", "value", "delta", "delta_low", "delta_high", "loss", "loss_low", "loss_high")
_MOST_NAMED = 3


def rescore_command(results: Location, rubric: str, *, rubrics: Path | None, out: Path | None, form: Form) -> int:
    """Score stored predictions anew; returns the exit code."""
    asked = asked_rubric(rubric, rubrics).spec
    opened = material(results)
    found = rescored_material(opened, asked)
    if out is not None:
        write_rescored(opened, found, out)
    shown = _once(found.changes)
    if form == "json":
        write_json(_document(found, opened.folder, out))
    elif form == "csv":
        write_csv(list(_values(shown[0])), map(_values, shown))
    elif form == "markdown":
        print(markdown(_table(found, shown)))
        print("\n".join(f"- {plain(sentence)}" for sentence in _sentences(found, shown)))
    else:
        _print(found, shown)
    if out is not None:
        print(f"{len(found.changes)} rows in {out}; lynxbench show {out}", file=sys.stderr)
    return 0


def _print(found: Rescored, shown: Sequence[Change]) -> None:
    to = console()
    draw(to, _table(found, shown))
    to.print()
    say(to, _sentences(found, shown))


def _once(changes: Sequence[Change]) -> list[Change]:
    """One row a set of answers: scenarios at one batch size share them."""
    seen: dict[str, Change] = {}
    for one in changes:
        seen.setdefault(str(one.before["predictions_id"]), one)
    return list(seen.values())


def _table(found: Rescored, shown: Sequence[Change]) -> Table:
    rubric = found.rubric
    points = _heading(rubric.primary.unit)
    columns = [
        Column("candidate"),
        Column("batch_size", "batch", right=True, expendable=1),
        Column("delta_before", f"Δ before [{_metrics_before(shown)}]", right=True, expendable=2),
        Column("verdict_before", "verdict before", styles=_STYLES),
        Column("delta_after", f"Δ {points} by {rubric.name} [{100 * rubric.confidence:g} %]", right=True),
        Column("verdict_after", "verdict by it", styles=_STYLES),
        Column("required_n", "decides", right=True, expendable=3),
    ]
    known = names([one.before for one in shown])
    title = f"{rubric.name} {rubric.version}: {_asks(rubric)}"
    rows = [
        Row(
            _values(one),
            {
                "candidate": known[one.before["cell_id"]],
                "delta_before": _delta(one.before),
                "delta_after": _delta(one.after),
                "required_n": "" if one.after["required_n"] is None else f"{one.after['required_n']:,} samples",
            },
        )
        for one in shown
        if (one.before["verdict"], one.after["verdict"]) != ("reference", "reference")
    ]
    return Table(columns, rows, title)


def _values(one: Change) -> dict[str, Any]:
    before, after = one.before, one.after
    return {
        "candidate": names([before])[before["cell_id"]],
        **{name: before[name] for name in _VALUES},
        "delta_before": before["primary_delta"],
        "verdict_before": before["verdict"],
        "delta_after": after["primary_delta"],
        "verdict_after": after["verdict"],
        "required_n": after["required_n"],
    }


def _document(found: Rescored, folder: Location, out: Path | None) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "rubric": found.rubric.name,
        "rubric_version": found.rubric.version,
        "rubric_digest": found.rubric.digest(),
        "out": None if out is None else str(out),
        "sentences": _sentences(found, _once(found.changes)),
        "rows": [
            {
                "rescored_from": one.after["rescored_from"],
                "candidate_id": one.before["candidate_id"],
                "scenario": one.before["scenario"],
                **{name: one.before[name] for name in _VALUES},
                "before": _scored(one.before),
                "after": _scored(one.after),
            }
            for one in found.changes
        ],
        "not_scored": [
            {"cell_id": row.record["cell_id"], "workload": row.record["workload"], "why": row.why, "reason": row.reason}
            for row in found.unanswered
        ],
    }


def _scored(record: Record) -> dict[str, Any]:
    fields = {name: record[f"primary_{name}"] for name in _SCORED}
    return {
        **fields,
        "verdict": record["verdict"],
        "required_n": record["required_n"],
        "tolerance_loss": record["tolerance_loss"],
        "worst_stratum": record["worst_stratum"],
        "decision_grade": record["decision_grade"],
    }


def _sentences(found: Rescored, shown: Sequence[Change]) -> list[str]:
    """What changed with the question, though no answer did; and what it could not be asked of."""
    rivals = [one for one in shown if "reference" not in (one.before["verdict"], one.after["verdict"])]
    flipped = [one for one in rivals if one in found.flipped]
    known = names([one.before for one in shown])
    said = []
    if not rivals:
        said.append("Nothing but references was scored.")
    elif flipped:
        some = ", ".join(
            f"{known[one.before['cell_id']]}{_batch(one, shown)} from {one.before['verdict']} to {one.after['verdict']}"
            for one in flipped[:_MOST_NAMED]
        )
        more = f" and {len(flipped) - _MOST_NAMED} more" if flipped[_MOST_NAMED:] else ""
        said.append(
            f"The same answers, another question: {len(flipped)} of {len(rivals)} verdicts change, {some}{more}. "
            "No model was run: this loss is a property of the question as much as of the model."
        )
    else:
        verdicts = "verdict stays" if len(rivals) == 1 else f"{len(rivals)} verdicts stay"
        said.append(f"The same answers, another question: the {verdicts}.")
    said += [_left_out(reason, rows) for reason, rows in _by_reason(found.unanswered).items()]
    return said


def _by_reason(rows: Sequence[Unanswered]) -> dict[str, list[Unanswered]]:
    grouped: dict[str, list[Unanswered]] = {}
    for row in rows:
        grouped.setdefault(f"{row.why}: {row.reason}", []).append(row)
    return grouped


def _left_out(reason: str, rows: Sequence[Unanswered]) -> str:
    where = ", ".join(dict.fromkeys(str(row.record["workload"]) for row in rows))
    return f"Not scored, {len(rows)} row{'s' if len(rows) > 1 else ''} of {where}: {reason.partition(': ')[2]}."


def _batch(one: Change, shown: Sequence[Change]) -> str:
    """The batch size where the same candidate stands there at several."""
    name = names([one.before])[one.before["cell_id"]]
    twins = [other for other in shown if names([other.before])[other.before["cell_id"]] == name]
    return f" at batch {one.before['batch_size']}" if len(twins) > 1 else ""


def _asks(rubric: Rubric) -> str:
    use = rubric.primary
    on = "; ".join(f"{field} {', '.join(values)}" for field, values in use.on.items())
    return (
        f"{use.name}{f' on {on}' if on else ''}, tolerance {_tolerance(rubric.tolerance, use)}, relative to "
        f"{rubric.reference.scheme} on {rubric.reference.executor}"
    )


def _tolerance(tolerance: Tolerance, use: MetricUse) -> str:
    value = tolerance.value
    if tolerance.kind == "absolute":
        return f"{100 * value:g} points" if use.unit == "fraction" else f"{value:g} {use.unit}"
    if tolerance.kind == "relative":
        return f"{100 * value:g} % of the reference's score"
    return f"{value:g} times the reference's errors"


def _metrics_before(shown: Sequence[Change]) -> str:
    return ", ".join(dict.fromkeys(str(one.before["primary_metric"]) for one in shown))


def _heading(unit: str) -> str:
    return "points" if unit == "fraction" else unit


def _delta(record: Record) -> str:
    if record["is_reference"]:
        return ""
    unit = next((s["unit"] for s in record["scores"] if s["role"] == "primary"), "fraction")
    return change(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], unit)
