"""Reading GGUF files, as llama.cpp keeps models: key and value pairs, then tensors of floats or of blocks of small
integers, which are multiplied out to float32.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; the blocks: `ggml-common.h` and `ggml-quants.c`
of the same project.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.weights import Tensors

MAGIC, VERSIONS = b"GGUF", (2, 3)
ALIGNMENT_KEY, ALIGNMENT_BYTES = "general.alignment", 32
TEXT, LIST = 8, 9
NUMBERS: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
# No model has more of these, nor longer lists: a vocabulary is the longest.
MOST_ENTRIES, LONGEST_LIST, MOST_DIMENSIONS = 100_000, 10_000_000, 4
BLOCK = 32  # values of a block

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def _q4_1(rows: Bytes) -> Floats:
    """[blocks, 20]: scale and minimum of 16 bits, 16 bytes of two values; low halves first, then high halves."""
    scale, minimum = (rows[:, at : at + 2].copy().view("<f2").astype(np.float32) for at in (0, 2))
    packed = rows[:, 4:]
    return scale * np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32) + minimum


def _q8_0(rows: Bytes) -> Floats:
    """[blocks, 34]: a scale of 16 bits, 32 signed bytes."""
    scale = rows[:, :2].copy().view("<f2").astype(np.float32)
    return np.asarray(scale * rows[:, 2:].view(np.int8).astype(np.float32))


# Type → values of a block, bytes of it, and how they are multiplied out.
KINDS: Mapping[int, tuple[int, int, Callable[[Bytes], Floats]]] = {
    0: (1, 4, lambda rows: rows.view("<f4")),
    1: (1, 2, lambda rows: rows.view("<f2").astype(np.float32)),
    3: (BLOCK, 20, _q4_1),
    8: (BLOCK, 34, _q8_0),
}


@dataclass(frozen=True)
class GGUF:
    """What a file says of its model, and the model's weights, each [out, in] or [n], float32."""

    facts: Mapping[str, Any]
    tensors: Tensors


class _Reader:
    """A place in the file, moving on."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + form, self.content, self.place)
        self.place += struct.calcsize("<" + form)
        return found

    def text(self) -> str:
        (length,) = self.numbers("Q")
        if length > len(self.content) - self.place:
            raise ValueError(f"a text of {length} bytes")
        self.place += length
        return self.content[self.place - length : self.place].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind != LIST:
            return self.numbers(NUMBERS[kind])[0]
        of, length = self.numbers("IQ")
        if length > LONGEST_LIST or of == LIST:
            raise ValueError(f"a list of {length} entries of kind {of}")
        return [self.text() for _ in range(length)] if of == TEXT else list(self.numbers(f"{length}{NUMBERS[of]}"))


def read_gguf(content: bytes, name: str) -> GGUF:
    """The whole file called `name`. Raises `UntrustedInput` where it is not what it says, or has other blocks."""
    reader = _Reader(content)
    try:
        magic, version, tensors, entries = reader.numbers("4sIQQ")
        if magic != MAGIC or version not in VERSIONS:
            raise ValueError("it does not begin as a GGUF file of version 2 or 3 does")
        if max(tensors, entries) > MOST_ENTRIES:
            raise ValueError(f"{tensors} tensors and {entries} entries")
        facts = {}
        for _ in range(entries):
            key = reader.text()
            facts[key] = reader.value(*reader.numbers("I"))
        places = [_place(reader) for _ in range(tensors)]
        aligned = int(facts.get(ALIGNMENT_KEY, ALIGNMENT_BYTES))
        start = -(-reader.place // aligned) * aligned
        return GGUF(facts, {key: _tensor(content, start, *place) for key, *place in places})
    except (struct.error, ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise UntrustedInput(f"{name}: it is no sound GGUF file: {error}; nothing of it was used") from None


def _place(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape (outermost first), type and offset of the next tensor."""
    name = reader.text()
    (dimensions,) = reader.numbers("I")
    if dimensions > MOST_DIMENSIONS:
        raise ValueError(f"{name} has {dimensions} dimensions")
    shape = reader.numbers(f"{dimensions}Q")[::-1]
    kind, offset = reader.numbers("IQ")
    if kind not in KINDS:
        raise ValueError(f"{name} is of type {kind}, which is not read here")
    return name, shape, kind, offset


def _tensor(content: bytes, start: int, shape: tuple[int, ...], kind: int, offset: int) -> Floats:
    values, size, multiplied_out = KINDS[kind]
    blocks, left = divmod(math.prod(shape), values)
    begin = start + offset
    if left or begin + blocks * size > len(content):
        raise ValueError("a tensor lies outside the file")
    rows = np.frombuffer(content, dtype=np.uint8, count=blocks * size, offset=begin).reshape(blocks, size)
    return np.ascontiguousarray(multiplied_out(rows), dtype=np.float32).reshape(shape)
