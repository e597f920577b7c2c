"""What a model file may not ask for, looked up in its graph before a session or a checker sees it.

ONNX Runtime reads negative dimensions as free ones and hard-linked data as any other, and says of unknown operators no
more than that they are not registered: such models are refused here.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.quantization.graphs import all_nodes, all_tensors

# Operators that ONNX Runtime's own wheels bring; the plugins of execution providers add none.
KNOWN_DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.dml",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
        "org.pytorch.aten",
    }
)
# Protobuf holds no more in one message, so that a larger file is no graph.
LARGEST_GRAPH_BYTES = 2**31


def check_graph_file(path: Path) -> None:
    """Raise `CellError` unless `path` is a regular file that can be a graph: a device or a pipe never ends."""
    try:
        about = path.stat()
    except FileNotFoundError:
        raise CellError("failed", f"there is no model {path.name}") from None
    except OSError as error:
        raise CellError("failed", f"{path.name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(about.st_mode):
        raise CellError("rejected", f"{path.name} is not an ONNX model: it is no regular file")
    if about.st_size >= LARGEST_GRAPH_BYTES:
        reason = "larger than 2 GB: keep its weights in external data beside it"
        raise CellError("rejected", f"{path.name} is not an ONNX model: {reason}")


def check_graph(model: Any, name: str) -> None:
    """Raise `CellError` (rejected) for dimensions below zero and for operators of domains that nobody knows here."""
    local = {function.domain for function in model.functions}
    bodies = [function.node for function in model.functions]
    nodes = [*all_nodes(model.graph), *(node for body in bodies for node in body)]
    unknown = sorted({node.domain for node in nodes} - KNOWN_DOMAINS - local)
    if unknown:
        ops = sorted({node.op_type for node in nodes if node.domain == unknown[0]})
        which = f"{unknown[0][:80]}: {', '.join(ops[:3])[:120]}"
        raise CellError("rejected", f"{name} needs operators that ONNX Runtime does not have ({which})")
    for where, size in _sizes(model.graph):
        if size < 0:
            raise CellError("rejected", f"{name} has a dimension of {size} in {where[:80]}: a free one has a name")


def _sizes(graph: Any) -> Iterator[tuple[str, int]]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.WhichOneof("value") == "dim_value":
                yield value.name, dim.dim_value
    for tensor in all_tensors(graph):
        for size in tensor.dims:
            yield tensor.name, size


def check_data_file(model_path: Path, location: str) -> Path:
    """Where external data at `location` lies: a plain file beside the model. Raises `CellError`.

    Links are refused where they lead elsewhere than the model's own do (a hub's cache links both to one folder), and
    hard links always: whose data that is, the file does not say.
    """
    name = model_path.name
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or "\0" in location:
        raise CellError("rejected", f"{name} wants data outside its own folder: {location[:200]!r}")
    path = model_path.parent / location
    try:
        about = path.stat()
    except FileNotFoundError:
        raise CellError("failed", f"{name} needs {location} beside it, which is missing") from None
    except OSError as error:
        raise CellError("failed", f"{name} needs {location[:200]}, which cannot be read: {error.strerror}") from None
    homes = (model_path.parent.resolve(), model_path.resolve().parent)
    if not any(path.resolve().is_relative_to(home) for home in homes):
        raise CellError("rejected", f"{name} wants data outside its own folder: {location} is a symbolic link")
    if not stat.S_ISREG(about.st_mode):
        raise CellError("rejected", f"{name} wants data from {location}, which is no regular file")
    if about.st_nlink > 1:
        raise CellError("rejected", f"{name} wants data from {location}, which is a hard link: copy it")
    return path
