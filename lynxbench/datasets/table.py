"""A data source's columns, whatever it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lynxbench.datasets.lazy import AnyColumn, Lazy
from lynxbench.errors import DeclarationError, Problem
from lynxbench.specs.base import did_you_mean


@dataclass(frozen=True)
class Table:
    """A data source's columns, each with one entry a sample ([n] or [n, …]), under the source's own names.

    class_names  what label 0, 1, … are called, where the source says so
    contents     [n] str, SHA-256 of what each sample was made from, where that is not the input itself
    """

    file: Path
    columns: Mapping[str, AnyColumn]
    class_names: tuple[str, ...] = ()
    contents: Lazy | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def column(self, name: str, role: str) -> AnyColumn:
        """The column called `name`; raises `DeclarationError` naming the columns that there are."""
        if name not in self.columns:
            raise DeclarationError(
                [
                    Problem(
                        str(self.file),
                        name,
                        f"the file has no column {name!r} (wanted as {role})",
                        expected="one of: " + ", ".join(sorted(self.columns)),
                        hint=did_you_mean(name, self.columns) or f'name it: fields = {{ {role} = "…" }}',
                    )
                ]
            )
        return self.columns[name]
