"""The commands that look for something better, and for what predicts a loss; each imports what it does when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Csv, Folder, Json, Markdown


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which help lists them."""
    app.command()(tune)
    app.command()(study)


def tune(
    suite: Annotated[str, typer.Argument(help="a built-in suite's name, or a .toml file")],
    max_loss: Annotated[
        float | None, typer.Option(help="of the primary metric, 0.01 is one point [default: the rubric's tolerance]")
    ] = None,
    workload: Annotated[str | None, typer.Option(help="this workload alone")] = None,
    model: Annotated[str | None, typer.Option(help="this model alone")] = None,
    scheme: Annotated[str | None, typer.Option(help="mend this scheme [default: those that lose or are slow]")] = None,
    scenario: Annotated[str | None, typer.Option(help="tune for this load [default: single-stream]")] = None,
    executor: Annotated[str | None, typer.Option(help="tune for this one [default: the suite's first]")] = None,
    candidates: Annotated[int, typer.Option(help="schemes to try at most, for each model", min=1)] = 16,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", help="of the search, for each model, after the suite's own", min=1)
    ] = 300.0,
    split: Annotated[float, typer.Option(help="share of the test set's originals that is tuned on")] = 0.33,
    seed: Annotated[int, typer.Option(help="of the split", min=0)] = 0,
    budget: Annotated[str, typer.Option(help="quick, standard or thorough: samples, and timing of the last sweep")] = (
        "standard"
    ),
    out: Annotated[Path | None, typer.Option(help="folder to write [default: results/tune-SUITE]")] = None,
    rubrics: Folder = None,
    executors: Folder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be tuned on what, and stop")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="start over; an older folder is set aside")] = False,
    json_: Json = False,
) -> None:
    """Search for a scheme that mends a loss: picked on a part of the test set, scored on the rest."""
    from lynxbench.cli.output import chosen
    from lynxbench.cli.tune import tune_command

    raise typer.Exit(
        tune_command(
            suite,
            max_loss=max_loss,
            workload=workload,
            model=model,
            scheme=scheme,
            scenario=scenario,
            executor=executor,
            candidates=candidates,
            time_limit_s=time_limit,
            split=split,
            seed=seed,
            budget=budget,
            out=out,
            rubrics=rubrics,
            executors=executors,
            dry_run=dry_run,
            fresh=fresh,
            form=chosen(as_json=json_),
        )
    )


def study(
    results: Annotated[list[Path], typer.Argument(help="results folders, or folders of them")],
    only: Annotated[list[str] | None, typer.Option("--only", "--where", help="AXIS=NAME[,NAME…]: as for show")] = None,
    diagnoses: Annotated[
        list[Path] | None, typer.Option(help="what lynxbench diagnose --json printed: files, or folders of them")
    ] = None,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="the rubrics' other metrics as well")] = False,
    confidence: Annotated[float, typer.Option(help="of all intervals of a question together")] = 0.95,
    plot: Annotated[Path | None, typer.Option("--plot", "--svg", help="write the intervals as an SVG")] = None,
    json_: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """What predicts a loss? Rank correlations over all candidates of some results, or nothing."""
    from lynxbench.cli.output import chosen
    from lynxbench.cli.study import study_command

    raise typer.Exit(
        study_command(
            results,
            only=only or [],
            diagnoses=diagnoses or [],
            all_metrics=all_metrics,
            confidence=confidence,
            plot=plot,
            form=chosen(as_json=json_, as_csv=csv, as_markdown=markdown),
        )
    )
