"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from lynxbench.records.location import Location, location

Folder = Annotated[Path | None, typer.Option(file_okay=False, help="look here first")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Csv = Annotated[bool, typer.Option("--csv", help="comma-separated values on stdout")]
Markdown = Annotated[bool, typer.Option("--markdown", help="a Markdown table on stdout")]


def locations(given: Iterable[str]) -> list[Location]:
    """What was typed, as paths and URLs."""
    return [location(one) for one in given]
