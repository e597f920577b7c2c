"""`python -m lynxbench.execution.probe`: an executor's declaration as JSON in, its availability as JSON out.

Runs in a process of its own, with the executor's interpreter: a provider's library may crash, print, or stay loaded.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.errors import CellError
from lynxbench.execution.devices import device_facts, library_path, matching_devices, no_device_reason, register
from lynxbench.execution.executor import Executor
from lynxbench.execution.libraries import missing_libraries, preload_toolkit
from lynxbench.execution.preflight import Availability, Reason, available, check_wheels, unavailable
from lynxbench.execution.wheels import accepted_wheel
from lynxbench.specs.executor import ExecutorSpec

# y = x · w with x [1, 4] and w [4, 4] float32 ones; opset 13, IR version 7. A test builds it anew with onnx.
TINY_MODEL = base64.b64decode(
    "CAcSADqQAQoRCgF4CgF3EgF5IgZNYXRNdWwSBHRpbnkqSwgECAQQAUIBd0pAAACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAA"
    "gD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAP1oTCgF4Eg4KDAgBEggKAggBCgIIBGITCgF5Eg4KDAgBEggKAggBCgII"
    "BEIECgAQDQ=="
)


def examine(spec: ExecutorSpec) -> Availability:
    """The whole chain, first failure first: wheels, libraries, plugin, devices, a session that runs."""
    problem = check_wheels(spec)
    if problem is not None:
        return problem
    try:
        import onnxruntime
    except ImportError as error:
        return unavailable(spec, Reason.ENVIRONMENT_BROKEN, f"ONNX Runtime cannot be imported: {error}")
    preload_toolkit(spec, onnxruntime)
    found = _libraries(spec) or (_plugin(spec, onnxruntime) if spec.plugin is not None else _builtin(spec, onnxruntime))
    if found is not None:
        return found
    devices = tuple(str(device) for device in device_facts(spec, onnxruntime)) if spec.plugin is not None else ()
    try:
        run_tiny(spec)
    except CellError as error:
        return unavailable(spec, Reason.SESSION_REFUSED, error.reason, next=spec.device.hint or None, devices=devices)
    wheel = accepted_wheel(spec.wheel)
    where = f" on {'; '.join(devices)}" if devices else ""
    return available(spec, f"a session runs{where}", wheel=str(wheel), devices=devices)


def run_tiny(spec: ExecutorSpec) -> None:
    """Open and run the tiny model; raises `CellError`. Where its node goes does not matter here."""
    with tempfile.TemporaryDirectory() as folder, Executor(spec, threads=1) as executor:
        path = Path(folder) / "tiny.onnx"
        path.write_bytes(TINY_MODEL)
        executor.open(path)
        output = executor.run({"x": np.ones((1, 4), dtype=np.float32)})["y"]
        if not np.array_equal(output, np.full((1, 4), 4, dtype=np.float32)):
            raise CellError("rejected", f"{spec.provider} computes 1+1+1+1 = {output.ravel().tolist()}")


def _libraries(spec: ExecutorSpec) -> Availability | None:
    missing = missing_libraries(spec)
    if not missing:
        return None
    listed = ", ".join(missing)
    drivers = [name for name in missing if name in spec.libraries.driver]
    if drivers:
        rest = [name for name in missing if name not in drivers]
        more = f" (and these, which are not the driver's: {', '.join(rest)})" if rest else ""
        detail = f"the driver's {', '.join(drivers)} cannot be loaded{more}"
        return unavailable(spec, Reason.DRIVER_MISSING, detail, next=spec.libraries.driver_hint or None)
    return unavailable(
        spec, Reason.LIBRARY_MISSING, f"{listed} cannot be loaded", next=spec.libraries.toolkit_hint or None
    )


def _plugin(spec: ExecutorSpec, onnxruntime: Any) -> Availability | None:
    try:
        library_path(spec)
        register(spec, onnxruntime)
    except CellError as error:
        devices = device_facts(spec, onnxruntime)
        texts = tuple(str(device) for device in devices)
        hint = spec.device.hint or None
        if devices and all(device.virtual for device in devices):
            return unavailable(spec, Reason.VIRTUAL_DEVICE, error.reason, next=hint, devices=texts)
        if error.reason == no_device_reason(spec, devices) and not matching_devices(spec, onnxruntime):
            return unavailable(spec, Reason.NO_DEVICE, error.reason, next=hint, devices=texts)
        return unavailable(spec, Reason.PLUGIN_BROKEN, error.reason)
    return None


def _builtin(spec: ExecutorSpec, onnxruntime: Any) -> Availability | None:
    compiled_in = onnxruntime.get_available_providers()
    if spec.provider in compiled_in:
        return None
    wheel = accepted_wheel(spec.wheel)
    detail = f"{wheel} has no {spec.provider} (it has {', '.join(compiled_in)})"
    return unavailable(spec, Reason.PROVIDER_MISSING, detail)


def main() -> None:
    """Read, examine, answer. Whatever libraries print goes to stderr, so that stdout holds the answer alone."""
    answer_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = ExecutorSpec.model_validate_json(sys.stdin.read())
    answer = examine(spec).to_json()
    answer_to.write(json.dumps(answer) + "\n")
    answer_to.flush()
    # Some providers crash while they are torn down; the answer stands.
    os._exit(0)


if __name__ == "__main__":
    main()
