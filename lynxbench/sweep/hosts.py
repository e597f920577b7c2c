"""Which executors this machine can run, found out before anything is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lynxbench.execution import doctor
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.sweep.plan import Skip


@dataclass(frozen=True)
class Executors:
    """Executors of a suite on this machine: those that cannot run, and the interpreter of each that can."""

    unavailable: Mapping[str, Skip]
    interpreters: Mapping[str, str]


def find_executors(resolved: ResolvedSuite) -> Executors:
    """Ask every executor that the suite needs, side by side, in child processes."""
    unavailable, interpreters = {}, {}
    for found in doctor(declared.spec for declared in resolved.executors.values()):
        if found.python is not None and found.status == "available":
            interpreters[found.name] = found.python
        else:
            hint = f" (next: {found.next})" if found.next else ""
            unavailable[found.name] = Skip("unavailable", f"{found.detail}{hint}")
    return Executors(unavailable, interpreters)
