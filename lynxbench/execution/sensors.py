"""What the host tells beside time: energy, processor frequency, temperature, throttling, device memory.

A reading that is not to be had is None with a reason, never 0. Reading costs a few small files and starts nothing.
What concerns NVIDIA devices goes through `nvidia-ml-py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Sensors", "nvidia_device_text", "read_sensors"]


@dataclass(frozen=True)
class Sensors:
    """One reading of everything.

    energy_uj       microjoules counted so far, and the value at which it starts over: by package or device
    frequency_hz    mean over the processors that may be used
    temperature_c   of the hottest sensor of the processor
    throttled       times that a core or package was throttled, summed
    device_memory_bytes   held by one process on the device
    reasons         why something is None, by field
    """

    energy_uj: Mapping[str, tuple[int, int | None]] | None = None
    frequency_hz: float | None = None
    temperature_c: float | None = None
    throttled: int | None = None
    device_memory_bytes: int | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    def joules_since(self, before: Sensors) -> float | None:
        """Energy between two readings, over all packages (or of the device); None where either lacks it.

        A counter that has started over in between counts on from its largest value, once.
        """
        if self.energy_uj is None or before.energy_uj is None or self.energy_uj.keys() != before.energy_uj.keys():
            return None
        total = 0
        for name, (now, largest) in self.energy_uj.items():
            spent = now - before.energy_uj[name][0]
            if spent < 0:
                if largest is None:
                    return None
                spent += largest + 1
            total += spent
        return total / 1e6

    def throttled_since(self, before: Sensors) -> int | None:
        """How often the processor was throttled between two readings."""
        if self.throttled is None or before.throttled is None:
            return None
        return self.throttled - before.throttled

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        energy = plain["energy_uj"]
        counted = None if energy is None else {name: (pair[0], pair[1]) for name, pair in energy.items()}
        return cls(**{**plain, "energy_uj": counted})


def read_sensors(root: Path = Path("/"), *, nvidia_device: int | None = None) -> Sensors:
    """Read all there is. With `nvidia_device` energy is that device's, and its memory what this process holds there."""
    reasons: dict[str, str] = {}

    def reading(name: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except _UnreadableError as error:
            reasons[name] = str(error)
            return None

    if nvidia_device is None:
        energy = reading("energy_uj", lambda: _package_energy_uj(root))
        memory = None
        reasons["device_memory_bytes"] = "the executor has no device memory of its own that can be read"
    else:
        energy = reading("energy_uj", lambda: _nvidia(nvidia_device, _nvidia_energy_uj))
        memory = reading("device_memory_bytes", lambda: _nvidia(nvidia_device, _nvidia_memory_bytes))
    return Sensors(
        energy_uj=energy,
        frequency_hz=reading("frequency_hz", lambda: _frequency_hz(root)),
        temperature_c=reading("temperature_c", lambda: _temperature_c(root)),
        throttled=reading("throttled", lambda: _throttled(root)),
        device_memory_bytes=memory,
        reasons=reasons,
    )


def nvidia_device_text(device: int) -> str | None:
    """Name, memory and driver of an NVIDIA device, in words; None where they are not to be had."""
    try:
        return str(_nvidia(device, _nvidia_text))
    except _UnreadableError:
        return None


class _UnreadableError(Exception):
    """Why a reading is not to be had, in words for a record."""


def _number(file: Path) -> int:
    return int(file.read_text())


def _package_energy_uj(root: Path) -> dict[str, tuple[int, int | None]]:
    """By package: domains within one (core, dram) are in its count or beside it, and would count twice."""
    found = sorted((root / "sys/class/powercap").glob("*-rapl:*"))
    packages = [folder for folder in found if folder.name.count(":") == 1]
    if not packages:
        raise _UnreadableError("the kernel shows no energy counters (no RAPL under /sys/class/powercap)")
    counted: dict[str, tuple[int, int | None]] = {}
    for folder in packages:
        try:
            now = _number(folder / "energy_uj")
        except PermissionError:
            raise _UnreadableError("the energy counters may be read by root alone") from None
        except (OSError, ValueError) as error:
            raise _UnreadableError(f"the energy counters cannot be read: {error}") from None
        largest = None
        with suppress(OSError, ValueError):
            largest = _number(folder / "max_energy_range_uj")
        counted[folder.name] = (now, largest)
    return counted


def _frequency_hz(root: Path) -> float:
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    khz = []
    for cpu in cpus:
        with suppress(OSError, ValueError):
            khz.append(_number(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"))
    if khz:
        return 1e3 * sum(khz) / len(khz)
    mhz = []
    with suppress(OSError):
        for line in (root / "proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "cpu MHz":
                with suppress(ValueError):
                    mhz.append(float(value))
    if not mhz:
        raise _UnreadableError("neither cpufreq nor /proc/cpuinfo tells the processor's frequency")
    return 1e6 * sum(mhz) / len(mhz)


# What the sensors of processors are called by the kernel's drivers.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "x86_pkg_temp", "cpu-thermal")


def _temperature_c(root: Path) -> float:
    millidegrees: list[int] = []
    for name_file, pattern in (("class/hwmon/*/name", "temp*_input"), ("class/thermal/*/type", "temp")):
        for file in (root / "sys").glob(name_file):
            with suppress(OSError, ValueError):
                if file.read_text().strip() in _CPU_SENSORS:
                    millidegrees += [_number(sensor) for sensor in file.parent.glob(pattern)]
    if not millidegrees:
        raise _UnreadableError("the kernel shows no temperature sensor of the processor")
    return max(millidegrees) / 1e3


def _throttled(root: Path) -> int:
    counts = []
    for file in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        with suppress(OSError, ValueError):
            counts.append(_number(file))
    if not counts:
        raise _UnreadableError("the kernel counts no throttling of the processor")
    return sum(counts)


def _nvidia(device: int, read: Callable[[Any, Any], Any]) -> Any:
    try:
        import pynvml
    except ImportError:
        raise _UnreadableError("nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
        return read(pynvml, pynvml.nvmlDeviceGetHandleByIndex(device))
    except pynvml.NVMLError as error:
        raise _UnreadableError(f"the NVIDIA driver does not tell: {error}") from None


def _nvidia_text(pynvml: Any, handle: Any) -> str:
    name, driver = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlSystemGetDriverVersion()
    total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    return f"{name}, {total / 1e9:.0f} GB; driver {driver}"


def _nvidia_energy_uj(pynvml: Any, handle: Any) -> dict[str, tuple[int, int | None]]:
    return {pynvml.nvmlDeviceGetUUID(handle): (1000 * pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), None)}


def _nvidia_memory_bytes(pynvml: Any, handle: Any) -> int:
    for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
        if process.pid == os.getpid() and process.usedGpuMemory is not None:
            return int(process.usedGpuMemory)
    raise _UnreadableError("the NVIDIA driver does not list the process (as in a container of its own)")
