"""One answer in four forms, and nothing in any of them that a terminal, a spreadsheet or a browser would obey."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lynxbench.cli.output import Column, Row, Table, as_text, chosen, draw, markdown, write
from lynxbench.errors import UsageError

COLUMNS = (Column("name"), Column("p50_ns", "p50", right=True), Column("when", expendable=1))
ROWS = (
    Row({}, heading="resnet8"),
    Row({"name": "int8", "p50_ns": 1500.0, "when": datetime(2026, 11, 25, tzinfo=UTC)}, {"p50_ns": "1.50 µs"}),
    Row({"name": "=HYPERLINK('x')", "p50_ns": None, "when": None}),
)
TABLE = Table(COLUMNS, ROWS, "classify")


def printed(table: Table, form: str, capsys: pytest.CaptureFixture[str]) -> str:
    write(table, form)  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_json_holds_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(TABLE, "json", capsys)) == [
        {"name": "int8", "p50_ns": 1500.0, "when": "2026-11-25T00:00:00+00:00"},
        {"name": "=HYPERLINK('x')", "p50_ns": None, "when": None},
    ]


def test_what_is_no_number_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"a": math.nan, "b": -math.inf, "c": Decimal(3), "d": Decimal("0.5"), "e": [{"f": math.nan}], "g": True}
    table = Table([Column(name) for name in values], [Row(values)])
    (row,) = json.loads(printed(table, "json", capsys))
    assert row == {"a": None, "b": None, "c": 3, "d": 0.5, "e": [{"f": None}], "g": True}


def test_csv_holds_values_and_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = csv.reader(io.StringIO(printed(TABLE, "csv", capsys)))
    assert first == ["name", "p50_ns", "when"]
    assert second == ["int8", "1500.0", "2026-11-25T00:00:00+00:00"]
    assert third == ["'=HYPERLINK('x')", "", ""]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_every_start_of_a_formula_is_defused_and_numbers_are_not(
    start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table([Column("t"), Column("n")], [Row({"t": f"{start}1+1", "n": -1.5})])
    (_, cells) = csv.reader(io.StringIO(printed(table, "csv", capsys), newline=""))
    assert cells == [f"'{start if start.isprintable() else '�'}1+1", "-1.5"]


def test_markdown_shows_text_as_it_is() -> None:
    table = Table([Column("a|b"), Column("n", right=True)], [Row({"a|b": "<script>|`x`\n_y_", "n": 1200})])
    assert markdown(table).splitlines() == [
        "| a\\|b | n |",
        "| --- | ---: |",
        "| &lt;script&gt;\\|\\`x\\` \\_y\\_ | 1,200 |",
    ]
    assert "| **resnet8** |  |  |" in markdown(TABLE)


def drawn(table: Table, width: int) -> str:
    to = Console(width=width, file=io.StringIO(), highlight=False)
    draw(to, table)
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def test_a_narrow_terminal_loses_what_is_expendable_first() -> None:
    assert "2026-11-25" in drawn(TABLE, 80)
    narrow = drawn(TABLE, 40)
    assert "2026-11-25" not in narrow
    assert "left out for width: when" in " ".join(narrow.split())
    assert "1.50 µs" in narrow


@given(
    st.integers(20, 200),
    st.lists(st.lists(st.text(max_size=60), min_size=4, max_size=4), max_size=4),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_no_line_is_wider_than_the_terminal(width: int, texts: list[list[str]], expendable: list[int]) -> None:
    columns = [Column(f"c{n}", expendable=e) for n, e in enumerate(expendable)]
    rows = [Row({f"c{n}": text for n, text in enumerate(row)}) for row in texts]
    lines = drawn(Table(columns, rows), width).split("\n")
    assert all(len(line.rstrip()) <= width for line in lines)
    assert not any(ord(c) < 32 or ord(c) == 127 for line in lines for c in line)


def test_an_escape_sequence_reaches_no_terminal() -> None:
    assert "\x1b" not in drawn(Table([Column("\x1b[31ma")], [Row({"\x1b[31ma": "\x1b]8;;x\x07"})], "\x1b[2J"), 80)


def test_json_and_csv_hold_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table([Column("a")], [Row({"a": "\x1b[2J\x9b2J\u202eb\x07"})])
    for form in ("json", "csv"):
        out = printed(table, form, capsys)
        assert all(c.isprintable() for c in out.replace("\n", ""))
    assert json.loads(printed(table, "json", capsys)) == [{"a": "\x1b[2J\x9b2J\u202eb\x07"}]


def test_one_form_at_a_time() -> None:
    assert chosen() == "text"
    assert chosen(as_csv=True) == "csv"
    with pytest.raises(UsageError, match="--json and --markdown: one form"):
        chosen(as_json=True, as_markdown=True)


def test_values_in_plain_words() -> None:
    said = [as_text(value) for value in (None, True, 0.123456789, 12345, "x", [1, {"a": None}])]
    assert said == ["–", "yes", "0.123457", "12,345", "x", '[1, {"a": null}]']
