"""Reading labelled data files into columns, without ever running anything that a file contains."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lynxbench.datasets.predictions import Column
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import did_you_mean


@dataclass(frozen=True)
class Table:
    """A data file's columns, each with one entry a sample ([n] or [n, …]), under the file's own names."""

    file: Path
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def column(self, name: str, role: str) -> Column:
        """The column called `name`; raises `DeclarationError` naming the columns that there are."""
        if name not in self.columns:
            raise DeclarationError(
                [
                    Problem(
                        str(self.file),
                        name,
                        f"the file has no column {name!r} (wanted as {role})",
                        expected="one of: " + ", ".join(sorted(self.columns)),
                        hint=did_you_mean(name, self.columns) or f'name it: fields = {{ {role} = "…" }}',
                    )
                ]
            )
        return self.columns[name]


def read_table(file: Path) -> Table:
    """Read an `.npz` (arrays of equal length, no pickles) or a `.jsonl` (one object a line).

    Raises `DeclarationError` for an unknown format, a broken or an empty file, and columns of unequal length.
    """
    readers = {".npz": _read_npz, ".jsonl": _read_json_lines}
    if file.suffix not in readers:
        raise _wrong(file, f"unknown data format {file.suffix!r}", hint="known formats: " + ", ".join(sorted(readers)))
    if not file.is_file():
        raise _wrong(file, "no such file")
    columns = readers[file.suffix](file)
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or max(lengths.values()) == 0:
        raise _wrong(file, "holds no samples", hint="a data set needs at least one labelled sample")
    if len(set(lengths.values())) > 1:
        raise _wrong(file, "its columns differ in length: " + ", ".join(f"{k} {v}" for k, v in sorted(lengths.items())))
    return Table(file, columns)


def _read_npz(file: Path) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    try:
        with zipfile.ZipFile(file) as archive, np.load(file, allow_pickle=False) as arrays:
            strangers = [name for name in archive.namelist() if not name.endswith(".npy")]
            if strangers:
                raise ValueError(f"it holds {strangers[0]!r}, which is no array")
            columns = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        # A broken archive breaks zipfile, zlib and NumPy in a dozen ways, which all mean the same to the user.
        hint = "save it with numpy.savez, without object arrays"
        raise _wrong(file, f"is not a readable .npz: {error}", hint=hint) from None
    scalars = [name for name, column in columns.items() if column.ndim == 0]
    if scalars:
        raise _wrong(file, f"array {scalars[0]!r} is a single value, not one entry a sample")
    return columns


def _read_json_lines(file: Path) -> dict[str, Column]:
    rows: list[dict[str, object]] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
                json.dumps(row, ensure_ascii=False).encode("utf-8")  # half a character cannot be hashed or stored
            except (ValueError, RecursionError) as error:
                raise _wrong(file, f"line {number} is not valid JSON: {error}") from None
            if not isinstance(row, dict):
                raise _wrong(file, f"line {number} is not an object")
            if rows and row.keys() != rows[0].keys():
                odd = ", ".join(sorted(row.keys() ^ rows[0].keys()))
                raise _wrong(file, f"line {number} has other keys than line 1: {odd}")
            rows.append(row)
    if not rows:
        return {}
    columns: dict[str, Column] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if all(isinstance(value, int) and abs(value) < 2**63 for value in values):
            columns[name] = np.asarray(values, dtype=np.int64)
        else:
            columns[name] = np.asarray([value if isinstance(value, str) else json.dumps(value) for value in values])
    return columns


def _wrong(file: Path, message: str, hint: str | None = None) -> DeclarationError:
    return DeclarationError([Problem(str(file), "", message, hint=hint)])
