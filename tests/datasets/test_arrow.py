"""Parquet and Arrow files, and functions, as data sources."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import feather

from lynxbench.datasets.sources import read_table, read_target
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.data import ImageFiles

COLUMNS = {
    "text": ["a", "bc", "d"],
    "label": [2, 0, 1],
    "score": [0.5, 1.5, -2.0],
    "flag": [True, False, True],
    "row": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    "grid": [[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]],
    "tags": [[1], [2, 3], []],
}


def write(path: Path, columns: dict[str, object]) -> Path:
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    elif path.suffix == ".feather":
        feather.write_feather(table, path, compression="uncompressed")
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return path


def refused(path: Path) -> Problem:
    with pytest.raises(DeclarationError) as caught:
        read_table(path)
    return caught.value.problems[0]


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.arrow"])
def test_columns(tmp_path: Path, name: str) -> None:
    table = read_table(write(tmp_path / name, COLUMNS))
    assert table.columns["text"].tolist() == COLUMNS["text"]
    assert table.columns["flag"].tolist() == [1, 0, 1]
    for column in ("label", "score", "row", "grid"):
        np.testing.assert_array_equal(table.columns[column], np.asarray(COLUMNS[column]))
    assert [json.loads(item) for item in table.columns["tags"]] == COLUMNS["tags"]


def test_encoded_pictures_are_decoded_when_picked(tmp_path: Path) -> None:
    pixels, values = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3), dtype=np.uint8), []
    for item in pixels:
        buffer = io.BytesIO()
        Image.fromarray(item).save(buffer, "PNG")
        values.append({"bytes": buffer.getvalue(), "path": "x.png"})
    path = write(tmp_path / "a.parquet", {"image": values, "label": [0, 1, 2]})
    table = read_table(path)
    np.testing.assert_array_equal(table.columns["image"][np.array([2, 0])], pixels[[2, 0]])
    cut = read_table(path, ImageFiles(crop=(3, 2)))
    np.testing.assert_array_equal(cut.columns["image"][np.array([1])], pixels[[1], 1:4, 2:4])
    bare = write(tmp_path / "b.parquet", {"image": [item["bytes"] for item in values]})
    np.testing.assert_array_equal(read_table(bare).columns["image"][np.arange(3)], pixels)


def test_dictionaries_of_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"kind": pa.array(["x", "y", "x"]).dictionary_encode()})
    assert read_table(path).columns["kind"].tolist() == ["x", "y", "x"]


def test_files_that_are_no_data_set(tmp_path: Path) -> None:
    problem = refused(write(tmp_path / "a.parquet", {"text": ["a", None, "b"]}))
    assert (problem.key, problem.message) == ("text", "1 of 3 values are empty")
    for suffix in ("parquet", "arrow", "feather"):
        path = tmp_path / f"broken.{suffix}"
        path.write_bytes(b"PAR1 nothing")
        assert refused(path).message.startswith(f"is not a readable .{suffix} file")
    assert refused(write(tmp_path / "none.parquet", {"text": pa.array([], pa.string())})).message == "holds no samples"


FUNCTIONS = """
import numpy as np

def samples():
    return {"inputs": np.arange(6.0).reshape(3, 2), "labels": [0, 1, 1]}

def uneven():
    return {"inputs": np.zeros((3, 2)), "labels": [0]}

def nothing():
    return None

def objects():
    return {"inputs": np.array([{}, {}])}

def broken():
    raise RuntimeError("no disk")
"""


def test_a_function_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_data_set.py").write_text(FUNCTIONS)
    declared_in = tmp_path / "suite.toml"

    def wrong(target: str) -> str:
        with pytest.raises(DeclarationError) as caught:
            read_target(target, declared_in, "test_set.target")
        (problem,) = caught.value.problems
        return problem.message

    table = read_target("my_data_set.py:samples", declared_in, "test_set.target")
    assert table.columns["inputs"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert table.columns["labels"].tolist() == [0, 1, 1]
    assert wrong("my_data_set:samples").startswith("cannot be imported: ModuleNotFoundError")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(read_target("my_data_set:samples", declared_in, "test_set.target")) == 3
    assert wrong("my_data_set.py:uneven").startswith("its columns differ in length")
    assert wrong("my_data_set.py:nothing") == "returned NoneType"
    assert wrong("my_data_set.py:objects") == "column 'inputs' is object [2]"
    assert wrong("my_data_set.py:broken") == "raised RuntimeError: no disk"
    assert wrong("my_data_set.py:absent").startswith("cannot be imported: AttributeError")
    assert wrong("absent.py:samples").startswith("cannot be imported: FileNotFoundError")
    assert wrong("samples") == "names no function"
