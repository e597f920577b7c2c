"""Readings of made-up hosts, whose every file is known, and of this one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lynxbench.execution.sensors import Sensors, read_sensors


def put(root: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")


def rapl(zero: int, one: int) -> dict[str, object]:
    base = "sys/class/powercap/intel-rapl"
    return {
        f"{base}:0/energy_uj": zero,
        f"{base}:0/max_energy_range_uj": 9_999_999,
        f"{base}:1/energy_uj": one,
        f"{base}:1/max_energy_range_uj": 9_999_999,
        f"{base}:0:0/energy_uj": 77,  # a domain within the first package
    }


def test_energy_is_the_sum_of_packages(tmp_path: Path) -> None:
    put(tmp_path, rapl(1_000_000, 2_000_000))
    before = read_sensors(tmp_path)
    put(tmp_path, rapl(1_500_000, 4_000_000))
    assert read_sensors(tmp_path).joules_since(before) == pytest.approx(2.5)


def test_a_counter_that_starts_over_counts_on(tmp_path: Path) -> None:
    put(tmp_path, rapl(9_500_000, 0))
    before = read_sensors(tmp_path)
    put(tmp_path, rapl(500_000, 0))
    assert read_sensors(tmp_path).joules_since(before) == pytest.approx(1.0)
    for number in (0, 1):
        (tmp_path / f"sys/class/powercap/intel-rapl:{number}/max_energy_range_uj").unlink()
    assert read_sensors(tmp_path).joules_since(before) is None  # nobody knows from where


def test_frequency_temperature_and_throttling(tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    put(tmp_path, {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": 2_000_000 for cpu in cpus})
    put(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": 3,
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 4,
            "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 5,
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": 99_000,
            "sys/class/hwmon/hwmon1/name": "k10temp",
            "sys/class/hwmon/hwmon1/temp1_input": 41_500,
            "sys/class/hwmon/hwmon1/temp2_input": 52_250,
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
            "sys/class/thermal/thermal_zone0/temp": 50_000,
        },
    )
    found = read_sensors(tmp_path)
    assert (found.frequency_hz, found.temperature_c, found.throttled) == (2e9, 52.25, 12)
    put(tmp_path, {"sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 6})
    assert read_sensors(tmp_path).throttled_since(found) == 1


def test_without_cpufreq_the_kernel_s_list_serves(tmp_path: Path) -> None:
    put(tmp_path, {"proc/cpuinfo": "processor : 0\ncpu MHz\t\t: 2400.5\nprocessor : 1\ncpu MHz\t\t: 2600.5"})
    assert read_sensors(tmp_path).frequency_hz == pytest.approx(2500.5e6)


def test_what_is_not_there_is_null_with_a_reason(tmp_path: Path) -> None:
    found = read_sensors(tmp_path)
    unread = ("energy_uj", "frequency_hz", "temperature_c", "throttled", "device_memory_bytes")
    assert [getattr(found, name) for name in unread] == [None] * 5
    assert found.reasons.keys() == set(unread)
    assert all(len(reason) > 20 for reason in found.reasons.values())
    assert found.joules_since(found) is None
    assert found.throttled_since(found) is None


def test_an_unreadable_counter_is_no_zero(tmp_path: Path) -> None:
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").mkdir(parents=True)
    found = read_sensors(tmp_path)
    assert found.energy_uj is None
    assert "cannot be read" in found.reasons["energy_uj"]


def test_a_device_that_is_not_there_says_so(tmp_path: Path) -> None:
    found = read_sensors(tmp_path, nvidia_device=0)
    for name in ("energy_uj", "device_memory_bytes"):
        assert getattr(found, name) is None
        assert "nvidia" in found.reasons[name].lower()


def test_readings_travel_as_json(tmp_path: Path) -> None:
    put(tmp_path, rapl(1, 2))
    found = read_sensors(tmp_path)
    assert Sensors.from_plain(json.loads(json.dumps(found.to_plain()))) == found


def test_this_host_gives_a_value_or_a_reason() -> None:
    found = read_sensors()
    for name in ("energy_uj", "frequency_hz", "temperature_c", "throttled", "device_memory_bytes"):
        assert (getattr(found, name) is None) == (name in found.reasons)
