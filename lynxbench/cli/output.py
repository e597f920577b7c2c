"""The forms of an answer: a table for a terminal, JSON, CSV or Markdown; every command about results writes by these.

    form = chosen(as_json=…, as_csv=…, as_markdown=…)
    write(Table(columns, rows), form)

Values are what JSON and CSV hold; texts are what a reader sees in a terminal and in Markdown.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from lynxbench.cli.text import plain
from lynxbench.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

Form = Literal["text", "json", "csv", "markdown"]

PIPED_WIDTH = 160  # a file or a pager has no width of its own
GAP = 2
LEAST_WRAPPED = 30  # characters a line for a text that goes on in the next
MOST_NAMED = 8  # columns that were left out
# A spreadsheet takes a text that begins so for a formula, and runs it (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# What JSON need not escape and a terminal or a reader's eye would be fooled by: C1 controls, bidirectional marks.
_UNSEEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]|~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " ", "\r": " "}
)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    name     its key in JSON and CSV
    heading  what readers see; the name when empty
    right    numbers stand at the right
    wraps    a long text goes on in the next line
    expendable  how soon it is left out of a narrow terminal: the smallest first, 0 never
    styles   how a cell's text is coloured, by text (in the terminal alone)
    """

    name: str
    heading: str = ""
    right: bool = False
    wraps: bool = False
    expendable: int = 0
    styles: Mapping[str, str] | None = None

    @property
    def title(self) -> str:
        return self.heading or self.name


@dataclass(frozen=True)
class Row:
    """One row: values by column name for programs, texts by column name for readers.

    A text that is missing is the value's own. `heading` rows (a model's name) stand alone, and in readers' forms only.
    """

    values: Mapping[str, Any]
    texts: Mapping[str, str] | None = None
    heading: str | None = None

    def text(self, name: str) -> str:
        """What a reader sees of column `name`, without anything that a terminal would obey."""
        own = None if self.texts is None else self.texts.get(name)
        return plain((as_text(self.values.get(name)) if own is None else own).replace("\n", " "))


@dataclass(frozen=True)
class Table:
    """Columns and rows; `title` is printed above it, in readers' forms."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""


def chosen(*, as_json: bool = False, as_csv: bool = False, as_markdown: bool = False) -> Form:
    """The form that the options ask for; raises `UsageError` when they ask for several."""
    wanted: list[Form] = []
    for asked, name in ((as_json, "json"), (as_csv, "csv"), (as_markdown, "markdown")):
        if asked:
            wanted.append(name)  # type: ignore[arg-type]
    if len(wanted) > 1:
        raise UsageError(f"{' and '.join(f'--{form}' for form in wanted)}: one form at a time")
    return wanted[0] if wanted else "text"


def write(table: Table, form: Form) -> None:
    """Print one table; as JSON, it is a list of objects."""
    if form == "json":
        write_json([{column.name: row.values.get(column.name) for column in table.columns} for row in _data(table)])
    elif form == "csv":
        write_csv([column.name for column in table.columns], (row.values for row in _data(table)))
    elif form == "markdown":
        print(markdown(table), end="")
    else:
        draw(console(), table)


def write_json(document: Any) -> None:
    """Print one JSON document: strict (no NaN), moments in ISO 8601."""
    text = json.dumps(_plain_values(document), ensure_ascii=False, allow_nan=False)
    print(_UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def write_csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as CSV, the names first: null is an empty cell, lists are JSON, formulas are defused."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_csv_cell(name) for name in names])
    for row in rows:
        writer.writerow([_csv_cell(row.get(name)) for name in names])
        if buffer.tell() > 1 << 16:
            sys.stdout.write(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
    sys.stdout.write(buffer.getvalue())


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, ending in a new line; heading rows become a row in bold."""
    lines = [f"**{_escaped(table.title)}**", ""] if table.title else []
    lines.append("| " + " | ".join(_escaped(column.title) for column in table.columns) + " |")
    lines.append("|" + "|".join(" ---: " if column.right else " --- " for column in table.columns) + "|")
    for row in table.rows:
        if row.heading is not None:
            cells = [f"**{_escaped(row.heading)}**", *[""] * (len(table.columns) - 1)]
        else:
            cells = [_escaped(row.text(column.name)) for column in table.columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def console() -> Console:
    """The terminal, or something as wide as a page when the output goes elsewhere."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def draw(to: Console, table: Table) -> list[str]:
    """Draw a table that fits the terminal; returns the headings of the columns that were left out for that.

    Expendable columns go first, then those at the right; one column alone is cut short with an ellipsis.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    if table.title:
        to.print(Text(plain(table.title), style="bold"))
    texts = [
        None if row.heading is not None else {c.name: row.text(c.name) for c in table.columns} for row in table.rows
    ]
    wide = _widths(table.columns, [cells for cells in texts if cells is not None])
    shown = _fitting(to.width, table.columns, wide)
    drawn = RichTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in shown:
        drawn.add_column(
            plain(column.title),
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            # Else a text that wraps would make the others narrower.
            min_width=None if column.wraps or len(shown) == 1 else wide[column.name],
        )
    for row, cells in zip(table.rows, texts, strict=True):
        if cells is None:
            drawn.add_row(Text(plain(row.heading or ""), style="bold"))
        else:
            drawn.add_row(*[Text(cells[c.name], style=(c.styles or {}).get(cells[c.name], "")) for c in shown])
    to.print(drawn)
    left_out = [column.title for column in table.columns if column not in shown]
    if left_out:
        more = f" and {len(left_out) - MOST_NAMED} more" if left_out[MOST_NAMED:] else ""
        names = ", ".join(map(plain, left_out[:MOST_NAMED])) + more
        to.print(Text(f"  (left out for width: {names}; widen the terminal, or --json)", style="dim"))
    return left_out


def _widths(columns: Sequence[Column], rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """How wide each column must be."""
    wide = {c.name: max([len(c.title), *(len(row[c.name]) for row in rows)]) for c in columns}
    return wide | {c.name: min(wide[c.name], LEAST_WRAPPED) for c in columns if c.wraps}


def _fitting(width: int, columns: Sequence[Column], wide: Mapping[str, int]) -> list[Column]:
    """The columns that fit side by side."""
    kept = list(columns)
    while len(kept) > 1 and sum(wide[c.name] + GAP for c in kept) > width:
        expendable = [c for c in kept if c.expendable]
        kept.remove(min(expendable, key=lambda c: c.expendable) if expendable else kept[-1])
    return kept


def as_text(value: Any) -> str:
    """A value as a reader wants it in a cell, where a column has no words of its own."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, int | Decimal):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return value if isinstance(value, str) else json.dumps(_plain_values(value), ensure_ascii=False)


def _data(table: Table) -> list[Row]:
    return [row for row in table.rows if row.heading is None]


def _csv_cell(value: Any) -> Any:
    """Numbers as they are; texts so that no spreadsheet runs them: an apostrophe before what would be a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    value = _plain_values(value)
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain(f"'{text}" if text.startswith(_FORMULA) else text, keep_lines=True)


def _plain_values(value: Any) -> Any:
    """`value` in JSON's own types; what is no number (NaN, infinity) is null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date):  # and datetime, which is one
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_values(item) for item in value]
    return str(value)


def _escaped(text: str) -> str:
    """`text` so that Markdown shows it as it is."""
    return plain(text, keep_lines=True).translate(_MARKDOWN)
