"""Artifacts in the cache: what names them, how they are written for good, and how damage is noticed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError, StoreError
from lynxbench.quantization.graphs import all_tensors
from lynxbench.quantization.manifest import Manifest
from lynxbench.quantization.refusals import check_data_file, check_graph, check_graph_file
from lynxbench.specs.scheme import Scheme

# Goes into every key: raised when this room would write another file from the same inputs.
METHOD_VERSION = 3


def libraries() -> dict[str, str]:
    """Versions of the libraries that rewrite models, without importing them.

    ONNX Runtime comes in wheels of many names that own the same folder, so its version is read from that folder.
    """
    spec = importlib.util.find_spec("onnxruntime")
    found = None
    if spec is not None and spec.origin is not None:
        found = re.search(r'^__version__ = "([^"]+)"', Path(spec.origin).read_text("utf-8"), re.MULTILINE)
    return {"onnx": metadata.version("onnx"), "onnxruntime": found.group(1) if found else "none"}


OnDamage = Callable[[str], None]


def ignored(reason: str) -> None:
    """For callers who need not know why something is built again."""


def digest_of(content: Any) -> str:
    """SHA-256 (hex) of `content` as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) of one file; of several, of their names and hashes in order."""
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    return hashes[0][1] if len(hashes) == 1 else digest_of(hashes)


def model_files(model_path: Path) -> tuple[Path, ...]:
    """The model's graph and its external data files, the graph first; reads no weights.

    Raises `CellError` when the file is no ONNX model, asks for what `refusals` refuses, or its external data is missing
    or outside the model's folder.
    """
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    check_graph_file(model_path)
    try:
        model = onnx.load(model_path, load_external_data=False)
    except Exception as error:  # protobuf and onnx raise types of their own
        raise CellError("failed", f"{model_path.name} is not an ONNX model: {error}") from None
    if not model.graph.node:
        raise CellError("failed", f"{model_path.name} is not an ONNX model, or has no nodes")
    check_graph(model, model_path.name)
    names = {ExternalDataInfo(tensor).location for tensor in all_tensors(model.graph) if uses_external_data(tensor)}
    return (model_path, *(check_data_file(model_path, name) for name in sorted(names)))


def model_sha256(model_path: Path) -> str:
    """SHA-256 (hex) of a model's graph and external data: what identifies a model."""
    return file_sha256(model_files(model_path))


def artifact_key(model_sha256: str, scheme: Scheme, calibration_digest: str | None) -> str:
    """What an artifact depends on, as one hex digest: model, options (not the scheme's name), library versions, and
    the calibration where the scheme needs one.
    """
    return digest_of(
        {
            "method_version": METHOD_VERSION,
            "model": model_sha256,
            "options": scheme.options(),
            "libraries": libraries(),
            "calibration": calibration_digest if scheme.needs_calibration else None,
        }
    )


def artifact_path(cache_dir: Path, key: str) -> Path:
    """Where the artifact of `key` lies; its manifest lies beside it."""
    return cache_dir / f"{key}.onnx"


def lookup(cache_dir: Path, key: str, on_damage: OnDamage = ignored) -> tuple[Path, Manifest] | None:
    """The finished artifact of `key` and its manifest, or None when it has to be built.

    File and manifest are hashed: one flipped byte makes them missing, and `on_damage` is told so in words.
    """
    path = artifact_path(cache_dir, key)
    try:
        manifest = Manifest.from_json(Manifest.beside(path).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        on_damage(f"{Manifest.beside(path).name} is not readable, or not what was written")
        return None
    try:
        sha256 = file_sha256([path])
    except FileNotFoundError:
        on_damage(f"{path.name} is missing, its manifest is there")
        return None
    if sha256 != manifest.artifact_sha256:
        on_damage(f"{path.name} does not have the hash that its manifest names")
        return None
    return path, manifest


def write_durably(path: Path, content: bytes, scratch: Path) -> None:
    """Write `content` so that `path` holds all of it or does not change, also when power fails.

    `scratch` is a private folder on the same file system. Raises `StoreError`.
    """
    part = scratch / f"{path.name}.part"
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"could not write {path}: {error.strerror or error}") from None


def keep(path: Path, content: bytes) -> None:
    """Write an intermediate result durably, its hash at its end. Raises `StoreError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".keep-", dir=path.parent) as scratch:
        write_durably(path, content + hashlib.sha256(content).digest(), Path(scratch))


def kept(path: Path, on_damage: OnDamage = ignored) -> bytes | None:
    """What `keep` wrote; None when there is nothing, or something damaged, which `on_damage` is told in words."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    content, sha256 = whole[:-32], whole[-32:]
    if hashlib.sha256(content).digest() == sha256:
        return content
    on_damage(f"{path.name} does not have the hash at its end")
    return None
