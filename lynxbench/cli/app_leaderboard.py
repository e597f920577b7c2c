"""The commands that publish results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Json

leaderboard = typer.Typer(help="Publish results: a static site, and bundles to hand in.", no_args_is_help=True)


@leaderboard.command("build")
def build(
    results: Annotated[list[Path], typer.Argument(help="results folders, or folders of results folders")],
    out: Annotated[Path, typer.Option(help="folder to write the site to")] = Path("site"),
    title: Annotated[str, typer.Option(help="what the site is called")] = "LynxBench leaderboard",
    force: Annotated[bool, typer.Option("--force", help="write over an older site")] = False,
    json_: Json = False,
) -> None:
    """Make a site that opens from a folder: trade-offs, ranks, a page for each candidate."""
    from lynxbench.cli.leaderboard_build import build_command

    raise typer.Exit(build_command(results, out=out, title=title, force=force, as_json=json_))
