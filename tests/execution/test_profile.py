"""What ONNX Runtime's profile says: read from a file as it writes them, and from one that it wrote just now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lynxbench.execution import Executor
from lynxbench.execution.placement import kernel_times_in_profile, kernels_in_profile
from lynxbench.specs.executor import ExecutorSpec
from tests.quantization.models import conv_net

CPU = "CPUExecutionProvider"


def event(name: str, us: int, op: str = "Conv", reads: tuple[str, ...] = ("float",), **changes: Any) -> dict[str, Any]:
    shapes = [{kind: [1, 3]} for kind in reads]
    args = {"op_name": op, "provider": CPU, "input_type_shape": shapes}
    return {"cat": "Node", "name": name, "dur": us, "args": args, **changes}


def test_times_are_medians_of_each_kernel_added_up_by_op_type(tmp_path: Path) -> None:
    runs = [
        [
            event("a_kernel_time", us, reads=("uint8", "int8")),
            event("b_kernel_time", 2 * us),
            event("r_kernel_time", 1, op="Relu"),
        ]
        for us in (900, 10, 12)
    ]
    others = [
        event("a_fence_before", 7),
        event("model_run", 5000, cat="Session"),
        {"cat": "Node", "name": "c_kernel_time", "dur": 3, "args": {}},
    ]
    file = tmp_path / "profile.json"
    file.write_text(json.dumps([*others, *(one for run in runs for one in run)]))
    found = {one.op_type: one for one in kernel_times_in_profile(file)}
    assert set(found) == {"Conv", "Relu"}
    assert (found["Conv"].kernels, found["Conv"].ns) == (2, 36_000.0)  # 12 + 24 µs: the first run's 900 is no median
    assert found["Conv"].reads == ("uint8 int8", "float")
    assert (found["Relu"].kernels, found["Relu"].ns) == (1, 1_000.0)
    assert kernels_in_profile(file) == {CPU: {"Conv": 6, "Relu": 3}}


def test_a_profile_of_today_is_understood(tmp_path: Path, specs: Mapping[str, ExecutorSpec]) -> None:
    model = tmp_path / "net.onnx"
    onnx.save(conv_net(), model)
    (tmp_path / "profile").mkdir()
    feed = {"x": np.ones((2, 3, 8, 8), np.float32)}
    with Executor(specs["cpu"], threads=1, profile_dir=tmp_path / "profile") as executor:
        executor.open(model)
        for _ in range(5):
            executor.run(feed)
        times = executor.kernel_times()
    convolutions = [one for one in times if "Conv" in one.op_type]
    assert sum(one.kernels for one in convolutions) == 3
    assert all("float" in one.reads[0] for one in times)
