"""The commands of a fleet and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Folder, Json

Tls = Annotated[
    Path | None,
    typer.Option(
        file_okay=False, metavar="FOLDER", help="encrypt and authenticate: a folder with ca.pem, cert.pem and key.pem"
    ),
]

node = typer.Typer(help="This machine as a node of a fleet.", no_args_is_help=True)


@node.callback()
def _root() -> None:
    """Verbs follow."""


@node.command("start")
def node_start(
    scheduler: Annotated[str, typer.Argument(help="the Dask scheduler, e.g. tcp://HOST:8786")],
    name: Annotated[str | None, typer.Option(help="what records call this node [default: the host's name]")] = None,
    executor: Annotated[list[str] | None, typer.Option(help="offer these alone [default: all that can run]")] = None,
    executors: Folder = None,
    tls: Tls = None,
    json_: Json = False,
) -> None:
    """See what this machine can run, then run groups for a scheduler until it or Ctrl-C ends it."""
    from lynxbench.cli.fleet import node_start_command

    raise typer.Exit(
        node_start_command(scheduler, name=name, names=executor or [], executors=executors, tls=tls, as_json=json_)
    )
