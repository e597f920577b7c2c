"""The commands that answer from results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli import app_tuning
from lynxbench.cli.options import Csv, Folder, Json, Markdown, locations
from lynxbench.records.location import location


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which help lists them."""
    app.command()(show)
    app.command()(compare)
    app.command()(query)
    app.command()(claim)
    app.command()(decide)
    app.command()(rescore)
    app.command()(diagnose)
    app.command("export-results")(export_results)
    app_tuning.add_to(app)
    app.command()(compact)


def show(
    results: Annotated[list[str], typer.Argument(help="results folders, or folders of them; or their URLs")],
    columns: Annotated[
        str | None,
        typer.Option(help="p50,p99,speed,others,score,delta,worst,size,verdict,first-token,per-token or any field"),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", "--where", help="AXIS=NAME[,NAME…]: as sweep, and host, suite, status, verdict"),
    ] = None,
    json_: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Print the tables of one or more sweeps."""
    from lynxbench.cli.output import chosen
    from lynxbench.cli.show import show_command

    form = chosen(as_json=json_, as_csv=csv, as_markdown=markdown)
    raise typer.Exit(show_command(locations(results), columns=columns, only=only or [], form=form))


def compare(
    results: Annotated[list[str], typer.Argument(help="two results folders, before and after; one with --by")],
    by: Annotated[
        str | None, typer.Option(help="host, lynxbench_version, onnxruntime_version or executor: within one set")
    ] = None,
    between: Annotated[
        list[str] | None, typer.Option(help="with --by: the two to compare, twice, before and after")
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="largest loss that counts as none [default: the rubric's tolerance]")
    ] = None,
    max_slowdown: Annotated[float, typer.Option(help="largest share of speed that may be lost")] = 0.05,
    only: Annotated[
        str | None, typer.Option(help="print these alone: regressed, improved, unchanged or undecided")
    ] = None,
    where: Annotated[list[str] | None, typer.Option(help="AXIS=NAME[,NAME…]: compare these alone")] = None,
    json_: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """What changed between two sweeps, hosts, versions or executors? Exit code 1 when a candidate regressed."""
    from lynxbench.cli.compare import compare_command
    from lynxbench.cli.output import chosen

    raise typer.Exit(
        compare_command(
            locations(results),
            by=by,
            between=between or [],
            max_loss=max_loss,
            max_slowdown=max_slowdown,
            only=only,
            where=where or [],
            form=chosen(as_json=json_, as_csv=csv, as_markdown=markdown),
        )
    )


def query(
    sql: Annotated[
        str | None, typer.Argument(help="a SELECT over the tables records, predictions and latencies")
    ] = None,
    results: Annotated[
        list[str] | None, typer.Argument(help="results folders, or folders of them [default: results]")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", "--tables", help="list every column and what it means")] = False,
    table: Annotated[str | None, typer.Option(help="with --schema: this table alone")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="rows [default: 50 in a terminal, else all]")] = None,
    memory_gb: Annotated[float, typer.Option(min=0.1, help="what the query may hold in memory")] = 2.0,
    json_: Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Ask anything of results, in SQL (DuckDB)."""
    from lynxbench.cli.output import chosen
    from lynxbench.cli.query import query_command, schema_command
    from lynxbench.errors import UsageError

    form = chosen(as_json=json_, as_csv=csv, as_markdown=markdown)
    if schema:
        raise typer.Exit(schema_command(table, form=form))
    if sql is None:
        raise UsageError('query: what? Such as: lynxbench query "SELECT model, scheme, p50_ns FROM records"')
    raise typer.Exit(query_command(sql, locations(results or ["results"]), form=form, limit=limit, memory_gb=memory_gb))


def claim(
    results: Annotated[str, typer.Argument(help="a results folder")],
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
    from lynxbench.cli.kept import one_folder
    from lynxbench.cli.output import chosen

    only = {"workload": workload, "model": model, "scheme": scheme, "executor": executor, "scenario": scenario}
    form = chosen(as_json=json_, as_csv=csv_, as_markdown=markdown)
    raise typer.Exit(claim_command(one_folder(results, "claim"), candidate, only, form=form))


def decide(
    results: Annotated[str, typer.Argument(help="a results folder")],
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
    jointly: Annotated[
        bool, typer.Option("--together", help="one choice for each model, that holds the limits on all its workloads")
    ] = False,
    json_: Json = False,
    csv_: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Name the best candidate that holds every limit beyond doubt; exit 1 where some model has none."""
    from lynxbench.cli.decide import decide_command
    from lynxbench.cli.kept import one_folder
    from lynxbench.cli.output import chosen
    from lynxbench.conclusions.limits import Limits

    limits = Limits(max_loss, max_stratum_loss, p50_ms, p99_ms, min_speed, min_throughput, max_size_mb, max_memory_mb)
    form = chosen(as_json=json_, as_csv=csv_, as_markdown=markdown)
    raise typer.Exit(
        decide_command(
            one_folder(results, "decide"),
            limits,
            objective=objective,
            confidence=confidence,
            scenario=scenario,
            only=only or [],
            jointly=jointly,
            form=form,
        )
    )


def rescore(
    results: Annotated[str, typer.Argument(help="a results folder")],
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
    raise typer.Exit(rescore_command(location(results), rubric, rubrics=rubrics, out=out, form=form))


def diagnose(
    suite: Annotated[str, typer.Argument(help="a suite's name or .toml file, or a built-in suite's results folder")],
    candidate: Annotated[str, typer.Option(help="e.g. 'int8-static on fashion-resnet8'")],
    workload: Annotated[str | None, typer.Option(help="of this workload")] = None,
    samples: Annotated[int, typer.Option(help="look at so many samples at most", min=16)] = 128,
    time_limit: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="for trying parts of the model one by one; 0: none", min=0),
    ] = 120.0,
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
            time_limit_s=time_limit,
            rubrics=rubrics,
            executors=executors,
            form=chosen(as_json=json_),
        )
    )


def export_results(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    format_: Annotated[str, typer.Option("--format", help="every-eval-ever, hf-eval-results or croissant")],
    out: Annotated[Path | None, typer.Option(help="new folder to write [default: RESULTS-FORMAT]")] = None,
    only: Annotated[list[str] | None, typer.Option(help="AXIS=NAME[,NAME…]: workload, model, scheme, …")] = None,
    model_id: Annotated[
        list[str] | None, typer.Option(metavar="MODEL=ORG/NAME", help="what a model is called elsewhere")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="RUBRIC=ORG/NAME[:TASK]", help="where a rubric's test set lies on the Hugging Face hub"),
    ] = None,
    organization: Annotated[str | None, typer.Option(help="who measured")] = None,
    relationship: Annotated[
        str, typer.Option(help="of them to the model's makers: first_party, third_party, collaborative or other")
    ] = "other",
    url: Annotated[str | None, typer.Option(help="where these results can be read")] = None,
    license_: Annotated[str | None, typer.Option("--license", help="of these results, e.g. CC-BY-4.0")] = None,
    json_: Json = False,
) -> None:
    """Write results in a format of others, so that they travel."""
    from lynxbench.cli.export_results import export_command

    raise typer.Exit(
        export_command(
            results,
            format_,
            out=out,
            only=only or [],
            model_ids=model_id or [],
            datasets=dataset or [],
            organization=organization,
            relationship=relationship,
            url=url,
            license_=license_,
            as_json=json_,
        )
    )


def compact(
    place: Annotated[str, typer.Argument(help="results, such as s3://BUCKET/PREFIX, or a folder of them")],
    out: Annotated[
        str | None, typer.Option(help="write the merged set there instead, and leave PLACE as it is")
    ] = None,
    keep: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="leave what was replaced so long for readers under way")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how much there is to merge, and stop")] = False,
    json_: Json = False,
) -> None:
    """Merge results of one object a cell into a partitioned set; may be interrupted, and run while sweeps write."""
    from lynxbench.cli.compact import compact_command

    raise typer.Exit(
        compact_command(
            location(place),
            out=None if out is None else location(out),
            keep_hours=keep,
            dry_run=dry_run,
            as_json=json_,
        )
    )
