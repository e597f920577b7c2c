"""What candidates are called in sentences, and which one a reader means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lynxbench.errors import UsageError
from lynxbench.records.record import Record
from lynxbench.specs.base import did_you_mean, nearest

AXES = ("workload", "model", "scheme", "calibration", "executor", "scenario")
_SELECTOR = re.compile(
    r"(?P<scheme>\S+)(?: \((?P<calibration>[^()\s]+)\))?(?: on (?P<model>\S+))?(?: by (?P<executor>\S+))?"
)
_LEAST_ID = 6  # characters of an id that may stand for all of it
_MOST_NAMED = 8


def names(records: Sequence[Record]) -> Mapping[str, str]:
    """``int8-static on fashion-resnet8``, by `cell_id`: what tells a candidate from the others, and no more.

    The calibration set is named where a scheme has several, the executor where it is not the reference's.
    """
    sets: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record["calibration"] is not None:
            sets.setdefault((record["workload"], record["scheme"]), set()).add(record["calibration"])
    return {
        record["cell_id"]: _name(record, len(sets.get((record["workload"], record["scheme"]), ())) > 1)
        for record in records
    }


def _name(record: Record, calibrated: bool) -> str:
    scheme = str(record["scheme"])
    if calibrated and record["calibration"]:
        scheme += f" ({record['calibration']})"
    executor = f" by {record['executor']}" if record["executor"] != record["reference_executor"] else ""
    return f"{scheme} on {record['model']}{executor}"


def main_scenario(records: Sequence[Record]) -> str:
    """The scenario that a reader means who names none: single-stream where it was measured, else the plan's first."""
    kinds = {str(record["scenario"]): str(record["scenario_kind"]) for record in records}
    return next((name for name, kind in kinds.items() if kind == "single-stream"), next(iter(kinds)))


def chosen(records: Sequence[Record], candidate: str, only: Mapping[str, str | None]) -> Record:
    """The one row that `candidate` and the axes in `only` mean.

    `candidate`: ``SCHEME [(CALIBRATION)] [on MODEL] [by EXECUTOR]``, or the first characters of a `candidate_id` or
    `cell_id`. Where only the scenario is left open it is `main_scenario`.
    Raises `UsageError` naming the nearest when there is none, and all of them when there are several.
    """
    narrowed = narrow(records, only)
    found = [record for record in narrowed if _is_meant(record, candidate)]
    known = names(narrowed)
    if not found:
        close = did_you_mean(candidate, {*known.values(), *(record["scheme"] for record in narrowed)})
        some = list(dict.fromkeys(known.values()))[:_MOST_NAMED]
        raise UsageError(f"no candidate {candidate!r} here; {close or 'there is: ' + ', '.join(some)}")
    scenario = main_scenario(found)
    if only.get("scenario") is None and not any(record["cell_id"].startswith(candidate) for record in found):
        found = [record for record in found if record["scenario"] == scenario]
    if len(found) > 1:
        some = [f"{known[r['cell_id']]}, {r['workload']}, {r['scenario']} ({r['cell_id']})" for r in found]
        more = f"\n  and {len(some) - _MOST_NAMED} more" if some[_MOST_NAMED:] else ""
        raise UsageError(
            f"{candidate!r} means {len(found)} rows; say which, or give one's id:\n  "
            + "\n  ".join(some[:_MOST_NAMED])
            + more
        )
    return found[0]


def narrow(records: Sequence[Record], only: Mapping[str, str | None]) -> list[Record]:
    """The rows with these names on these axes; raises `UsageError` with the nearest name where there are none."""
    kept = list(records)
    for axis, name in only.items():
        if name is None:
            continue
        there = {str(record[axis]) for record in kept if record[axis] is not None}
        if name not in there:
            raise UsageError(f"no {axis} {name!r} here; {did_you_mean(name, there) or 'one of: ' + ', '.join(there)}")
        kept = [record for record in kept if record[axis] == name]
    return kept


def filters(only: Sequence[str]) -> list[dict[str, str | None]]:
    """``AXIS=NAME[,NAME…]`` options as what `narrow` takes: a row is kept that fits one of each axis.

    Raises `UsageError` for an unknown axis.
    """
    axis, wanted = "", dict[str, list[str]]()
    for part in (piece for option in only for piece in option.split(",") if piece):
        before, separator, name = part.partition("=")
        axis, name = (before.strip(), name.strip()) if separator else (axis, before.strip())
        if axis not in AXES:
            close = nearest(axis, AXES)
            hint = f"did you mean {close!r}?" if close else f"AXIS=NAME, of {', '.join(AXES)}"
            raise UsageError(f"--only {part}: unknown axis {axis!r}; {hint}")
        wanted.setdefault(axis, []).append(name)
    combined: list[dict[str, str | None]] = [{}]
    for key, given in wanted.items():
        combined = [{**one, key: name} for one in combined for name in given]
    return combined


def _is_meant(record: Record, candidate: str) -> bool:
    text = " ".join(candidate.split())
    if len(text) >= _LEAST_ID and (record["candidate_id"].startswith(text) or record["cell_id"].startswith(text)):
        return True
    parts = _SELECTOR.fullmatch(text)
    if parts is None:
        return False
    return all(record[axis] == name for axis, name in parts.groupdict().items() if name is not None)
