"""Tiny real models with seeded random weights, and data for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lynxbench.quantization import CalibrationData
from lynxbench.specs.scheme import Scheme

Feed = dict[str, np.ndarray[Any, Any]]
PIXELS, TOKENS, WORDS = 8, 6, 20


class Maker:
    """Nodes and weights, one after the other."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, *shape: int, scale: float = 0.3) -> str:
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def op(self, op_type: str, *inputs: str, named: bool = True, **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        name = f"{op_type}_{output}" if named else ""
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=name, **attributes))
        return output

    def model(self, inputs: list[Any], outputs: list[Any], opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "test", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def info(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def conv_net(seed: int = 0) -> onnx.ModelProto:
    """`x` [n, 3, 8, 8] → [n, 5]: convolutions with biases and Relu, a depthwise one, a residual, a Gemm."""
    make = Maker(seed)
    x = make.op("Relu", make.op("Conv", "x", make.weight(8, 3, 3, 3), make.weight(8), pads=[1] * 4))
    y = make.op("Clip", make.op("Conv", x, make.weight(8, 1, 3, 3), make.weight(8), pads=[1] * 4, group=8))
    x = make.op("Add", x, make.op("Conv", y, make.weight(8, 8, 1, 1)))
    x = make.op("Flatten", make.op("GlobalAveragePool", x))
    x = make.op("Gemm", x, make.weight(5, 8), make.weight(5), transB=1)
    return make.model([info("x", ["n", 3, PIXELS, PIXELS])], [info(x, ["n", 5])])


def mlp(seed: int = 0) -> onnx.ModelProto:
    """`x` [n, 10] → [n, 4]: two MatMuls with biases; nodes without names."""
    make = Maker(seed)
    x = make.op("Add", make.op("MatMul", "x", make.weight(10, 16), named=False), make.weight(16), named=False)
    x = make.op("MatMul", make.op("Tanh", x, named=False), make.weight(16, 4), named=False)
    return make.model([info("x", ["n", 10])], [info(x, ["n", 4])])


def transformer(seed: int = 0) -> onnx.ModelProto:
    """`ids` [n, tokens] → [n, tokens, 16]: embedding, attention over two heads, feed-forward, layer norms."""
    make = Maker(seed)
    width, heads = 16, 2
    split, join = make.constant(np.array([0, 0, heads, width // heads])), make.constant(np.array([0, 0, width]))
    scale, ones, zeros = make.constant(np.float32(0.35)), np.ones(width, np.float32), np.zeros(width, np.float32)

    def linear(x: str, taken: int, given: int) -> str:
        return make.op("Add", make.op("MatMul", x, make.weight(taken, given)), make.weight(given))

    def norm(x: str) -> str:
        return make.op("LayerNormalization", x, make.constant(ones), make.constant(zeros), axis=-1)

    x = make.op("Gather", make.weight(WORDS, width, scale=1.0), "ids")
    q, k, v = (
        make.op("Transpose", make.op("Reshape", linear(x, width, width), split), perm=perm)
        for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    )
    attention = make.op("Softmax", make.op("Div", make.op("MatMul", q, k), scale), axis=-1)
    y = make.op("Reshape", make.op("Transpose", make.op("MatMul", attention, v), perm=[0, 2, 1, 3]), join)
    x = norm(make.op("Add", x, linear(y, width, width)))
    x = norm(make.op("Add", x, linear(make.op("Tanh", linear(x, width, 32)), 32, width)))
    return make.model([info("ids", ["n", "tokens"], TensorProto.INT64)], [info(x, ["n", "tokens", width])])


def pixels(count: int = 24, batch: int = 8, seed: int = 1) -> list[Feed]:
    rng = np.random.default_rng(seed)
    return [
        {"x": rng.standard_normal((min(batch, count - start), 3, PIXELS, PIXELS)).astype(np.float32)}
        for start in range(0, count, batch)
    ]


def rows(count: int = 24, batch: int = 8, seed: int = 1) -> list[Feed]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal((batch, 10)).astype(np.float32)} for _ in range(0, count, batch)]


def texts(count: int = 24, batch: int = 8, seed: int = 1, lengths: tuple[int, ...] = (TOKENS,)) -> list[Feed]:
    """Token ids; batches take the `lengths` in turn."""
    rng = np.random.default_rng(seed)
    return [{"ids": rng.integers(0, WORDS, (batch, lengths[index % len(lengths)]))} for index in range(count // batch)]


MODELS = {"conv": (conv_net, pixels), "mlp": (mlp, rows), "transformer": (transformer, texts)}


def data(feeds: list[Feed], digest: str = "d" * 64) -> CalibrationData:
    def again() -> Iterator[Feed]:
        return iter(feeds)

    return CalibrationData(again, sum(len(next(iter(feed.values()))) for feed in feeds), digest)


def saved(folder: Path, name: str) -> tuple[Path, CalibrationData]:
    """One of `MODELS` as a file, and data for it."""
    make, feeds = MODELS[name]
    path = folder / f"{name}.onnx"
    onnx.save(make(), path)
    return path, data(feeds())


def scheme(kind: str, **options: Any) -> Scheme:
    return Scheme.model_validate({"name": "tested", "kind": kind, **options})
