"""The CUDA provider on an NVIDIA GPU: what runs where, that changed inputs arrive, and what is read beside time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from lynxbench.specs.executor import ExecutorSpec
from tests.execution import environments, models
from tests.execution.environments import run_remote

pytestmark = pytest.mark.gpu

Specs = Mapping[str, ExecutorSpec]
References = Callable[[Path, dict[str, np.ndarray]], list[dict[str, np.ndarray]]]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def quantized_at_run_time(path: Path) -> Path:
    """x → DynamicQuantizeLinear → MatMulInteger (both on the CPU) → Cast → Mul → y: the CPU reads the input."""
    weights = {"w": np.random.default_rng(0).integers(-127, 127, (16, 4)).astype(np.int8)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["products"]),
        helper.make_node("Cast", ["products"], ["sums"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sums", "scale"], ["y"]),
    ]
    return models.save(path, nodes, {"x": ("N", 16)}, {"y": ("N", 4)}, weights)


def run(spec: ExecutorSpec, model: Path, feed: dict[str, np.ndarray], **more: Any) -> dict[str, Any]:
    found = run_remote(environments.cuda(), spec, model, feed, **more)
    assert "error" not in found, found
    return found


def test_every_node_runs_on_the_device_in_full_precision(specs: Specs, tmp_path: Path, references: References) -> None:
    model, feed = models.wide(tmp_path / "wide.onnx"), {"x": models.sample((64, 1024))}
    found = run(specs["cuda"], model, feed, references=references(model, feed), scheme="fp32")
    verification = found["verification"]
    assert verification["status"] == "ok"
    assert verification["nodes"] == {CUDA: {"MatMul": 3}}
    assert max(verification["differences"]) < 1e-4
    assert "precision-differs" not in verification["cautions"]
    assert "NVIDIA" in verification["device"]
    assert found["bound_difference"] == found["changed_difference"] == 0 < found["change"]


def test_tf32_is_seen_by_its_numbers(specs: Specs, tmp_path: Path, references: References) -> None:
    model, feed = models.wide(tmp_path / "wide.onnx"), {"x": models.sample((64, 1024))}
    fast = run(
        specs["cuda"], model, feed, references=references(model, feed), scheme="fp32", options={"use_tf32": True}
    )
    assert "precision-differs" in fast["verification"]["cautions"]


@pytest.mark.parametrize("options", [{}, {"enable_cuda_graph": True}], ids=["kernels", "graph"])
def test_what_is_written_into_bound_inputs_arrives(specs: Specs, tmp_path: Path, options: dict[str, Any]) -> None:
    found = run(
        specs["cuda"],
        models.perceptron(tmp_path / "p.onnx"),
        {"x": models.sample((3, 16))},
        scheme="fp32",
        options=options,
    )
    assert found["bound_difference"] == found["changed_difference"] == 0 < found["change"]


def test_inputs_that_the_cpu_reads_arrive_as_well(specs: Specs, tmp_path: Path, references: References) -> None:
    model, feed = quantized_at_run_time(tmp_path / "d.onnx"), {"x": models.sample((3, 16))}
    found = run(specs["cuda"], model, feed, references=references(model, feed), scheme="int8-dynamic")
    assert found["verification"]["nodes"][CPU] == {"DynamicQuantizeLinear": 1, "MatMulInteger": 1}
    assert found["bound_difference"] == found["changed_difference"] == 0 < found["change"]


def test_energy_and_memory_are_the_devices(specs: Specs, tmp_path: Path) -> None:
    sensors = run(specs["cuda"], models.perceptron(tmp_path / "p.onnx"), {"x": models.sample((3, 16))})["sensors"]
    assert [name.startswith("GPU-") for name in sensors["energy_uj"]] == [True]
    assert sensors["device_memory_bytes"] > 50e6
    assert not {"energy_uj", "device_memory_bytes"} & set(sensors["reasons"])
