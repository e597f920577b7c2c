"""A data set that a function of the user's makes: `target = "module:function"`, or a file beside the declaration."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.lazy import AnyColumn, Lazy
from lynxbench.errors import DeclarationError, Problem


def call_target(target: str, declared_in: Path, key: str) -> dict[str, AnyColumn]:
    """Columns by name, as `target`'s function returns them: array-likes of equal length.

    `module:function` is imported; `folder/file.py:function` is looked up beside the declaring file.
    Raises `DeclarationError`, whatever the function raised.
    """

    def wrong(message: str, expected: str | None = None) -> DeclarationError:
        return DeclarationError([Problem(str(declared_in), key, message, repr(target), expected)])

    function = find_function(target, declared_in.parent, str(declared_in), key)
    try:
        given = function()
    except Exception as error:
        raise wrong(f"raised {type(error).__name__}: {error}") from error
    expected = "a mapping from column names to arrays of one length"
    if not isinstance(given, Mapping) or not given:
        raise wrong(f"returned {type(given).__name__}", expected)
    columns: dict[str, AnyColumn] = {}
    for column, values in given.items():
        array = values if isinstance(values, Lazy) else np.asarray(values)
        if array.ndim == 0 or array.dtype.kind not in "biufU":
            raise wrong(f"column {column!r} is {array.dtype} {list(array.shape)}", f"{expected}, of numbers or text")
        columns[str(column)] = array
    return columns


def find_function(target: str, folder: Path, file: str, key: str) -> Callable[..., Any]:
    """`module:function`, or `path.py:function` from `folder`; `DeclarationError` names `file` and `key`."""
    where, _, name = target.rpartition(":")
    if not where or not name:
        expected = "module:function or file.py:function"
        raise DeclarationError([Problem(file, key, "names no function", repr(target), expected)])
    try:
        module = _from_file(folder / where) if where.endswith(".py") else importlib.import_module(where)
        function: Callable[..., Any] = getattr(module, name)
    except Exception as error:  # a module may raise anything while it is imported
        message = f"cannot be imported: {type(error).__name__}: {error}"
        hint = "install it, put it on PYTHONPATH, or name its file: data.py:function"
        raise DeclarationError([Problem(file, key, message, repr(target), hint=hint)]) from None
    return function


def _from_file(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
