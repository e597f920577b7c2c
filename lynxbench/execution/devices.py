"""Plugin libraries and the devices that they bring."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.execution.sensors import nvidia_device_text
from lynxbench.specs.executor import ExecutorSpec

# A library can be registered once a process, under one name, and stays while any session may use it.
_registered: dict[str, str] = {}


@dataclass(frozen=True)
class DeviceFacts:
    """One device of a provider, as ONNX Runtime reports it. type is cpu, gpu or npu."""

    type: str
    vendor: str
    vendor_id: int
    device_id: int
    virtual: bool
    metadata: Mapping[str, str]

    def __str__(self) -> str:
        kind = f"virtual {self.type}" if self.virtual else self.type
        name = self.metadata.get("Description") or self.metadata.get("DxgiHighPerformanceIndex") or ""
        return " ".join(
            part for part in (self.vendor, kind, f"{self.vendor_id:#06x}:{self.device_id:#06x}", name) if part
        )


def library_path(spec: ExecutorSpec) -> Path:
    """Where the plugin's library lies. Raises `CellError` (unavailable) when its module does not say."""
    assert spec.plugin is not None
    try:
        module = importlib.import_module(spec.plugin.module)
        return Path(str(getattr(module, spec.plugin.path_function)()))
    except Exception as error:
        # A plugin's module is foreign code; whatever it raises means that the plugin is not there.
        raise CellError("unavailable", f"plugin {spec.plugin.module} does not give its library: {error}") from None


def register(spec: ExecutorSpec, onnxruntime: Any) -> list[Any]:
    """Register the plugin's library and return the devices that count; an empty list for a built-in provider.

    Raises `CellError` (unavailable) when the library does not load or brings no such device.
    """
    if spec.plugin is None:
        return []
    name, path = spec.plugin.registration, str(library_path(spec))
    if _registered.get(name) not in {None, path}:
        raise CellError("unavailable", f"another library is registered as {name}: {_registered[name]}")
    if name not in _registered:
        try:
            onnxruntime.register_execution_provider_library(name, path)
        except Exception as error:
            raise CellError("unavailable", f"{path} cannot be registered: {error}") from None
        _registered[name] = path
    devices = matching_devices(spec, onnxruntime)
    if not devices:
        raise CellError("unavailable", no_device_reason(spec, device_facts(spec, onnxruntime)))
    return devices


def matching_devices(spec: ExecutorSpec, onnxruntime: Any) -> list[Any]:
    """The provider's devices that the declaration accepts."""
    return [device for device in _devices(spec, onnxruntime) if accepts(spec, facts_of(device))]


def device_facts(spec: ExecutorSpec, onnxruntime: Any) -> tuple[DeviceFacts, ...]:
    """All devices of the provider, accepted or not."""
    return tuple(facts_of(device) for device in _devices(spec, onnxruntime))


def facts_of(device: Any) -> DeviceFacts:
    """An `OrtEpDevice` as plain data."""
    hardware = device.device
    metadata = {str(key): str(value) for key, value in dict(hardware.metadata).items()}
    virtual = metadata.get("is_virtual", "0").lower() not in {"0", "false", ""}
    return DeviceFacts(
        hardware.type.name.lower(), hardware.vendor, hardware.vendor_id, hardware.device_id, virtual, metadata
    )


def accepts(spec: ExecutorSpec, device: DeviceFacts) -> bool:
    """True when `device` is of a declared type and vendor, and real (or the executor is declared simulated)."""
    wanted = spec.device
    vendors = {vendor.lower() for vendor in wanted.vendors}
    return (
        (not wanted.types or device.type in wanted.types)
        and (not vendors or any(vendor in device.vendor.lower() for vendor in vendors))
        and (not device.virtual or spec.simulated)
    )


def no_device_reason(spec: ExecutorSpec, devices: Sequence[DeviceFacts]) -> str:
    """Why none of `devices` counts, in words."""
    if not devices:
        return f"{spec.provider} finds no device on this machine"
    listed = "; ".join(str(device) for device in devices)
    if all(device.virtual for device in devices):
        return f"{spec.provider} has only a virtual device: {listed}"
    wanted = " or ".join((*spec.device.types, *spec.device.vendors)) or "any"
    return f"{spec.provider} has no device that the declaration accepts ({wanted}): {listed}"


def device_text(spec: ExecutorSpec, devices: Sequence[Any], device_id: int = 0) -> str | None:
    """The device that runs, in words; None for a provider that does not say. `device_id` counts NVIDIA's devices."""
    if devices:
        return "; ".join(str(facts_of(device)) for device in devices)
    if spec.memory == "cuda" and (text := nvidia_device_text(device_id)) is not None:
        return text
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")) if spec.memory == "cuda" else []
    models = [line.partition(":")[2].strip() for card in cards for line in _lines(card) if line.startswith("Model")]
    driver = [line for line in _lines(Path("/proc/driver/nvidia/version")) if "Kernel Module" in line] if models else []
    return "; ".join([*models, *(" ".join(line.split()) for line in driver)]) or None


def _devices(spec: ExecutorSpec, onnxruntime: Any) -> list[Any]:
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == spec.provider]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
