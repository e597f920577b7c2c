"""Reading tensors out of files that `torch.save` wrote, without unpickling them.

A pickle is a program: whoever loads it runs what it says. Here its instructions are read one by one, and only those
that a dictionary of tensors needs mean anything; the two calls among them rebuild a tensor and make a dictionary.
Everything else is refused by name, before any tensor is read.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.weights import Tensors

# How torch.save began a file before version 1.6 (torch/serialization.py, `_legacy_save`): four pickles, one more with
# the storages' keys, and each storage as the number of its elements and their bytes.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES: Mapping[str, str] = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
}
DICTIONARY, REBUILD = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"
CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"})


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Refused(ValueError):
    """What the pickle wants is not done."""


def read_torch(content: bytes, name: str) -> Tensors:
    """All float32 tensors of a dictionary of tensors called `name`, as torch before 1.6 saved it.

    Runs nothing of the file. Raises `UntrustedInput` where it asks for anything but tensors, and where it is not what
    it says.
    """
    file = io.BytesIO(content)
    try:
        if (_pickled(file), _pickled(file)) != (MAGIC, PROTOCOL):
            raise _Refused("it does not begin as torch.save before 1.6 began a file")
        system = _pickled(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise _Refused("it was not written by a little-endian machine")
        whole, keys = _pickled(file), _pickled(file)
        if not isinstance(whole, dict) or not isinstance(keys, list):
            raise _Refused("it is no dictionary of tensors")
        tensors = {key: value for key, value in whole.items() if isinstance(value, _Tensor)}
        if len(tensors) != len(whole):
            raise _Refused("it holds something that is no tensor")
        declared = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        stored = {key: _stored(file, declared[key]) for key in keys}
        return {
            str(key): _read(tensor, stored[tensor.storage.key]).astype(np.float32, copy=False)
            for key, tensor in tensors.items()
            if tensor.storage.dtype == "<f4"
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error, OverflowError) as error:
        raise UntrustedInput(f"{name}: it is no sound file of torch tensors: {error}; nothing of it was used") from None


def _stored(file: io.BytesIO, storage: _Storage) -> npt.NDArray[Any]:
    """The next storage of the file."""
    (count,) = struct.unpack("<q", file.read(8))
    size = count * np.dtype(storage.dtype).itemsize
    if count != storage.count or size > len(file.getbuffer()) - file.tell():
        raise _Refused(f"storage {storage.key} has another size than its tensors say")
    return np.frombuffer(file.read(size), dtype=storage.dtype)


def _read(tensor: _Tensor, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The tensor's own copy of its values."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    # A stride of zero could ask for more than there is.
    if math.prod(tensor.shape) > len(stored) or last >= max(len(stored), 1):
        raise _Refused("a tensor lies outside its storage")
    steps = tuple(step * stored.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(stored[tensor.offset :], tensor.shape, steps, writeable=False).copy()


def _pickled(file: io.BytesIO) -> Any:
    """The value of the next pickle; raises `_Refused` for all instructions that no dictionary of tensors needs."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = marks.pop()
        taken = stack[place:]
        del stack[place:]
        return taken

    def pairs(taken: list[Any]) -> None:
        if not isinstance(stack[-1], dict):
            raise _Refused("it fills something that is no dictionary")
        stack[-1].update(_pairs(taken))

    acts: dict[str, Callable[[Any], None]] = {
        "PROTO": lambda _: None,
        "MARK": lambda _: marks.append(len(stack)),
        "EMPTY_DICT": lambda _: stack.append({}),
        "EMPTY_LIST": lambda _: stack.append([]),
        "EMPTY_TUPLE": lambda _: stack.append(()),
        "TUPLE": lambda _: stack.append(tuple(since_mark())),
        "TUPLE1": lambda _: stack.append((stack.pop(),)),
        "TUPLE2": lambda _: stack.append(tuple(reversed((stack.pop(), stack.pop())))),
        "TUPLE3": lambda _: stack.append(tuple(reversed((stack.pop(), stack.pop(), stack.pop())))),
        "BINPUT": lambda place: memo.__setitem__(place, stack[-1]),
        "LONG_BINPUT": lambda place: memo.__setitem__(place, stack[-1]),
        "BINGET": lambda place: stack.append(memo[place]),
        "LONG_BINGET": lambda place: stack.append(memo[place]),
        "SETITEM": lambda _: pairs([*reversed((stack.pop(), stack.pop()))]),
        "SETITEMS": lambda _: pairs(since_mark()),
        "APPEND": lambda _: _list_of(stack, [stack.pop()]),
        "APPENDS": lambda _: _list_of(stack, since_mark()),
        "GLOBAL": lambda text: stack.append(_known(text.replace(" ", "."))),
        "BINPERSID": lambda _: stack.append(_storage(stack.pop())),
        "REDUCE": lambda _: stack.append(_called(given=stack.pop(), what=stack.pop())),
        # What a dictionary's attributes are (its version) does not matter.
        "BUILD": lambda _: stack.pop() and None,
    }
    for operation, argument, _ in _operations(file):
        if operation.name == "STOP":
            return stack.pop()
        if operation.name in CONSTANTS:
            stack.append(CONSTANTS[operation.name])
        elif operation.name in LITERALS:
            stack.append(argument)
        elif operation.name in acts:
            acts[operation.name](argument)
        else:
            raise _Refused(f"it holds the instruction {operation.name}, which no tensor needs")
    raise _Refused("it ends early")


def _operations(file: io.BytesIO) -> Iterator[tuple[Any, Any, Any]]:
    return pickletools.genops(file)


def _pairs(taken: list[Any]) -> Iterator[tuple[str, Any]]:
    if not all(type(key) is str for key in taken[::2]):
        raise _Refused("a name in it is no text")
    return zip(taken[::2], taken[1::2], strict=True)


def _list_of(stack: list[Any], taken: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise _Refused("it fills something that is no list")
    stack[-1].extend(taken)


def _known(name: str) -> _Global:
    if name not in {DICTIONARY, REBUILD, *STORAGES}:
        raise _Refused(f"it asks for {name!r}, which is no tensor")
    return _Global(name)


def _storage(given: Any) -> _Storage:
    """What a persistent id stands for: ("storage", type, key, device, count, None)."""
    kind, which, key, _, count, view = given
    if kind != "storage" or not isinstance(which, _Global) or which.name not in STORAGES or view is not None:
        raise _Refused("it refers to something that is no storage")
    if not isinstance(key, str) or not isinstance(count, int) or count < 0:
        raise _Refused("a storage is not described as torch describes it")
    return _Storage(key, STORAGES[which.name], count)


def _called(given: Any, what: Any) -> Any:
    if what == _Global(DICTIONARY) and given == ():
        return {}
    if what != _Global(REBUILD):
        raise _Refused("it calls something that makes no tensor")
    storage, offset, shape, strides, *_ = given
    whole = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(number) is int and number >= 0 for number in whole):
        raise _Refused("a tensor is not described as torch describes it")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))
