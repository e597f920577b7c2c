"""What `lynxbench tune` found, as tables and sentences, and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lynxbench.cli.output import Column, Row, Table, console, draw
from lynxbench.cli.sentences import say
from lynxbench.cli.text import change, minutes, ratio
from lynxbench.conclusions.tradeoff import Estimate
from lynxbench.conclusions.words import loss, unit_of
from lynxbench.tuning.picking import Measured, frontier
from lynxbench.tuning.search import Tuning

MOST_TRIED = 24  # rows of what was tried and not measured again
_STYLES = {"frontier": "green", "dominated": "red"}
_STATES = {
    "held": "holds the limit beyond doubt",
    "undecided": "does so by its estimate at most: more samples would decide",
    "beyond": "does not hold the limit there",
}


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
        if not one.diagnosed and one.said:
            yield f"{one.name} could not be looked into ({one.said[0]}); tried from there is what helps often."
            continue
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


def mended(found: Tuning) -> bool:
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
        "mended": mended(found),
        "suite": None if found.suite is None else str(found.suite),
        "tuning": [row(one) for one in found.tuning],
        "untouched": [{**row(one), "before": before.get(one.name), "after": after[one.name]} for one in found.final],
        "failed": [{"scheme": one["scheme"], "status": one["status"], "reason": one["reason"]} for one in found.failed],
    }
