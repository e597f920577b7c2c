"""Writing an ONNX graph node by node, with the names that exporters would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
Shape = Sequence[str | int]


class Graph:
    """A graph under construction: every call adds a node and returns the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: int, shape: Shape) -> str:
        """An input of the model; `shape` has names where a dimension is free."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, given: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> None:
        """`given` under the name of an output of the model."""
        self._nodes.append(helper.make_node("Identity", [given], [name], name=f"/{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def weight(self, name: str, values: npt.NDArray[Any]) -> str:
        """A weight or a constant; one name is one tensor."""
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def ints(self, *values: int) -> str:
        """Whole numbers, such as axes and shapes."""
        return self.weight(f"ints.{'_'.join(map(str, values))}", np.asarray(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """One float32."""
        return self.weight(f"number.{value!r}", np.asarray(value, dtype=np.float32))

    def add(self, op_type: str, *inputs: str, name: str, **attributes: Any) -> str:
        """A node with one output."""
        self._nodes.append(helper.make_node(op_type, list(inputs), [f"{name}_output"], name=name, **attributes))
        return f"{name}_output"

    def linear(self, x: str, tensors: Mapping[str, npt.NDArray[Any]], key: str, name: str) -> str:
        """``x @ W.T + b`` with a framework's weight [out, in] under `key`.weight, and its bias where it has one."""
        weight = self.weight(f"{key}.weight", tensors[f"{key}.weight"].T)
        product = self.add("MatMul", x, weight, name=f"{name}/MatMul")
        if f"{key}.bias" not in tensors:
            return product
        return self.add("Add", product, self.weight(f"{key}.bias", tensors[f"{key}.bias"]), name=f"{name}/Add")

    def model(self, producer: str) -> onnx.ModelProto:
        """The finished model, checked."""
        graph = helper.make_graph(
            self._nodes, producer, self._inputs, self._outputs, initializer=list(self._weights.values())
        )
        model = helper.make_model(
            graph,
            producer_name=f"lynxbench {producer}",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return model
