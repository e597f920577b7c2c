"""Does a model take the samples of a workload? Asked of its graph alone, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lynxbench.datasets.picking import ARRAY_TASKS, IMAGE_TASKS, TEXT_TASKS
from lynxbench.datasets.samples import Samples
from lynxbench.errors import Problem
from lynxbench.execution import TensorInfo, graph_inputs, graph_outputs
from lynxbench.specs.suite import Model

# Tasks whose answer is one row of class scores.
_CLASSES = frozenset({"image-classification", "classification", "text-classification"})
_TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


@dataclass(frozen=True)
class Asked:
    """What a workload asks of its models: samples, and the batch sizes that will run (calibration included)."""

    workload: str
    task: str
    samples: Samples
    batches: frozenset[int]


def misfits(asked: Asked, model: Model, path: Path, file: str, key: str) -> list[Problem]:
    """Everything that keeps the model at `path`, declared in `file` under `key`, from taking the samples."""
    inputs = graph_inputs(path)
    found: list[Problem] = []
    if asked.task in TEXT_TASKS:
        found += _text_misfits(asked, model, inputs, file, key)
    elif asked.task in IMAGE_TASKS:
        found += _image_misfits(asked, model, inputs, file, key)
    elif asked.task in ARRAY_TASKS:
        found += _array_misfits(asked, inputs, file, key)
    if asked.task == "transcription" and model.spelling is None:
        hint = 'spelling = { vocabulary = "abc…", blank = 0 }'
        found.append(
            Problem(file, f"{key}.spelling", "a model that transcribes says which symbols it knows", hint=hint)
        )
    batch = inputs[0].shape[0] if inputs and inputs[0].shape else None
    if batch is not None and asked.batches - {batch}:
        found.append(
            Problem(
                file,
                f"{key}.path",
                f"the model's batch is fixed; workload {asked.workload!r} needs others too",
                value=str(batch),
                expected=", ".join(map(str, sorted(asked.batches))),
                hint="export it with a dynamic batch, or ask for that batch alone",
            )
        )
    return found + _label_misfits(asked, path, file, key)


def _image_misfits(asked: Asked, model: Model, inputs: Sequence[TensorInfo], file: str, key: str) -> list[Problem]:
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        expected = "[batch, channels, height, width]"
        return [Problem(file, f"{key}.path", "takes no batch of images", _shown(inputs), expected=expected)]
    _, *wanted = inputs[0].shape
    _, height, width, *rest = asked.samples.inputs.shape
    held = [rest[0] if rest else 1, height, width]
    problems = []
    if any(size not in (None, there) for size, there in zip(wanted, held, strict=True)):
        problems.append(
            Problem(
                file,
                f"{key}.path",
                f"the images of workload {asked.workload!r} do not fit the model",
                value=f"images of {'×'.join(map(str, held))} (channels, height, width)",
                expected="×".join("any" if size is None else str(size) for size in wanted),
                hint="resize the images, or export the model for their size",
            )
        )
    for field in ("mean", "std"):
        given = getattr(model.image, field) if model.image is not None else (0.0,)
        if len(given) not in (1, held[0]):
            problems.append(
                Problem(
                    file, f"{key}.image.{field}", "one value for each channel", str(given), f"1 or {held[0]} values"
                )
            )
    return problems


def _array_misfits(asked: Asked, inputs: Sequence[TensorInfo], file: str, key: str) -> list[Problem]:
    where, samples = f"{key}.path", asked.samples.inputs
    if len(inputs) != 1:
        return [Problem(file, where, f"task {asked.task} feeds one input", _shown(inputs), "a model with one input")]
    shape, held = inputs[0].shape, samples.shape
    fits = len(shape) == len(held) and all(a in (None, b) for a, b in zip(shape[1:], held[1:], strict=True))
    if not fits:
        shown = "a batch of " + "×".join(map(str, held[1:]))
        hint = "give the samples the shape that the model takes, or name the right column: fields = { input = … }"
        return [
            Problem(file, where, f"the samples of workload {asked.workload!r} do not fit", shown, _shown(inputs), hint)
        ]
    if samples.dtype.kind == "f" and inputs[0].dtype.kind != "f":
        hint = "cutting fractions off would be another question: store them as whole numbers"
        return [
            Problem(file, where, "wrong dtype: the model takes whole numbers", str(samples.dtype), _shown(inputs), hint)
        ]
    return []


def _text_misfits(asked: Asked, model: Model, inputs: Sequence[TensorInfo], file: str, key: str) -> list[Problem]:
    if model.text is None:
        hint = 'text = { tokenizer = "tokenizer.json", max_length = 128 }'
        return [Problem(file, f"{key}.text", f"task {asked.task} needs the model's tokenizer and length", hint=hint)]
    strangers = [tensor for tensor in inputs if tensor.name not in _TEXT_INPUTS]
    if strangers or not any(tensor.name == "input_ids" for tensor in inputs):
        expected = "input_ids, and attention_mask, token_type_ids, position_ids where it has them"
        return [Problem(file, f"{key}.path", "takes other inputs than a tokenizer gives", _shown(inputs), expected)]
    return []


def _label_misfits(asked: Asked, path: Path, file: str, key: str) -> list[Problem]:
    """More classes in the labels than the model's output has, where the graph says how many."""
    labels = asked.samples.labels
    if asked.task not in _CLASSES or labels is None:
        return []
    scores = next((o for o in graph_outputs(path) if len(o.shape) == 2 and o.dtype.kind == "f"), None)
    largest = int(labels.max())
    if scores is None or scores.shape[1] is None or largest < scores.shape[1]:
        return []
    message = f"the labels of workload {asked.workload!r} do not fit the model's output"
    hint = "labels count from 0, in the order of the model's outputs"
    return [Problem(file, f"{key}.path", message, f"labels up to {largest}", f"at most {scores.shape[1] - 1}", hint)]


def _shown(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(
        f"{tensor.name} {tensor.dtype} [{', '.join('any' if size is None else str(size) for size in tensor.shape)}]"
        for tensor in tensors
    )
