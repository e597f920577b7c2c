"""From a declared test set or calibration reader to the very samples, with their fingerprints."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.corruptions import CORRUPTIONS_OF, corrupt, input_kind, noise
from lynxbench.datasets.picking import Choice, further_fields, pick
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.sources import read_table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.rubric import Rubric, View
from lynxbench.specs.scheme import Calibration


@dataclass(frozen=True)
class Samples:
    """Samples in the order in which they are asked.

    ids        [n] str, unique
    source_ids [n] str: which original each was made from
    inputs     [n, h, w] or [n, h, w, c] uint8 images, [n] str prompts, or [n, …] numbers
    strata     name → [n] str
    labels     [n] int64 or None;  targets [n] str or None;  values [n] float64, true numbers, or None
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
    values: npt.NDArray[np.float64] | None = None
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
        columns: dict[str, Any] = dict(self._columns())
        np.savez(buffer, **columns)
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
        if self.values is not None:
            columns["values"] = self.values
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
        labels=columns["labels"].astype(np.int64) if "labels" in columns else None,
        targets=columns.get("targets"),
        values=columns["values"].astype(np.float64) if "values" in columns else None,
        corpus=_from_columns(corpus) if corpus else None,
    )


def rubric_samples(rubric: Rubric, file: Path, declared_in: Path, size: str = "standard") -> Samples:
    """The rubric's test set at a budget's size (``quick``, ``standard`` or ``thorough``).

    Raises `DeclarationError` naming the rubric's file and key, or the data file.
    """
    declared = rubric.test_set
    table = read_table(file)
    choice = Choice(
        task=rubric.task,
        fields=declared.fields,
        selection=declared.selection,
        count={"quick": declared.quick_count, "thorough": declared.thorough_count}.get(size) or declared.count,
        seed=declared.seed,
        stratify_by=declared.stratify_by,
        answers_needed=True,
        file=str(declared_in),
        key="test_set",
    )
    chosen, columns = pick(table, choice)
    ids = columns["id"].astype(np.str_)
    strata = further_fields(table, chosen, choice)
    labels = None
    if "label" in columns:
        labels = _labels(columns["label"], declared.class_names, table.file, choice)
        names = declared.class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
        strata["class"] = np.asarray(names)[labels]
    views = [(view.name, _seen(columns["input"], view, ids, rubric, declared_in)) for view in declared.views]
    repeat = len(views)
    strata = {name: np.tile(column, repeat) for name, column in strata.items()}
    strata["view"] = np.repeat(np.asarray([name for name, _ in views]), len(ids))
    missing = [
        Problem(
            str(declared_in),
            f"strata[{index}]",
            "the samples have no such field",
            value=repr(name),
            expected="one of: " + ", ".join(sorted(strata)),
            hint=did_you_mean(name, strata),
        )
        for index, name in enumerate(rubric.strata)
        if name not in strata
    ]
    if missing:
        raise DeclarationError(missing)
    contents = _contents(columns["input"])
    plain = Samples(ids=ids, source_ids=ids, inputs=columns["input"], contents=contents, labels=labels)
    return Samples(
        ids=np.concatenate([np.char.add(ids, f"/{name}" if repeat > 1 else "") for name, _ in views]),
        source_ids=np.tile(ids, repeat),
        inputs=np.concatenate([inputs for _, inputs in views]),
        contents=np.tile(contents, repeat),
        strata=strata,
        labels=None if labels is None else np.tile(labels, repeat),
        targets=None if "target" not in columns else np.tile(columns["target"], repeat),
        values=None if "value" not in columns else np.tile(_values(columns["value"], table.file, choice), repeat),
        corpus=plain if rubric.task == "image-retrieval" else None,
    )


def calibration_samples(calibration: Calibration, file: Path, declared_in: Path, task: str) -> Samples:
    """The samples of a declared calibration reader, in its order; labels and targets where the file has them.

    Raises `DeclarationError` as `rubric_samples` does.
    """
    choice = Choice(
        task=task,
        fields=calibration.fields,
        selection=calibration.selection,
        count=calibration.count,
        seed=calibration.seed,
        stratify_by=calibration.stratify_by,
        answers_needed=False,
        file=str(declared_in),
        key=f"calibrations.{calibration.name}",
        where=calibration.where,
    )
    table = read_table(file)
    _, columns = pick(table, choice)
    inputs, ids = columns["input"], columns["id"].tolist()
    if calibration.kind == "noise":
        # Nothing of the samples is left, so neither are their labels, nor can their content be asked.
        random = noise(inputs, calibration.seed, ids)
        return Samples(ids=columns["id"], source_ids=columns["id"], inputs=random, contents=_contents(random))
    inputs = _corrupted(inputs, calibration, calibration.seed, ids, str(declared_in), f"{choice.key}.corruption")
    return Samples(
        ids=columns["id"],
        source_ids=columns["id"],
        inputs=inputs,
        contents=_contents(columns["input"]),
        labels=_labels(columns["label"], (), table.file, choice) if "label" in columns else None,
        targets=columns.get("target"),
    )


def overlap(calibration: Samples, test: Samples) -> list[str]:
    """Ids of calibration samples whose content is also in the test set (or in what it searches)."""
    asked = set(test.contents.tolist())
    if test.corpus is not None:
        asked |= set(test.corpus.contents.tolist())
    return [str(i) for i, content in zip(calibration.ids, calibration.contents, strict=True) if content in asked]


def _seen(inputs: Column, view: View, ids: npt.NDArray[np.str_], rubric: Rubric, declared_in: Path) -> Column:
    """The inputs through a view."""
    key = f"test_set.views[{rubric.test_set.views.index(view)}].corruption"
    return _corrupted(inputs, view, rubric.test_set.seed, ids.tolist(), str(declared_in), key)


def _corrupted(inputs: Column, declared: View | Calibration, seed: int, ids: list[str], file: str, key: str) -> Column:
    """The inputs as a view or a calibration reader wants them; `DeclarationError` where that is not possible."""
    if declared.corruption == "none":
        return inputs
    kind = input_kind(inputs)
    if declared.corruption not in CORRUPTIONS_OF[kind]:
        problem = Problem(
            file,
            key,
            f"is not for {kind}",
            value=repr(declared.corruption),
            expected="one of: " + ", ".join(CORRUPTIONS_OF[kind]),
        )
        raise DeclarationError([problem])
    return corrupt(inputs, declared.corruption, declared.severity, seed, ids)


def _labels(labels: Column, class_names: tuple[str, ...], file: Path, choice: Choice) -> npt.NDArray[np.int64]:
    """The labels as int64; `DeclarationError` when they are none, or when there is one without a name."""
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or int(labels.astype(np.int64).min()) < 0:
        found, expected = f"{labels.dtype} {list(labels.shape)}", "whole numbers from 0, [n]"
        raise DeclarationError([Problem(str(file), choice.roles["label"], "not class labels", found, expected)])
    largest = int(labels.astype(np.int64).max())
    if class_names and largest >= len(class_names):
        hint = f"{file.name} has labels up to {largest}"
        message, expected = f"label {largest} has no name", f"{largest + 1} names"
        raise DeclarationError(
            [Problem(choice.file, f"{choice.key}.class_names", message, expected=expected, hint=hint)]
        )
    return labels.astype(np.int64)


def _values(values: Column, file: Path, choice: Choice) -> npt.NDArray[np.float64]:
    """The true numbers as float64; `DeclarationError` when they are none, or not all finite."""
    if values.dtype.kind not in "iuf" or values.ndim != 1 or not np.isfinite(values.astype(np.float64)).all():
        found = f"{values.dtype} {list(values.shape)}"
        raise DeclarationError([Problem(str(file), choice.roles["value"], "not finite numbers, [n]", found)])
    return values.astype(np.float64)


def _contents(inputs: Column) -> Column:
    """SHA-256 (hex) of each input: its pixels, or its text."""
    if inputs.dtype.kind == "U":
        return np.asarray([hashlib.sha256(str(text).encode()).hexdigest() for text in inputs.tolist()])
    return np.asarray([hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest() for item in inputs])
