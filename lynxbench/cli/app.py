"""The commands and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    name="lynxbench",
    help="Measure what quantization does to the speed and the accuracy of your own ONNX model, on your own hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folder = Annotated[Optional[Path], typer.Option(file_okay=False, help="look here first")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


def _version(wanted: bool) -> None:
    if wanted:
        from lynxbench import __version__

        typer.echo(f"lynxbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    """Options that stand before the command."""


@app.command()
def sweep(
    suite: Annotated[str, typer.Argument(help="a built-in suite's name, or a .toml file")] = "starter",
    budget: Annotated[str, typer.Option(help="quick, standard or thorough")] = "standard",
    only: Annotated[Optional[list[str]], typer.Option(help="AXIS=NAME[,NAME…]: workload, model, scheme, calibration, executor, scenario")] = None,
    set_: Annotated[Optional[list[str]], typer.Option("--set", metavar="KEY=VALUE", help="change a key of the suite, e.g. protocol.threads=2")] = None,
    executor: Annotated[Optional[list[str]], typer.Option(help="run on these instead of the suite's")] = None,
    out: Annotated[Optional[Path], typer.Option(help="results folder [default: results/SUITE]")] = None,
    rubrics: Folder = None,
    executors: Folder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be measured, and stop")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="measure failed cells again")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="start over; an older folder is set aside, not deleted")] = False,
    json_: Json = False,
) -> None:
    """Run a suite: every model, scheme and executor, timed and scored. The same command resumes."""
    from lynxbench.cli.sweep import sweep_command

    raise typer.Exit(
        sweep_command(
            suite,
            budget=budget,
            only=only or [],
            assignments=set_ or [],
            executor=executor or [],
            out=out,
            rubrics=rubrics,
            executors=executors,
            dry_run=dry_run,
            retry=retry,
            fresh=fresh,
            as_json=json_,
        )
    )


@app.command()
def show(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    json_: Json = False,
) -> None:
    """Print a sweep's tables again."""
    from lynxbench.cli.show import show_command

    raise typer.Exit(show_command(results, as_json=json_))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="models, rubrics, schemes, executors or suites")],
    suite: Annotated[str, typer.Option(help="whose models and schemes")] = "starter",
    rubrics: Folder = None,
    executors: Folder = None,
    json_: Json = False,
) -> None:
    """What is built in, or declared in a folder."""
    from lynxbench.cli.catalogue import list_command

    raise typer.Exit(list_command(what, suite=suite, rubrics=rubrics, executors=executors, as_json=json_))


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="suite, rubric, executor or record")] = "suite",
) -> None:
    """Print the JSON Schema of a declaration, for editors, or of a record."""
    from lynxbench.cli.catalogue import schema_command

    raise typer.Exit(schema_command(what))


@app.command()
def validate(
    paths: Annotated[list[Path], typer.Argument(help="suite, rubric or executor TOMLs, or results folders")],
    rubrics: Folder = None,
    executors: Folder = None,
) -> None:
    """Check declarations and results without running anything."""
    from lynxbench.cli.catalogue import validate_command

    raise typer.Exit(validate_command(paths, rubrics=rubrics, executors=executors))
