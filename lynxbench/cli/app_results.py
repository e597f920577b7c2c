"""The commands that answer from results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Json


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which help lists them."""
    app.command()(show)


def show(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    json_: Json = False,
) -> None:
    """Print a sweep's tables again."""
    from lynxbench.cli.show import show_command

    raise typer.Exit(show_command(results, as_json=json_))
