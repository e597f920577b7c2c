"""Nodes that a scheme leaves in float, by name or by pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lynxbench.errors import CellError
from lynxbench.specs.base import did_you_mean


def nodes_kept_float(prepared: Any, declared: Sequence[str], source_names: Iterable[str] = ()) -> frozenset[str]:
    """The names of the prepared model's nodes that `declared` names, exactly or by a pattern with * ? [].

    A name counts as it is before it counts as a pattern. Raises `CellError` for one that names no node; `source_names`
    are those before preparation, so that a node that was fused away is told from a misspelt one.
    """
    names = {node.name for node in prepared.graph.node}
    kept: set[str] = set()
    for wanted in declared:
        found = {wanted} & names or {name for name in names if fnmatchcase(name, wanted)}
        if not found:
            raise CellError("unsupported", f"nodes_kept_float: {_why(wanted, names, set(source_names))}")
        kept |= found
    return frozenset(kept)


def _why(wanted: str, names: set[str], source_names: set[str]) -> str:
    if any(character in wanted for character in "*?["):
        return f"no node's name matches {wanted!r}"
    hint = did_you_mean(wanted, names)
    gone = "was folded or fused into another node before quantization" if wanted in source_names else "names no node"
    return f"{wanted!r} {gone}" + (f"; {hint}" if hint else "")
