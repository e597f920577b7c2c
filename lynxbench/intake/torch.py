"""PyTorch modules, through `torch.onnx.export` with dynamo."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.intake.source import Array, Asked, Feed, Source, needs, own_model, wrong

LEAST_BATCH = 2  # a batch of one would be taken for a constant


def export_torch(asked: Asked) -> Source:
    """A module on tensors with a free first dimension, the batch.

    The function returns the module and its example inputs, a tuple of tensors; with real inputs given, a module of one
    input needs no example.
    """
    torch = needs("torch", "torch", asked.source)
    needs("onnxscript", "torch", asked.source)
    given = own_model(asked.source)
    module, examples = given if isinstance(given, tuple) else (given, None)
    if not isinstance(module, torch.nn.Module):
        raise wrong(asked.source, f"returned {type(module).__name__}", "a torch.nn.Module, or (module, example inputs)")
    where = "example"
    if asked.inputs is not None:
        examples, where = (torch.from_numpy(np.ascontiguousarray(asked.inputs, dtype=_float(asked.inputs))),), "data"
    if examples is None:
        hint = "return (module, (tensor,)), or give --data"
        raise wrong(asked.source, "there are no inputs to export with", hint=hint)
    examples = tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)
    names = [f"input{n}" if len(examples) > 1 else "input" for n in range(len(examples))]
    examples = tuple(_batched(torch, tensor) for tensor in examples)
    module = module.eval().cpu()
    write(torch, module, examples, names, asked, dynamic=[{0: "batch"} for _ in examples])
    feed: Feed = {name: tensor.numpy() for name, tensor in zip(names, examples, strict=True)}
    return Source([feed], answers_of(torch, module, names, asked.path), where, versions(asked.source), {})


def write(
    torch: Any,
    module: Any,
    examples: Sequence[Any],
    names: Sequence[str],
    asked: Asked,
    dynamic: Sequence[dict[int, str]],
    outputs: Sequence[str] | None = None,
    related: bool = False,
) -> None:
    """Export `module` to `asked.path` with the named inputs; `dynamic`: free dimensions of each, by what they are;
    `related`: some follow from others, as torch finds out itself. `outputs`: what to call them.

    A module that takes `*tensors` says so by `takes_any_number`: torch wants their shapes as one argument then.
    """
    dims = {
        name: torch.export.Dim.AUTO if related else torch.export.Dim(name, min=1)
        for free in dynamic
        for name in free.values()
    }
    shapes: Any = tuple({axis: dims[name] for axis, name in free.items()} for free in dynamic)
    if getattr(module, "takes_any_number", False):
        shapes = (shapes,)
    told = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        # What it says on its way is about its own workings; what goes wrong is in the error.
        with warnings.catch_warnings(), contextlib.redirect_stdout(told), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                tuple(examples),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(names),
                output_names=None if outputs is None else list(outputs),
                opset_version=asked.opset,
                verbose=False,
            )
            program.save(str(asked.path), external_data=False)
    except Exception as error:
        # torch wraps what went wrong into advice on its own debugging.
        cause = error.__cause__ or error
        text = " ".join(str(cause).split())[:400]
        raise wrong(asked.source, f"torch.onnx.export failed: {type(cause).__name__}: {text}") from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def answers_of(torch: Any, module: Any, names: Sequence[str], path: Path) -> Any:
    """A function from a feed to what the module itself answers, by the names of the ONNX file's outputs."""
    import onnx

    outputs = [output.name for output in onnx.load(path, load_external_data=False).graph.output]

    def answers(feed: Feed) -> Mapping[str, Array]:
        with torch.no_grad():
            found = module(*(torch.from_numpy(np.ascontiguousarray(feed[name])) for name in names))
        values = list(found.values()) if isinstance(found, Mapping) else found
        tensors = [values] if not isinstance(values, (list, tuple)) else list(values)
        return {name: tensor.numpy() for name, tensor in zip(outputs, tensors, strict=False)}

    return answers


def versions(source: str) -> dict[str, str]:
    """Of the libraries that an export by torch depends on."""
    return {name: str(needs(name, "torch", source).__version__) for name in ("torch", "onnxscript")}


def _batched(torch: Any, tensor: Any) -> Any:
    return tensor if len(tensor) >= LEAST_BATCH else torch.cat([tensor] * LEAST_BATCH)


def _float(values: Array) -> Any:
    return np.float32 if values.dtype.kind == "f" else values.dtype
