"""SmoothQuant: outliers of activations moved into weights, which bear them better, without changing any output.

G. Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", ICML 2023,
equation 4: s_j = max|X_j|^alpha / max|W_j|^(1 - alpha) for each input channel j.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.errors import CellError
from lynxbench.quantization.augment import with_outputs
from lynxbench.quantization.collect import Reading, answered
from lynxbench.quantization.graphs import FLOAT, all_nodes, element_types

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Smoothed:
    """What `smoothed` made.

    model     onnx.ModelProto
    inserted  names of the new Mul nodes, to be left in float
    folded    tensors that needed none
    warnings  what was not smoothed, and why
    """

    model: Any
    inserted: frozenset[str]
    folded: tuple[str, ...]
    warnings: tuple[str, ...]


def smoothed(reading: Reading, alpha: float, op_types: Collection[str], kept_float: Collection[str]) -> Smoothed:
    """The prepared model with smoothed inputs of every MatMul and Gemm of `op_types` that has constant weights.

    Products that read the same tensor share one scale. Raises `CellError` where there is nothing to smooth.
    """
    from onnx import ModelProto, numpy_helper

    model = ModelProto()
    model.CopyFrom(reading.prepared)
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == FLOAT and len(tensor.dims) > 0
    }
    groups = _groups(model, constants, op_types, kept_float)
    if not groups:
        raise CellError("unsupported", "smooth_alpha: the model has no MatMul or Gemm with constant weights to smooth")
    widths = {tensor: _by_channel(nodes[0], constants).shape[0] for tensor, nodes in groups.items()}
    largest = channel_maxima(reading, widths)
    edit = _Edit(model, constants)
    warnings = []
    for tensor, nodes in groups.items():
        if not np.isfinite(largest[tensor]).all():
            warnings.append(f"not smoothed: {tensor}: it held an infinity")
            continue
        weights = np.max([np.abs(_by_channel(node, constants)).max(axis=1) for node in nodes], axis=0)
        edit.smooth(tensor, nodes, channel_scales(largest[tensor], weights, alpha))
    edit.finish()
    return Smoothed(model, frozenset(edit.inserted), tuple(edit.folded), tuple(warnings))


def channel_scales(activations: Floats, weights: Floats, alpha: float) -> Floats:
    """s of each channel from the largest magnitudes; 1 where either is 0, as nothing is known to move."""
    known = (activations > 0) & (weights > 0)
    a, w = np.where(known, activations, 1).astype(np.float64), np.where(known, weights, 1).astype(np.float64)
    scales: Floats = np.clip(a**alpha / w ** (1 - alpha), 1e-5, 1e5).astype(np.float32)
    return scales


def channel_maxima(reading: Reading, widths: Mapping[str, int]) -> dict[str, Floats]:
    """Tensor → the largest magnitude in each of its channels ([width]), over all batches; NaN is left out."""
    from onnx import helper, numpy_helper

    model = with_outputs(reading.prepared, list(widths))
    graph = model.graph
    del graph.output[:]
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    axes = numpy_helper.from_array(np.array([0], dtype=np.int64), "lynxbench_rows")
    graph.initializer.append(axes)
    outputs = []
    for index, (tensor, width) in enumerate(widths.items()):
        shape = numpy_helper.from_array(np.array([-1, width], dtype=np.int64), f"lynxbench_channels_{index}")
        graph.initializer.append(shape)
        size, rows, output = (f"lynxbench_{what}_{index}" for what in ("size", "matrix", "maxima"))
        graph.node.append(helper.make_node("Abs", [tensor], [size]))
        graph.node.append(helper.make_node("Reshape", [size, shape.name], [rows]))
        if opset < 18:
            graph.node.append(helper.make_node("ReduceMax", [rows], [output], axes=[0]))
        else:
            graph.node.append(helper.make_node("ReduceMax", [rows, axes.name], [output]))
        graph.output.append(helper.make_tensor_value_info(output, FLOAT, [1, width]))
        outputs.append(output)
    found = {tensor: np.zeros(width, dtype=np.float32) for tensor, width in widths.items()}
    batches = 0
    for _, values in answered(reading, model, outputs, optimize=False):
        for tensor, value in zip(widths, values, strict=True):
            found[tensor] = np.fmax(found[tensor], value.reshape(-1))
        batches += 1
    if not batches:
        raise CellError("failed", "the calibration set yields no batch")
    return found


def _groups(
    model: Any, constants: Mapping[str, Any], op_types: Collection[str], kept_float: Collection[str]
) -> dict[str, list[Any]]:
    """Float tensor → the products with constant weights that read it."""
    types = element_types(model)
    groups: dict[str, list[Any]] = {}
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.op_type not in op_types or node.name in kept_float:
            continue
        tensor, weight = node.input[0], node.input[1]
        if weight not in constants or constants[weight].ndim != 2 or tensor in constants:
            continue
        if types.get(tensor) == FLOAT and not _attribute(node, "transA"):
            groups.setdefault(tensor, []).append(node)
    return groups


def _attribute(node: Any, name: str) -> int:
    return next((item.i for item in node.attribute if item.name == name), 0)


def _by_channel(node: Any, constants: Mapping[str, Any]) -> Floats:
    """A product's weights, [input channels, outputs]."""
    weights: Floats = constants[node.input[1]]
    return weights.T if _attribute(node, "transB") else weights


class _Edit:
    """Changes to one graph, noted, and written at the end."""

    def __init__(self, model: Any, constants: Mapping[str, Any]) -> None:
        self.graph, self._constants = model.graph, constants
        self.inserted: list[str] = []
        self.folded: list[str] = []
        self._makers = {name: node for node in self.graph.node for name in node.output}
        self._infos = {item.name: item for item in (*self.graph.value_info, *self.graph.input)}
        self._outputs = {item.name for item in self.graph.output}
        self._new_nodes: dict[str, Any] = {}

    def smooth(self, tensor: str, nodes: Sequence[Any], scales: Floats) -> None:
        """Divide `tensor` by `scales` for `nodes`, and multiply their weights."""
        readers = [node for node in self.graph.node if tensor in node.input]
        alone = tensor not in self._outputs and all(any(node is one for one in nodes) for node in readers)
        if alone and not self._read_inside(tensor) and self._fold(tensor, scales):
            self.folded.append(tensor)
            source = tensor
        else:
            source = self._multiplied(tensor, scales)
        for node in nodes:
            weights = self._constants[node.input[1]]
            column = scales if _attribute(node, "transB") else scales[:, None]
            node.input[1] = self._constant(weights * column, f"{node.input[1]}_smoothed_for_{node.name}")
            node.input[0] = source

    def finish(self) -> None:
        """Put the new nodes behind what they read, and drop constants that nobody reads any more."""
        ordered = [self._new_nodes[item.name] for item in self.graph.input if item.name in self._new_nodes]
        for node in self.graph.node:
            ordered.append(node)
            ordered.extend(self._new_nodes[name] for name in node.output if name in self._new_nodes)
        read = {name for node in ordered for name in node.input} | self._outputs | set(self._names_inside())
        constants = [tensor for tensor in self.graph.initializer if tensor.name in read]
        for field, items in (("node", ordered), ("initializer", constants)):
            copies = [type(item).FromString(item.SerializeToString()) for item in items]
            self.graph.ClearField(field)
            getattr(self.graph, field).extend(copies)

    def _multiplied(self, tensor: str, scales: Floats) -> str:
        from onnx import helper

        name = f"{tensor}_smoothed"
        inverse = self._constant(1.0 / scales, f"{name}_by")  # NAME_scale is the quantizer's
        self._new_nodes[tensor] = helper.make_node("Mul", [tensor, inverse], [name], name=f"Smooth_{tensor}")
        self.inserted.append(f"Smooth_{tensor}")
        info = self.graph.value_info.add()
        if tensor in self._infos:
            info.CopyFrom(self._infos[tensor])
            info.name = name
        else:
            info.CopyFrom(helper.make_tensor_value_info(name, FLOAT, None))
        return name

    def _fold(self, tensor: str, scales: Floats) -> bool:
        """Divide inside the node that makes the tensor, where it multiplies by a constant already."""
        node = self._makers.get(tensor)
        if node is None:
            return False
        if node.op_type == "LayerNormalization" and node.output[0] == tensor:
            places = [index for index in (1, 2) if index < len(node.input) and node.input[index]]
            if any(self._shape(node.input[index]) != scales.shape for index in places):
                return False
        elif node.op_type == "Mul":
            places = [index for index in (0, 1) if self._shape(node.input[index])[-1:] in ((1,), scales.shape)][:1]
            if not places or self._shape(node.input[1 - places[0]]):
                return False
        else:
            return False
        for index in places:
            divided = self._constants[node.input[index]] / scales
            node.input[index] = self._constant(divided, f"{node.input[index]}_smoothed_for_{node.name}")
        return True

    def _shape(self, name: str) -> tuple[int, ...]:
        """Of a constant; empty where it is none."""
        return tuple(self._constants[name].shape) if name in self._constants else ()

    def _constant(self, values: Any, name: str) -> str:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))
        return name

    def _names_inside(self) -> list[str]:
        """What bodies of If, Loop and Scan read."""
        top = {id(node) for node in self.graph.node}
        return [name for node in all_nodes(self.graph) if id(node) not in top for name in node.input]

    def _read_inside(self, tensor: str) -> bool:
        return tensor in self._names_inside()
