"""What the machine is: everything about it that explains a time, and the cores that may be used."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from lynxbench.execution.wheels import owners

# What decides how fast, and on x86 without VNNI how exactly, int8 is computed. Linux spells them as on the left.
INT8_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx_vnni_int8": "avx_vnni_int8",
    "amx_int8": "amx_int8",
    "asimddp": "asimddp",
    "i8mm": "i8mm",
}
# With one of these, x86 adds up products of unsigned and signed bytes in 32 bits; without, pairs of them in 16.
_WIDE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
# cgroup v1 writes "no limit" as the largest multiple of the page size below 2**63.
_NO_LIMIT_BYTES = 1 << 60


@dataclass(frozen=True)
class HostFacts:
    """The machine, as far as this process may use it. None: not readable here, never a guess.

    usable_cores is the smaller of the affinity mask and the container's CPU share (not rounded);
    load_1min is the run queue of the last minute; onnxruntime is the distribution's version in this environment.
    """

    cpu_model: str
    machine: str
    isa_flags: tuple[str, ...]
    physical_cores: int | None
    logical_cores: int
    usable_cores: float
    memory_bytes: int
    memory_limit_bytes: int | None
    governor: str | None
    load_1min: float | None
    virtualized: bool | None
    os: str
    kernel: str
    python: str
    onnxruntime: str | None


def host_facts() -> HostFacts:
    """Read the facts anew; takes a few milliseconds and imports nothing heavy."""
    model, flags = _cpu()
    return HostFacts(
        cpu_model=model,
        machine=platform.machine(),
        isa_flags=tuple(name for name, spelled in INT8_FLAGS.items() if spelled in flags),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count() or 1,
        usable_cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=memory_limit_bytes(),
        governor=_text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        virtualized="hypervisor" in flags if flags else None,
        os=_os_name(),
        kernel=platform.release(),
        python=platform.python_version(),
        onnxruntime=onnxruntime_version(),
    )


def products_saturate(facts: HostFacts) -> bool:
    """Whether u8 × s8 products may be cut off at 16 bits here, as they are by AVX2's and AVX-512's `vpmaddubsw`.

    With weights of 7 bits (`reduce_range`) they cannot. Other pairs of types go through wider instructions.
    """
    return facts.machine.lower() in {"x86_64", "amd64"} and not _WIDE_PRODUCTS.intersection(facts.isa_flags)


def usable_threads() -> int:
    """How many intra-op threads "all cores" means here: never more than the container's share, at least one."""
    return max(1, math.floor(usable_cores()))


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> float:
    """Cores that this process may keep busy: affinity mask and container share, whichever is smaller."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    shares = [share for folder in _cgroup_folders(cgroup, proc, "cpu") if (share := _cpu_share(folder)) is not None]
    return min([float(affinity), *shares])


def memory_limit_bytes(cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> int | None:
    """The container's memory limit, or None where there is none."""
    limits = []
    for folder in _cgroup_folders(cgroup, proc, "memory"):
        text = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")
        if text is not None and text.isdigit() and int(text) < _NO_LIMIT_BYTES:
            limits.append(int(text))
    return min(limits, default=None)


def onnxruntime_version() -> str | None:
    """The version of the distribution that brings `onnxruntime` here, or None; imports nothing of it."""
    found = owners()
    return found[0].version if found else None


def _cgroup_folders(cgroup: Path, proc: Path, controller: str) -> list[Path]:
    """This process's control groups with all their parents, which limit it as well (v1 and v2)."""
    folders = []
    for line in (_text(proc / "self" / "cgroup") or "").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            root = cgroup
        elif controller in controllers.split(","):
            root = cgroup / controller
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        folders += [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    return folders


def _cpu_share(folder: Path) -> float | None:
    quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or ""
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max" and "-1" mean no limit
    return int(quota) / int(period)


def _cpu() -> tuple[str, frozenset[str]]:
    model, flags = "", frozenset[str]()
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and not model:
            model = value.strip()
        elif key.strip() in {"flags", "Features"} and not flags:
            flags = frozenset(value.split())
        if not line and flags:
            break  # the first processor has been read
    return model or platform.processor() or platform.machine(), flags


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, AttributeError, KeyError):
        return f"{platform.system()} {platform.version()}"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
