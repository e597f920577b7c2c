"""The commands that answer from results, and their options; each imports what it does when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lynxbench.cli.options import Csv, Json, Markdown


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which help lists them."""
    app.command()(show)
    app.command()(query)


def show(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    json_: Json = False,
) -> None:
    """Print a sweep's tables again."""
    from lynxbench.cli.show import show_command

    raise typer.Exit(show_command(results, as_json=json_))


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
