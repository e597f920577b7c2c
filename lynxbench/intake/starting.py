"""A suite and a rubric to start from, made for one model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from lynxbench.datasets.lazy import gathered
from lynxbench.datasets.picking import TEXT_TASKS, usual_fields
from lynxbench.datasets.sources import read_table
from lynxbench.datasets.table import Table
from lynxbench.errors import DeclarationError, Problem
from lynxbench.intake.inspection import Inspection, inspect_model
from lynxbench.intake.parity import run_onnx
from lynxbench.intake.splitting import split
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.rubric import TaskName

SUITE, RUBRIC = "suite.toml", "rubric.toml"
# What decides, by task, and which options it has.
_PRIMARY = {
    "regression": ("rmse", "lower-is-better", ""),
    "image-retrieval": ("recall", "higher-is-better", "parameters = { k = 1 }\n"),
    "text-retrieval": ("recall", "higher-is-better", "parameters = { k = 1 }\n"),
    "question-answering": ("exact-match", "higher-is-better", "parameters = { ignore_case = true }\n"),
    "generation": ("exact-match", "higher-is-better", ""),
    "transcription": ("character-error-rate", "lower-is-better", ""),
    "language-modelling": ("perplexity", "lower-is-better", ""),
    "multiple-choice": ("multiple-choice", "higher-is-better", ""),
    "detection": ("mean-average-precision", "higher-is-better", ""),
    "segmentation": ("mean-iou", "higher-is-better", ""),
}
# A number's unit is its target's, which is not known here.
_UNIT = {"regression": 'unit = "units"                  # what the values are in: minutes, mg/dL, …\n'}
_TOP_1 = ("top-1", "higher-is-better", "")
_LABELLED = frozenset({"classification", "image-classification", "text-classification"})
_RELATIVE = frozenset({"regression", "language-modelling"})


@dataclass(frozen=True)
class Started:
    """What `start` wrote. `placeholders`: no data was given, so paths in the suite are still to be filled in."""

    inspection: Inspection
    task: str
    files: tuple[Path, ...]
    placeholders: bool


def start(
    model: Path,
    folder: Path,
    *,
    data: Path | None = None,
    calibration: Path | None = None,
    task: str | None = None,
    force: bool = False,
) -> Started:
    """Write `suite.toml` and `rubric.toml` for `model` into `folder`, ready to be swept where `data` is given.

    `data` is split in two unless `calibration` is given. Raises `DeclarationError` for what would be overwritten, for
    an unknown task, and where the shapes suggest none.
    """
    inspection = inspect_model(model)
    chosen = task or inspection.task
    known = get_args(TaskName)
    if chosen is None or chosen not in known:
        message = "the task cannot be told from the shapes" if chosen is None else "unknown task"
        hint = did_you_mean(chosen, known) if chosen else None
        expected = "--task with one of: " + ", ".join(known)
        raise DeclarationError([Problem(str(model), "", message, chosen, expected, hint)])
    for name in (SUITE, RUBRIC):
        if (folder / name).exists() and not force:
            hint = "--force, or another --out"
            raise DeclarationError([Problem(str(folder / name), "", "is there already", hint=hint)])
    folder.mkdir(parents=True, exist_ok=True)
    test, written = data, [folder / SUITE, folder / RUBRIC]
    if data is not None and calibration is None:
        test, calibration = split(data, folder)
        written += [test, calibration]
    table = None if test is None else read_table(test)
    count = 1000 if table is None else len(table)
    held_out = None if calibration is None else read_table(calibration)
    calibrated = 200 if held_out is None else min(512, len(held_out))
    (folder / SUITE).write_text(_suite(inspection, chosen, folder, calibration, calibrated, table, held_out))
    (folder / RUBRIC).write_text(_rubric(inspection, chosen, folder, test, count, min(100, calibrated), table))
    return Started(inspection, chosen, tuple(written), data is None)


def _suite(
    inspection: Inspection,
    task: str,
    folder: Path,
    calibration: Path | None,
    count: int,
    table: Table | None,
    held_out: Table | None,
) -> str:
    stem = model_name(inspection.path)
    lines = [
        f"# What is measured. Every key: lynxbench schema suite. Run it: lynxbench sweep {SUITE}",
        f'name = "{stem}"',
        'version = "1"',
        "",
        "[[models]]",
        f'name = "{stem}"',
        'version = "1"                 # raise it when the weights change',
        f'path = "{_path(inspection.path, folder)}"',
    ]
    if task in {"image-classification", "image-retrieval", "detection", "segmentation"}:
        lines.append(
            "# (x * scale - mean) / std, one mean and std a channel: it must be what the model was trained with."
        )
        lines.append("image = { scale = 0.00392156862745098, mean = [0.0], std = [1.0] }")
    if task in TEXT_TASKS:
        lines.append("# The tokenizer that the model was trained with, and the longest text in tokens.")
        lines.append('text = { tokenizer = "' + _tokenizer(inspection, folder) + '", max_length = 128 }')
    if _says_probabilities(inspection, task, table):
        lines.append('scores = "probabilities"      # its class scores add up to 1; leave this out for logits')
    for note in inspection.notes:
        lines.append(f"# {note}")
    static = [scheme for scheme in inspection.schemes if scheme == "int8-static"]
    for scheme in inspection.schemes:
        lines += ["", "[[schemes]]", f'name = "{scheme}"', f'kind = "{scheme}"']
    if static:
        lines += [
            "",
            "[[calibrations]]              # never samples that are scored",
            'name = "calibration"',
            f'source = "{_path(calibration, folder) if calibration else "calibration.npz"}"',
            'split = "held out for calibration"',
            f"count = {count}",
            'selection = "random"',
            *_fields(task, held_out),
        ]
    lines += ["", "[[workloads]]", f'name = "{task}"', f'rubric = "{RUBRIC}"', f'models = ["{stem}"]']
    if static:
        lines.append('calibrations = ["calibration"]')
    return "\n".join(lines) + "\n"


def _rubric(
    inspection: Inspection, task: str, folder: Path, test: Path | None, count: int, least: int, table: Table | None
) -> str:
    metric, direction, parameters = _PRIMARY.get(task, _TOP_1)
    by_class = task in _LABELLED
    kind, value = ("relative", 0.01) if task in _RELATIVE else ("absolute", 0.01)
    selection = "stratified" if by_class else "random"
    pictures = test is not None and test.is_dir()
    size = [n for n in inspection.inputs[0].shape[-2:] if n is not None]
    fits = pictures and len(size) == 2
    fields = "".join(f"{line}\n" for line in _fields(task, table))
    image = f"image = {{ resize = {max(size)}, crop = [{size[0]}, {size[1]}] }}\n" if fits else ""
    return (
        f"# What accurate means. Every key: lynxbench schema rubric.\n"
        f'name = "{task}"\nversion = "1"                 # raise it when a number can change\n'
        f'title = "Does it still answer as it did?"\ntask = "{task}"\n'
        f'strata = ["{"class" if by_class else "view"}"]   # what to report by; any column of your data\n'
        f"strata_minimum_n = 20\nconfidence = 0.95\n\n"
        f'[test_set]\nname = "test"\nsource = "{_path(test, folder) if test else "test.npz"}"\n{fields}{image}'
        f'composition = ["clean"]       # clean, out-of-distribution, stratified, domain-matched\n'
        f'composition_note = "say in words where the samples come from"\n'
        f'selection = "{selection}"\ncount = {count}\nquick_count = {max(1, min(200, count))}\n\n'
        f'[[metrics]]\nname = "{metric}"\nmetric = "{metric}"\nrole = "primary"\n'
        f'direction = "{direction}"\n{_UNIT.get(task, "")}{parameters}\n'
        f'[reference]\nscheme = "fp32"\nexecutor = "cpu"\n\n'
        f"[tolerance]                   # the largest loss that still counts as none\n"
        f'kind = "{kind}"\nvalue = {value}\n\n'
        f'[calibration]\nminimum_count = {max(1, least)}\ndomain = "as the test set"\n'
    )


def model_name(path: Path) -> str:
    """What a model is called: after its file, or its folder where the file is called `model`, as exports are."""
    name = path.stem if path.stem != "model" else path.resolve().parent.name
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in name).strip("._+-") or "model"


def _renamed(task: str, table: Table | None) -> dict[str, str]:
    """Role → column, where the data has the singular for the usual plural, or the other way round."""
    columns = {} if table is None else table.columns
    found = {}
    for role, usual in usual_fields(task).items():
        other = usual.removesuffix("s") if usual.endswith("s") else f"{usual}s"
        if usual not in columns and other in columns:
            found[role] = other
    return found


def _fields(task: str, table: Table | None) -> list[str]:
    """The declaration's line on columns that are called otherwise than usual."""
    pairs = ", ".join(f'{role} = "{name}"' for role, name in _renamed(task, table).items())
    return [f"fields = {{ {pairs} }}"] if pairs else []


def _path(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _tokenizer(inspection: Inspection, folder: Path) -> str:
    beside = inspection.path.parent / "tokenizer.json"
    return _path(beside, folder) if beside.is_file() else "tokenizer.json"


def _says_probabilities(inspection: Inspection, task: str, table: Table | None) -> bool:
    """Whether the class scores of some real samples add up to 1, where the samples go in as they are."""
    name = _renamed(task, table).get("input", "inputs")
    if task != "classification" or table is None or name not in table.columns:
        return False
    samples = gathered(table.columns[name], np.arange(min(32, len(table))))
    try:
        feed = {inspection.inputs[0].name: samples.astype(inspection.inputs[0].dtype)}
        answers = run_onnx(inspection.path, feed)
    except Exception:  # the sweep's own checks will say what does not fit
        return False
    scores = next((a for a in answers.values() if a.ndim == 2 and a.dtype.kind == "f"), None)
    if scores is None:
        return False
    values = scores.astype(np.float64)
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1.0, atol=1e-3))
