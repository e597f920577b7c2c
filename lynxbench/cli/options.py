"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path | None, typer.Option(file_okay=False, help="look here first")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
