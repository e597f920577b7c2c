"""The commands that publish results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Csv, Json, Markdown

leaderboard = typer.Typer(help="Publish results: a static site, and bundles to hand in.", no_args_is_help=True)


@leaderboard.command("build")
def build(
    results: Annotated[list[Path], typer.Argument(help="results folders, or folders of results folders")],
    out: Annotated[Path, typer.Option(help="folder to write the site to")] = Path("site"),
    title: Annotated[str, typer.Option(help="what the site is called")] = "LynxBench leaderboard",
    diagnosis: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="what `lynxbench diagnose --json` wrote, for a candidate's page; repeatable"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="write over an older site")] = False,
    json_: Json = False,
) -> None:
    """Make a site that opens from a folder: trade-offs, ranks, a page for each candidate."""
    from lynxbench.cli.leaderboard_build import build_command

    raise typer.Exit(
        build_command(results, out=out, title=title, diagnoses=diagnosis or [], force=force, as_json=json_)
    )


Trusted = Annotated[
    Path | None,
    typer.Option(
        "--trusted-keys", file_okay=False, help="folder of .pub files [default: trusted-keys in your settings]"
    ),
]


@leaderboard.command("keygen")
def keygen(
    file: Annotated[Path, typer.Argument(help="private key to write; the public one goes to FILE.pub")],
    json_: Json = False,
) -> None:
    """Make a key to sign bundles with."""
    from lynxbench.cli.bundles import keygen_command

    raise typer.Exit(keygen_command(file, as_json=json_))


@leaderboard.command("bundle")
def bundle(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    sign: Annotated[Path | None, typer.Option(metavar="KEY", help="private key; without one: self-reported")] = None,
    out: Annotated[Path | None, typer.Option(help="file to write [default: NAME.lynxbundle]")] = None,
    json_: Json = False,
) -> None:
    """Write results as one file to hand in."""
    from lynxbench.cli.bundles import bundle_command

    raise typer.Exit(bundle_command(results, key=sign, out=out, as_json=json_))


@leaderboard.command("verify")
def verify(
    files: Annotated[list[Path], typer.Argument(help="bundles, from anybody")],
    trusted_keys: Trusted = None,
    json_: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Look into bundles without believing a byte, and say how far each may be trusted."""
    from lynxbench.cli.bundles import verify_command
    from lynxbench.cli.output import chosen

    form = chosen(as_json=json_, as_csv=csv, as_markdown=markdown)
    raise typer.Exit(verify_command(files, trusted=trusted_keys, form=form))


@leaderboard.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(help="bundles, from anybody")],
    to: Annotated[Path, typer.Option(file_okay=False, help="folder of what was taken in")],
    trusted_keys: Trusted = None,
    json_: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Look into bundles and take the sound ones in: each by one rename, or not at all."""
    from lynxbench.cli.bundles import add_command
    from lynxbench.cli.output import chosen

    form = chosen(as_json=json_, as_csv=csv, as_markdown=markdown)
    raise typer.Exit(add_command(files, to=to, trusted=trusted_keys, form=form))
