"""Folders of pictures or sounds, one folder a class, and columns of encoded ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.lazy import Lazy
from lynxbench.datasets.media import AUDIO_SUFFIXES, IMAGE_SUFFIXES, picture, sound
from lynxbench.datasets.predictions import Column
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.data import AudioFiles, ImageFiles

Encoded = Callable[[int], Path | bytes]


def read_folder(folder: Path, image: ImageFiles | None, audio: AudioFiles | None) -> Table:
    """All pictures (column `images`) or sounds (`inputs`) below `folder`, decoded only when they are picked.

    The folder that a file lies in is its class: `labels` are the sorted class names' positions, and `folder` their
    names. Without such folders there are no labels. `ids` are paths below `folder`.
    Raises `DeclarationError` for a folder without such files, with both kinds, or with files beside class folders.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    sounds = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    if bool(pictures) == bool(sounds):
        found = "both pictures and sounds" if pictures else "neither pictures nor sounds"
        known = ", ".join(sorted(IMAGE_SUFFIXES | AUDIO_SUFFIXES))
        raise _wrong(folder, f"holds {found}", expected=f"files of one kind: {known}")
    kept = pictures or sounds
    classes = [path.relative_to(folder).parts[0] if path.parent != folder else "" for path in kept]
    if "" in classes and len(set(classes)) > 1:
        stray = kept[classes.index("")].name
        raise _wrong(folder, f"{stray} lies beside class folders", hint="move it into the folder of its class")
    ids = [path.relative_to(folder).as_posix() for path in kept]
    encoded = decoded(len(kept), lambda i: kept[i], lambda i: str(kept[i]), image, audio, pictures=bool(pictures))
    columns: dict[str, Column | Lazy] = {"images" if pictures else "inputs": encoded, "ids": np.asarray(ids)}
    names: tuple[str, ...] = ()
    if "" not in classes:
        names = tuple(sorted(set(classes)))
        columns["labels"] = np.asarray([names.index(name) for name in classes], dtype=np.int64)
        columns["folder"] = np.asarray(classes)
    contents = Lazy(len(kept), (), np.dtype("<U64"), lambda i: np.asarray(_sha256(kept[i])))
    return Table(folder, columns, class_names=names, contents=contents)


def decoded(
    count: int,
    source: Encoded,
    name: Callable[[int], str],
    image: ImageFiles | None,
    audio: AudioFiles | None,
    *,
    pictures: bool,
) -> Lazy:
    """`count` encoded pictures or sounds as a column; the first one says what size is not declared.

    Reading raises `DeclarationError` for one of another size or sample rate.
    """
    if pictures:
        of_image = image or ImageFiles()

        def read(position: int) -> Column:
            return picture(source(position), of_image, name(position))

        first = read(0)
    else:
        of_audio = audio or AudioFiles()
        first, first_rate_hz = sound(source(0), of_audio, name(0))

        def read(position: int) -> Column:
            values, rate_hz = sound(source(position), of_audio, name(position))
            if rate_hz != first_rate_hz:
                hint = f"audio = {{ sample_rate_hz = {first_rate_hz} }} resamples all to one rate"
                found = f"{rate_hz} Hz"
                raise _wrong(name(position), "has another sample rate", found, f"{first_rate_hz} Hz as the first", hint)
            return values

    def same_size(position: int) -> Column:
        values = read(position)
        if values.shape != first.shape:
            hint = "image = { resize = 256, crop = [224, 224] }" if pictures else "audio = { duration_s = 1.0 }"
            expected = f"{_shown(first.shape)} as the first, {Path(name(0)).name}"
            message = "has another size"
            raise _wrong(name(position), message, _shown(values.shape), expected, f"{hint} makes all of one size")
        return values

    return Lazy(count, first.shape, first.dtype, same_size)


def _shown(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(
    where: Any, message: str, value: str | None = None, expected: str | None = None, hint: str | None = None
) -> DeclarationError:
    return DeclarationError([Problem(str(where), "", message, value, expected, hint)])
