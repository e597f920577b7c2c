"""`lynxbench export` and `lynxbench init`: from somebody's model to an ONNX file and a suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lynxbench.cli.text import plain, size
from lynxbench.errors import UsageError
from lynxbench.intake import FRAMEWORKS, Inspection, Parity, export_model, inspect_model, start
from lynxbench.intake.inspection import Tensor
from lynxbench.intake.starting import model_name
from lynxbench.specs.base import did_you_mean

MOST_OP_TYPES = 8


def export_command(framework: str, source: str, *, out: Path, as_json: bool, **options: Any) -> int:
    """Export, compare, and say where it lies."""
    if framework not in FRAMEWORKS:
        hint = did_you_mean(framework, FRAMEWORKS) or "one of: " + ", ".join(FRAMEWORKS)
        raise UsageError(f"export {framework}: no such framework; {hint}")
    done = export_model(framework, source, out, **options)
    if as_json:
        document = {
            "folder": str(done.folder),
            "files": list(done.files),
            "model_sha256": done.sha256,
            "versions": dict(done.versions),
            "parity": {**asdict(done.parity), "holds": done.parity.holds},
            "model": _as_json(done.inspection),
        }
        print(json.dumps(document, indent=2))
        return 0
    _print_inspection(done.inspection, done.folder / "model.onnx")
    print(f"parity    {_parity(done.parity)}")
    print(f"versions  {', '.join(f'{name} {version}' for name, version in sorted(done.versions.items()))}")
    print(f"files     {', '.join(str(done.folder / name) for name in done.files)}")
    print(f"next      lynxbench init {done.folder / 'model.onnx'} --data YOUR_DATA")
    return 0


def init_command(
    model: Path,
    *,
    out: Path | None,
    data: Path | None,
    calibration: Path | None,
    task: str | None,
    force: bool,
    inspect_only: bool,
    as_json: bool,
) -> int:
    """Say what the model is, and write a suite and a rubric for it."""
    if inspect_only:
        inspection = inspect_model(model)
        if as_json:
            print(json.dumps(_as_json(inspection), indent=2))
        else:
            _print_inspection(inspection, model)
        return 0
    done = start(model, out or Path(model_name(model)), data=data, calibration=calibration, task=task, force=force)
    if as_json:
        files = [str(path) for path in done.files]
        document = {"model": _as_json(done.inspection), "task": done.task, "files": files}
        print(json.dumps({**document, "placeholders": done.placeholders}, indent=2))
    else:
        _print_inspection(done.inspection, model)
        print(f"task      {done.task}")
        print(f"written   {', '.join(str(path) for path in done.files)}")
    suite = done.files[0]
    if not done.placeholders:
        _check(suite)
    if as_json:
        return 0
    if done.placeholders:
        print(
            f"next      fill in where your data lies ({done.files[1].name}, test_set.source; the suite's calibrations)"
        )
    print(f"{'then' if done.placeholders else 'next':<8}  lynxbench sweep {suite} --dry-run")
    return 0


def _check(suite: Path) -> None:
    """What `sweep --dry-run` checks, so that data that cannot work is refused here; what was written stays."""
    from lynxbench.specs.resolve import resolve_suite
    from lynxbench.sweep.run import prepare_sweep

    sys.stdout.flush()  # what was written is said before what is wrong with it
    prepare_sweep(resolve_suite(str(suite)))


def _print_inspection(inspection: Inspection, path: Path) -> None:
    parameters = f"{inspection.parameters:,} parameters"
    print(f"model     {path}, {size(inspection.size_bytes)}, {parameters}, opset {inspection.opset}")
    for label, tensors in (("inputs", inspection.inputs), ("outputs", inspection.outputs)):
        print(f"{label:<8}  {_tensors(tensors)}")
    common = list(inspection.op_types.items())
    shown = ", ".join(f"{plain(op_type)} {count}" for op_type, count in common[:MOST_OP_TYPES])
    print(
        f"nodes     {shown}{f', and {len(common) - MOST_OP_TYPES} types more' if len(common) > MOST_OP_TYPES else ''}"
    )
    print(f"schemes   {', '.join(inspection.schemes)}")
    for note in inspection.notes:
        print(f"  • {plain(note)}")


def _tensors(tensors: Sequence[Tensor]) -> str:
    return plain(
        ", ".join(
            f"{tensor.name} {tensor.dtype} [{', '.join('any' if n is None else str(n) for n in tensor.shape)}]"
            for tensor in tensors
        )
    )


def _parity(parity: Parity) -> str:
    text = (
        f"{parity.n} {parity.inputs_from} inputs: differences up to {parity.largest_difference:.2g} "
        f"({parity.relative_difference:.2g} of the range)"
    )
    if parity.same_answer_share is not None:
        text += f", the same answer for {parity.same_answer_share:.0%}"
    if parity.accuracy_source is not None and parity.accuracy_onnx is not None:
        text += f", accuracy {parity.accuracy_source:.1%} there and {parity.accuracy_onnx:.1%} here"
    return text


def _as_json(inspection: Inspection) -> dict[str, Any]:
    return {**asdict(inspection), "path": str(inspection.path)}
