"""Real providers, each in an environment that LynxBench makes: what they do on the quiet, and that it is noticed.

The traps are numbered as they were found: unused providers, silent fallback, ignored options, stale buffers, other
precisions, ignored threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from lynxbench.execution import Reason, doctor, list_environments, preflight
from lynxbench.execution.libraries import loads
from lynxbench.execution.verification import SPARE_THREADS
from lynxbench.specs.executor import EngineCache, ExecutorSpec, Option, Wheel
from tests.execution import environments, models
from tests.execution.environments import ENVIRONMENTS, outputs_of, run_remote

Specs = Mapping[str, ExecutorSpec]
References = Callable[[Path, dict[str, np.ndarray]], list[dict[str, np.ndarray]]]
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
CPU = "CPUExecutionProvider"


def proven(result: dict[str, Any]) -> dict[str, Any]:
    """The verification, after what holds for any provider: bound memory is read anew and written at once."""
    assert "error" not in result, result
    assert result["bound_difference"] == result["changed_difference"] == 0
    assert result["change"] > 0
    verification: dict[str, Any] = result["verification"]
    return verification


def half_known(path: Path) -> Path:
    """x → Relu → Shrink (which nxrt does not know) → y."""
    shape = (8, 8)
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Shrink", ["h"], ["y"], lambd=0.1)]
    return models.save(path, nodes, {"x": shape}, {"y": shape}, {}, element=TensorProto.FLOAT)


def test_openvino_runs_every_node(specs: Specs, tmp_path: Path, references: References) -> None:
    model, feed = models.perceptron(tmp_path / "p.onnx"), {"x": models.sample((3, 16))}
    found = proven(
        run_remote(
            environments.openvino_cpu(),
            specs["openvino-cpu"],
            model,
            feed,
            references=references(model, feed),
            scheme="fp32",
        )
    )
    assert found["status"] == "ok"
    assert found["nodes"] == {"OpenVINOExecutionProvider": {"Gemm": 1, "MatMul": 1, "Relu": 1}}
    assert max(found["differences"]) < 1e-5
    assert found["wheel"] == "onnxruntime-openvino 1.24.1"
    assert found["options"] == {"device_type": "CPU", "num_of_threads": "1"}
    assert "precision-differs" not in found["cautions"]


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "FP16"},
        {"device_type": "GPU"},
        {"device_type": "HETERO:GPU,CPU"},
        {"load_config": "/no/file.json"},
    ],
    ids=lambda options: next(iter(options)) + "-" + next(iter(options.values()))[:4].strip("/"),
)
def test_openvino_on_the_cpu_provider_is_unavailable(specs: Specs, tmp_path: Path, options: dict[str, str]) -> None:
    """The wheel takes these, says nothing, and gives a session on the CPU provider."""
    spec = specs["openvino-cpu"]
    anything = {**spec.allowed_options, "precision": Option(type="text"), "device_type": Option(type="text")}
    model = models.perceptron(tmp_path / "p.onnx")
    python = environments.openvino_cpu()
    spec = spec.model_copy(update={"allowed_options": anything})
    result = run_remote(python, spec, model, {"x": models.sample((3, 16))}, options=options)
    assert result["status"] == "unavailable"
    assert f"the session has {CPU}" in result["reason"]


def bfloat16_instructions() -> bool:
    """Whether Linux lists any for this processor."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


def test_openvino_in_half_precision_is_noticed(specs: Specs, tmp_path: Path, references: References) -> None:
    model, feed = models.wide(tmp_path / "w.onnx", size=256), {"x": models.sample((64, 256))}
    known = references(model, feed)
    found = {}
    for name, options in {
        "float32": {},
        "half": {"load_config": '{"CPU":{"INFERENCE_PRECISION_HINT":"bf16"}}'},
    }.items():
        python = environments.openvino_cpu()
        result = run_remote(
            python, specs["openvino-cpu"], model, feed, references=known, options=options, scheme="fp32"
        )
        found[name] = proven(result)
    assert "precision-differs" not in found["float32"]["cautions"]
    # A processor without instructions for it computes in float32 all the same, and nothing is to be noticed.
    differs = found["half"]["differences"][0] > 100 * found["float32"]["differences"][0]
    assert differs or not bfloat16_instructions()
    assert ("precision-differs" in found["half"]["cautions"]) == differs


def test_openvino_ignores_onnxruntimes_threads_and_is_caught(specs: Specs, tmp_path: Path) -> None:
    model, feed = models.wide(tmp_path / "w.onnx"), {"x": models.sample((64, 1024))}
    spec, python = specs["openvino-cpu"], environments.openvino_cpu()
    right = proven(run_remote(python, spec, model, feed))
    assert right["busy_threads"] < 1 + SPARE_THREADS
    assert "threads-not-honoured" not in right["cautions"]
    wrong = spec.model_copy(update={"threads": "intra_op_num_threads"})
    tries = [proven(run_remote(python, wrong, model, feed)) for _ in range(5)]
    # Beside other work the second thread hardly gets a turn, so its share tells little; that it was there is certain.
    assert max(found["busy_threads"] for found in tries) > right["busy_threads"] or len(os.sched_getaffinity(0)) == 1
    for found in tries:
        assert ("threads-not-honoured" in found["cautions"]) == (found["busy_threads"] > 1 + SPARE_THREADS)


def test_what_a_provider_compiles_is_kept_and_timed_apart(specs: Specs, tmp_path: Path) -> None:
    """TensorRT's way of keeping engines, on a provider that runs here."""
    spec = specs["openvino-cpu"].model_copy(update={"engine_cache": EngineCache(folders=("cache_dir",))})
    model, feed = models.wide(tmp_path / "w.onnx", size=256), {"x": models.sample((64, 256))}
    python, cache = environments.openvino_cpu(), tmp_path / "cache"
    first, again = (run_remote(python, spec, model, feed, cache_dir=cache) for _ in range(2))
    folders = list((cache / "engines" / spec.name).iterdir())
    assert len(folders) == 1
    assert list(folders[0].iterdir())
    assert first["cold"]["engine_build_ns"] > 0
    assert again["cold"]["engine_build_ns"] == 0
    assert proven(again)["options"]["cache_dir"] == str(folders[0])
    run_remote(python, spec, model, feed, cache_dir=cache, options={"num_streams": 2})
    assert len(list((cache / "engines" / spec.name).iterdir())) == 2


def test_a_third_partys_plugin_full_partial_and_none(specs: Specs, tmp_path: Path) -> None:
    python, nxrt, x = environments.plugins(), specs["nxrt"], {"x": models.sample((8, 8))}
    full = proven(run_remote(python, nxrt, models.chain(tmp_path / "full.onnx", ["Relu", "Erf"], shape=(8, 8)), x))
    assert (full["status"], full["nodes"]) == ("ok", {"cpu_ep": {"Erf": 1, "Relu": 1}})
    part = proven(run_remote(python, nxrt, half_known(tmp_path / "part.onnx"), x))
    assert (part["status"], part["reason"]) == ("partial", f"1 of 2 nodes ran on {CPU}: Shrink ×1")
    none = proven(run_remote(python, nxrt, models.chain(tmp_path / "none.onnx", ["Shrink"], shape=(8, 8)), x))
    assert none["status"] == "rejected"
    assert none["providers_before"] == ["cpu_ep", CPU]  # what the session lists proves nothing
    assert full["device"]
    assert full["wheel"] == f"onnxruntime {full['onnxruntime_version']}, nxrt-ep-cpu 0.1.0.dev6"


def test_claimed_is_not_runnable(specs: Specs, tmp_path: Path, references: References) -> None:
    """This plugin claims a convolution with a free batch size and fails in its run: no row, and no CPU in disguise."""
    python, nxrt, feed = environments.plugins(), specs["nxrt"], {"x": models.sample((2, 1, 8, 8))}
    free = run_remote(python, nxrt, models.convolution(tmp_path / "free.onnx"), feed)
    assert free["status"] == "failed"
    assert "cpu_ep failed in its run" in free["reason"]
    model = models.convolution(tmp_path / "fixed.onnx", batch=2)
    fixed = proven(run_remote(python, nxrt, model, feed, references=references(model, feed), scheme="fp32"))
    assert (fixed["status"], fixed["nodes"]) == ("ok", {"cpu_ep": {"Conv": 1, "HardSigmoid": 1, "Mul": 1}})


def test_an_unknown_option_of_a_plugin_is_refused_though_the_session_would_echo_it(
    specs: Specs, tmp_path: Path
) -> None:
    model = models.perceptron(tmp_path / "p.onnx")
    result = run_remote(
        environments.plugins(), specs["nxrt"], model, {"x": models.sample((3, 16))}, options={"bogus": "1"}
    )
    assert result["error"] == "DeclarationError"
    assert "knows no option 'bogus'" in result["reason"]
    spec = specs["nxrt"].model_copy(update={"allowed_options": {"bogus": Option(type="text")}})
    echoed = run_remote(environments.plugins(), spec, model, {"x": models.sample((3, 16))}, options={"bogus": "1"})
    assert proven(echoed)["options"] == {"bogus": "1"}


def test_qnn_simulator(specs: Specs, tmp_path: Path, references: References) -> None:
    spec, python, feed = specs["qnn-htp-simulator"], environments.plugins(), {"x": models.sample((3, 16))}
    fixed = models.perceptron(tmp_path / "fixed.onnx", batch=3)
    found = proven(run_remote(python, spec, fixed, feed, references=references(fixed, feed), scheme="fp32"))
    assert found["status"] == "ok"
    assert found["nodes"] == {"QNNExecutionProvider": {"Gemm": 1, "MatMul": 1, "Relu": 1}}
    assert {"simulated", "threads-unsupported"} <= set(found["cautions"])
    free = models.perceptron(tmp_path / "free.onnx")
    dynamic = proven(run_remote(python, spec, free, feed))
    assert dynamic["status"] == "rejected"
    assert "took none of the 3 nodes" in dynamic["reason"]


def test_webgpu_on_a_software_gpu_or_the_reason_why_not(
    specs: Specs, tmp_path: Path, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the Vulkan loader and SwiftShader are installed it must run; elsewhere doctor must name what is missing."""
    python, spec = environments.plugins(), specs["webgpu-software"]
    if not loads("libvulkan.so.1"):
        found = preflight(spec, python=python)
        assert (found.reason, found.next) == (Reason.LIBRARY_MISSING, "apt-get install libvulkan1 chromium-common")
        assert "libvulkan.so.1" in found.detail
        return
    if not SWIFTSHADER.is_file():
        found = preflight(spec, python=python)
        assert found.status == "available" or "vk_swiftshader_icd" in str(found.next)
        return
    monkeypatch.setenv("VK_ICD_FILENAMES", str(SWIFTSHADER))
    assert preflight(spec, python=python).simulated
    quantized, feed = models.quantized(tmp_path / "q.onnx"), {"x": models.sample((8, 64))}
    result = run_remote(python, spec, quantized, feed, references=references(quantized, feed), scheme="int8-static")
    part = proven(result)  # a buffer bound once would be stale: this provider copies inputs when they are bound
    assert part["status"] == "partial"
    assert part["reason"] == f"2 of 6 nodes ran on {CPU}: QuantizeLinear ×2"
    assert "simulated" in part["cautions"]
    assert outputs_of(result)["y"].shape == (8, 64)


def test_a_software_gpu_is_no_gpu(specs: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_ICD_FILENAMES", str(SWIFTSHADER))
    found = preflight(specs["webgpu"], python=environments.plugins())
    assert found.status == "available" or found.reason in {Reason.NO_DEVICE, Reason.LIBRARY_MISSING}
    assert found.status == "unavailable" or not any("cpu" in device for device in found.devices)


def test_openvino_plugin_wants_intels_processors(specs: Specs) -> None:
    found = preflight(specs["openvino"], python=environments.plugins())
    if "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        assert found.status == "available"
    else:
        assert (found.reason, found.next) == (Reason.NO_DEVICE, "lynxbench env create openvino-cpu")


@pytest.mark.parametrize(("name", "library"), [("cuda", "libcublasLt.so.13"), ("tensorrt", "libnvinfer.so.10")])
def test_gpu_wheel_without_a_gpu(specs: Specs, tmp_path: Path, name: str, library: str) -> None:
    """The wheel lists both providers, and CUDA even gives a session: on the CPU. It must never become a row."""
    bare = Wheel(distribution="onnxruntime-gpu", version="==1.31.1")
    spec = specs[name].model_copy(update={"wheel": bare})
    python = environments.gpu_without_toolkit()
    found = preflight(spec, python=python)
    assert found.status == "unavailable"
    expected = Reason.LIBRARY_MISSING if loads("libcuda.so.1") else Reason.DRIVER_MISSING
    assert found.reason is expected
    assert library in found.detail
    assert found.next
    result = run_remote(python, spec, models.perceptron(tmp_path / "p.onnx"), {"x": models.sample((3, 16))})
    assert result["status"] == "unavailable"
    assert library in result["reason"]


def test_an_installed_lynxbench_lends_its_own_code_alone(tmp_path: Path) -> None:
    """From site-packages, a worker in another environment must see `lynxbench` and nothing that lies beside it."""
    site = tmp_path / "site"
    ignore = shutil.ignore_patterns("__pycache__", "*.onnx", "*.npz")
    shutil.copytree(environments.CHECKOUT / "lynxbench", site / "lynxbench", ignore=ignore)
    (site / "numpy").mkdir()
    (site / "numpy" / "__init__.py").write_text("raise ImportError('the wrong NumPy')", encoding="utf-8")
    code = (
        # Found first, so that a checkout installed here does not stand in; then last, for the sake of the NumPy.
        "import sys; sys.path.insert(0, sys.argv[1]); import lynxbench; sys.path.append(sys.path.pop(0))\n"
        "from lynxbench.execution.preflight import probe\n"
        "from lynxbench.specs.executor import ExecutorSpec\n"
        "print(probe(ExecutorSpec.model_validate_json(sys.argv[2]), sys.argv[3]))"
    )
    spec = environments.catalogue()["openvino-cpu"].model_dump_json()
    env = {**os.environ, "PYTHONPATH": "", "LYNXBENCH_CACHE": str(tmp_path / "cache")}
    argv = [sys.executable, "-P", "-c", code, str(site), spec, environments.openvino_cpu()]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False, cwd=tmp_path)
    assert "status='available'" in done.stdout, done.stdout + done.stderr
    assert list((tmp_path / "cache" / "links").glob("*/lynxbench")) != []


def test_environments_are_recorded(specs: Specs) -> None:
    environments.openvino_cpu()
    recorded = {item.executor: item for item in list_environments(cache_dir=ENVIRONMENTS)}["openvino-cpu"]
    assert recorded.versions["onnxruntime-openvino"] == "1.24.1"
    assert "onnxruntime" not in recorded.versions
    assert preflight(specs["openvino-cpu"], cache_dir=ENVIRONMENTS).python == recorded.python


def test_doctor_has_a_reason_for_everything(specs: Specs) -> None:
    environments.openvino_cpu()
    found = {item.name: item for item in doctor(specs.values(), cache_dir=ENVIRONMENTS)}
    assert set(found) == set(specs)
    assert all((item.status == "available") == (item.reason is None) for item in found.values())
    assert all(item.detail for item in found.values())
    assert {"cpu", "openvino-cpu"} <= {name for name, item in found.items() if item.status == "available"}
