"""Reading labelled data into columns, without ever running anything that a file contains."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.arrow import read_arrow
from lynxbench.datasets.folders import read_folder
from lynxbench.datasets.functions import call_target
from lynxbench.datasets.lazy import SPILL_BYTES, AnyColumn, empty
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.data import AudioFiles, ImageFiles

FORMATS = (".arrow", ".feather", ".jsonl", ".npz", ".parquet")


def read_table(file: Path, image: ImageFiles | None = None, audio: AudioFiles | None = None) -> Table:
    """Read an `.npz` (arrays of equal length, no pickles), a `.jsonl` (one object a line), a Parquet or Arrow file, or
    a folder of pictures or sounds; `image` and `audio` say how those become arrays of one size.

    Raises `DeclarationError` for an unknown format, a broken or an empty file, and columns of unequal length.
    """
    if file.is_dir():
        return read_folder(file, image, audio)
    if file.suffix not in FORMATS:
        hint = f"known formats: {', '.join(FORMATS)}, and folders of pictures or sounds"
        raise _wrong(file, f"unknown data format {file.suffix!r}", hint=hint)
    if not file.is_file():
        raise _wrong(file, "no such file")
    if file.suffix == ".npz":
        return _checked(file, _read_npz(file))
    return _checked(file, _read_json_lines(file) if file.suffix == ".jsonl" else read_arrow(file, image, audio))


def read_target(target: str, declared_in: Path, key: str) -> Table:
    """What a function of the user's returns; raises `DeclarationError` as `read_table` does."""
    return _checked(declared_in, call_target(target, declared_in, key))


def _checked(file: Path, columns: dict[str, AnyColumn]) -> Table:
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or max(lengths.values()) == 0:
        raise _wrong(file, "holds no samples", hint="a data set needs at least one labelled sample")
    if len(set(lengths.values())) > 1:
        raise _wrong(file, "its columns differ in length: " + ", ".join(f"{k} {v}" for k, v in sorted(lengths.items())))
    return Table(file, columns)


def _read_npz(file: Path) -> dict[str, AnyColumn]:
    columns: dict[str, AnyColumn] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            strangers = [name for name in archive.namelist() if not name.endswith(".npy")]
            if strangers:
                raise ValueError(f"it holds {strangers[0]!r}, which is no array")
            for name in archive.namelist():
                columns[name.removesuffix(".npy")] = _array(archive, name)
    except Exception as error:
        # A broken archive breaks zipfile, zlib and NumPy in a dozen ways, which all mean the same to the user.
        hint = "save it with numpy.savez, without object arrays"
        raise _wrong(file, f"is not a readable .npz: {error}", hint=hint) from None
    scalars = [name for name, column in columns.items() if column.ndim == 0]
    if scalars:
        raise _wrong(file, f"array {scalars[0]!r} is a single value, not one entry a sample")
    return columns


def _array(archive: zipfile.ZipFile, name: str) -> Column:
    """One array; a large one is streamed into a mapped file."""
    if archive.getinfo(name).file_size <= SPILL_BYTES:
        with archive.open(name) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        header: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = header[version](stream)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
        if not fortran and len(shape) > 0:
            whole = empty(shape, dtype)
            view = memoryview(whole.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            start = 0
            while start < len(view):
                read = stream.readinto(view[start : start + (8 << 20)])  # type: ignore[attr-defined]
                if not read:
                    raise ValueError(f"{name} ends early")
                start += read
            return whole
    with archive.open(name) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _read_json_lines(file: Path) -> dict[str, AnyColumn]:
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
    columns: dict[str, AnyColumn] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if all(isinstance(value, int) and abs(value) < 2**63 for value in values):
            columns[name] = np.asarray(values, dtype=np.int64)
            continue
        numbers = _numbers(values)
        texts = (value if isinstance(value, str) else json.dumps(value) for value in values)
        columns[name] = np.asarray(list(texts)) if numbers is None else numbers
    return columns


def _numbers(values: list[object]) -> Column | None:
    """[n, …] int64 or float64, where every value is a list of numbers, nested or not, and all have one shape."""
    if not all(isinstance(value, list) for value in values):
        return None
    try:
        found: Column = np.asarray(values)
    except (ValueError, OverflowError):  # of several shapes
        return None
    return found if found.dtype.kind in "if" and found.size else None


def _wrong(file: Path, message: str, hint: str | None = None) -> DeclarationError:
    return DeclarationError([Problem(str(file), "", message, hint=hint)])
