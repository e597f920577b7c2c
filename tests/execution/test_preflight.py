"""Availability from what stands in an environment, on made-up but real distributions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lynxbench.execution import Reason, doctor, preflight, worker_command
from lynxbench.execution.preflight import check_wheels, current_platform
from lynxbench.execution.wheels import installed, owners, satisfies
from lynxbench.specs.executor import ExecutorSpec, Libraries

Specs = Mapping[str, ExecutorSpec]


def install(site: Path, name: str, version: str, *, package: str | None = "onnxruntime") -> None:
    """What pip leaves behind of a wheel: metadata and a list of files."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    files = [f"{package}/__init__.py,,"] if package else []
    (info / "RECORD").write_text(
        "\n".join([f"{info.name}/METADATA,,", *files, f"{info.name}/RECORD,,"]), encoding="utf-8"
    )


def test_two_wheels_that_own_the_package_are_refused(cpu: ExecutorSpec, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.32.0")
    install(tmp_path, "onnxruntime-gpu", "1.31.1")
    install(tmp_path, "numpy", "2.4.0", package="numpy")
    found = check_wheels(cpu, path=[str(tmp_path)])
    assert found is not None
    assert found.reason is Reason.WHEELS_CONFLICT
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 both own" in found.detail
    assert found.next == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime>=1.31,<1.33'"


def test_a_plugin_beside_the_runtime_is_no_conflict(specs: Specs, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.32.0")
    install(tmp_path, "onnxruntime-qnn", "2.7.0", package="onnxruntime_qnn")
    assert [item.name for item in owners(path=[str(tmp_path)])] == ["onnxruntime"]
    assert check_wheels(specs["qnn-htp-simulator"], path=[str(tmp_path)]) is None
    assert check_wheels(specs["cpu"], path=[str(tmp_path)]) is None


def test_versions_outside_the_range(specs: Specs, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.20.0")
    install(tmp_path, "onnxruntime_ep_webgpu", "0.4.0", package="onnxruntime_ep_webgpu")
    cpu = check_wheels(specs["cpu"], path=[str(tmp_path)])
    assert cpu is not None
    assert (cpu.reason, cpu.detail) == (
        Reason.WHEEL_VERSION,
        "onnxruntime 1.20.0 is installed, onnxruntime>=1.31,<1.33 is needed",
    )
    webgpu = check_wheels(specs["webgpu"], path=[str(tmp_path)])
    assert webgpu is not None
    assert webgpu.reason is Reason.WHEEL_VERSION
    assert "onnxruntime>=1.31,<1.33 is needed beside onnxruntime-ep-webgpu==0.4.0" in webgpu.detail


def test_missing_wheels(specs: Specs, tmp_path: Path) -> None:
    empty = check_wheels(specs["cpu"], path=[str(tmp_path)])
    assert empty is not None
    assert (empty.reason, empty.next) == (Reason.WHEEL_MISSING, "pip install 'onnxruntime>=1.31,<1.33'")
    install(tmp_path, "onnxruntime-openvino", "1.24.1")
    fork = check_wheels(specs["cpu"], path=[str(tmp_path)])
    assert fork is not None
    assert fork.detail.endswith("onnxruntime-openvino 1.24.1 owns onnxruntime here")
    assert str(fork.next).startswith("pip uninstall -y onnxruntime-openvino && pip install")
    assert check_wheels(specs["openvino-cpu"], path=[str(tmp_path)]) is None


def test_an_alternative_serves(specs: Specs, tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.31.1")
    assert check_wheels(specs["cpu"], path=[str(tmp_path)]) is None


def test_versions_that_are_none(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "oddity")
    assert not satisfies(installed("onnxruntime", path=[str(tmp_path)]), "onnxruntime>=1")
    assert satisfies(installed("ONNXRuntime", path=[str(tmp_path)]), "onnxruntime") is False


def test_the_platform_comes_first(specs: Specs) -> None:
    found = preflight(specs["directml"])
    assert (found.status, found.reason) == ("unavailable", Reason.PLATFORM)
    assert current_platform() in found.detail
    assert "part of Windows" in found.detail


def test_the_cpu_runs(cpu: ExecutorSpec) -> None:
    found = preflight(cpu)
    assert (found.status, found.reason, found.python) == ("available", None, sys.executable)
    assert json.loads(json.dumps(found.to_json()))["wheel"].startswith("onnxruntime")
    assert preflight(cpu, deep=False).status == "available"


def test_asking_imports_no_onnxruntime_here() -> None:
    code = (
        "import sys; from pathlib import Path; from lynxbench.execution import doctor, host_facts\n"
        "from lynxbench.specs.executor import ExecutorSpec; from lynxbench.specs.load import load_folder\n"
        "found = doctor(item.spec for item in load_folder('executors', ExecutorSpec, None).values()); host_facts()\n"
        "assert any(item.status == 'available' for item in found)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in {'onnxruntime', 'onnx', 'scipy', 'sklearn'}]"
    )
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_one_that_needs_its_own_environment_says_how_to_make_it(specs: Specs, tmp_path: Path) -> None:
    found = preflight(specs["openvino-cpu"], cache_dir=tmp_path)
    assert (found.reason, found.next) == (Reason.ENVIRONMENT_MISSING, "lynxbench env create openvino-cpu")


def test_no_environment_is_advised_for_a_device_without_its_driver(specs: Specs, tmp_path: Path) -> None:
    driver = Libraries(driver=("libnodriver.so.1",), driver_hint="install the driver")
    spec = specs["openvino-cpu"].model_copy(update={"libraries": driver})
    found = preflight(spec, cache_dir=tmp_path)
    assert (found.reason, found.next) == (Reason.DRIVER_MISSING, "install the driver")
    assert "libnodriver.so.1" in found.detail


@pytest.mark.parametrize(
    ("libraries", "reason", "hint"),
    [
        (Libraries(driver=("libnodriver.so.1",), driver_hint="D", toolkit_hint="T"), Reason.DRIVER_MISSING, "D"),
        (Libraries(loaded_at_run_time=("libnotoolkit.so",), toolkit_hint="T"), Reason.LIBRARY_MISSING, "T"),
    ],
)
def test_driver_is_told_from_toolkit(cpu: ExecutorSpec, libraries: Libraries, reason: Reason, hint: str) -> None:
    found = preflight(cpu.model_copy(update={"libraries": libraries}))
    assert (found.reason, found.next) == (reason, hint)
    assert "libno" in found.detail


def test_a_provider_that_is_not_compiled_in(cpu: ExecutorSpec) -> None:
    found = preflight(cpu.model_copy(update={"provider": "RocmExecutionProvider"}))
    assert found.reason is Reason.PROVIDER_MISSING
    assert "has no RocmExecutionProvider" in found.detail


def test_an_interpreter_that_cannot_answer(cpu: ExecutorSpec, tmp_path: Path) -> None:
    gone = preflight(cpu, python=str(tmp_path / "python"))
    assert gone.reason is Reason.ENVIRONMENT_BROKEN
    silent = preflight(cpu, python="/bin/false")
    assert silent.reason is Reason.ENVIRONMENT_BROKEN
    assert "ended with 1" in silent.detail


def test_an_environment_of_its_own_never_sees_this_ones_packages(
    cpu: ExecutorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    spec = cpu.model_copy(update={"variables": {"SOME_SWITCH": "1"}})
    here, there = worker_command(spec, "m"), worker_command(spec, "m", python="/other/python")
    assert here.env["PYTHONPATH"].endswith(os.pathsep + "/somewhere")
    assert there.env["PYTHONPATH"] == str(Path(__file__).resolve().parents[2])
    assert here.env["SOME_SWITCH"] == there.env["SOME_SWITCH"] == "1"
    assert there.argv == ("/other/python", "-P", "-m", "m")


def test_doctor_keeps_the_order(specs: Specs, tmp_path: Path) -> None:
    wanted = [specs[name] for name in ("directml", "cpu", "coreml")]
    assert [item.name for item in doctor(wanted, cache_dir=tmp_path)] == ["directml", "cpu", "coreml"]
