"""Columns that need not be in memory: items read when they are asked for, and large arrays in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column

# A larger array goes into an unnamed temporary file, mapped: the system may take its pages back at any time.
SPILL_BYTES = 64 << 20
CHUNK_SAMPLES = 64


@dataclass(frozen=True)
class Lazy:
    """A column [n, …] of which nothing is held: `read(position)` gives one item of `item_shape` and `dtype`."""

    count: int
    item_shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    read: Callable[[int], Column]

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.item_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, positions: npt.NDArray[np.int64]) -> Column:
        wanted = np.asarray(positions, dtype=np.int64)
        return filled((len(wanted), *self.item_shape), self.dtype, (self.read(int(i))[None] for i in wanted))


AnyColumn = Column | Lazy


def filled(shape: tuple[int, ...], dtype: np.dtype[np.generic], parts: Iterable[Column]) -> Column:
    """`parts` ([k, …] each) one after the other as one array of `shape`, in a mapped file where it is large."""
    whole = empty(shape, dtype)
    start = 0
    for part in parts:
        whole[start : start + len(part)] = part
        start += len(part)
    if start != shape[0]:
        raise ValueError(f"{start} items for an array of {shape[0]}")
    return whole


def empty(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Column:
    """An array to be written to; beyond `SPILL_BYTES` mapped from a file that goes when the array does."""
    if int(np.prod(shape, dtype=np.int64)) * dtype.itemsize <= SPILL_BYTES:
        return np.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile(prefix="lynxbench-") as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def gathered(column: AnyColumn, positions: npt.NDArray[np.int64]) -> Column:
    """The items at `positions`, copied a few at a time; the column itself where that is all of it in order."""
    if isinstance(column, Lazy):
        return column[positions]
    if len(positions) == len(column) and np.array_equal(positions, np.arange(len(column))):
        return column
    if column.dtype.kind == "U":
        return column[positions]
    chunks = (column[positions[i : i + CHUNK_SAMPLES]] for i in range(0, len(positions), CHUNK_SAMPLES))
    return filled((len(positions), *column.shape[1:]), column.dtype, chunks)
