"""Data files: what is in them, and everything that can be wrong with them. Nothing in a file is ever run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.datasets.sources import read_table
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem


def refused(file: Path) -> Problem:
    with pytest.raises(DeclarationError) as caught:
        read_table(file)
    (problem,) = caught.value.problems
    assert problem.file == str(file)
    return problem


def npz(file: Path, **columns: Any) -> Path:
    np.savez(file, **columns)
    return file


def lines(file: Path, *rows: str) -> Path:
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


class Trap:
    """An object that leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_npz_columns(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    table = read_table(npz(tmp_path / "a.npz", images=images, names=["x", "y"]))
    assert len(table) == 2
    np.testing.assert_array_equal(table.columns["images"], images)
    assert table.columns["names"].tolist() == ["x", "y"]


def test_json_lines_columns(tmp_path: Path) -> None:
    table = read_table(
        lines(
            tmp_path / "a.jsonl",
            '{"prompt": "é", "steps": 1, "right": true, "score": 1.5, "big": 1}',
            "",
            '{"prompt": "b", "steps": 2, "right": false, "score": 2, "big": 100000000000000000000}',
        )
    )
    columns = {name: (column.dtype.kind, column.tolist()) for name, column in table.columns.items()}
    assert columns == {
        "prompt": ("U", ["é", "b"]),
        "steps": ("i", [1, 2]),
        "right": ("i", [1, 0]),
        "score": ("U", ["1.5", "2"]),
        "big": ("U", ["1", "100000000000000000000"]),
    }


def test_a_pickled_object_is_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    file = npz(tmp_path / "a.npz", images=np.asarray([Trap(mark)], dtype=object))
    problem = refused(file)
    assert problem.message.startswith("is not a readable .npz: Object arrays cannot be loaded")
    assert problem.hint == "save it with numpy.savez, without object arrays"
    np.load(file, allow_pickle=True)["images"]
    assert mark.exists()  # the trap does work


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a readable .npz"),
        (b"no archive at all", "is not a readable .npz: File is not a zip file"),
        (_npy(np.arange(3)), "is not a readable .npz: File is not a zip file"),
        (_zip(**{"a.npy": _npy(np.arange(9))})[:-30], "is not a readable .npz"),
        (_zip(**{"a.npy": b"\x93NUMPY\x01\x00"}), "is not a readable .npz"),
        (_zip(**{"notes.txt": b"hello"}), "is not a readable .npz: it holds 'notes.txt', which is no array"),
        (_zip(**{"a.npy": _npy(np.asarray(3))}), "array 'a' is a single value, not one entry a sample"),
        (_zip(), "holds no samples"),
        (_zip(**{"a.npy": _npy(np.empty((0, 28, 28)))}), "holds no samples"),
        (_zip(**{"a.npy": _npy(np.arange(3)), "b.npy": _npy(np.arange(2))}), "its columns differ in length: a 3, b 2"),
    ],
)
def test_broken_npz(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(content)
    assert refused(file).message.startswith(said)


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_npz_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: float, bit: int, cut: bool
) -> None:
    buffer = io.BytesIO()
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    np.savez_compressed(buffer, images=images, labels=np.arange(5))
    content = bytearray(buffer.getvalue())
    position = int(at * len(content))
    if cut:
        del content[position:]
    else:
        content[position] ^= 1 << bit
    file = tmp_path_factory.getbasetemp() / "damaged.npz"
    file.write_bytes(content)
    try:
        table = read_table(file)
    except DeclarationError:
        return
    # A check sum guards the arrays; the names of columns alone may have changed.
    assert any(np.array_equal(column, images) for column in table.columns.values())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (['{"a": 1}', "{"], "line 2 is not valid JSON: "),
        (['{"a": 1}', "", "[1]"], "line 3 is not an object"),
        (['{"a": 1}', '{"b": 1}'], "line 2 has other keys than line 1: a, b"),
        (['{"a": 1, "b": 2}', '{"a": 1}'], "line 2 has other keys than line 1: b"),
        (["\ufeff{}"], "line 1 is not valid JSON: "),
        (["[" * 100_000], "line 1 is not valid JSON: "),
        (['{"a": ' + "9" * 5000 + "}"], "line 1 is not valid JSON: "),
        (['{"a": "\\ud800"}'], "line 1 is not valid JSON: "),
        ([""], "holds no samples"),
        (["{}", "{}"], "holds no samples"),
    ],
)
def test_broken_json_lines_name_the_line(tmp_path: Path, rows: list[str], said: str) -> None:
    assert refused(lines(tmp_path / "a.jsonl", *rows)).message.startswith(said)


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": "b"}\n{"a": "\xff"}\n')
    assert refused(file).message.startswith("line 2 is not valid JSON: ")


def test_unknown_formats_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    problem = refused(tmp_path / "a.csv")
    assert problem.message == "unknown data format '.csv'"
    assert (problem.hint) == (
        "known formats: .arrow, .feather, .jsonl, .npz, .parquet, and folders of pictures or sounds"
    )
    assert refused(tmp_path / "a.npz").message == "no such file"


def test_a_missing_column_names_those_that_there_are() -> None:
    columns: Mapping[str, np.ndarray] = {"images": np.zeros(2), "labels": np.zeros(2)}
    table = Table(Path("data.npz"), columns)
    assert table.column("labels", "label") is columns["labels"]
    with pytest.raises(DeclarationError) as caught:
        table.column("lables", "label")
    (problem,) = caught.value.problems
    assert problem == Problem(
        "data.npz",
        "lables",
        "the file has no column 'lables' (wanted as label)",
        expected="one of: images, labels",
        hint="did you mean 'labels'?",
    )


@given(rows=st.lists(st.fixed_dictionaries({"prompt": st.text(), "steps": st.integers(-(2**70), 2**70)}), min_size=1))
def test_json_lines_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "rows.jsonl"
    file.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    table = read_table(file)
    # NumPy's text ends before trailing zeros.
    assert table.columns["prompt"].tolist() == [row["prompt"].rstrip("\0") for row in rows]
    assert [int(value) for value in table.columns["steps"].tolist()] == [row["steps"] for row in rows]
