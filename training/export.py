"""From a trained module to a checked ONNX file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

OPSET = 17
PARITY_LIMIT = 1e-3
"""Largest absolute difference allowed between PyTorch and ONNX Runtime; both compute in float32."""


class ConvNorm(nn.Module):
    """A convolution with batch normalization, kept side by side so that the latter can be folded before export."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, ceil(h / stride), ceil(w / stride)]."""
        if self.conv.groups > 1:
            # PyTorch's bfloat16 gradient of strided depthwise convolutions was 20 to 50 times slower than float32's.
            with torch.autocast("cpu", enabled=False):
                filtered = self.conv(features.float())
        else:
            filtered = self.conv(features)
        normalized: Tensor = self.norm(filtered)
        return normalized


def fold_norms(model: nn.Module) -> None:
    """Fold every `ConvNorm`'s batch normalization into its convolution, in place."""
    model.eval()
    for module in model.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = torch.nn.utils.fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on one CPU thread: slower, and the same sums in the same order every time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _declare_output(path: Path, sides: Sequence[int]) -> None:
    """Write the output's known sides into the file, where the exporter left a made-up name for some of them."""
    content = onnx.load(path)
    for axis, side in enumerate(sides, start=1):
        content.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = side
    onnx.save(content, path)


def export(model: nn.Module, example: Tensor, input_name: str, output_name: str, path: Path) -> float:
    """Write `model` as ONNX with a free first axis named "batch", and check the file.

    Returns:
        The largest absolute difference between PyTorch and ONNX Runtime on `example` and on its first row.

    Raises:
        onnx.checker.ValidationError: the file is no valid ONNX.
        ValueError: the two runtimes differ by more than `PARITY_LIMIT`.
    """
    model.eval()
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but it needs no further package and its graphs are plain.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: {0: "batch"}, output_name: {0: "batch"}},
        )
    _declare_output(path, model(example).shape[1:])
    onnx.checker.check_model(path, full_check=True)
    session = open_session(path)
    difference = 0.0
    for rows in (example, example[:1]):
        with torch.no_grad():
            expected = model(rows).numpy()
        actual = session.run([output_name], {input_name: rows.numpy()})[0]
        difference = max(difference, float(np.abs(expected - actual).max()))
    if difference > PARITY_LIMIT:
        raise ValueError(f"{path.name}: PyTorch and ONNX Runtime differ by {difference:.2g} (at most {PARITY_LIMIT})")
    return difference


def parameter_count(model: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in model.parameters())


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
