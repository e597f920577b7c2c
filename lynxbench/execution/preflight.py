"""Can this executor run here, and if not, exactly why: a typed reason, a sentence, and the line to type next."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from lynxbench.execution.environments import interpreter, worker_command
from lynxbench.execution.libraries import loads
from lynxbench.execution.wheels import accepted_wheel, installed, owners, satisfies
from lynxbench.specs.executor import ExecutorSpec

# A probe imports ONNX Runtime and opens one tiny session: half a second, a few on a cold disk.
PROBE_TIMEOUT_S = 60.0


class Reason(StrEnum):
    """Why an executor is unavailable."""

    PLATFORM = "platform"
    ENVIRONMENT_MISSING = "environment-missing"
    ENVIRONMENT_BROKEN = "environment-broken"
    WHEELS_CONFLICT = "wheels-conflict"
    WHEEL_MISSING = "wheel-missing"
    WHEEL_VERSION = "wheel-version"
    PROVIDER_MISSING = "provider-missing"
    PLUGIN_BROKEN = "plugin-broken"
    DRIVER_MISSING = "driver-missing"
    LIBRARY_MISSING = "library-missing"
    NO_DEVICE = "no-device"
    VIRTUAL_DEVICE = "virtual-device"
    SESSION_REFUSED = "session-refused"


@dataclass(frozen=True)
class Availability:
    """Whether an executor can run, and with which interpreter.

    reason None means available; `detail` says it in words, `next` is the line to type (None where nothing helps).
    wheel and devices are what was found, where the probe came that far.
    """

    name: str
    status: Literal["available", "unavailable"]
    reason: Reason | None
    detail: str
    next: str | None = None
    python: str | None = None
    wheel: str | None = None
    devices: tuple[str, ...] = ()
    simulated: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "status": self.status,
            "reason": self.reason.value if self.reason is not None else None,
            "detail": self.detail,
            "next": self.next,
            "python": self.python,
            "wheel": self.wheel,
            "devices": list(self.devices),
            "simulated": self.simulated,
        }


def preflight(
    spec: ExecutorSpec, *, python: str | None = None, cache_dir: Path | None = None, deep: bool = True
) -> Availability:
    """Check `spec` here; ONNX Runtime is imported in a child process only, and not at all unless `deep`.

    python: the interpreter to ask; by default that of the executor's own environment, else this one.
    """
    here = current_platform()
    if here not in spec.platforms:
        where = ", ".join(spec.platforms)
        note = f"; {spec.platform_note}" if spec.platform_note else ""
        return unavailable(spec, Reason.PLATFORM, f"runs on {where}, this is {here}{note}")
    chosen = python or sys.executable
    if python is None and spec.environment == "own":
        own = interpreter(spec, cache_dir=cache_dir)
        if own is not None:
            chosen = str(own)
        elif (found := check_wheels(spec)) is not None:
            # Said first: no use in fetching gigabytes of toolkit for a device that is not there.
            missing = [name for name in spec.libraries.driver if not loads(name)]
            if missing:
                detail = f"the driver's {', '.join(missing)} cannot be loaded"
                return unavailable(spec, Reason.DRIVER_MISSING, detail, next=spec.libraries.driver_hint or None)
            detail = f"its wheel {spec.wheel.requirement()} needs an environment of its own, and there is none"
            if found.reason is Reason.WHEELS_CONFLICT:
                detail += f" ({found.detail})"
            return unavailable(spec, Reason.ENVIRONMENT_MISSING, detail, next=f"lynxbench env create {spec.name}")
    if chosen == sys.executable and (found := check_wheels(spec)) is not None:
        return found
    if not deep:
        wheel = str(accepted_wheel(spec.wheel)) if chosen == sys.executable else None
        return replace(available(spec, "its wheel is installed"), python=chosen, wheel=wheel)
    return probe(spec, chosen)


def probe(spec: ExecutorSpec, python: str) -> Availability:
    """Ask `python`, in a child process, to load the provider, look at its devices and run a tiny model."""
    command = worker_command(spec, "lynxbench.execution.probe", python=python)
    broken = f"lynxbench env create {spec.name} --force" if spec.environment == "own" else None
    try:
        done = subprocess.run(
            command.argv,
            input=spec.model_dump_json(),
            env=dict(command.env),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return unavailable(
            spec, Reason.ENVIRONMENT_BROKEN, f"{python} did not answer in {PROBE_TIMEOUT_S:.0f} s", next=broken
        )
    except OSError as error:
        return unavailable(spec, Reason.ENVIRONMENT_BROKEN, f"{python} cannot be started: {error}", next=broken)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        reason = Reason(answer["reason"]) if answer["reason"] is not None else None
        answer = {**answer, "reason": reason, "devices": tuple(answer["devices"]), "python": python}
        return Availability(**answer)
    except (ValueError, IndexError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        ended = f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
        return unavailable(spec, Reason.ENVIRONMENT_BROKEN, f"{python} {ended}: {last[:300]}", next=broken)


def check_wheels(spec: ExecutorSpec, *, path: Sequence[str] | None = None) -> Availability | None:
    """What is wrong with the distributions of this environment, or None. `path` replaces `sys.path`."""
    owning = owners(path=path)
    wanted = spec.wheel.requirement(extras=False)
    install = "pip install " + " ".join(f"'{item}'" for item in (spec.wheel.requirement(), *spec.wheel.dependencies))
    if len(owning) > 1:
        names = [distribution.name for distribution in owning]
        detail = f"{' and '.join(map(str, owning))} both own the package onnxruntime; the last one overwrote the other"
        return unavailable(
            spec, Reason.WHEELS_CONFLICT, detail, next=f"pip uninstall -y {' '.join(names)} && {install}"
        )
    if accepted_wheel(spec.wheel, path=path) is None:
        found = installed(spec.wheel.distribution, path=path)
        if found is not None:
            return unavailable(spec, Reason.WHEEL_VERSION, f"{found} is installed, {wanted} is needed", next=install)
        beside = f"; {owning[0]} owns onnxruntime here" if owning else ""
        in_the_way = owning and spec.wheel.distribution.startswith("onnxruntime") and spec.plugin is None
        if in_the_way:
            install = f"pip uninstall -y {owning[0].name} && {install}"
        return unavailable(spec, Reason.WHEEL_MISSING, f"{wanted} is not installed{beside}", next=install)
    for requirement in spec.wheel.dependencies:
        found = installed(Requirement(requirement).name, path=path)
        if not satisfies(found, requirement):
            reason = Reason.WHEEL_VERSION if found is not None else Reason.WHEEL_MISSING
            state = f"{found} is installed, " if found is not None else ""
            return unavailable(spec, reason, f"{state}{requirement} is needed beside {wanted}", next=install)
    return None


def available(
    spec: ExecutorSpec, detail: str, *, wheel: str | None = None, devices: tuple[str, ...] = ()
) -> Availability:
    """An executor that can run."""
    return Availability(spec.name, "available", None, detail, wheel=wheel, devices=devices, simulated=spec.simulated)


def unavailable(
    spec: ExecutorSpec, reason: Reason, detail: str, *, next: str | None = None, devices: tuple[str, ...] = ()
) -> Availability:
    """An executor that cannot run, and why."""
    return Availability(spec.name, "unavailable", reason, detail, next, devices=devices, simulated=spec.simulated)


def current_platform() -> str:
    """This machine as declarations spell it, e.g. linux-x86_64."""
    system = {"darwin": "macos"}.get(platform.system().lower(), platform.system().lower())
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if system == "macos" and machine == "aarch64":
        machine = "arm64"
    return f"{system}-{machine}"
