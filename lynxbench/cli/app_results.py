"""The commands that answer from results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Csv, Folder, Json, Markdown


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which help lists them."""
    app.command()(show)
    app.command()(claim)
    app.command()(rescore)
    app.command()(diagnose)


def show(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    json_: Json = False,
) -> None:
    """Print a sweep's tables again."""
    from lynxbench.cli.show import show_command

    raise typer.Exit(show_command(results, as_json=json_))


def claim(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    candidate: Annotated[
        str | None,
        typer.Option(help="e.g. 'int8-static on fashion-resnet8 by cpu', or an id [default: list what can be claimed]"),
    ] = None,
    workload: Annotated[str | None, typer.Option(help="of this workload")] = None,
    model: Annotated[str | None, typer.Option(help="of this model")] = None,
    scheme: Annotated[str | None, typer.Option(help="of this scheme")] = None,
    executor: Annotated[str | None, typer.Option(help="by this executor")] = None,
    scenario: Annotated[str | None, typer.Option(help="under this load [default: single-stream]")] = None,
    json_: Json = False,
    csv_: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Print the sentence that may be published, with all that belongs to it; exit 1 where there is none."""
    from lynxbench.cli.claim import claim_command
    from lynxbench.cli.output import chosen

    only = {"workload": workload, "model": model, "scheme": scheme, "executor": executor, "scenario": scenario}
    form = chosen(as_json=json_, as_csv=csv_, as_markdown=markdown)
    raise typer.Exit(claim_command(results, candidate, only, form=form))


def rescore(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    rubric: Annotated[str, typer.Option(help="another rubric: a .toml file, or a built-in name")],
    out: Annotated[Path | None, typer.Option(help="write what comes of it as a results folder")] = None,
    rubrics: Folder = None,
    json_: Json = False,
    csv_: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Score the stored predictions by another rubric, without running a model."""
    from lynxbench.cli.output import chosen
    from lynxbench.cli.rescore import rescore_command

    form = chosen(as_json=json_, as_csv=csv_, as_markdown=markdown)
    raise typer.Exit(rescore_command(results, rubric, rubrics=rubrics, out=out, form=form))


def diagnose(
    suite: Annotated[str, typer.Argument(help="a suite's name or .toml file, or a built-in suite's results folder")],
    candidate: Annotated[str, typer.Option(help="e.g. 'int8-static on fashion-resnet8'")],
    workload: Annotated[str | None, typer.Option(help="of this workload")] = None,
    samples: Annotated[int, typer.Option(help="look at so many samples at most", min=16)] = 128,
    rubrics: Folder = None,
    executors: Folder = None,
    json_: Json = False,
) -> None:
    """Find out why a candidate lost accuracy, and why it is not faster."""
    from lynxbench.cli.diagnose import diagnose_command
    from lynxbench.cli.output import chosen

    raise typer.Exit(
        diagnose_command(
            suite,
            candidate,
            workload=workload,
            samples=samples,
            rubrics=rubrics,
            executors=executors,
            form=chosen(as_json=json_),
        )
    )
