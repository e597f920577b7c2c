"""Which records are meant: by axes and names, as `lynxbench sweep --only` says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lynxbench.errors import UsageError
from lynxbench.records.record import Record
from lynxbench.specs.base import did_you_mean

if TYPE_CHECKING:
    import pyarrow.dataset as ds

# What an axis is called → the field that it looks at.
AXES: Mapping[str, str] = {
    "workload": "workload",
    "model": "model",
    "scheme": "scheme",
    "calibration": "calibration",
    "executor": "executor",
    "scenario": "scenario",
    "host": "host_id",
    "suite": "suite",
    "status": "status",
    "verdict": "verdict",
}

Selection = Mapping[str, frozenset[str]]


def parsed(only: Sequence[str]) -> dict[str, frozenset[str]]:
    """``["scheme=fp32,int8-static", "model=resnet8"]`` → field → names. Raises `UsageError` for an unknown axis."""
    chosen: dict[str, set[str]] = {}
    axis = ""
    for part in (piece for option in only for piece in option.split(",") if piece):
        before, separator, name = part.partition("=")
        axis, name = (before.strip(), name.strip()) if separator else (axis, before.strip())
        if axis not in AXES:
            hint = did_you_mean(axis, AXES) or "one of: " + ", ".join(AXES)
            raise UsageError(f"--only {part}: unknown axis {axis!r}; expected AXIS=NAME[,NAME…]; {hint}")
        chosen.setdefault(AXES[axis], set()).add(name)
    return {field: frozenset(names) for field, names in chosen.items()}


def selected(records: Sequence[Record], selection: Selection) -> list[bool]:
    """Which of the records are meant. Raises `UsageError` for a name that none of them has."""
    for field, names in selection.items():
        there = {str(record[field]) for record in records if record[field] is not None}
        for name in sorted(names - there):
            axis = next(axis for axis, named in AXES.items() if named == field)
            hint = did_you_mean(name, there)
            raise UsageError(f"--only {axis}={name}: these results have no such {axis}{f'; {hint}' if hint else ''}")
    return [all(str(record[field]) in names for field, names in selection.items()) for record in records]


def expression(selection: Selection) -> ds.Expression | None:
    """The same for a dataset, which then reads no other files; None for all."""
    import pyarrow.dataset as ds

    whole: ds.Expression | None = None
    for field, names in selection.items():
        part = ds.field(field).isin(sorted(names))
        whole = part if whole is None else whole & part
    return whole
