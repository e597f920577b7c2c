"""Which rows of two sets of results ask the same of the same candidate, and why the others do not.

Rows match when all of these agree; executor, host and versions need not, where results are compared by them:

    question   workload, rubric digest, test set digest
    candidate  model and the SHA-256 of its file, scheme and its options, digest of the calibration, executor
    load       scenario and its kind, batch size (unless it was searched), rate, p99 limit
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lynxbench.errors import UsageError
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.results import Kept
from lynxbench.specs.base import did_you_mean

By = Literal["host", "lynxbench_version", "onnxruntime_version", "executor"]
Side = Literal["before", "after"]
Reason = Literal[
    "missing",
    "other-rubric",
    "other-test-set",
    "other-model-file",
    "other-scheme-options",
    "other-calibration",
    "other-load",
    "not-measured",
]

_NAMES = ("workload", "model", "scheme", "calibration", "executor", "scenario")
# What must agree beyond the names, and what it is called when it does not.
_DIGESTS: dict[str, Reason] = {
    "rubric_digest": "other-rubric",
    "test_set_digest": "other-test-set",
    "model_sha256": "other-model-file",
    "scheme_options": "other-scheme-options",
    "calibration_digest": "other-calibration",
    "load": "other-load",
}


@dataclass(frozen=True)
class Pair:
    """The same question to the same candidate, twice."""

    before: Kept
    after: Kept


@dataclass(frozen=True)
class Unmatched:
    """A row that has no partner. `reason` is typed; `detail` says which field differs, and how."""

    side: Side
    kept: Kept
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Matched:
    """All rows of both sides; `superseded` counts those that a later row of the same side replaced."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]
    superseded: int


def split(records: Sequence[Kept], by: str, between: Sequence[str] = ()) -> tuple[list[Kept], list[Kept], str, str]:
    """One set as two, by what a field says: `between` names the two values, in order; needed where there are more.

    Returns both sides and their values: in the order in which they were first measured, unless `between` gives one.
    Raises `UsageError` when there are not two.
    """
    if by not in get_args(By):
        raise UsageError(f"--by {by}: {did_you_mean(by, get_args(By)) or 'one of: ' + ', '.join(get_args(By))}")
    field = field_of(by)
    first: dict[str, Any] = {}
    for kept in records:
        value = kept.record[field]
        if value is not None:
            first[str(value)] = min(first.get(str(value), kept.record["started_at"]), kept.record["started_at"])
    there = sorted(first, key=lambda value: (first[value], value))
    for value in between:
        if value not in first:
            hint = did_you_mean(value, there) or ", ".join(there)
            raise UsageError(f"--between {value}: there is no such {by} in these results; {hint}")
    if len(between) not in (0, 2) or (not between and len(there) != 2):
        raise UsageError(
            f"--by {by}: these results have {len(there)} ({', '.join(there)}); two are compared"
            + ("\n  try       --between A --between B" if len(there) > 2 else "")
        )
    a, b = between or there
    sides = [[kept for kept in records if str(kept.record[field]) == value] for value in (a, b)]
    return sides[0], sides[1], a, b


def field_of(by: str) -> str:
    """The field of a record that --by names."""
    return "host_id" if by == "host" else by


def match(before: Sequence[Kept], after: Sequence[Kept], by: str | None = None) -> Matched:
    """Pair the rows of two sides, in the order of the first. Of several rows of one side, the latest counts."""
    free = {field_of(by)} if by else set()
    # Hosts are told apart where both sides have several.
    if by is None and min(len({kept.record["host_id"] for kept in side}) for side in (before, after)) > 1:
        names: tuple[str, ...] = ("host_id", *_NAMES)
    else:
        names = tuple(name for name in _NAMES if name not in free)
    ours, replaced = _latest(before, names)
    theirs, also = _latest(after, names)
    pairs, unmatched = [], []
    for key, kept in ours.items():
        other = theirs.get(key)
        if other is None:
            unmatched.append(_explained("before", kept, theirs.values(), names))
        elif kept.record["status"] not in MEASURED:
            unmatched.append(_not_measured("before", kept))
        else:
            pairs.append(Pair(kept, other))
    unmatched += [_explained("after", kept, ours.values(), names) for key, kept in theirs.items() if key not in ours]
    return Matched(tuple(pairs), tuple(unmatched), replaced + also)


def _latest(side: Iterable[Kept], names: Sequence[str]) -> tuple[dict[tuple[Any, ...], Kept], int]:
    latest: dict[tuple[Any, ...], Kept] = {}
    count = 0
    for kept in side:
        count += 1
        key = (*(kept.record[name] for name in names), *(_digest(kept.record, name) for name in _DIGESTS))
        known = latest.get(key)
        if known is None or known.record["started_at"] < kept.record["started_at"]:
            latest[key] = kept
    return latest, count - len(latest)


def _digest(record: Record, name: str) -> Any:
    if name != "load":
        return record[name]
    # A batch size or a rate that was found by trying is a result, not a question.
    declared_rate = record["rate_per_s"] if record["scenario_kind"] == "server" else None
    searched = record["searched"] is not None and record["scenario_kind"] == "offline"
    return record["scenario_kind"], None if searched else record["batch_size"], declared_rate, record["p99_limit_ms"]


def _explained(side: Side, kept: Kept, others: Iterable[Kept], names: Sequence[str]) -> Unmatched:
    """The reason by the row that has the same names and differs least."""
    mine = kept.record
    if mine["status"] not in MEASURED:
        return _not_measured(side, kept)
    namesakes = [other for other in others if all(other.record[name] == mine[name] for name in names)]
    if not namesakes:
        return Unmatched(side, kept, "missing", "the other side has no such row")
    differing = [
        [name for name in _DIGESTS if _digest(other.record, name) != _digest(mine, name)] for other in namesakes
    ]
    least = min(range(len(namesakes)), key=lambda place: len(differing[place]))
    name = differing[least][0]
    here, there = _digest(mine, name), _digest(namesakes[least].record, name)
    a, b = (here, there) if side == "before" else (there, here)
    return Unmatched(side, kept, _DIGESTS[name], _differing(name, a, b))


def _not_measured(side: Side, kept: Kept) -> Unmatched:
    return Unmatched(side, kept, "not-measured", f"{kept.record['status']}: {kept.record['reason']}")


def _differing(name: str, before: Any, after: Any) -> str:
    """What differs: of options, those alone."""
    if name != "scheme_options":
        return f"{name}: {_short(before)} before, {_short(after)} after"
    options = [json.loads(side) for side in (before, after)]
    keys = sorted(key for key in {*options[0], *options[1]} if options[0].get(key) != options[1].get(key))
    said = [f"{key} {json.dumps(options[0].get(key))} before, {json.dumps(options[1].get(key))} after" for key in keys]
    return f"{name}: {'; '.join(said)}"


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(str(part) for part in value if part is not None)
    text = str(value)
    return text[:12] if len(text) == 64 else text
