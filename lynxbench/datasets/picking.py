"""Which of a data file's samples a declaration means, and which column plays which role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.lazy import AnyColumn, Lazy, gathered
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.selection import select
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem

IMAGE_TASKS = frozenset({"image-classification", "image-retrieval", "detection", "segmentation"})
ARRAY_TASKS = frozenset({"classification", "frame-classification", "regression"})
TEXT_TASKS = frozenset(
    {"text-classification", "text-retrieval", "token-classification", "question-answering", "language-modelling",
     "multiple-choice"}
)  # fmt: skip

# Which column plays which role when a declaration does not say. `context`: a second text that goes with the first.
_FIELDS: dict[str, dict[str, str]] = {
    "image-classification": {"input": "images", "label": "labels", "id": "ids"},
    "image-retrieval": {"input": "images", "label": "labels", "id": "ids"},
    "detection": {"input": "images", "objects": "objects", "id": "ids"},
    "segmentation": {"input": "images", "masks": "masks", "id": "ids"},
    "classification": {"input": "inputs", "label": "labels", "id": "ids"},
    "frame-classification": {"input": "inputs", "tags": "tags", "id": "ids"},
    "regression": {"input": "inputs", "value": "values", "id": "ids"},
    "transcription": {"input": "inputs", "target": "target", "id": "ids"},
    "generation": {"input": "prompt", "target": "target", "id": "id"},
    "text-classification": {"input": "text", "context": "context", "label": "label", "id": "id"},
    "text-retrieval": {"input": "text", "target": "target_id", "id": "id"},
    "token-classification": {"input": "text", "tags": "tags", "id": "id"},
    "question-answering": {"input": "question", "context": "context", "target": "answer", "id": "id"},
    "language-modelling": {"input": "text", "id": "id"},
    "multiple-choice": {"input": "prompt", "options": "options", "label": "label", "id": "id"},
}
# `source`: which original a sample was made from, where the file holds several of one; never looked for unasked.
ROLES = (*dict.fromkeys(role for fields in _FIELDS.values() for role in fields), "source")
# What a model is fed, as far as the task needs it: never left out, calibration samples included.
_FED = {"question-answering": ("context",), "multiple-choice": ("options",)}


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
        return {**_FIELDS[self.task], **self.fields}


def usual_fields(task: str) -> Mapping[str, str]:
    """The column that plays each role of a task where a declaration does not say."""
    return _FIELDS[task]


def pick(table: Table, choice: Choice) -> tuple[npt.NDArray[np.int64], dict[str, Column]]:
    """Chosen positions, and the columns by role at those positions: `input` and `id` (text, unique) are always there.

    Raises `DeclarationError` for an unknown role, a missing column, inputs of the wrong type, a count beyond the
    file, a field that cannot be stratified or filtered by, and ids that repeat.
    """
    unknown = sorted(set(choice.fields) - set(ROLES))
    if unknown:
        key = f"{choice.key}.fields.{unknown[0]}"
        raise _wrong(choice.file, key, "unknown role", expected=", ".join(ROLES))
    optional = {"id"} if choice.answers_needed else set(ROLES) - {"input", *_FED.get(choice.task, ())}
    if choice.task == "text-classification":
        optional = {*optional, "context"}
    found: dict[str, AnyColumn] = {
        role: table.column(name, role)
        for role, name in choice.roles.items()
        if name in table.columns or role in choice.fields or role not in optional
    }
    given = found.pop("input")
    _check_inputs(given, choice.task, table.file, choice.roles["input"])
    columns = {role: gathered(column, np.arange(len(table))) for role, column in found.items()}
    columns["id"] = columns["id"].astype(np.str_) if "id" in columns else np.arange(len(table)).astype(np.str_)
    if len(np.unique(columns["id"])) != len(table):
        raise _wrong(str(table.file), choice.roles["id"], "sample ids repeat", hint="deltas are paired by id")
    chosen = _select(table, choice, columns)
    return chosen, {"input": gathered(given, chosen), **{role: column[chosen] for role, column in columns.items()}}


def further_fields(table: Table, chosen: npt.NDArray[np.int64], choice: Choice) -> dict[str, npt.NDArray[np.str_]]:
    """Every further column of plain text or whole numbers, as text: a field to report by."""
    taken = set(choice.roles.values())
    return {
        name: column[chosen].astype(np.str_)
        for name, column in table.columns.items()
        if name not in taken and not isinstance(column, Lazy) and column.ndim == 1 and column.dtype.kind in "iuU"
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
    fields: dict[str, AnyColumn] = {**table.columns, **columns}
    plain = {other: c for other, c in sorted(fields.items()) if not isinstance(c, Lazy) and c.ndim == 1}
    if name in plain:
        return plain[name]
    raise _wrong(
        choice.file,
        f"{choice.key}.{key}",
        f"{table.file.name} has no such field with one value a sample",
        value=repr(name),
        expected="one of: " + ", ".join(plain),
    )


def _check_inputs(inputs: AnyColumn, task: str, file: Path, name: str) -> None:
    if task in IMAGE_TASKS or (task == "transcription" and inputs.dtype == np.uint8):
        if inputs.dtype != np.uint8 or inputs.ndim not in (3, 4):
            found = f"{inputs.dtype} {list(inputs.shape)}"
            expected = "uint8 [n, height, width] or [n, height, width, channels]"
            raise _wrong(str(file), name, "not images", value=found, expected=expected)
    elif task in ARRAY_TASKS or task == "transcription":
        if inputs.dtype.kind not in "fiu" or inputs.ndim < 2:
            found = f"{inputs.dtype} {list(inputs.shape)}"
            raise _wrong(str(file), name, "not arrays of numbers", value=found, expected="numbers [n, …]")
        if inputs.dtype.kind == "f" and not isinstance(inputs, Lazy) and not np.isfinite(inputs).all():
            raise _wrong(str(file), name, "holds a NaN or an infinite number", hint="fill in what is missing first")
    elif inputs.dtype.kind != "U" or inputs.ndim != 1:
        raise _wrong(str(file), name, "not text", value=str(inputs.dtype), expected="one text a sample")


def _wrong(
    file: str, key: str, message: str, *, value: str | None = None, expected: str | None = None, hint: str | None = None
) -> DeclarationError:
    return DeclarationError([Problem(file, key, message, value, expected, hint)])
