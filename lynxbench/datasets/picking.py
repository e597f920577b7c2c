"""Which of a data file's samples a declaration means, and which column plays which role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column
from lynxbench.datasets.selection import select
from lynxbench.datasets.sources import Table
from lynxbench.errors import DeclarationError, Problem

IMAGE_TASKS = frozenset({"image-classification", "image-retrieval"})
ARRAY_TASKS = frozenset({"classification", "regression"})
ROLES = ("input", "label", "target", "value", "id")

# Which column plays which role when a declaration does not say.
_IMAGE_FIELDS = {"input": "images", "label": "labels", "id": "ids"}
_ARRAY_FIELDS = {"input": "inputs", "id": "ids"}
_TEXT_FIELDS = {"input": "prompt", "target": "target", "id": "id"}


@dataclass(frozen=True)
class Choice:
    """What a declaration (in `file`, under `key`) says about the samples it wants.

    `answers_needed`: labels or targets must be there (a test set), not only where the file has them (calibration).
    `where`: only samples whose field (a role or a column) has one of the values, compared as text.
    """

    task: str
    fields: Mapping[str, str]
    selection: str
    count: int
    seed: int
    stratify_by: str
    answers_needed: bool
    file: str
    key: str
    where: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, str]:
        """The column that plays each role."""
        usual = _IMAGE_FIELDS if self.task in IMAGE_TASKS else _TEXT_FIELDS
        if self.task in ARRAY_TASKS:
            answer = {"label": "labels"} if self.task == "classification" else {"value": "values"}
            usual = {**_ARRAY_FIELDS, **answer}
        return {**usual, **self.fields}


def pick(table: Table, choice: Choice) -> tuple[npt.NDArray[np.int64], dict[str, Column]]:
    """Chosen positions, and the columns by role at those positions: `input` and `id` (text, unique) are always there.

    Raises `DeclarationError` for an unknown role, a missing column, inputs of the wrong type, a count beyond the
    file, a field that cannot be stratified or filtered by, and ids that repeat.
    """
    unknown = sorted(set(choice.fields) - set(ROLES))
    if unknown:
        key = f"{choice.key}.fields.{unknown[0]}"
        raise _wrong(choice.file, key, "unknown role", expected=", ".join(ROLES))
    optional = {"id"} if choice.answers_needed else {"id", "label", "target", "value"}
    columns = {
        role: table.column(name, role)
        for role, name in choice.roles.items()
        if name in table.columns or role in choice.fields or role not in optional
    }
    _check_inputs(columns["input"], choice.task, table.file, choice.roles["input"])
    columns["id"] = columns["id"].astype(np.str_) if "id" in columns else np.arange(len(table)).astype(np.str_)
    if len(np.unique(columns["id"])) != len(table):
        raise _wrong(str(table.file), choice.roles["id"], "sample ids repeat", hint="deltas are paired by id")
    chosen = _select(table, choice, columns)
    return chosen, {role: column[chosen] for role, column in columns.items()}


def further_fields(table: Table, chosen: npt.NDArray[np.int64], choice: Choice) -> dict[str, npt.NDArray[np.str_]]:
    """Every further column of plain text or whole numbers, as text: a field to report by."""
    taken = set(choice.roles.values())
    return {
        name: column[chosen].astype(np.str_)
        for name, column in table.columns.items()
        if name not in taken and column.ndim == 1 and column.dtype.kind in "iuU"
    }


def _select(table: Table, choice: Choice, columns: Mapping[str, Column]) -> npt.NDArray[np.int64]:
    eligible = _eligible(table, choice, columns)
    if choice.selection != "all" and choice.count > len(eligible):
        held = f"{table.file.name} holds" + (" of that kind" if choice.where else "")
        raise _wrong(
            choice.file,
            f"{choice.key}.count",
            "more than there are",
            value=str(choice.count),
            expected=f"at most {len(eligible)}, as many as {held}",
        )
    by = None
    if choice.selection == "stratified":
        by = _plain_field(table, choice, columns, choice.stratify_by, "stratify_by")[eligible]
    return eligible[select(choice.selection, len(eligible), choice.count, choice.seed, by)]


def _eligible(table: Table, choice: Choice, columns: Mapping[str, Column]) -> npt.NDArray[np.int64]:
    """Positions of the samples that `where` leaves, in the file's order."""
    kept = np.ones(len(table), dtype=np.bool_)
    for name, values in choice.where.items():
        column = _plain_field(table, choice, columns, name, f"where.{name}").astype(np.str_)
        absent = [value for value in values if str(value) not in set(column.tolist())]
        if absent:
            held = sorted(set(column.tolist()))
            expected = ", ".join(held[:12]) + (", …" if held[12:] else "")
            raise _wrong(
                choice.file,
                f"{choice.key}.where.{name}",
                f"no sample of {table.file.name} has this value",
                value=repr(absent[0]),
                expected=f"one of: {expected}",
            )
        kept &= np.isin(column, [str(value) for value in values])
    return np.flatnonzero(kept)


def _plain_field(table: Table, choice: Choice, columns: Mapping[str, Column], name: str, key: str) -> Column:
    """The role or column called `name`, which must hold one value a sample."""
    found = columns.get(name, table.columns.get(name))
    if found is not None and found.ndim == 1:
        return found
    fields = sorted({*columns, *table.columns})
    plain = [other for other in fields if columns.get(other, table.columns.get(other, np.empty(0))).ndim == 1]
    raise _wrong(
        choice.file,
        f"{choice.key}.{key}",
        f"{table.file.name} has no such field with one value a sample",
        value=repr(name),
        expected="one of: " + ", ".join(plain),
    )


def _check_inputs(inputs: Column, task: str, file: Path, name: str) -> None:
    if task in IMAGE_TASKS:
        if inputs.dtype != np.uint8 or inputs.ndim not in (3, 4):
            found = f"{inputs.dtype} {list(inputs.shape)}"
            expected = "uint8 [n, height, width] or [n, height, width, channels]"
            raise _wrong(str(file), name, "not images", value=found, expected=expected)
    elif task in ARRAY_TASKS:
        if inputs.dtype.kind not in "fiu" or inputs.ndim < 2:
            found = f"{inputs.dtype} {list(inputs.shape)}"
            raise _wrong(str(file), name, "not arrays of numbers", value=found, expected="numbers [n, …]")
        if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
            raise _wrong(str(file), name, "holds a NaN or an infinite number", hint="fill in what is missing first")
    elif inputs.dtype.kind != "U" or inputs.ndim != 1:
        raise _wrong(str(file), name, "not text", value=str(inputs.dtype), expected="one text a sample")


def _wrong(
    file: str, key: str, message: str, *, value: str | None = None, expected: str | None = None, hint: str | None = None
) -> DeclarationError:
    return DeclarationError([Problem(file, key, message, value, expected, hint)])
