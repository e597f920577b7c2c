"""The environments that tests of real providers need, made by LynxBench itself and kept between runs.

Under `LYNXBENCH_TEST_ENVS`, else `.venv-tests/` at the top of the checkout. A test fails where one cannot be made.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.execution import create, worker_command
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import load_folder

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = Path(os.environ.get("LYNXBENCH_TEST_ENVS") or CHECKOUT / ".venv-tests")
# Plugins coexist in one process; one environment for all spares downloads.
PLUGINS = ("nxrt-ep-cpu==0.1.0.dev6", "onnxruntime-ep-openvino==1.8.1", "onnxruntime-ep-webgpu==0.4.0")


@cache
def catalogue() -> Mapping[str, ExecutorSpec]:
    """All built-in executors, and nxrt from the tests' own folder, by name."""
    declared = load_folder("executors", ExecutorSpec, Path(__file__).parent / "executors")
    return {name: item.spec for name, item in declared.items()}


@cache
def openvino_cpu() -> str:
    """Interpreter of the environment that `lynxbench env create openvino-cpu` makes."""
    return create(catalogue()["openvino-cpu"], cache_dir=ENVIRONMENTS).python


@cache
def plugins() -> str:
    """Interpreter of an environment with ONNX Runtime and four plugins."""
    spec = catalogue()["qnn-htp-simulator"]
    wheel = spec.wheel.model_copy(update={"dependencies": (*spec.wheel.dependencies, *PLUGINS)})
    return create(spec.model_copy(update={"name": "plugins", "wheel": wheel}), cache_dir=ENVIRONMENTS).python


@cache
def cuda() -> str:
    """Interpreter of the environment that `lynxbench env create cuda` makes: 2 GB, for machines with a GPU."""
    return create(catalogue()["cuda"], cache_dir=ENVIRONMENTS).python


@cache
def gpu_without_toolkit() -> str:
    """Interpreter of an environment with onnxruntime-gpu and none of the CUDA libraries (2 GB that CI can spare)."""
    spec = catalogue()["cuda"]
    update = {"install_without_dependencies": True, "extras": (), "dependencies": ("flatbuffers", "protobuf")}
    wheel = spec.wheel.model_copy(update=update)
    return create(spec.model_copy(update={"name": "cuda-bare", "wheel": wheel}), cache_dir=ENVIRONMENTS).python


def run_remote(
    python: str,
    spec: ExecutorSpec,
    model: Path,
    feed: Mapping[str, np.ndarray],
    *,
    references: Sequence[Mapping[str, np.ndarray]] = (),
    options: Mapping[str, Any] | None = None,
    threads: int = 1,
    scheme: str | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """What `remote.py` answers in `python`'s environment."""
    command = worker_command(spec, "unused", python=python)
    request = {
        "spec": spec.model_dump_json(),
        "model": str(model),
        "feed": _lists(feed),
        "references": [_lists(reference) for reference in references],
        "options": dict(options or {}),
        "threads": threads,
        "scheme": scheme,
        "cache_dir": str(cache_dir) if cache_dir else None,
    }
    script = Path(__file__).parent / "remote.py"
    done = subprocess.run(
        [python, "-P", str(script)],
        input=json.dumps(request),
        env=dict(command.env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def outputs_of(result: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The plain run's outputs in an answer of `run_remote`."""
    return {name: np.asarray(item["data"], dtype=item["dtype"]) for name, item in result["outputs"].items()}


def _lists(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: {"data": array.tolist(), "dtype": str(array.dtype)} for name, array in arrays.items()}
