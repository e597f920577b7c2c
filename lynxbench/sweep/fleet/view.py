"""How a whole fleet is doing, for one view."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HostView:
    """One node: the group that it has (None when it waits for one), and how far that is."""

    name: str
    group: str | None
    doing: str
    share: float


@dataclass(frozen=True)
class FleetProgress:
    """Cells finished (failed ones among them) of all; `left_s` is the estimate, None at first."""

    hosts: tuple[HostView, ...]
    finished: int
    failed: int
    total: int
    left_s: float | None
    notes: tuple[str, ...]
