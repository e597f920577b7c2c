"""How far a sweep is, from what its steps were expected to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lynxbench.specs.suite import Protocol, Scenario
from lynxbench.sweep.plan import Group

# Seconds on a machine like a developer's; only progress and estimates rest on them.
BUILD_S = 0.7
START_S = 0.6
ACCURACY_S = 1.0
SEARCH_S = 2.0


@dataclass(frozen=True)
class Progress:
    """How far a sweep is. `done` of `total` are steps of unequal length; `left_s` is the estimate, None at first."""

    done: int
    total: int
    phase: str
    what: str
    left_s: float | None


class Meter:
    """Counts expected seconds as done, and tells."""

    def __init__(self, groups: Sequence[Group], protocol: Protocol, on_progress: Callable[[Progress], None]) -> None:
        self._total_s = sum(sum(expected_s(group, protocol).values()) for group in groups) or 1.0
        self._done_s = 0.0
        self._begun = time.monotonic()
        self._on_progress = on_progress

    def advance(self, phase: str, what: str, seconds: float) -> None:
        """`seconds` of what was expected are done; `what` says of what."""
        self._done_s = min(self._done_s + seconds, self._total_s)
        share = self._done_s / self._total_s
        elapsed = time.monotonic() - self._begun
        left_s = None if share < 0.02 else elapsed / share - elapsed
        self._on_progress(Progress(round(share * 1000), 1000, phase, what, left_s))


def expected_s(group: Group, protocol: Protocol) -> dict[str, float]:
    """Expected seconds by phase."""
    cells = len(group.running)
    return {
        "build": BUILD_S * len(group.deployments),
        "start": START_S * len(group.deployments) * protocol.processes,
        "accuracy": ACCURACY_S * cells,
        "rounds": (protocol.time_limit_s * 1.1 + protocol.warm_up_s / 2) * cells,
        "search": sum(
            SEARCH_S if scenario.is_searched else protocol.search_limit_s / 2 for scenario in _searches(group)
        ),
    }


def steps(group: Group, phase: str) -> int:
    """How many steps of a phase a group has, at least one."""
    if phase == "accuracy":
        return max(1, len({(cell.deployment, cell.scenario.batch_sizes) for cell in group.running}))
    if phase == "search":
        return max(1, len(_searches(group)))
    return max(1, len(group.deployments))


def _searches(group: Group) -> list[Scenario]:
    """The scenario of each cell whose load is found by trying."""
    scenarios = [cell.scenario for cell in group.running]
    return [scenario for scenario in scenarios if scenario.is_searched or scenario.kind == "server-search"]
