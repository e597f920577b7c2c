"""Tiny ONNX models for the tasks, and the real executor that runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lynxbench.datasets.samples import Samples
from lynxbench.execution import Executor
from lynxbench.specs.executor import load_executor
from lynxbench.specs.load import builtin_folder
from lynxbench.specs.suite import Model

Shape = Sequence[int | str]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
    weights: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Check and write a model; inputs and outputs are name → (element type, shape)."""
    graph = helper.make_graph(
        list(nodes),
        path.stem,
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def flatten(path: Path, *, pixels: int, element: int = FLOAT) -> Path:
    """x [N, C, H, W] → Flatten → y [N, pixels]: the answer is what was fed."""
    return save(
        path,
        [helper.make_node("Flatten", ["x"], ["y"])],
        {"x": (element, ["N", "C", "H", "W"])},
        {"y": (element, ["N", pixels])},
    )


def batch_mean(path: Path, *, pixels: int) -> Path:
    """x → flattened, less the mean over the batch: every answer depends on the whole batch, as dynamic scales do."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["f", "m"], ["y"]),
    ]
    return save(path, nodes, {"x": (FLOAT, ["N", "C", "H", "W"])}, {"y": (FLOAT, ["N", pixels])})


def projection(path: Path, weights: np.ndarray) -> Path:
    """x [N, C, H, W] → Flatten → MatMul with `weights` [pixels, k] → y [N, k]."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    return save(
        path, nodes, {"x": (FLOAT, ["N", "C", "H", "W"])}, {"y": (FLOAT, ["N", weights.shape[1]])}, {"w": weights}
    )


def next_token(path: Path, table: np.ndarray, *, element: int = INT64) -> Path:
    """ids [N, L] → logits [N, L, V]: row t of `table` [tokens, V] after token t, whatever came before."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["logits"])]
    return save(
        path,
        nodes,
        {"ids": (element, ["N", "L"])},
        {"logits": (FLOAT, ["N", "L", table.shape[1]])},
        {"table": table.astype(np.float32)},
    )


@contextmanager
def opened(path: Path) -> Iterator[Executor]:
    """The model on the CPU provider, as executors/cpu.toml declares it."""
    with Executor(load_executor(builtin_folder("executors") / "cpu.toml"), threads=1) as executor:
        executor.open(path)
        yield executor


def model(**options: Any) -> Model:
    return Model(name="tiny", version="1", path="tiny.onnx", **options)


def images(n: int, *, size: int = 4, channels: int | None = None, seed: int = 0, **more: Any) -> Samples:
    """n random pictures, labelled 0, 1, 2, 0, …"""
    shape = (n, size, size) if channels is None else (n, size, size, channels)
    ids = np.asarray([f"i{k}" for k in range(n)])
    return Samples(
        ids=ids,
        source_ids=ids,
        inputs=np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8),
        contents=ids,
        strata={"view": np.asarray(["clean"] * n)},
        labels=np.arange(n) % 3,
        **more,
    )
