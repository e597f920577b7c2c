"""From a declaration to what ONNX Runtime is told: provider options, threads, cache folders, shape profiles.

Pure functions but for `model_digest`: the same arguments give the same option map, which is what the record holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lynxbench.specs.executor import ExecutorSpec, OptionValue

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class SessionPlan:
    """What a session is opened with. `provider_options` are texts, as ONNX Runtime takes them."""

    provider: str
    provider_options: Mapping[str, str]
    intra_op_num_threads: int
    cache_folder: Path | None


def plan_session(
    spec: ExecutorSpec,
    options: Mapping[str, OptionValue],
    *,
    threads: int,
    engine_cache: Path | None = None,
    shapes: Sequence[Shapes] = (),
) -> SessionPlan:
    """Defaults of `spec`, then `options`, then threads, engine cache and shape profiles.

    An option that the user gives is never overwritten. `engine_cache` is a folder that belongs to this model, these
    options and this device alone; `shapes` are all the input shapes that will be run (a profile spans them).
    """
    merged: dict[str, OptionValue] = {**spec.options, **options}
    if spec.threads not in {"intra_op_num_threads", "unsupported"}:
        merged.setdefault(spec.threads, threads)
        # ONNX Runtime's own pool runs what the provider leaves to the CPU; it gets the same share.
    if engine_cache is not None and spec.engine_cache.folders:
        for name in spec.engine_cache.switches:
            merged.setdefault(name, True)
        for name in spec.engine_cache.folders:
            merged.setdefault(name, str(engine_cache))
    if shapes and spec.engine_cache.profiles is not None:
        profiles = spec.engine_cache.profiles
        for name, text in zip((profiles.min, profiles.opt, profiles.max), profile_texts(shapes), strict=True):
            merged.setdefault(name, text)
    texts = {name: option_text(value) for name, value in merged.items()}
    return SessionPlan(spec.provider, texts, threads, engine_cache if spec.engine_cache.folders else None)


def option_text(value: OptionValue) -> str:
    """ONNX Runtime's spelling of an option's value: 1 and 0 for true and false."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def profile_texts(shapes: Sequence[Shapes]) -> tuple[str, str, str]:
    """TensorRT's least, best and largest shapes, ``name:1x3x224x224,other:1x8``.

    The best (what kernels are tuned for) is the first of `shapes`. Raises ValueError when names or ranks differ.
    """
    first = shapes[0]
    if any(set(item) != set(first) or any(len(item[name]) != len(first[name]) for name in first) for item in shapes):
        raise ValueError("all shapes of a profile need the same inputs with the same number of dimensions")
    least = {name: [min(sizes) for sizes in zip(*(item[name] for item in shapes), strict=True)] for name in first}
    most = {name: [max(sizes) for sizes in zip(*(item[name] for item in shapes), strict=True)] for name in first}

    def text(item: Shapes) -> str:
        return ",".join(f"{name}:{'x'.join(str(size) for size in sizes)}" for name, sizes in item.items())

    return text(least), text(first), text(most)


def engine_key(
    spec: ExecutorSpec,
    options: Mapping[str, OptionValue],
    *,
    model_digest: str,
    device: str,
    versions: Mapping[str, str],
    shapes: Sequence[Shapes] = (),
) -> str:
    """What a compiled engine depends on, as SHA-256 (hex): a change of any of it must build anew."""
    facts = {
        "provider": spec.provider,
        "options": {name: option_text(value) for name, value in {**spec.options, **options}.items()},
        "model": model_digest,
        "device": device,
        "versions": dict(versions),
        "shapes": [{name: list(sizes) for name, sizes in item.items()} for item in shapes],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def model_digest(path: Path) -> str:
    """SHA-256 (hex) of the ONNX file and of every file that shares its folder and stem (external data)."""
    digest = hashlib.sha256()
    for file in sorted({path, *path.parent.glob(f"{path.name}*"), *path.parent.glob(f"{path.stem}.data*")}):
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
