"""Small ONNX models that make providers show their ways. Each builder writes one file and says what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    weights: dict[str, np.ndarray],
    *,
    element: int = TensorProto.FLOAT,
) -> Path:
    """Check and write a model of `nodes`; inputs and outputs are of type `element`."""
    graph = helper.make_graph(
        list(nodes),
        path.stem,
        [helper.make_tensor_value_info(name, element, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def perceptron(path: Path, *, batch: int | str = "N", width: int = 32) -> Path:
    """x [batch, 16] → MatMul, Add, Relu, MatMul → y [batch, 4]."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(0, 0.3, (16, width)).astype(np.float32),
        "b1": random.normal(0, 0.3, width).astype(np.float32),
        "w2": random.normal(0, 0.3, (width, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Add", ["h", "b1"], ["hb"]),
        helper.make_node("Relu", ["hb"], ["hr"]),
        helper.make_node("MatMul", ["hr", "w2"], ["y"]),
    ]
    return save(path, nodes, {"x": [batch, 16]}, {"y": [batch, 4]}, weights)


def wide(path: Path, *, size: int = 1024) -> Path:
    """x [64, size] → three big MatMuls → y: enough work for threads to matter."""
    random = np.random.default_rng(1)
    weights = {f"w{i}": random.normal(0, size**-0.5, (size, size)).astype(np.float32) for i in range(3)}
    names = ["x", "h0", "h1", "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(3)]
    return save(path, nodes, {"x": [64, size]}, {"y": [64, size]}, weights)


def chain(path: Path, op_types: Sequence[str], *, shape: Shape = (1, 16)) -> Path:
    """x → one node of each of the unary `op_types` in turn → y."""
    names = ["x", *(f"h{i}" for i in range(len(op_types) - 1)), "y"]
    nodes = [helper.make_node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(op_types)]
    return save(path, nodes, {"x": shape}, {"y": shape}, {})


def quantized(path: Path) -> Path:
    """A float MatMul between QuantizeLinear and DequantizeLinear pairs: what optimizations turn into an int8 kernel.

    Weights of 7 bits: with 8 the kernel is another function on x86 without VNNI.
    """
    random = np.random.default_rng(2)
    weights = {
        "w": random.integers(-63, 64, (64, 64)).astype(np.int8),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
        "xs": np.float32(0.02),
        "xz": np.uint8(128),
        "ys": np.float32(0.05),
        "yz": np.uint8(128),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "ys", "yz"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "ys", "yz"], ["y"]),
    ]
    return save(path, nodes, {"x": [8, 64]}, {"y": [8, 64]}, weights)


def lookup(path: Path) -> Path:
    """indices [N] int64 → Gather from four rows → rows: an index beyond them fails inside the run."""
    weights = {"table": np.eye(4, dtype=np.int64)}
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    return save(path, nodes, {"x": ["N"]}, {"y": ["N", 4]}, weights, element=TensorProto.INT64)


def sample(shape: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """Standard normal float32 of `shape`."""
    return np.random.default_rng(seed).normal(0, 1, tuple(shape)).astype(np.float32)


def convolution(path: Path, *, batch: int | str = "N") -> Path:
    """x [batch, 1, 8, 8] → Conv, HardSwish → y [batch, 4, 8, 8]."""
    weights = {"w": np.random.default_rng(3).normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("HardSwish", ["h"], ["y"]),
    ]
    return save(path, nodes, {"x": [batch, 1, 8, 8]}, {"y": [batch, 4, 8, 8]}, weights)
