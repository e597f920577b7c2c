"""What every exporter gives, and how the user's own code is found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.functions import find_function
from lynxbench.errors import DeclarationError, Problem

Array = npt.NDArray[np.generic]
Feed = dict[str, Array]


@dataclass(frozen=True)
class Asked:
    """What an export was asked: the source as the user named it, the ONNX file to write, real inputs where given."""

    source: str
    path: Path
    inputs: Array | None
    texts: tuple[str, ...] | None
    opset: int | None
    task: str | None
    max_length: int


@dataclass(frozen=True)
class Source:
    """A model in its own framework, exported.

    feeds     inputs to compare on, by the ONNX file's names: one feed, or several of other shapes
    answers   what the framework itself gives for a feed: the ONNX file's outputs by name (those that are compared)
    inputs_from  where the inputs come from: data, example or random
    versions  library → version
    files     what belongs beside the ONNX file: name → content
    """

    feeds: Sequence[Feed]
    answers: Callable[[Feed], Mapping[str, Array]]
    inputs_from: str
    versions: Mapping[str, str]
    files: Mapping[str, bytes]


def needs(module: str, extra: str, source: str) -> Any:
    """The module, imported; `DeclarationError` that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        hint = f"pip install 'lynxbench[{extra}]'"
        problem = Problem(source, "", f"exporting needs {module}, which is not installed", hint=hint)
        raise DeclarationError([problem]) from None


def own_model(source: str) -> Any:
    """What the user's function returns: `module:function`, or `folder/file.py:function`. We never unpickle anything.

    Raises `DeclarationError`.
    """
    function = find_function(source, Path.cwd(), source, "")
    try:
        return function()
    except Exception as error:
        raise DeclarationError([Problem(source, "", f"raised {type(error).__name__}: {error}")]) from error


def wrong(source: str, message: str, expected: str | None = None, hint: str | None = None) -> DeclarationError:
    """A source that cannot be exported."""
    return DeclarationError([Problem(source, "", message, expected=expected, hint=hint)])
