from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from lynxbench.errors import CellError, StoreError
from lynxbench.quantization import (
    Manifest,
    artifact_key,
    artifact_path,
    artifacts,
    build_artifact,
    lookup,
    model_sha256,
)
from tests.quantization.models import conv_net, saved, scheme

MODEL, DIGEST = "a" * 64, "c" * 64
OTHER: dict[str, list[dict[str, Any]]] = {
    "fp16": [{"keep_io_types": False}, {"op_types_kept_float": ("Conv",)}],
    "int8-dynamic": [
        {"weight_type": "uint8"},
        {"per_channel": False},
        {"reduce_range": True},
        {"op_types": ("MatMul",)},
    ],
    "int8-static": [
        {"weight_type": "uint8"},
        {"activation_type": "int8"},
        {"per_channel": False},
        {"reduce_range": True},
        {"op_types": ("Conv",)},
        {"op_types": ("Conv", "MatMul")},
        {"format": "qoperator"},
        {"method": "entropy"},
        {"method": "percentile"},
        {"method": "percentile", "percentile": 99.9},
    ],
}


def test_every_option_changes_the_key() -> None:
    schemes = [scheme("fp32")]
    for kind, others in OTHER.items():
        schemes += [scheme(kind), *(scheme(kind, **options) for options in others)]
    keys = [artifact_key(MODEL, wanted, DIGEST) for wanted in schemes]
    assert len(set(keys)) == len(keys)
    # Every option there is has been changed above.
    changed = {name for others in OTHER.values() for options in others for name in options}
    known = {name for wanted in schemes for name in wanted.options()} - {"kind"}
    assert known == changed


def test_the_key_depends_on_what_matters_only(monkeypatch: pytest.MonkeyPatch) -> None:
    static, dynamic = scheme("int8-static"), scheme("int8-dynamic")
    key = artifact_key(MODEL, static, DIGEST)
    assert artifact_key(MODEL, static.model_copy(update={"name": "another"}), DIGEST) == key
    assert artifact_key("b" * 64, static, DIGEST) != key
    assert artifact_key(MODEL, static, "e" * 64) != key
    assert artifact_key(MODEL, dynamic, DIGEST) == artifact_key(MODEL, dynamic, None)
    monkeypatch.setattr(artifacts, "libraries", lambda: {"onnx": "0", "onnxruntime": "0"})
    assert artifact_key(MODEL, static, DIGEST) != key


def test_keys_and_lookup_import_no_heavy_library(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from lynxbench.quantization import artifact_key, lookup
from lynxbench.specs.scheme import Scheme
key = artifact_key("a" * 64, Scheme(name="s", kind="int8-dynamic"), None)
assert lookup(Path({str(tmp_path)!r}), key) is None
assert not {{"onnx", "onnxruntime", "sympy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, str]:
    """A cache with one artifact, and its key."""
    model, calibration = saved(tmp_path, "mlp")
    wanted = scheme("int8-static")
    key = artifact_key(model_sha256(model), wanted, calibration.digest)
    build_artifact(model, wanted, artifact_path(tmp_path / "cache", key), calibration=calibration)
    return tmp_path / "cache", key


def test_lookup_finds_what_was_built(stored: tuple[Path, str]) -> None:
    found = lookup(*stored, on_damage=pytest.fail)
    assert found is not None
    path, manifest = found
    assert path == artifact_path(*stored)
    assert manifest.artifact_bytes == path.stat().st_size
    assert lookup(stored[0], "f" * 64, on_damage=pytest.fail) is None


@pytest.mark.parametrize("where", [0, 100, -1])
def test_one_flipped_bit_is_found(stored: tuple[Path, str], where: int) -> None:
    path = artifact_path(*stored)
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    damage: list[str] = []
    assert lookup(*stored, on_damage=damage.append) is None
    assert damage == [f"{path.name} does not have the hash that its manifest names"]
    assert lookup(*stored) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model_sha256": 1}', "null"])
def test_a_damaged_manifest_is_found(stored: tuple[Path, str], text: str) -> None:
    Manifest.beside(artifact_path(*stored)).write_text(text)
    damage: list[str] = []
    assert lookup(*stored, on_damage=damage.append) is None
    assert len(damage) == 1
    assert "not readable" in damage[0]


def test_a_manifest_without_its_artifact_is_found(stored: tuple[Path, str]) -> None:
    artifact_path(*stored).unlink()
    damage: list[str] = []
    assert lookup(*stored, on_damage=damage.append) is None
    assert "is missing" in damage[0]


def test_an_artifact_without_its_manifest_is_not_finished(stored: tuple[Path, str]) -> None:
    Manifest.beside(artifact_path(*stored)).unlink()
    assert lookup(*stored, on_damage=pytest.fail) is None


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(StoreError, match="could not write"):
        artifacts.write_durably(path, b"after", tmp_path / "no such folder")
    assert path.read_bytes() == b"before"


def test_external_data_belongs_to_the_model(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside.onnx", tmp_path / "outside.onnx"
    onnx.save(conv_net(), inside)
    onnx.save(conv_net(), outside, save_as_external_data=True, location="weights.bin", size_threshold=0)
    before = model_sha256(outside)
    assert before != model_sha256(inside)
    built = {}
    for path in (inside, outside):
        out = tmp_path / "out" / path.name
        manifest = build_artifact(path, scheme("int8-dynamic"), out, calibration=None)
        built[path] = {item.name: item.raw_data for item in onnx.load(out).graph.initializer}
        assert manifest.model_sha256 == model_sha256(path)
    assert built[inside] == built[outside]
    out = tmp_path / "out" / "fp32.onnx"
    manifest = build_artifact(outside, scheme("fp32"), out, calibration=None)
    assert manifest.model_bytes == outside.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert onnx.load(out, load_external_data=False).graph.initializer[0].raw_data  # one file, weights inside
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)
    assert model_sha256(outside) != before


def test_missing_and_escaping_external_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(conv_net(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere.bin")
    with pytest.raises(CellError, match=r"needs weights\.bin beside it"):
        model_sha256(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    for location in ("../elsewhere.bin", str(tmp_path / "elsewhere.bin")):
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(CellError, match="outside its own folder"):
            model_sha256(folder / "model.onnx")


def test_a_kept_result_is_whole_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    assert artifacts.kept(path) is None
    artifacts.keep(path, b"content")
    assert artifacts.kept(path) == b"content"
    path.write_bytes(path.read_bytes()[:-1])
    assert artifacts.kept(path) is None
    path.write_bytes(b"")
    assert artifacts.kept(path) is None
