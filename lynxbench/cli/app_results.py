"""The commands that answer from results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Csv, Json, Markdown


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which help lists them."""
    app.command()(show)
    app.command()(compare)
    app.command()(query)


def show(
    results: Annotated[list[Path], typer.Argument(help="results folders, or folders of them")],
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
    raise typer.Exit(show_command(results, columns=columns, only=only or [], form=form))


def compare(
    results: Annotated[list[Path], typer.Argument(help="two results folders, before and after; one with --by")],
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
            results,
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
        list[Path] | None, typer.Argument(help="results folders, or folders of them [default: results]")
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
    raise typer.Exit(query_command(sql, results or [Path("results")], form=form, limit=limit, memory_gb=memory_gb))
