"""`lynxbench show`: at most six columns unless others are asked for, by name or by field, of one folder or many."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from lynxbench.cli.cells import NAMED, columns_named
from lynxbench.errors import UsageError
from lynxbench.records.schema import FIELDS
from tests.conclusions.folders import answers, folder
from tests.conclusions.test_compare import speeds, unmeasured
from tests.records.test_places import partitioned
from tests.running import Ran, lynxbench


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("show")
    same, worse = answers(range(100)), answers(range(60, 260))
    offline = {"scenario": "many", "scenario_kind": "offline", "batch_size": 32, "p99_ns": 5.0}
    both = [(speeds(1.5), same), ({**speeds(1.2), "scheme": "fp16"}, worse)]
    folder(
        home / "all" / "one",
        [*both, ({**speeds(2.0), **offline}, same), ({**unmeasured("failed"), "scheme": "gone"}, same)],
        first_token_p50_ns=None,
    )
    folder(home / "all" / "two", both, host_id="h2", first_token_p50_ns=None)
    folder(home / "tokens", both, first_token_p50_ns=5_000_000.0, output_token_p50_ns=1_250_000.0)
    return home


def show(home: Path, *arguments: str) -> Ran:
    ran = lynxbench("show", *arguments, home=home)
    assert "Traceback" not in ran.err
    return ran


def heading(ran: Ran) -> str:
    return next(line for line in ran.out.splitlines() if line.startswith("candidate"))


def test_six_columns_and_what_else_there_is(home: Path) -> None:
    ran = show(home, "all/one")
    assert ran.code == 0, ran.err
    words = ["candidate", "p50", "p99", "speed", "Δ points [95 %]", "worst stratum", "verdict"]
    assert " ".join(heading(ran).split()) == " ".join(words)
    assert "also measured: many (batch 32): --only scenario=NAME, or --columns speed,others" in ran.out
    line = next(line for line in ran.out.splitlines() if line.startswith("fp16"))
    assert "1.20× ±0.01" in line
    assert "−8.3 [−" in line
    assert "fragile" in line
    gone = next(line for line in ran.out.splitlines() if line.startswith("gone"))
    assert gone.split() == ["gone", "failed"]
    assert "failed: text gone: it broke" in ran.out


def test_generation_shows_what_a_user_waits_for(home: Path) -> None:
    ran = show(home, "tokens")
    assert "first token  per token" in heading(ran)
    assert "5.00 ms    1.25 ms" in ran.out
    assert "p99" not in heading(ran)


def test_columns_by_name_and_by_field(home: Path) -> None:
    ran = show(home, "all/one", "--columns", "speed, others,size,peak_rss_bytes,p99_ns,status")
    assert heading(ran).split() == ["candidate", "speed", "batch", "32", "size", "peak_rss_bytes", "p99_ns", "status"]
    assert "2.00× ±0.02" in next(line for line in ran.out.splitlines() if line.startswith("int8-static"))
    ran = show(home, "all/one", "--columns", "peak_rss")
    assert (ran.code, "did you mean 'peak_rss_bytes'" in ran.err) == (2, True)
    for wrong in ("verdct", "zzzz", ",", "p50,,zzz"):
        assert show(home, "all/one", "--columns", wrong).code == 2


def test_every_field_is_a_column_and_no_short_name_hides_one_of_another_meaning() -> None:
    for field in FIELDS:
        (column,) = columns_named(field.name)
        assert not isinstance(column, str)
        assert field.name in column.fields
    assert {name for name in NAMED if name in {field.name for field in FIELDS}} == {"verdict"}
    with pytest.raises(UsageError, match="names no column"):
        columns_named("")


def test_a_part_as_sweep_says_it(home: Path) -> None:
    ran = show(home, "all/one", "--only", "scheme=fp32,int8-static,scenario=many")
    assert " many, batch 32" in ran.out.splitlines()[0]
    rows = show(home, "all/one", "--only", "scheme=fp16", "--json").json()["records"]
    assert [row["scheme"] for row in rows] == ["fp16"]
    assert [row["scheme"] for row in show(home, "all/one", "--where", "status=failed", "--json").json()["records"]] == [
        "gone"
    ]
    for only, said in (("sheme=fp16", "did you mean 'scheme'"), ("scheme=fp61", "did you mean 'fp16'")):
        ran = show(home, "all/one", "--only", only)
        assert (ran.code, said in ran.err) == (2, True)


def test_many_folders_are_told_apart(home: Path) -> None:
    ran = show(home, "all")
    assert [line for line in ran.out.splitlines() if line.startswith("==")] == [
        "== all/one, host text",
        "== all/two, host h2",
    ]
    document = show(home, "all", "--json").json()
    assert document["folders"] == ["all/one", "all/two"]
    assert {row["folder"] for row in document["records"]} == {"all/one", "all/two"}
    assert show(home, "all/one", "--json").json()["folder"] == "all/one"
    table = list(csv.DictReader(io.StringIO(show(home, "all", "--csv").out)))
    assert len(table) == 5 + 3
    assert table[0]["folder"] == "all/one"
    assert next(csv.DictReader(io.StringIO(show(home, "tokens", "--csv", "--columns", "p50").out))) == {
        "p50_ns": "2.0",
        "p50_low_ns": "0.25",
        "p50_high_ns": "0.5",
    }


def test_markdown_is_a_table_a_workload(home: Path) -> None:
    out = show(home, "all/one", "--markdown").out
    assert out.startswith("**text: text text, 3 samples, tolerance 1 point, ")
    assert "| candidate | p50 | p99 | speed |" in out
    assert "| **text** |" in out


def test_a_partitioned_set_is_shown_too(home: Path) -> None:
    partitioned(home / "fleet")
    document = show(home, "fleet", "--only", "suite=c", "--json").json()
    assert {row["suite"] for row in document["records"]} == {"c"}
    assert len(document["records"]) == 4


def test_where_there_is_nothing(home: Path, tmp_path: Path) -> None:
    assert "gone: no such results folder" in show(home, "gone").err
    (tmp_path / "empty").mkdir()
    ran = lynxbench("show", "empty", home=tmp_path)
    assert (ran.code, "empty is no results folder" in ran.err) == (2, True)
