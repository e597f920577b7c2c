"""The same scheme on several calibration sets: names that tell the rows apart, and what the choice of set costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from lynxbench.cli.text import change
from lynxbench.records.record import MEASURED, Record

_SAME = ("workload", "model", "scheme", "executor")


def told_apart(records: Sequence[Record]) -> list[Record]:
    """The records, with the calibration set in the scheme's name wherever a workload has more than one for it."""
    sets: dict[tuple[str, ...], set[str]] = {}
    for record in records:
        if record["calibration"] is not None:
            sets.setdefault((record["workload"], record["scheme"]), set()).add(record["calibration"])
    return [
        Record({**record.values, "scheme": f"{record['scheme']} ({record['calibration']})"})
        if len(sets.get((record["workload"], record["scheme"]), ())) > 1
        else record
        for record in records
    ]


def by_calibration(records: Sequence[Record]) -> Iterable[str]:
    """A sentence for each scheme, model, executor and batch size whose verdict depends on the calibration set.

    Takes the records as they were stored, of one workload and scenario; the set that loses least comes first.
    """
    calibrated = [r for r in records if r["calibration"] is not None and r["status"] in MEASURED]
    calibrated = [r for r in calibrated if r["primary_loss"] is not None and not r["is_reference"]]
    key = [*_SAME, "scenario", "batch_size"]
    calibrated.sort(key=lambda r: tuple(str(r[name]) for name in key))
    for _, rows in groupby(calibrated, key=lambda r: tuple(r[name] for name in key)):
        mine = sorted(rows, key=lambda r: r["primary_loss"])
        if len(mine) > 1 and len({r["verdict"] for r in mine}) > 1:
            best, worst = mine[0], mine[-1]
            yield (
                f"{best['scheme']} on {best['model']} depends on its calibration: {best['calibration']} "
                f"Δ {_delta(best)} ({best['verdict']}), {worst['calibration']} Δ {_delta(worst)} ({worst['verdict']})."
            )


def undisclosed(records: Sequence[Record]) -> Iterable[str]:
    """A sentence for what keeps rows from being decision-grade, beyond an interval that is too wide."""
    reasons: dict[str, list[str]] = {}
    for record in records:
        for item in record["disclosure"] or ():
            if not item["held"]:
                reason = f"{item['item']}: {item['why']}"
                reasons.setdefault(reason, []).append(f"{record['scheme']} on {record['model']}")
    for reason, rows in reasons.items():
        names = list(dict.fromkeys(rows))
        yield f"Not decision-grade: {', '.join(names[:3])}{', …' if names[3:] else ''} ({reason})."


def _delta(record: Record) -> str:
    unit = next((s["unit"] for s in record["scores"] if s["role"] == "primary"), "fraction")
    text = change(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], unit)
    return f"{text} points" if unit == "fraction" else text
