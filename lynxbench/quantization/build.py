"""One artifact, from source to checked file."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.quantization import convert
from lynxbench.quantization.artifacts import (
    OnDamage,
    file_sha256,
    ignored,
    libraries,
    model_files,
    write_durably,
)
from lynxbench.quantization.bfloat import to_bfloat16
from lynxbench.quantization.calibration import CalibrationData
from lynxbench.quantization.check import check
from lynxbench.quantization.collect import Reading
from lynxbench.quantization.counting import count_quantized
from lynxbench.quantization.failures import failing_as, remarks
from lynxbench.quantization.graphs import op_counts
from lynxbench.quantization.kept import nodes_kept_float, nodes_without_spread
from lynxbench.quantization.manifest import Manifest
from lynxbench.quantization.observe import observation
from lynxbench.quantization.prepare import LARGEST_MODEL_BYTES, prepared_model
from lynxbench.quantization.ranges import Kept, Ranges, calibrated_ranges
from lynxbench.quantization.smooth import smoothed
from lynxbench.quantization.supported import why_unsupported
from lynxbench.quantization.weights import BLOCK_OPS, to_weights_only
from lynxbench.specs.scheme import Scheme

_QUANTIZED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", *BLOCK_OPS}
)


@dataclass
class _Job:
    """What one build was asked, and what it notes on its way."""

    model_path: Path
    scheme: Scheme
    calibration: CalibrationData | None
    threads: int
    cache_dir: Path | None
    on_damage: OnDamage
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    kept_float: frozenset[str] = frozenset()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)


def build_artifact(
    model_path: Path,
    scheme: Scheme,
    out_path: Path,
    *,
    calibration: CalibrationData | None,
    threads: int = 1,
    cache_dir: Path | None = None,
    on_damage: OnDamage = ignored,
) -> Manifest:
    """Write `model_path` in the numbers of `scheme` to `out_path`, one file, with its manifest beside it.

    The model is prepared, rewritten, loaded on the CPU and run once (on a calibration batch, else on zeros) before it
    is written; both files appear whole or not at all. Any number of processes may build from one source at a time.
    `calibration` is needed where `scheme.needs_calibration`. In `cache_dir`, where given, prepared models and observed
    ranges are kept for other schemes; `on_damage` hears of those found damaged. Equal inputs give equal bytes.

    Raises `CellError` (unsupported: this scheme cannot be had for this model; failed; oom) and `StoreError`.
    """
    job = _Job(model_path, scheme, calibration, threads, cache_dir, on_damage)
    reason = why_unsupported(scheme)
    if reason is not None:
        raise CellError("unsupported", reason)
    with job.phase("read"):
        files = model_files(model_path)
        source_sha256 = file_sha256(files)
        source = _whole(model_path, files)
        before = op_counts(source)
    if scheme.needs_calibration and calibration is None:
        raise CellError("failed", f"scheme {scheme.name} needs a calibration set, and none was given")
    if scheme.kind != "fp32" and _QUANTIZED_OPS.intersection(before):
        raise CellError("unsupported", f"{model_path.name} is quantized already")
    if scheme.kind == "fp32":
        artifact, content = (
            source,
            model_path.read_bytes() if len(files) == 1 else source.SerializeToString(deterministic=True),
        )
    else:
        artifact = _rewritten(job, source, source_sha256)
        content = artifact.SerializeToString(deterministic=True)
    quantized, noted = count_quantized(artifact, scheme, job.kept_float)
    job.warnings.extend(noted)
    with job.phase("check"):
        feed = next(calibration.feeds(), None) if calibration is not None else None
        ran, noted = check(content, source.SerializeToString(), feed, threads, kind=scheme.kind)
        job.warnings.extend(noted)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out_path.parent) as scratch:
        with job.phase("write"):
            write_durably(out_path, content, Path(scratch))
        manifest = Manifest(
            model_sha256=source_sha256,
            model_bytes=sum(path.stat().st_size for path in files),
            artifact_sha256=hashlib.sha256(content).hexdigest(),
            artifact_bytes=len(content),
            options=scheme.options(),
            calibration=_disclosed(scheme, calibration),
            libraries=libraries(),
            op_types_before=before,
            op_types_after=op_counts(artifact),
            nodes_quantized=quantized,
            seconds=dict(job.seconds),
            ran=ran,
            warnings=tuple(job.warnings),
        )
        write_durably(Manifest.beside(out_path), manifest.to_json().encode(), Path(scratch))
    return manifest


def _whole(model_path: Path, files: tuple[Path, ...]) -> Any:
    """The model with its external data inside."""
    import onnx

    if sum(path.stat().st_size for path in files) > LARGEST_MODEL_BYTES:
        raise CellError("unsupported", f"{model_path.name} is larger than 2 GB, more than one ONNX file can hold")
    with failing_as(f"reading {model_path.name}"):
        return onnx.load(model_path)


def _rewritten(job: _Job, source: Any, source_sha256: str) -> Any:
    scheme = job.scheme
    with job.phase("prepare"):
        prepared, noted = prepared_model(job.model_path, source_sha256, job.cache_dir, job.on_damage)
        job.warnings.extend(noted)
    # Asked before the long part: a declaration that cannot work should say so at once.
    job.kept_float = nodes_kept_float(
        prepared, scheme.nodes_kept_float or (), (node.name for node in source.graph.node)
    )
    if job.kept_float - set(scheme.nodes_kept_float or ()):
        job.warnings.append(f"nodes_kept_float are {', '.join(sorted(job.kept_float))}")
    if scheme.op_types_kept_float:
        present = {node.op_type for node in prepared.graph.node}
        absent = sorted(set(scheme.op_types_kept_float) - present)
        job.warnings.extend(f"op_types_kept_float: the model has no {op_type}" for op_type in absent)
    if scheme.kind in ("int8-static", "fp8"):
        op_types = convert.declared_op_types(prepared, scheme)
        if scheme.smooth_alpha is not None:
            prepared = _smoothed(job, prepared, op_types)
        with job.phase("calibrate"):
            ranges = _ranges(job, prepared, op_types)
        without_range = {
            node.name
            for node in prepared.graph.node
            if node.op_type in op_types and ranges.undefined.keys() & {*node.input, *node.output}
        }
        if scheme.kind == "fp8":
            alike = nodes_without_spread(prepared, op_types, bool(scheme.per_channel))
            job.warnings.extend(f"left in float: {name}: values of a constant do not differ" for name in alike)
            job.kept_float |= frozenset(alike)
        job.warnings.extend(f"left in float: nodes at {name}: {why}" for name, why in sorted(ranges.undefined.items()))
    with job.phase("convert"), remarks(job.warnings):
        if scheme.kind == "fp16":
            artifact = convert.to_float16(prepared, scheme)
        elif scheme.kind == "bf16":
            artifact = to_bfloat16(prepared, scheme)
        elif scheme.kind == "int8-dynamic":
            artifact = convert.to_int8_dynamic(prepared, scheme, job.kept_float)
        elif scheme.kind == "weights-only":
            artifact = to_weights_only(prepared, scheme, job.kept_float, job.calibration)
        else:
            artifact = convert.to_int8_static(prepared, scheme, ranges, without_range | job.kept_float)
    return artifact


def _smoothed(job: _Job, prepared: Any, op_types: tuple[str, ...]) -> Any:
    """The smoothed model, which computes the same; its new nodes are noted as left in float."""
    assert job.calibration is not None
    assert job.scheme.smooth_alpha is not None
    reading = Reading(prepared, job.calibration, job.threads)
    with job.phase("smooth"):
        found = smoothed(reading, job.scheme.smooth_alpha, op_types, job.kept_float)
    job.warnings.extend(found.warnings)
    # Quantized, they would read the very outliers that they are to take away.
    job.kept_float |= found.inserted
    return found.model


def _ranges(job: _Job, prepared: Any, op_types: tuple[str, ...]) -> Ranges:
    """The ranges that a static scheme needs."""
    assert job.calibration is not None  # build_artifact refused
    cache = None
    if job.cache_dir is not None:
        sha256 = hashlib.sha256(prepared.SerializeToString(deterministic=True)).hexdigest()
        cache = Kept(job.cache_dir, sha256, job.on_damage)
    return calibrated_ranges(
        prepared,
        observation(prepared, op_types),
        job.calibration,
        method=job.scheme.method or "minmax",
        spreads=job.scheme.kind == "fp8",
        percentile=job.scheme.percentile,
        averaging_constant=job.scheme.averaging_constant,
        threads=job.threads,
        cache=cache,
    )


def _disclosed(scheme: Scheme, calibration: CalibrationData | None) -> dict[str, Any] | None:
    if calibration is None or not scheme.needs_calibration:
        return None
    return {
        "digest": calibration.digest,
        "count": calibration.count,
        "method": scheme.method or scheme.algorithm or "distribution",
    }
