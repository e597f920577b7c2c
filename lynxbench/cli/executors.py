"""`lynxbench doctor` and `lynxbench env`: what this machine can run, why not, and how to mend it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lynxbench.cli.text import plain, size
from lynxbench.errors import DeclarationError, Problem, UsageError
from lynxbench.execution import create, doctor, host_facts, list_environments, read_sensors, remove
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import load_folder

_BESIDE_TIME = {
    "energy": "energy_uj", "frequency": "frequency_hz", "temperature": "temperature_c", "throttling": "throttled",
}  # fmt: skip


def doctor_command(names: Sequence[str], *, executors: Path | None, as_json: bool) -> int:
    """Ask every executor of the catalogue, or those named."""
    specs = _chosen(names, executors)
    reports = doctor(specs)
    if as_json:
        print(json.dumps([report.to_json() for report in reports], indent=2))
        return 0
    host = host_facts()
    print(
        f"{plain(host.cpu_model)}, {host.logical_cores} cores ({host.usable_cores:g} usable), "
        f"{size(host.memory_bytes)} memory"
    )
    limit = f", container limit {size(host.memory_limit_bytes)}" if host.memory_limit_bytes else ""
    print(
        f"int8 instructions: {', '.join(host.isa_flags) or 'none'}; governor: {host.governor or 'not readable'}{limit}"
    )
    sensors = read_sensors()
    told = [name for name, value in _BESIDE_TIME.items() if getattr(sensors, value) is not None]
    print(f"readable beside time: {', '.join(told) or 'nothing'}")
    for name, value in _BESIDE_TIME.items():
        if value in sensors.reasons:
            print(f"  not {name}: {plain(sensors.reasons[value])}")
    load = "unknown" if host.load_1min is None else f"{host.load_1min:.1f}"
    print(f"load {load}; {plain(host.os)}; Python {host.python}; ONNX Runtime {host.onnxruntime or 'not installed'}\n")
    width = max(len(report.name) for report in reports)
    for report in sorted(reports, key=lambda r: r.status != "available"):
        simulated = ", simulated: its times are never ranked" if report.simulated else ""
        if report.status == "available":
            devices = f" [{', '.join(report.devices)}]" if report.devices else ""
            print(f"{report.name:<{width}}  available    {plain(report.detail)}{plain(devices)}{simulated}")
        else:
            print(f"{report.name:<{width}}  unavailable  {report.reason}: {plain(report.detail)}")
            if report.next:
                print(f"{'':<{width}}               next: {plain(report.next)}")
    return 0


def env_create_command(name: str, *, executors: Path | None, force: bool) -> int:
    """Make an executor's own environment."""
    (spec,) = _chosen([name], executors)
    if spec.environment != "own":
        raise UsageError(
            f"executor {name} shares this environment; install its wheel here: pip install '{spec.wheel.requirement()}'"
        )
    print(f"making the environment of {name}: {spec.wheel.requirement()}; this downloads its wheel", file=sys.stderr)
    made = create(spec, force=force)
    print(f"{made.executor}  {made.wheel}  {made.python}")
    return 0


def env_list_command(*, as_json: bool) -> int:
    """Which environments there are."""
    found = list_environments()
    if as_json:
        print(json.dumps([asdict(environment) for environment in found], indent=2))
    else:
        for environment in found:
            print(f"{environment.executor}  {environment.wheel}  {environment.python}")
        if not found:
            print("none yet; lynxbench doctor shows which executors want one", file=sys.stderr)
    return 0


def env_remove_command(name: str) -> int:
    """Delete an executor's own environment."""
    if not remove(name):
        known = [environment.executor for environment in list_environments()]
        raise UsageError(f"there is no environment {name!r}; {did_you_mean(name, known) or 'there are none'}")
    print(f"removed {name}")
    return 0


def _chosen(names: Sequence[str], executors: Path | None) -> list[ExecutorSpec]:
    declared = load_folder("executors", ExecutorSpec, executors)
    problems = [
        Problem("executors", name, "unknown executor", hint=did_you_mean(name, declared))
        for name in names
        if name not in declared
    ]
    if problems:
        raise DeclarationError(problems)
    return [declared[name].spec for name in (names or sorted(declared))]
