"""`lynxbench query`: SQL over the records, predictions and latencies of any results, and what the columns mean."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from lynxbench.cli.output import Column, Form, Row, Table, console, draw, markdown, write, write_csv, write_json
from lynxbench.errors import UsageError
from lynxbench.records.location import Location
from lynxbench.records.places import find_places
from lynxbench.records.query import SQL_TYPES, Answer, asked, columns
from lynxbench.records.store import TABLES
from lynxbench.specs.base import did_you_mean

LONGEST_TEXT = 48  # in a terminal
SHOWN_ROWS = 50  # in a terminal, unless --limit says otherwise


def query_command(sql: str, results: Sequence[Location], *, form: Form, limit: int | None, memory_gb: float) -> int:
    """Print what a SELECT answers."""
    with asked(find_places(results), sql, memory_gb=memory_gb) as answer:
        if form in {"text", "markdown"}:
            _read(answer, form, limit)
        elif form == "csv":
            write_csv(answer.names, islice(answer.rows, limit))
        else:
            write_json(list(islice(answer.rows, limit)))
    return 0


def _read(answer: Answer, form: Form, limit: int | None) -> None:
    """For readers: as many rows as they can use, and whether there are more."""
    most = limit if limit is not None else SHOWN_ROWS if form == "text" else None
    rows: list[dict[str, Any]] = list(islice(answer.rows, most))
    table = Table(
        [Column(name, right=name in answer.numeric) for name in answer.names],
        [Row({name: _short(value, form) for name, value in row.items()}) for row in rows],
    )
    if form == "markdown":
        print(markdown(table), end="")
        return
    draw(console(), table)
    if next(answer.rows, None) is not None:
        print(f"the first {len(rows)} rows; --limit N shows more, --csv all", file=sys.stderr)
    elif not rows:
        print("no rows", file=sys.stderr)


def _short(value: Any, form: Form) -> Any:
    """A list of structures as what it is a list of, a long text by its beginning: what is in them can be asked for."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        members = list(value[0])
        return f"[{len(value)} × {', '.join(members[:3])}{', …' if members[3:] else ''}]"
    if form == "text" and isinstance(value, str) and len(value) > LONGEST_TEXT:
        return value[: LONGEST_TEXT - 1] + "…"
    return value


def schema_command(table: str | None, *, form: Form) -> int:
    """Print the tables' columns: type, unit and meaning."""
    if table is not None and table not in TABLES:
        raise UsageError(f"--table {table}: {did_you_mean(table, TABLES) or 'one of: ' + ', '.join(TABLES)}")
    names = ("column", "type", "unit", "meaning")
    described = {name: list(_described(name)) for name in ([table] if table else TABLES)}
    if form == "json":
        write_json(described)
    elif form == "csv":
        write_csv(("table", *names), ({"table": t, **row} for t, rows in described.items() for row in rows))
    else:
        for name, rows in described.items():
            write(
                Table(
                    [Column(n, wraps=n == "meaning") for n in names],
                    [Row(row, {k: v or "" for k, v in row.items()}) for row in rows],
                    name,
                ),
                form,
            )
            print()
    return 0


def _described(table: str) -> Iterator[dict[str, str]]:
    """The columns, with the members of structures on lines of their own."""
    from lynxbench.records.schema import BY_NAME, STRUCTURES

    for row in columns(table):
        type_ = BY_NAME[row["column"]].type if table == "records" and row["column"] in BY_NAME else ""
        if type_ not in STRUCTURES:
            yield row
            continue
        yield {**row, "type": "STRUCT[]"}
        for member, plain_type, meaning in STRUCTURES[type_]:
            yield {
                "column": f"{row['column']}[i].{member}",
                "type": SQL_TYPES[plain_type],
                "unit": "",
                "meaning": meaning,
            }
