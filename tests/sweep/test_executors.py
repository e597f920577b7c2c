"""Sweeps over real providers: two vendors' stacks in the same rounds, and those that only claim to be there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.execution.environments import ENVIRONMENTS, catalogue, openvino_cpu
from tests.running import ROOT, command, environment

OWN = Path(__file__).parents[1] / "execution" / "executors"
ONLY = "model=fashion-embedder,scheme=fp32,int8-static"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Records of one quick sweep over the CPU, OpenVINO, a third party's plugin and CUDA."""
    openvino_cpu()  # made by `create`, as `lynxbench env create` does, and kept between runs
    home = tmp_path_factory.mktemp("executors")
    # Environments lie in the cache; this one is kept, so that they are found.
    env = {**environment(home), "LYNXBENCH_CACHE": str(ENVIRONMENTS)}

    def lynxbench(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), cwd=home, env=env, capture_output=True, text=True, check=False, timeout=600
        )

    made = lynxbench("env", "create", "nxrt", "--executors", str(OWN))
    assert made.returncode == 0, made.stderr
    assert "nxrt" in lynxbench("env", "list").stdout
    executors = [part for name in ("cpu", "openvino-cpu", "nxrt", "cuda") for part in ("--executor", name)]
    ran = lynxbench("sweep", "--budget", "quick", "--only", ONLY, *executors, "--executors", str(OWN), "--json")
    assert ran.returncode == 3, ran.stderr  # the plugin's row is rejected
    found: list[dict] = json.loads(ran.stdout)["records"]
    return found


def of(rows: list[dict], executor: str, scheme: str) -> list[dict]:
    return [row for row in rows if (row["executor"], row["scheme"]) == (executor, scheme)]


@pytest.mark.parametrize("scheme", ["fp32", "int8-static"])
def test_two_vendors_in_the_same_rounds(rows: list[dict], scheme: str) -> None:
    for row in of(rows, "openvino-cpu", scheme):
        assert row["status"] == "ok", row["reason"]
        assert row["throughput_ratio"] > 0
        assert row["primary_value"] > 0.8
        assert row["wheel"].startswith("onnxruntime-openvino")
        assert {node["provider"] for node in row["nodes"]} == {"OpenVINOExecutionProvider"}
    for row in of(rows, "cpu", scheme):
        assert {node["provider"] for node in row["nodes"]} == {"CPUExecutionProvider"}
    assert len({row["group_id"] for row in rows}) == 1


def test_a_plugin_that_took_no_node_is_rejected(rows: list[dict]) -> None:
    for row in of(rows, "nxrt", "fp32"):
        assert row["status"] == "rejected"
        assert "took none of the" in row["reason"]
        assert row["p50_ns"] is None
        assert row["throughput_per_s"] is None


def test_what_an_executor_does_not_run_is_unsupported(rows: list[dict]) -> None:
    for row in of(rows, "nxrt", "int8-static"):
        assert (row["status"], "does not run int8-static" in row["reason"]) == ("unsupported", True)


def test_cuda_without_a_gpu_is_never_a_timed_row(rows: list[dict]) -> None:
    mine = [row for row in rows if row["executor"] == "cuda"]
    assert len(mine) == 4
    for row in mine:
        assert row["status"] == "unavailable"
        assert row["reason"]
        assert row["p50_ns"] is None


def test_the_reference_is_one(rows: list[dict]) -> None:
    assert [(r["executor"], r["scheme"]) for r in rows if r["is_reference"]] == [("cpu", "fp32")] * 2


def test_only_ok_rows_have_a_speed(rows: list[dict]) -> None:
    assert all((row["throughput_per_s"] is not None) == (row["status"] in {"ok", "partial"}) for row in rows)


def test_the_catalogue_names_every_provider() -> None:
    names = "cpu cuda tensorrt openvino openvino-cpu webgpu qnn-htp tensorrt-rtx directml coreml migraphx"
    wanted = names.split(" ")
    assert set(wanted) <= set(catalogue())


SUITE = """
name = "half"
version = "1"
[[models]]
name = "half-known"
version = "1"
path = "half.onnx"
[[schemes]]
name = "fp32"
kind = "fp32"
[[workloads]]
name = "classify"
rubric = "fashion-classification"
models = ["half-known"]
[protocol]
time_limit_s = 0.2
test_set = "quick"
"""


def nearest_mean_classifier(path: Path) -> None:
    """A real, if simple, classifier with ops (Shrink, here an identity) that the plugin does not know."""
    with np.load(ROOT / "lynxbench" / "suites" / "starter" / "fashion-calibration.npz") as data:
        images, labels = data["images"].reshape(-1, 784) / 255, data["labels"]
    means = np.stack([images[labels == label].mean(axis=0) for label in range(10)])
    nodes = [
        helper.make_node("Relu", ["image"], ["positive"]),
        helper.make_node("Shrink", ["positive"], ["same"], lambd=0.0, bias=0.0),
        helper.make_node("Flatten", ["same"], ["flat"]),
        helper.make_node("MatMul", ["flat", "means"], ["products"]),
        helper.make_node("Sub", ["products", "norms"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "nearest-mean",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 10])],
        [
            numpy_helper.from_array(means.T.astype(np.float32), "means"),
            numpy_helper.from_array((means**2).sum(axis=1).astype(np.float32)[None] / 2, "norms"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_a_model_partly_on_the_cpu_is_partial_with_its_op_types(rows: list[dict], tmp_path: Path) -> None:
    assert rows  # the plugin's environment is there
    nearest_mean_classifier(tmp_path / "half.onnx")
    (tmp_path / "half.toml").write_text(SUITE)
    executors = ("--executor", "cpu", "--executor", "nxrt", "--executors", str(OWN))
    env = {**environment(tmp_path), "LYNXBENCH_CACHE": str(ENVIRONMENTS)}
    ran = subprocess.run(
        command("sweep", "half.toml", *executors, "--json"),
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    whole, half = json.loads(ran.stdout)["records"]
    assert (whole["executor"], whole["status"]) == ("cpu", "ok")
    assert whole["primary_value"] > 0.4
    assert (half["executor"], half["status"]) == ("nxrt", "partial")
    assert "Shrink" in half["reason"]
    assert {node["provider"] for node in half["nodes"]} == {"cpu_ep", "CPUExecutionProvider"}
    assert half["primary_value"] == whole["primary_value"]
