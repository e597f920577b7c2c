"""What samples ask and what is right, from columns as a file holds them to arrays as the tasks want them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.picking import Choice
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem

NO_TAG = -1


def inputs_of(columns: Mapping[str, Column], task: str) -> Column:
    """The inputs; [n, 2] where a second text goes with the first; words given as a list become one text."""
    inputs = columns["input"]
    if task == "token-classification":
        return np.asarray([" ".join(json.loads(text)) if text.startswith("[") else text for text in inputs.tolist()])
    if "context" in columns:
        return np.stack([inputs.astype(np.str_), columns["context"].astype(np.str_)], axis=1)
    return inputs


def answers_of(
    columns: Mapping[str, Column], table: Table, choice: Choice, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """The answers that the columns hold, under the names that `Samples` has for them.

    Raises `DeclarationError` naming file and column for answers that are not what the role wants.
    """
    found: dict[str, Any] = {}
    if "label" in columns:
        found["labels"] = _labels(columns["label"], class_names, table, choice)
    if "target" in columns:
        found["targets"] = columns["target"]
    if "value" in columns:
        found["values"] = _values(columns["value"], table, choice)
    if "tags" in columns:
        read = _frame_tags if choice.task == "frame-classification" else _tags
        found["tags"] = read(columns["tags"], columns["input"], table, choice)
    if "options" in columns:
        found["options"] = _options(columns["options"], table, choice)
    if "masks" in columns:
        found["masks"] = _masks(columns["masks"], columns["input"], table, choice)
    if "objects" in columns:
        found["objects"] = _objects(columns["objects"], table, choice)
    return found


def _labels(labels: Column, class_names: tuple[str, ...], table: Table, choice: Choice) -> npt.NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or int(labels.astype(np.int64).min()) < 0:
        found, expected = f"{labels.dtype} {list(labels.shape)}", "whole numbers from 0, [n]"
        raise _wrong(table, choice, "label", "not class labels", found, expected)
    largest = int(labels.astype(np.int64).max())
    if class_names and largest >= len(class_names):
        hint = f"{table.file.name} has labels up to {largest}"
        message, expected = f"label {largest} has no name", f"{largest + 1} names"
        raise DeclarationError(
            [Problem(choice.file, f"{choice.key}.class_names", message, expected=expected, hint=hint)]
        )
    return labels.astype(np.int64)


def _values(values: Column, table: Table, choice: Choice) -> npt.NDArray[np.float64]:
    if values.dtype.kind == "U":  # of JSON lines
        with suppress(ValueError):
            values = values.astype(np.float64)
    if values.dtype.kind not in "iuf" or values.ndim != 1 or not np.isfinite(values.astype(np.float64)).all():
        raise _wrong(table, choice, "value", "not finite numbers, [n]", f"{values.dtype} {list(values.shape)}")
    return values.astype(np.float64)


def _tags(tags: Column, inputs: Column, table: Table, choice: Choice) -> npt.NDArray[np.int64]:
    """[n, w], one for each word: numbers from 0, or below 0 for a word that is not scored."""
    rows = _lists(tags, table, choice, "tags", int)
    texts = inputs_of({"input": inputs}, "token-classification").tolist()
    for position, (row, text) in enumerate(zip(rows, texts, strict=True)):
        words = len(text.split())
        if len(row) != words:
            found, expected = f"{len(row)} tags for {words} words in sample {position}", "one tag a word"
            raise _wrong(table, choice, "tags", "not one tag a word", found, expected)
    padded = np.full((len(rows), max(map(len, rows))), NO_TAG, dtype=np.int64)
    for position, row in enumerate(rows):
        padded[position, : len(row)] = np.maximum(row, NO_TAG)
    return padded


def _frame_tags(tags: Column, inputs: Column, table: Table, choice: Choice) -> npt.NDArray[np.int64]:
    """[n, frames], one for each frame: numbers from 0, or below 0 for a frame that is not scored."""
    if tags.dtype.kind not in "iu" or tags.ndim != 2 or tags.shape[1] != inputs.shape[1]:
        found = f"{tags.dtype} {list(tags.shape)}"
        raise _wrong(table, choice, "tags", "not one tag a frame", found, f"whole numbers [n, {inputs.shape[1]}]")
    if int(tags.astype(np.int64).max()) < 0:
        raise _wrong(table, choice, "tags", "no frame has a tag to be scored by")
    return np.maximum(tags.astype(np.int64), NO_TAG)


def _options(options: Column, table: Table, choice: Choice) -> Column:
    """[n, k] texts."""
    rows = _lists(options, table, choice, "options", str)
    if min(map(len, rows)) < 2 or any(not option for row in rows for option in row):
        raise _wrong(table, choice, "options", "a choice needs two options at least, none of them empty")
    most = max(map(len, rows))
    return np.asarray([[*row, *[""] * (most - len(row))] for row in rows], dtype=np.str_)


def _masks(masks: Column, images: Column, table: Table, choice: Choice) -> npt.NDArray[np.uint8]:
    if masks.dtype != np.uint8 or masks.shape != images.shape[:3]:
        found, expected = f"{masks.dtype} {list(masks.shape)}", f"uint8 {list(images.shape[:3])}, 255 for no class"
        raise _wrong(table, choice, "masks", "not one class a pixel", found, expected)
    return masks.astype(np.uint8)


def _objects(objects: Column, table: Table, choice: Choice) -> npt.NDArray[np.float32]:
    """[n, g, 6]: x, y, width, height in pixels, class, crowd; NaN fills up."""
    if objects.dtype.kind == "U":
        rows = _lists(objects, table, choice, "objects", list)
        padded = np.full((len(rows), max(1, *map(len, rows)), 6), np.nan, dtype=np.float32)
        for position, row in enumerate(rows):
            for number, item in enumerate(row):
                padded[position, number, : len(item)] = item
                if len(item) == 5:
                    padded[position, number, 5] = 0
        objects = padded
    if objects.ndim == 3 and objects.shape[2] == 5:
        crowd = np.where(np.isnan(objects[:, :, :1]), np.nan, 0.0)
        objects = np.concatenate([objects, crowd], axis=2)
    if objects.dtype.kind not in "fiu" or objects.ndim != 3 or objects.shape[2] != 6:
        found, expected = f"{objects.dtype} {list(objects.shape)}", "[n, g, 5 or 6]: x, y, width, height, class, crowd"
        raise _wrong(table, choice, "objects", "not boxes", found, expected)
    return objects.astype(np.float32)


def _lists(column: Column, table: Table, choice: Choice, role: str, kind: type) -> list[list[Any]]:
    """A column of lists, or of lists as JSON text."""
    rows = [json.loads(item) if isinstance(item, str) and item.startswith("[") else item for item in column.tolist()]
    for position, row in enumerate(rows):
        if not isinstance(row, list) or any(not isinstance(item, kind) for item in row):
            raise _wrong(table, choice, role, f"sample {position} has no list of {kind.__name__}", repr(row)[:80])
    return rows


def _wrong(
    table: Table, choice: Choice, role: str, message: str, value: str | None = None, expected: str | None = None
) -> DeclarationError:
    return DeclarationError([Problem(str(table.file), choice.roles[role], message, value, expected)])
