"""A model of another framework as an ONNX file, refused unless it gives the same answers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.lazy import gathered
from lynxbench.datasets.sources import read_table
from lynxbench.errors import DeclarationError, LynxBenchError, Problem
from lynxbench.intake.inspection import Inspection, inspect_model
from lynxbench.intake.parity import TOLERANCE, Parity, compare, run_onnx
from lynxbench.intake.sklearn import export_sklearn
from lynxbench.intake.source import Array, Asked, Source
from lynxbench.intake.torch import export_torch
from lynxbench.intake.transformers import export_transformers
from lynxbench.quantization import model_sha256

FRAMEWORKS: Mapping[str, Callable[[Asked], Source]] = {
    "sklearn": export_sklearn,
    "torch": export_torch,
    "transformers": export_transformers,
}
MODEL, MANIFEST = "model.onnx", "export.json"
# Parity is asked of so many samples at most.
PARITY_SAMPLES = 512


@dataclass(frozen=True)
class Export:
    """What an export left in its folder."""

    folder: Path
    sha256: str
    inspection: Inspection
    parity: Parity
    versions: Mapping[str, str]
    files: tuple[str, ...]


def export_model(
    framework: str,
    source: str,
    folder: Path,
    *,
    data: Path | None = None,
    column: str | None = None,
    opset: int | None = None,
    task: str | None = None,
    max_length: int = 128,
    tolerance: float = TOLERANCE,
    force: bool = False,
) -> Export:
    """Write `model.onnx`, `export.json` and what else belongs to it into `folder`, all of it or nothing.

    `data`: real inputs to compare on, column `inputs` (for texts `text`) unless `column` says otherwise, with `labels`
    where they are. Raises `DeclarationError` for what cannot be exported or would be overwritten, `LynxBenchError`
    (exit code 1) when the ONNX file's answers are not the source's.
    """
    existing = [name for name in (MODEL, MANIFEST) if (folder / name).exists()]
    if existing and not force:
        problem = Problem(str(folder / existing[0]), "", "is there already", hint="--force, or another --out")
        raise DeclarationError([problem])
    inputs, labels = _data(data, column, texts=framework == "transformers")
    texts = tuple(str(text) for text in inputs.tolist()) if inputs is not None and inputs.dtype.kind == "U" else None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
        path = Path(scratch) / MODEL
        asked = Asked(source, path, None if texts else inputs, texts, opset, task, max_length)
        exported = FRAMEWORKS[framework](asked)
        parities = [
            compare(exported.answers(feed), run_onnx(path, feed), labels, exported.inputs_from, tolerance)
            for feed in exported.feeds
        ]
        parity = max(parities, key=lambda one: (not one.holds, one.relative_difference))
        if not parity.holds:
            raise LynxBenchError(_refused(source, parity))
        inspection, sha256 = inspect_model(path), model_sha256(path)
        manifest = {
            "framework": framework,
            "source": source,
            "model_sha256": sha256,
            "opset": inspection.opset,
            "inputs": [asdict(tensor) for tensor in inspection.inputs],
            "outputs": [asdict(tensor) for tensor in inspection.outputs],
            "versions": dict(exported.versions),
            "parity": {**asdict(parity), "holds": parity.holds},
        }
        (Path(scratch) / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        for name, content in exported.files.items():
            (Path(scratch) / name).write_bytes(content)
        # The manifest last: a folder that has it is whole.
        for name in (*exported.files, MODEL, MANIFEST):
            (Path(scratch) / name).replace(folder / name)
    return Export(folder, sha256, inspection, parity, exported.versions, (*exported.files, MODEL, MANIFEST))


def _data(data: Path | None, column: str | None, *, texts: bool) -> tuple[Array | None, Array | None]:
    if data is None:
        return None, None
    table = read_table(data)
    wanted = column or ("text" if texts else "inputs")
    found = table.column(wanted, "the model's input (--column)")
    positions: Any = np.arange(min(PARITY_SAMPLES, len(table)))
    labels = table.columns.get("labels", table.columns.get("label"))
    inputs: Array = gathered(found, positions)
    if not texts and inputs.dtype == np.uint8:
        message = "holds raw pixels, and the source takes what its own preprocessing makes of them"
        hint = "give the inputs as the model takes them, as floating point, or leave --data away"
        raise DeclarationError([Problem(str(data), wanted, message, hint=hint)])
    return inputs, None if labels is None else gathered(labels, positions)


def _refused(source: str, parity: Parity) -> str:
    share = "" if parity.same_answer_share is None else f", the same answer for {parity.same_answer_share:.1%} of them"
    return (
        f"{source}: the ONNX file does not give what its source gives, and was not kept\n"
        f"  found     over {parity.n} {parity.inputs_from} inputs, differences up to {parity.largest_difference:.3g}, "
        f"{parity.relative_difference:.2%} of the range{share}\n"
        f"  expected  at most {parity.tolerance:.2%} of the range, and every answer the same\n"
        "  try       look for code that depends on values or on training mode; --tolerance where it is meant"
    )
