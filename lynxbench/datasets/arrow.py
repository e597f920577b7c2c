"""Parquet and Arrow files as columns; encoded pictures and sounds in them are decoded only when they are picked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.folders import decoded
from lynxbench.datasets.lazy import AnyColumn
from lynxbench.datasets.media import AUDIO_SUFFIXES
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.data import AudioFiles, ImageFiles


def read_arrow(file: Path, image: ImageFiles | None, audio: AudioFiles | None) -> dict[str, AnyColumn]:
    """Columns by name: numbers and texts as they are, lists of equal length as [n, …], lists of unequal length and
    structures as JSON text, binary values (and structures of `bytes` and `path`) as pictures or sounds.

    Raises `DeclarationError` for a broken file and for empty values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            table = pq.read_table(file, memory_map=True)
        else:
            with pa.memory_map(str(file)) as source:
                try:
                    table = pa.ipc.open_file(source).read_all()
                except pa.ArrowInvalid:  # data set caches are streams
                    table = pa.ipc.open_stream(source).read_all()
    except (pa.ArrowException, OSError) as error:
        raise _wrong(file, "", f"is not a readable {file.suffix} file: {error}") from None
    return {name: _column(file, name, table[name], image, audio) for name in table.column_names}


def _column(file: Path, name: str, column: Any, image: ImageFiles | None, audio: AudioFiles | None) -> AnyColumn:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if column.null_count:
        raise _wrong(file, name, f"{column.null_count} of {len(column)} values are empty")
    encoded = column
    if pa.types.is_struct(kind) and "bytes" in {kind.field(i).name for i in range(kind.num_fields)}:
        encoded = pa.chunked_array([chunk.field("bytes") for chunk in column.chunks])
    if pa.types.is_binary(encoded.type) or pa.types.is_large_binary(encoded.type):
        paths = _paths(column) if encoded is not column else [""] * len(column)
        sounds = audio is not None or any(Path(path).suffix.lower() in AUDIO_SUFFIXES for path in paths[:1])
        suffix = ".wav" if sounds else ""

        def shown(position: int) -> str:
            return f"{file}[{position}].{name}{Path(paths[position]).suffix or suffix}"

        return decoded(len(column), lambda i: bytes(encoded[i].as_py()), shown, image, audio, pictures=not sounds)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.asarray(column.to_pylist(), dtype=np.str_)
    if pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy()).astype(np.int64)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    return _nested(column)


def _nested(column: Any) -> AnyColumn:
    import json

    import pyarrow as pa

    shape, inner = [len(column)], column.combine_chunks()
    while pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type) or pa.types.is_fixed_size_list(inner.type):
        flat = inner.flatten()
        each = len(flat) // max(1, len(inner))
        lengths = {len(item) for item in inner}
        if lengths != {each} or flat.null_count:
            break
        shape.append(each)
        inner = flat
    else:
        if pa.types.is_integer(inner.type) or pa.types.is_floating(inner.type):
            return np.asarray(inner.to_numpy(zero_copy_only=False)).reshape(shape)
    return np.asarray([json.dumps(value, default=str) for value in column.to_pylist()])


def _paths(column: Any) -> list[str]:
    return [str((value or {}).get("path") or "") for value in column.to_pylist()[:1]] * len(column)


def _wrong(file: Path, key: str, message: str) -> DeclarationError:
    return DeclarationError([Problem(str(file), key, message, hint="fill in what is missing" if key else None)])
