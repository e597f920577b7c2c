"""`lynxbench decide --together`: one choice for each model over all its workloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lynxbench.cli.decide import STYLES, bound, held, write_choices
from lynxbench.cli.output import Column, Form, Row, Table
from lynxbench.cli.text import change, ratio
from lynxbench.conclusions.deciding import Considered, Decision
from lynxbench.conclusions.together import Joint, JointDecision
from lynxbench.conclusions.words import unit_of
from lynxbench.records.record import MEASURED


def write_together(found: Sequence[JointDecision], form: Form, confidence: float) -> int:
    """Print them; returns the exit code: 1 where a model has no choice."""
    return write_choices(
        found, form, confidence, document=_document, values=_values, table=_table, sentences=_sentences
    )


def _table(found: JointDecision) -> Table:
    columns = [Column("candidate"), Column("place", styles=STYLES)]
    for place, name in enumerate(found.workloads):
        columns.append(Column(f"loss_{name}", f"loss, {name}", right=True, expendable=2 + place))
        columns.append(Column(f"speed_{name}", f"speed, {name}", right=True, expendable=1))
    rows = [Row(_values(found, one), _texts(one)) for one in found.considered]
    return Table(columns, rows, f"{found.model} on {', '.join(found.workloads)}: best in {found.objective} on all")


def _texts(one: Joint) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, considered in one.on.items():
        record = considered.record
        if record["status"] not in MEASURED:
            said |= {f"loss_{name}": "", f"speed_{name}": ""}
            continue
        losses = (record["primary_loss"], record["primary_loss_low"], record["primary_loss_high"])
        speeds = (record["throughput_ratio"], record["throughput_ratio_low"], record["throughput_ratio_high"])
        said[f"loss_{name}"] = "" if record["is_reference"] else change(*losses, unit_of(record))
        said[f"speed_{name}"] = "1×" if record["is_reference"] else ratio(*speeds)
    return said


def _sentences(found: JointDecision) -> Iterable[str]:
    best = found.best
    made = {one.workload: one for one in found.decisions}
    if best is None:
        yield f"Nothing holds every limit beyond doubt on all workloads of {found.model}."
    else:
        reference = " (the reference)" if all(c.record["is_reference"] for c in best.on.values()) else ""
        yield f"Deploy {best.name}{reference}."
        for name, considered in best.on.items():
            yield f"on {name}: {_limits(considered, made[name])}"
    tied = [one.name for one in found.considered if one.place == "tied"]
    if tied:
        yield f"As good beyond telling, or better on one and worse on another: {', '.join(tied)}."
    for one in found.considered:
        if one.place == "undecided":
            yield f"Open: {one.name}. It would take, {one.why}."
        elif one.place == "excluded":
            yield f"Out: {one.name}, {one.why}."
    for name, decision in made.items():
        if decision.busy_host:
            yield f"on {name}: {decision.busy_host}"


def _limits(considered: Considered, made: Decision) -> str:
    return "; ".join(f"{item.limit} {bound(item, made)}: {held(item, made)}" for item in considered.checks)


def _values(found: JointDecision, one: Joint) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": found.model, "host_id": found.host_id, "objective": found.objective, "candidate": one.name,
        "place": one.place, "why": one.why,
    }  # fmt: skip
    for name in found.workloads:
        record = None if name not in one.on else one.on[name].record
        for column, source in (
            ("cell_id", "cell_id"), ("loss", "primary_loss"), ("loss_low", "primary_loss_low"),
            ("loss_high", "primary_loss_high"), ("speed", "throughput_ratio"),
        ):  # fmt: skip
            values[f"{column}_{name}"] = None if record is None else record[source]
    return values


def _document(found: JointDecision) -> dict[str, Any]:
    return {
        "model": found.model,
        "host_id": found.host_id,
        "workloads": list(found.workloads),
        "objective": found.objective,
        "confidence": found.confidence,
        "choice": None if found.best is None else found.best.name,
        "sentences": list(_sentences(found)),
        "busy_host": {one.workload: one.busy_host for one in found.decisions},
        "candidates": [
            {
                "candidate": one.name,
                "place": one.place,
                "why": one.why,
                "on": {
                    name: {
                        "cell_id": considered.record["cell_id"],
                        "place": considered.place,
                        "checks": [dict(vars(item)) for item in considered.checks],
                    }
                    for name, considered in one.on.items()
                },
            }
            for one in found.considered
        ],
    }
