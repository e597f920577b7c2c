"""Which distributions stand in this environment, and which of them own the `onnxruntime` package."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lynxbench.specs.executor import Wheel


@dataclass(frozen=True)
class Distribution:
    """One installed distribution."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def installed(name: str, *, path: Sequence[str] | None = None) -> Distribution | None:
    """The distribution called `name` (any spelling), or None. `path` replaces `sys.path`."""
    for found in importlib.metadata.distributions(name=name, path=_search(path)):
        return Distribution(canonicalize_name(found.name), found.version)
    return None


def owners(package: str = "onnxruntime", *, path: Sequence[str] | None = None) -> tuple[Distribution, ...]:
    """The distributions that installed the folder `package`. More than one: the last one overwrote the others."""
    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions(path=_search(path)):
        record = distribution.read_text("RECORD") or ""
        if record.startswith(f"{package}/__init__.py,") or f"\n{package}/__init__.py," in record:
            name = canonicalize_name(distribution.name)
            found.setdefault(name, Distribution(name, distribution.version))
    return tuple(found[name] for name in sorted(found))


def satisfies(distribution: Distribution | None, requirement: str) -> bool:
    """True when `distribution` is there, is the one required, and has a version in range (pre-releases count)."""
    wanted = Requirement(requirement)
    if distribution is None or canonicalize_name(wanted.name) != distribution.name:
        return False
    try:
        return wanted.specifier.contains(Version(distribution.version), prereleases=True)
    except InvalidVersion:
        return False


def accepted_wheel(wheel: Wheel, *, path: Sequence[str] | None = None) -> Distribution | None:
    """The installed distribution that serves as `wheel`: itself in range, else one of its alternatives."""
    for requirement in (wheel.requirement(extras=False), *wheel.alternatives):
        found = installed(Requirement(requirement).name, path=path)
        if satisfies(found, requirement):
            return found
    return None


def _search(path: Sequence[str] | None) -> list[str]:
    return sys.path if path is None else list(path)
