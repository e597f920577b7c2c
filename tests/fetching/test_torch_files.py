"""Tensors come out of torch's own files as torch reads them; what a hostile file wants done is not done."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.torch_files import read_torch


def saved(what: object) -> bytes:
    file = io.BytesIO()
    torch.save(what, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_tensors_are_those_of_torch() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    base = torch.randn(6, 5)
    views = {"turned": base.T, "part": base[2:, 1:4], "one": base[3, 2], "none": base[:0]}
    for given in (network.state_dict(), OrderedDict(views), {**views, "doubles": base.double(), "whole": base.long()}):
        found = read_torch(saved(given), "weights.pth")
        wanted = {key: value.numpy() for key, value in given.items() if value.dtype == torch.float32}
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            np.testing.assert_array_equal(found[key], value)


class Runs:
    """Unpickling it calls a function with one argument."""

    def __init__(self, function: Any, argument: object) -> None:
        self.called = (function, (argument,))

    def __reduce__(self) -> Any:
        return self.called


def test_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for function, argument in ((os.mkdir, str(mark)), (eval, f"open({str(mark)!r}, 'w')"), (os.system, f"touch {mark}")):
        for given in (Runs(function, argument), {"weight": torch.zeros(2), "more": Runs(function, argument)}):
            with pytest.raises(UntrustedInput, match=r"bad\.pth: .* which is no tensor; nothing of it was used"):
                read_torch(saved(given), "bad.pth")
        # The same before the tensors: where torch writes what kind of machine it ran on.
        with pytest.raises(UntrustedInput, match="nothing of it was used"):
            read_torch(pickle.dumps(Runs(function, argument), protocol=2), "bad.pth")
    assert not mark.exists()
    # The file is hostile indeed.
    torch.load(io.BytesIO(saved(Runs(os.mkdir, str(mark)))), weights_only=False)
    assert mark.exists()


def _pickled(instructions: bytes) -> bytes:
    """A file of torch whose dictionary of tensors is that pickle, and which has no storages."""
    parts = saved({})
    file = io.BytesIO(parts)
    for _ in range(3):
        pickle.load(file)
    return parts[: file.tell()] + instructions + pickle.dumps([], protocol=2)


@pytest.mark.parametrize(
    ("instructions", "told"),
    [
        (b"\x80\x02cos\nsystem\n.", "'os.system', which is no tensor"),
        (b"\x80\x02c__builtin__\neval\n.", "which is no tensor"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "instruction SHORT_BINUNICODE"),
        (b"(S'touch x'\nios\nsystem\n.", "instruction STRING"),
        (b"\x80\x02]}b.", "is no dictionary of tensors"),
        (b"\x80\x02}(K\x01K\x02u.", "a name in it is no text"),
        (b"\x80\x02}(X\x01\x00\x00\x00aK\x02u.", "holds something that is no tensor"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "calls something that makes no tensor"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "not enough values"),
        (b"\x80\x02u.", "nothing of it was used"),
        (b"\x80\x02.", "nothing of it was used"),
    ],
)
def test_instructions_that_no_tensor_needs(instructions: bytes, told: str) -> None:
    with pytest.raises(UntrustedInput, match=told):
        read_torch(_pickled(instructions), "bad.pth")


def test_tensors_outside_their_storage() -> None:
    whole = saved({"weight": torch.arange(12.0).reshape(3, 4)})
    # The shape (3, 4) and the strides (4, 1) as pickle writes them.
    shape, strides = b"K\x03K\x04\x86", b"K\x04K\x01\x86"
    assert (whole.count(shape), whole.count(strides)) == (1, 1)
    for bad in (
        whole.replace(shape, b"K\x04K\x04\x86"),
        whole.replace(shape, b"K\xffK\xff\x86").replace(strides, b"K\x00K\x00\x86"),
        whole.replace(strides, b"K\x09K\x01\x86"),
    ):
        with pytest.raises(UntrustedInput, match="lies outside its storage"):
            read_torch(bad, "bad.pth")
    for cut in (0, 10, 30, len(whole) // 2, len(whole) - 60, len(whole) - 4):
        with pytest.raises(UntrustedInput, match="nothing of it was used"):
            read_torch(whole[:cut], "bad.pth")


def test_other_files_of_torch_are_told_apart() -> None:
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(UntrustedInput, match=r"before 1\.6|nothing of it was used"):
        read_torch(file.getvalue(), "new.pth")
