"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path | None, typer.Option(file_okay=False, help="look here first")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Csv = Annotated[bool, typer.Option("--csv", help="comma-separated values on stdout")]
Markdown = Annotated[bool, typer.Option("--markdown", help="a Markdown table on stdout")]
