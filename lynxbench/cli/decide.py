"""`lynxbench decide`: which candidate to deploy, who is as good, and what more data would decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write_csv, write_json
from lynxbench.cli.sentences import say
from lynxbench.cli.text import change, duration, plain, ratio, size
from lynxbench.conclusions.deciding import Considered, Decision, decisions
from lynxbench.conclusions.evidence import Evidence
from lynxbench.conclusions.limits import Check, Limits
from lynxbench.conclusions.material import material
from lynxbench.conclusions.together import JointDecision, together
from lynxbench.conclusions.words import loss, unit_of
from lynxbench.records.location import Location
from lynxbench.records.record import MEASURED, Record

C = TypeVar("C", Decision, JointDecision)

STYLES = {"best": "bold green", "tied": "green", "behind": "", "undecided": "yellow", "excluded": "red"}


def decide_command(
    results: Location,
    limits: Limits,
    *,
    objective: str,
    confidence: float,
    scenario: str | None,
    only: Sequence[str],
    jointly: bool,
    form: Form,
) -> int:
    """Print one decision for each workload and model, or `jointly` for each model; returns the exit code."""
    opened = material(results)
    made = decisions(opened, limits, objective=objective, confidence=confidence, scenario=scenario, only=only)
    if jointly:
        from lynxbench.cli.decide_together import write_together

        return write_together(together(made, Evidence(opened, confidence)), form, confidence)
    return write_choices(made, form, confidence, document=_document, values=_values, table=_table, sentences=_sentences)


def write_choices(
    found: Sequence[C],
    form: Form,
    confidence: float,
    *,
    document: Callable[[C], Any],
    values: Callable[[C, Any], Mapping[str, Any]],
    table: Callable[[C], Table],
    sentences: Callable[[C], Iterable[str]],
) -> int:
    """Print choices, each with what was considered for it; returns the exit code: 1 where there is none."""
    if form == "json":
        write_json([document(one) for one in found])
    elif form == "csv":
        rows = [values(one, item) for one in found for item in one.considered]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        write_csv(columns, [{name: row.get(name) for name in columns} for row in rows])
    elif form == "markdown":
        for one in found:
            print(markdown(table(one)))
            print("\n".join(f"- {plain(sentence)}" for sentence in sentences(one)) + "\n")
    else:
        to = console()
        for one in found:
            draw(to, table(one))
            say(to, sentences(one))
            to.print()
        say(to, [legend(confidence)], mark="")
    return 0 if all(one.best is not None for one in found) else 1


def _table(made: Decision) -> Table:
    unit = unit_of(next((c.record for c in made.considered if c.record["scores"]), made.considered[0].record))
    columns = [
        Column("candidate"),
        Column("place", styles=STYLES),
        Column("loss", f"loss, {'points' if unit == 'fraction' else unit}", right=True),
        Column("speed", right=True, expendable=5),
        # Formed within rounds, as places by latency are: where the machine drifted, medians over all rounds may differ.
        Column("p50_ratio", "by median", right=True, expendable=4),
        Column("p50_ns", "p50", right=True, expendable=2),
        Column("p99_ns", "p99", right=True, expendable=3),
        Column("artifact_bytes", "size", right=True, expendable=1),
    ]
    rows = [Row(_values(made, one), _texts(one)) for one in made.considered]
    title = f"{made.workload}, {made.model}: best in {made.objective}, {made.scenario}"
    return Table(columns, rows, title)


def _texts(one: Considered) -> dict[str, str]:
    record = one.record
    if record["status"] not in MEASURED:
        return dict.fromkeys(("loss", "speed", "p50_ratio", "p50_ns", "p99_ns", "artifact_bytes"), "")

    def speed(by: str) -> str:
        return "1×" if record["is_reference"] else ratio(record[by], record[f"{by}_low"], record[f"{by}_high"])

    losses = (record["primary_loss"], record["primary_loss_low"], record["primary_loss_high"])
    return {
        "loss": "" if record["is_reference"] else change(*losses, unit_of(record)),
        "speed": speed("throughput_ratio"),
        "p50_ratio": speed("p50_ratio"),
        "p50_ns": duration(record["p50_ns"]),
        "p99_ns": duration(record["p99_ns"]),
        "artifact_bytes": size(record["artifact_bytes"]),
    }


def _sentences(made: Decision) -> Iterable[str]:
    best = made.best
    by_place = {place: [c for c in made.considered if c.place == place] for place in STYLES}
    if best is None:
        yield f"Nothing holds every limit beyond doubt on {made.model}."
        if not made.nearest and any(one.checks for one in made.considered):
            yield "each limit alone is held by some candidate, all of them by none that could be chosen"
        for name, item in made.nearest.values():
            yield f"nearest to {item.limit} {bound(item, made)}: {name}, {held(item, made)}"
    else:
        said = "; ".join(f"{item.limit} {bound(item, made)}: {held(item, made)}" for item in best.checks)
        yield f"Deploy {best.name}{' (the reference)' if best.record['is_reference'] else ''}. {said}."
    tied = by_place["tied"]
    if tied:
        test = tied[0].comparison
        level = "" if test is None else f", {100 * test.confidence:.4g} % for each of {_others(made)} comparisons"
        yield f"As good beyond telling: {', '.join(c.name for c in tied)} ({test.test if test else ''}{level})."
    for one in by_place["undecided"]:
        yield f"Open: {one.name}. It would take, for {one.why}."
    for one in by_place["excluded"]:
        broken = [item for item in one.checks if item.state == "beyond"]
        said = "; ".join(f"{item.limit} {bound(item, made)}: {held(item, made)}" for item in broken)
        yield f"Out: {one.name}, {f'beyond doubt by {said}' if said else one.why}."
    if made.busy_host:
        yield made.busy_host


def _others(made: Decision) -> int:
    return sum(one.comparison is not None for one in made.considered)


def held(item: Check, made: Decision) -> str:
    if item.low is None and item.high is None:
        return "not known"
    if item.low == item.high:
        return _number(item.low, item, made)
    low = "–" if item.low is None else _number(item.low, item, made)
    high = "–" if item.high is None else _number(item.high, item, made)
    return f"[{low}, {high}]"


def bound(item: Check, made: Decision) -> str:
    return _number(item.bound, item, made)


def _number(value: float | None, item: Check, made: Decision) -> str:
    if value is None:
        return "–"
    if "loss" in item.limit:
        record = next((c.record for c in made.considered if c.record["scores"]), None)
        return loss(value, "fraction" if record is None else unit_of(record)).replace("-", "−")
    unit = {"ms": " ms", "mb": " MB", "speed": "×", "throughput": "/s"}[item.limit.rpartition("-")[2]]
    return f"{value:.3g}{unit}"


def legend(confidence: float) -> str:
    wrong = 100 * (1 - confidence) / 2
    return (
        f"Every limit is held against the end of a {100 * confidence:g} % interval, never against an estimate: a limit "
        f"that a candidate breaks is taken for held with a chance of {wrong:.3g} % at most, for each candidate. What "
        "is not known counts as open. Memory is the peak of this run, and has no interval."
    )


def _values(made: Decision, one: Considered) -> dict[str, Any]:
    record: Record = one.record
    compared = one.comparison
    return {
        "workload": made.workload,
        "model": made.model,
        "host_id": made.host_id,
        "scenario": made.scenario,
        "objective": made.objective,
        "candidate": one.name,
        "cell_id": record["cell_id"],
        "place": one.place,
        "why": one.why,
        "loss": record["primary_loss"],
        "loss_low": record["primary_loss_low"],
        "loss_high": record["primary_loss_high"],
        "speed": record["throughput_ratio"] if record["throughput_ratio"] is not None else record["p50_ratio"],
        "p50_ns": record["p50_ns"],
        "p99_ns": record["p99_ns"],
        "artifact_bytes": record["artifact_bytes"],
        "compared_by": None if compared is None else compared.test,
        "best_over_it": None if compared is None else compared.value,
        "best_over_it_low": None if compared is None else compared.low,
        "best_over_it_high": None if compared is None else compared.high,
        "comparison_confidence": None if compared is None else compared.confidence,
    }


def _document(made: Decision) -> dict[str, Any]:
    return {
        "workload": made.workload,
        "model": made.model,
        "host_id": made.host_id,
        "scenario": made.scenario,
        "objective": made.objective,
        "confidence": made.confidence,
        "choice": None if made.best is None else made.best.name,
        "sentences": list(_sentences(made)),
        "busy_host": made.busy_host,
        "candidates": [
            {**_values(made, one), "checks": [dict(vars(item)) for item in one.checks]} for one in made.considered
        ],
        "nearest": {limit: {"candidate": name, **vars(item)} for limit, (name, item) in made.nearest.items()},
    }
