"""Which schemes can be had of a model: each kind, and each other value of each of its options, built and checked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.quantization.build import build_artifact
from lynxbench.quantization.calibration import CalibrationData
from lynxbench.specs.scheme import Scheme

# What is tried beside each kind's defaults, one line an attempt.
VARIANTS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "fp32": (),
    "fp16": ({"keep_io_types": False},),
    "bf16": ({"keep_io_types": False},),
    "fp8": ({"per_channel": False}, {"op_types": "all"}),
    "int8-dynamic": ({"weight_type": "uint8"}, {"per_channel": False}, {"reduce_range": True}),
    "int8-static": (
        {"format": "qoperator"},
        *({"method": method} for method in ("moving-average", "percentile", "entropy", "distribution")),
        {"per_channel": False},
        {"reduce_range": True},
        {"op_types": ("Conv", "Gemm", "MatMul")},
        {"symmetric_activations": True},
        {"symmetric_weights": False},
        {"smooth_alpha": 0.5},
        *({"weight_type": kind} for kind in ("uint8", "int16", "uint16", "int4", "uint4")),
        *({"activation_type": kind} for kind in ("int8", "int16", "uint16")),
        {"activation_type": "int8", "weight_type": "uint8"},
        {"activation_type": "int8", "format": "qoperator"},
        {"activation_type": "uint16", "format": "qoperator"},
        {"weight_type": "int4", "format": "qoperator"},
    ),
    "weights-only": (
        {"bits": 8},
        *({"block_size": size} for size in (16, 32, 64, 256)),
        {"symmetric_weights": True},
        {"accuracy_level": 4},
        {"bits": 8, "accuracy_level": 4},
        {"op_types": ("Gather", "MatMul")},
        {"algorithm": "hqq"},
        {"algorithm": "hqq", "bits": 8},
        {"algorithm": "gptq"},
        {"algorithm": "gptq", "symmetric_weights": False},
    ),
}


@dataclass(frozen=True)
class Support:
    """Whether one scheme can be had of one model.

    kind             of scheme
    options          those that differ from the kind's defaults
    status           "ok" when it was built and ran once on the CPU, "built" when it was built and not run, else that of
                     the `CellError`: unsupported, failed or oom
    reason           why not, or why it was not run; empty when it ran
    nodes_quantized  how many nodes the scheme reached; 0 where there is none
    """

    kind: str
    options: Mapping[str, Any]
    status: str
    reason: str
    nodes_quantized: int


def attempts() -> Iterator[tuple[Scheme, Mapping[str, Any]]]:
    """Every scheme that is tried, with the options in which it differs from its kind's defaults."""
    for kind, variants in VARIANTS.items():
        for options in ({}, *variants):
            yield Scheme.model_validate({"name": kind, "kind": kind, **options}), options


def support_of(
    model_path: Path, calibration: CalibrationData, *, threads: int = 1, kinds: Sequence[str] = tuple(VARIANTS)
) -> list[Support]:
    """Build every attempt of `kinds` from one model; `calibration` may be small, as only success counts.

    Loads ONNX Runtime and takes a second or so an attempt. What needs a library that is not installed is unsupported.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="lynxbench-support-") as folder:
        for scheme, options in attempts():
            if scheme.kind not in kinds:
                continue
            try:
                manifest = build_artifact(
                    model_path,
                    scheme,
                    Path(folder) / "artifact.onnx",
                    calibration=calibration,
                    threads=threads,
                    cache_dir=Path(folder) / "kept",
                )
            except CellError as error:
                found.append(Support(scheme.kind, options, error.status, error.reason, 0))
                continue
            reason = next((note for note in manifest.warnings if note.startswith("not run once")), "")
            status = "ok" if manifest.ran else "built"
            found.append(Support(scheme.kind, options, status, reason, manifest.nodes_quantized))
    return found


def support_table(found: Mapping[str, Sequence[Support]]) -> str:
    """Model → its attempts, as a Markdown table of one row an attempt and one column a model; reasons follow it.

    A cell holds the number of quantized nodes where the scheme can be had, else its status with a note's number.
    """
    notes: dict[str, int] = {}
    models = list(found)
    lines = ["| scheme | options | " + " | ".join(models) + " |", "| --- | --- |" + " --- |" * len(models)]
    for row in zip(*found.values(), strict=True):
        cells = []
        for item in row:
            note = f" [{notes.setdefault(item.reason, len(notes) + 1)}]" if item.reason else ""
            said = f"{item.nodes_quantized} nodes" if item.nodes_quantized else "yes" if item.status == "ok" else ""
            cells.append((said or item.status) + (" not run" if item.status == "built" else "") + note)
        lines.append(f"| `{row[0].kind}` | {_shown(row[0].options)} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {reason}" for reason, number in notes.items())]
    return "\n".join(lines).rstrip() + "\n"


def _shown(options: Mapping[str, Any]) -> str:
    shown = []
    for name, value in options.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        shown.append(f"`{name} = {', '.join(value) if isinstance(value, tuple) else text}`")
    return ", ".join(shown) or "defaults"
