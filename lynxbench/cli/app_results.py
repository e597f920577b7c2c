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
    app.command()(decide)
    app.command()(rescore)


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


def decide(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    max_loss: Annotated[
        float | None, typer.Option(help="of the primary metric, 0.01 is one point [default: the rubric's tolerance]")
    ] = None,
    max_stratum_loss: Annotated[float | None, typer.Option(help="of the primary metric in every stratum")] = None,
    p50_ms: Annotated[float | None, typer.Option(help="longest median latency of a query")] = None,
    p99_ms: Annotated[float | None, typer.Option(help="longest 99th percentile of it")] = None,
    min_speed: Annotated[float | None, typer.Option(help="least throughput over the reference's")] = None,
    min_throughput: Annotated[float | None, typer.Option(help="fewest samples a second")] = None,
    max_size_mb: Annotated[float | None, typer.Option(help="largest model file")] = None,
    max_memory_mb: Annotated[float | None, typer.Option(help="highest peak of resident memory")] = None,
    objective: Annotated[str, typer.Option(help="best in latency, throughput, size or accuracy")] = "latency",
    confidence: Annotated[float, typer.Option(help="of every interval that a limit is held against")] = 0.95,
    scenario: Annotated[str | None, typer.Option(help="under this load [default: as the objective wants]")] = None,
    only: Annotated[list[str] | None, typer.Option(help="AXIS=NAME[,NAME…]: workload, model, scheme, …")] = None,
    json_: Json = False,
    csv_: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Name the best candidate that holds every limit beyond doubt; exit 1 where some model has none."""
    from lynxbench.cli.decide import decide_command
    from lynxbench.cli.output import chosen
    from lynxbench.conclusions.limits import Limits

    limits = Limits(max_loss, max_stratum_loss, p50_ms, p99_ms, min_speed, min_throughput, max_size_mb, max_memory_mb)
    form = chosen(as_json=json_, as_csv=csv_, as_markdown=markdown)
    raise typer.Exit(
        decide_command(
            results, limits, objective=objective, confidence=confidence, scenario=scenario, only=only or [], form=form
        )
    )


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
