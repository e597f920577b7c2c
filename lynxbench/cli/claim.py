"""`lynxbench claim`: the sentence that may be published, or what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write, write_csv, write_json
from lynxbench.cli.sentences import say
from lynxbench.conclusions.claiming import Claim, claim_of, claims, facts
from lynxbench.conclusions.material import material
from lynxbench.conclusions.naming import chosen, names
from lynxbench.conclusions.words import busy_host
from lynxbench.records.location import Location

_DIGESTS = (
    "model_sha256", "artifact_sha256", "rubric_digest", "test_set_digest", "calibration_digest", "executor_digest",
    "suite_digest",
)  # fmt: skip


def claim_command(results: Location, candidate: str | None, only: Mapping[str, str | None], *, form: Form) -> int:
    """Print one claim, or what can be claimed at all; returns the exit code."""
    opened = material(results)
    if candidate is None:
        return _list(claims(opened.records, opened.rubrics, only), opened.folder, form)
    found = claim_of(chosen(opened.records, candidate, only), opened.rubrics)
    if form == "json":
        write_json(_document(found))
    elif form == "csv":
        document = _document(found)
        write_csv(list(document), [document])
    elif form == "markdown":
        print(_card(found, opened.folder))
    else:
        _print(found)
    return 0 if found.decision_grade else 1


def _print(found: Claim) -> None:
    to = console()
    name = names([found.record])[found.record["cell_id"]]
    if found.sentence is not None:
        say(to, [found.sentence], mark="")
    else:
        say(to, [f"No claim can be made of {name}: not decision-grade."], mark="")
        say(to, [found.why], mark="  why       ")
        say(to, found.wanting, mark="  it takes  ")
    if found.checklist:
        to.print()
        draw(to, _checklist(found))
    if found.sentence is not None:
        to.print()
        say(to, [f"decision-grade: {found.why}"], mark="")
        if found.no_speed:
            say(to, [f"no speed is claimed: {found.no_speed}"], mark="")
        if found.busy_host:
            say(to, [found.busy_host], mark="")


def _checklist(found: Claim) -> Table:
    columns = [
        Column("item"),
        Column("held", "disclosed", styles={"yes": "green", "missing": "red"}),
        Column("why", "what"),
    ]
    rows = [
        Row({"item": item.item, "held": item.held, "why": item.why}, {"held": "yes" if item.held else "missing"})
        for item in found.checklist
    ]
    return Table(columns, rows)


def _document(found: Claim) -> dict[str, Any]:
    return {
        "decision_grade": found.decision_grade,
        "sentence": found.sentence,
        "speed_claimed": found.speed,
        "no_speed": found.no_speed,
        "busy_host": found.busy_host,
        "why": found.why,
        "wanting": list(found.wanting),
        "checklist": [{"item": item.item, "held": item.held, "why": item.why} for item in found.checklist],
        **facts(found.record),
    }


def _card(found: Claim, folder: Location) -> str:
    """A card to paste: the sentence, what is disclosed, and the digests to verify it by."""
    record = found.record
    name = names([record])[record["cell_id"]]
    text = markdown(Table([Column("sentence", name)], [Row({"sentence": found.sentence or "No claim: " + found.why})]))
    if found.wanting:
        text += "\n" + markdown(Table([Column("it", "it takes")], [Row({"it": item}) for item in found.wanting]))
    if found.no_speed and found.decision_grade:
        text += "\n" + markdown(Table([Column("it", "no speed is claimed")], [Row({"it": found.no_speed})]))
    if found.busy_host:
        text += "\n" + markdown(Table([Column("it", "caution")], [Row({"it": found.busy_host})]))
    if found.checklist:
        text += "\n" + markdown(_checklist(found))
    digests = [Row({"of": n, "sha256": record[n]}) for n in _DIGESTS if record[n] is not None]
    text += "\n" + markdown(Table([Column("of", "digest of"), Column("sha256", "SHA-256")], digests))
    command = f"lynxbench claim {folder} --candidate {record['cell_id']}"
    return text + f"\nCell `{record['cell_id']}` of LynxBench {record['lynxbench_version']}; `{command}`"


def _list(found: Sequence[Claim], folder: Location, form: Form) -> int:
    known = names([one.record for one in found])
    columns = [
        Column("candidate"),
        Column("workload", expendable=1),
        Column("scenario"),
        Column("batch_size", "batch", right=True, expendable=2),
        Column("decision_grade", "claim", styles={"yes": "green", "no": "red"}),
        Column("why", "what it rests on, or takes", expendable=3),
    ]
    rows = []
    for one in sorted(found, key=lambda one: not one.decision_grade):
        values = {
            "candidate": known[one.record["cell_id"]],
            "cell_id": one.record["cell_id"],
            **{name: one.record[name] for name in ("workload", "scenario", "batch_size")},
            "decision_grade": one.decision_grade,
            "why": one.why,
            "busy_host": one.busy_host,
        }
        # A reader wants to know what it takes; programs get why not.
        rows.append(Row(values, {"why": one.why if one.decision_grade else _short(one)}))
    write(Table(columns, rows), form)
    if form == "text" and rows:
        count = sum(one.decision_grade for one in found)
        say(
            console(),
            [f"{count} of {len(rows)} rows can be claimed; lynxbench claim {folder} --candidate NAME says it"],
            mark="\n",
        )
        caution = busy_host([one.record for one in found if one.speed])
        if caution:
            say(console(), [caution], mark="")
    return 0 if any(one.decision_grade for one in found) else 1


def _short(one: Claim) -> str:
    return "; ".join(item.split(" (")[0] for item in one.wanting) or one.why
