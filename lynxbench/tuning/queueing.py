"""Proposals that wait to be tried, in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lynxbench.tuning.proposals import Proposal


class Queue:
    """Proposals that wait, each scheme once whatever it is called, and every name once."""

    def __init__(self, known: Sequence[dict[str, Any]], names: Iterable[str], present: frozenset[str]) -> None:
        self._present = present
        self._seen = {_key(options, present) for options in known}
        self._names = set(names)
        self._waiting: list[Proposal] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, proposals: Sequence[Proposal], *, first: bool = False) -> None:
        fresh = []
        for proposal in proposals:
            key = _key(proposal.scheme.options(), self._present)
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(self._named(proposal))
        self._waiting = [*fresh, *self._waiting] if first else [*self._waiting, *fresh]

    def take(self, count: int) -> list[Proposal]:
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _named(self, proposal: Proposal) -> Proposal:
        name, number = proposal.scheme.name, 2
        while name in self._names:
            name, number = f"{proposal.scheme.name}.{number}", number + 1
        self._names.add(name)
        return replace(proposal, scheme=proposal.scheme.model_copy(update={"name": name}))


def _key(options: dict[str, Any], present: frozenset[str]) -> str:
    """Two schemes with one key are the same on a model with these op types, in whatever order they are listed."""
    lists = {name: sorted(set(value)) for name, value in options.items() if isinstance(value, list | tuple)}
    if "op_types" in lists:
        lists["op_types"] = [one for one in lists["op_types"] if one in present]
    return json.dumps({**options, **lists}, sort_keys=True)
