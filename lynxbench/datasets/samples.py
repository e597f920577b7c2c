"""From a declared test set or calibration reader to the very samples, with their fingerprints."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.corruptions import corrupt
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.selection import select
from lynxbench.datasets.sources import DEFAULT_FIELDS, DEFAULT_TEXT_FIELDS, Table, read_table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Calibration

IMAGE_TASKS = frozenset({"image-classification", "image-retrieval"})


@dataclass(frozen=True)
class Samples:
    """Samples in the order in which they are asked.

    ids        [n] str, unique
    source_ids [n] str: which original each was made from
    inputs     [n, h, w] or [n, h, w, c] uint8 images, or [n] str prompts
    strata     name → [n] str
    labels     [n] int64 or None;  targets [n] str or None
    contents   [n] str: SHA-256 of each original's content, for the overlap check
    corpus     for retrieval: what is searched
    """

    ids: Column
    source_ids: Column
    inputs: Column
    contents: Column
    strata: Mapping[str, Column] = field(default_factory=dict)
    labels: npt.NDArray[np.int64] | None = None
    targets: Column | None = None
    corpus: Samples | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over everything that can move a number: inputs, labels, ids, strata, order."""
        digest = hashlib.sha256()
        for name, column in sorted(self._columns().items()):
            plain = np.ascontiguousarray(column)
            digest.update(f"{name}\0{plain.dtype.str}\0{plain.shape}\0".encode())
            digest.update(plain.tobytes())
        return digest.hexdigest()

    def to_npz(self) -> bytes:
        """As an uncompressed `.npz`, for `from_npz` in another process."""
        buffer = io.BytesIO()
        np.savez(buffer, **self._columns())  # type: ignore[arg-type]
        return buffer.getvalue()

    @staticmethod
    def from_npz(file: Path) -> Samples:
        """Read what `to_npz` wrote."""
        with np.load(file, allow_pickle=False) as archive:
            return _from_columns({name: archive[name] for name in archive.files})

    def _columns(self) -> dict[str, Column]:
        columns: dict[str, Column] = {
            "ids": self.ids,
            "source_ids": self.source_ids,
            "inputs": self.inputs,
            "contents": self.contents,
        }
        columns.update({f"strata.{name}": column for name, column in self.strata.items()})
        if self.labels is not None:
            columns["labels"] = self.labels
        if self.targets is not None:
            columns["targets"] = self.targets
        if self.corpus is not None:
            columns.update({f"corpus.{name}": column for name, column in self.corpus._columns().items()})
        return columns


def _from_columns(columns: Mapping[str, Column]) -> Samples:
    corpus = {name.removeprefix("corpus."): column for name, column in columns.items() if name.startswith("corpus.")}
    return Samples(
        ids=columns["ids"],
        source_ids=columns["source_ids"],
        inputs=columns["inputs"],
        contents=columns["contents"],
        strata={name.removeprefix("strata."): column for name, column in columns.items() if name.startswith("strata.")},
        labels=columns.get("labels"),  # type: ignore[arg-type]
        targets=columns.get("targets"),
        corpus=_from_columns(corpus) if corpus else None,
    )


def rubric_samples(rubric: Rubric, file: Path, declared_in: Path, size: str = "standard") -> Samples:
    """The rubric's test set at a budget's size (``quick``, ``standard`` or ``thorough``).

    Raises `DeclarationError` naming the rubric's file and key, or the data file.
    """
    declared = rubric.test_set
    count = {"quick": declared.quick_count, "thorough": declared.thorough_count}.get(size) or declared.count
    table = read_table(file)
    chosen, columns = _select(
        table, declared.fields, rubric.task, declared.selection, count, declared.seed, declared.stratify_by,
        Problem(str(declared_in), "test_set.count", ""),
    )  # fmt: skip
    labels, targets = columns.get("label"), columns.get("target")
    base_strata = _plain_strata(table, chosen, set(declared.fields.values()) | set(_roles(rubric.task).values()))
    if labels is not None:
        _check_labels(labels, declared.class_names, table.file, declared_in)
        names = declared.class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
        base_strata["class"] = np.asarray([names[label] for label in labels])
    views = []
    source_ids = columns["id"]
    for view in declared.views:
        inputs = columns["input"]
        if view.corruption != "none":
            if rubric.task not in IMAGE_TASKS:
                raise DeclarationError(
                    [
                        Problem(
                            str(declared_in),
                            "test_set.views",
                            f"corruption {view.corruption!r} is for images, the task is {rubric.task}",
                        )
                    ]
                )
            inputs = corrupt(inputs, view.corruption, view.severity, declared.seed, source_ids.tolist())  # type: ignore[arg-type]
        views.append((view.name, inputs))
    repeat = len(views)
    several = repeat > 1
    strata = {name: np.tile(column, repeat) for name, column in base_strata.items()}
    strata["view"] = np.repeat(np.asarray([name for name, _ in views]), len(source_ids))
    missing = [name for name in rubric.strata if name not in strata]
    if missing:
        raise DeclarationError(
            [
                Problem(
                    str(declared_in),
                    "strata",
                    f"the samples have no field {missing[0]!r}",
                    expected="one of: " + ", ".join(sorted(strata)),
                )
            ]
        )
    contents = _contents(columns["input"])
    plain = Samples(ids=source_ids, source_ids=source_ids, inputs=columns["input"], contents=contents, labels=labels)  # type: ignore[arg-type]
    return Samples(
        ids=np.concatenate([np.char.add(source_ids, f"/{name}" if several else "") for name, _ in views]),
        source_ids=np.tile(source_ids, repeat),
        inputs=np.concatenate([inputs for _, inputs in views]),
        contents=np.tile(contents, repeat),
        strata=strata,
        labels=None if labels is None else np.tile(labels.astype(np.int64), repeat),
        targets=None if targets is None else np.tile(targets, repeat),
        corpus=plain if rubric.task == "image-retrieval" else None,
    )


def calibration_samples(calibration: Calibration, file: Path, declared_in: Path, task: str) -> Samples:
    """The samples of a declared calibration reader, in its order. Raises `DeclarationError` as `rubric_samples` does."""
    table = read_table(file)
    _, columns = _select(
        table, calibration.fields, task, calibration.selection, calibration.count, calibration.seed,
        calibration.stratify_by, Problem(str(declared_in), f"calibrations.{calibration.name}.count", ""),
    )  # fmt: skip
    labels = columns.get("label")
    return Samples(
        ids=columns["id"],
        source_ids=columns["id"],
        inputs=columns["input"],
        contents=_contents(columns["input"]),
        labels=None if labels is None else labels.astype(np.int64),
        targets=columns.get("target"),
    )


def overlap(calibration: Samples, test: Samples) -> list[str]:
    """Ids of calibration samples whose content is also in the test set (or in what it searches)."""
    asked = set(test.contents.tolist())
    if test.corpus is not None:
        asked |= set(test.corpus.contents.tolist())
    return [str(i) for i, content in zip(calibration.ids, calibration.contents, strict=True) if content in asked]


def _roles(task: str) -> dict[str, str]:
    return DEFAULT_FIELDS if task in IMAGE_TASKS else DEFAULT_TEXT_FIELDS


def _select(
    table: Table,
    fields: Mapping[str, str],
    task: str,
    selection: str,
    count: int,
    seed: int,
    stratify_by: str,
    where: Problem,
) -> tuple[npt.NDArray[np.int64], dict[str, Column]]:
    """Chosen positions, and the columns by role at those positions; `id` as text, always there."""
    roles = {**_roles(task), **fields}
    unknown = sorted(set(fields) - {"input", "label", "target", "id"})
    if unknown:
        raise DeclarationError(
            [
                Problem(
                    where.file,
                    where.key.rsplit(".", 1)[0] + ".fields",
                    f"unknown role {unknown[0]!r}",
                    expected="input, label, target, id",
                )
            ]
        )
    optional = {"id"} | ({"label"} if where.key.startswith("calibrations") else set())
    full = {
        role: table.column(name, role)
        for role, name in roles.items()
        if name in table.columns or role in fields or role not in optional
    }
    _check_inputs(full["input"], task, table.file, roles["input"])
    by = full.get(stratify_by, table.columns.get(stratify_by))
    try:
        chosen = select(selection, len(table), count, seed, by)
    except ValueError as error:
        hint = (
            f"stratify_by is {stratify_by!r}" if "stratify" in str(error) else f"{table.file.name} holds {len(table)}"
        )
        raise DeclarationError([Problem(where.file, where.key, str(error), hint=hint)]) from None
    columns = {role: column[chosen] for role, column in full.items()}
    columns["id"] = np.asarray([str(value) for value in columns["id"]]) if "id" in columns else chosen.astype(str)
    if len(np.unique(columns["id"])) != len(chosen):
        raise DeclarationError(
            [Problem(str(table.file), roles["id"], "sample ids repeat", hint="deltas are paired by id")]
        )
    return chosen, columns


def _check_inputs(inputs: Column, task: str, file: Path, name: str) -> None:
    if task in IMAGE_TASKS:
        if inputs.dtype != np.uint8 or inputs.ndim not in (3, 4):
            raise DeclarationError(
                [
                    Problem(
                        str(file), name, "not images", value=f"{inputs.dtype} {list(inputs.shape)}",
                        expected="uint8 [n, height, width] or [n, height, width, channels]",
                    )
                ]
            )  # fmt: skip
    elif inputs.dtype.kind != "U":
        raise DeclarationError(
            [Problem(str(file), name, "not text", value=str(inputs.dtype), expected="one text a sample")]
        )


def _check_labels(labels: Column, class_names: tuple[str, ...], file: Path, declared_in: Path) -> None:
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min() < 0:
        raise DeclarationError(
            [
                Problem(
                    str(file),
                    "labels",
                    "not class labels",
                    value=f"{labels.dtype} {list(labels.shape)}",
                    expected="whole numbers from 0, [n]",
                )
            ]
        )
    if class_names and int(labels.max()) >= len(class_names):
        raise DeclarationError(
            [
                Problem(
                    str(declared_in), "test_set.class_names", f"label {int(labels.max())} has no name",
                    expected=f"{int(labels.max()) + 1} names", hint=f"{file.name} has labels up to {int(labels.max())}",
                )
            ]
        )  # fmt: skip


def _plain_strata(table: Table, chosen: npt.NDArray[np.int64], taken: set[str]) -> dict[str, Column]:
    """Every further column of plain text or whole numbers is a field to report by."""
    return {
        name: column[chosen].astype(str)
        for name, column in table.columns.items()
        if name not in taken and column.ndim == 1 and column.dtype.kind in "iuU"
    }


def _contents(inputs: Column) -> Column:
    return np.asarray(
        [
            hashlib.sha256(item.tobytes() if isinstance(item, np.ndarray) else str(item).encode()).hexdigest()
            for item in inputs
        ]
    )
