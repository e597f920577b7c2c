"""`lynxbench query`: answers that another reader of the files comes to as well, and a box that nothing gets out of."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lynxbench.records.query import columns
from lynxbench.records.record import Record
from lynxbench.records.schema import BY_NAME
from lynxbench.records.store import TABLES, table_schema, write_parquet
from tests.records.rows import whole
from tests.records.test_places import merged, partitioned
from tests.records.test_store import latencies
from tests.running import Ran, environment, lynxbench


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("query")
    merged(home / "results" / "one")
    merged(home / "results" / "two", cells=2)
    partitioned(home / "results" / "fleet")
    return home


def ask(home: Path, sql: str, *options: str) -> Ran:
    return lynxbench("query", sql, *options, home=home)


def test_all_of_results_by_default(home: Path) -> None:
    (row,) = ask(home, "select count(*) as n, count(distinct folder) as folders from records", "--json").json()
    assert row == {"n": 3 + 2 + 8, "folders": 3}
    (row,) = lynxbench("query", "select count(*) as n from records", "results/one", "--json", home=home).json()
    assert row == {"n": 3}


def test_tables_join_on_folder_and_key(home: Path) -> None:
    sql = """select folder, cell_id, count(*) as n, max(latency_ns) as longest
             from records join latencies using (folder, cell_id) where not excluded group by all order by all"""
    rows = ask(home, sql, "--json").json()
    stored = pq.read_table(home / "results" / "one" / "latencies.parquet").to_pylist()
    used = [row["latency_ns"] for row in stored if row["cell_id"] == "c0" and not row["excluded"]]
    assert rows[0] == {"folder": "results/one", "cell_id": "c0", "n": len(used), "longest": max(used)}
    assert len(rows) == 5


def test_the_four_forms_hold_the_same(home: Path) -> None:
    sql = "select folder, cell_id, p50_ns, '=1+1' as odd from records where suite = 'c' order by position"
    rows = ask(home, sql, "--json").json()
    assert [row["cell_id"] for row in rows] == ["c0", "c1", "c2", "c3"]
    table = list(csv.DictReader(io.StringIO(ask(home, sql, "--csv").out)))
    assert [row["cell_id"] for row in table] == [row["cell_id"] for row in rows]
    assert {row["odd"] for row in table} == {"'=1+1"}
    assert "| results/fleet | c0 | 2 | =1+1 |" in ask(home, sql, "--markdown").out
    assert ask(home, sql).out.splitlines()[1].split() == ["results/fleet", "c0", "2", "=1+1"]


def test_a_terminal_gets_as_much_as_it_can_show(home: Path) -> None:
    ran = ask(home, "select * from records", "--limit", "2")
    assert len([line for line in ran.out.splitlines() if line.startswith(" ")]) >= 2
    assert all(len(line) <= 160 for line in ran.out.splitlines())
    assert "left out for width" in ran.out
    assert "the first 2 rows" in ran.err
    assert len(ask(home, "select cell_id from records", "--csv").out.splitlines()) == 14
    assert ask(home, "select cell_id from records where false").err.strip() == "no rows"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select p50_n from records", "did you mean 'p50_ns'"),
        ("select p5 from records", "did you mean one of p50_ns, "),
        ("select scores[1].metrics from records", "did you mean 'metric'"),
        ("select * from record", "did you mean 'records'"),
        ("select zzz from records", "lynxbench query --schema"),
        ("selec 1", "syntax error"),
        ("select cast('x' as int)", "Could not convert string 'x'"),
        ("select 1; select 2", "one SELECT at a time"),
        ("", "one SELECT at a time"),
    ],
)
def test_mistakes_are_told_with_what_was_meant(home: Path, sql: str, said: str) -> None:
    ran = ask(home, sql)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "sql",
    [
        "select * from '/etc/passwd'",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('secret')",
        "select * from glob('/*')",
        "select * from read_parquet('results/one/records.parquet')",
        "select getenv('HOME')",
        "copy (select 1) to 'written.csv'",
        "attach 'written.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set memory_limit = '100GB'",
        "export database 'written'",
        "create table t as select 1",
        "drop view records",
        "pragma database_list",
        # Names of Python variables in scope where the query runs.
        "select * from tables",
        "select * from places",
    ],
)
def test_nothing_but_the_tables_can_be_reached(home: Path, sql: str) -> None:
    (home / "secret").write_text("secret")
    ran = ask(home, sql)
    assert ran.code == 2
    assert ran.out == ""
    assert not list(home.glob("written*"))


def test_memory_is_limited(home: Path) -> None:
    sql = "select count(distinct a.range * 7919 + b.range) from range(20000) a, range(2000) b"
    ran = ask(home, sql, "--memory-gb", "0.1")
    assert ran.code == 2
    assert "needs more than 0.1 GB" in ran.err


def test_a_damaged_page_is_no_answer(tmp_path: Path) -> None:
    folder = merged(tmp_path / "results" / "one")
    file = folder / "latencies.parquet"
    content, silent, found = file.read_bytes(), 0, 0
    group = pq.ParquetFile(file).metadata.row_group(0)
    chunks = [group.column(place) for place in range(group.num_columns)]
    (chunk,) = (one for one in chunks if one.path_in_schema == "latency_ns")
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    for place in range(begin, begin + chunk.total_compressed_size, 12):
        damaged = bytearray(content)
        damaged[place] ^= 0x21
        file.write_bytes(damaged)
        ran = ask(tmp_path, "select latency_ns from latencies order by latency_ns", "--json")
        assert "Traceback" not in ran.err
        if ran.code == 0:
            silent += [row["latency_ns"] for row in ran.json()] != sorted([10, 11, 900, 12] * 3)
        else:
            assert ran.code == 3, ran.err
            found += 1
    assert silent == 0
    assert found > 0


def test_the_columns_are_explained(home: Path) -> None:
    described = lynxbench("query", "--schema", "--json", home=home).json()
    assert list(described) == list(TABLES)
    names = {row["column"]: row["meaning"] for row in described["records"]}
    assert {*BY_NAME, "folder", "scores[i].metric"} <= set(names)
    assert all(names.values())
    for table in TABLES:
        assert [row["column"] for row in columns(table)] == [*table_schema(table).names, "folder"]
        # What is said of a column's type is what a query sees.
        seen = ask(home, f"select column_name, column_type from (describe {table})", "--json").json()
        assert [(row["column_name"], row["column_type"].replace('"', "")) for row in seen] == [
            (row["column"], row["type"]) for row in columns(table)
        ]
    assert lynxbench("query", "--tables", home=home).out.startswith("records\n")
    ran = lynxbench("query", "--schema", "--table", "latency", home=home)
    assert (ran.code, "did you mean 'latencies'" in ran.err) == (2, True)


def test_without_duckdb_it_says_what_to_install(home: Path) -> None:
    script = "import sys\nsys.modules['duckdb'] = None\nfrom lynxbench.cli import main\nmain()"
    ran = subprocess.run(
        [sys.executable, "-c", script, "query", "select 1"],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "pip install 'lynxbench[query]'" in ran.stderr


def test_nothing_to_ask(home: Path, tmp_path: Path) -> None:
    ran = lynxbench("query", home=home)
    assert (ran.code, "SELECT model" in ran.err) == (2, True)
    ran = ask(tmp_path, "select 1")
    assert (ran.code, "results: no such results folder" in ran.err) == (2, True)


def test_text_from_records_is_plain(tmp_path: Path) -> None:
    folder = merged(tmp_path / "results" / "one")
    record = Record(whole(model="\x1b]8;;http://x\x07<b>|"))
    rows = [dict(record.values)]

    write_parquet(pa.Table.from_pylist(rows, schema=table_schema("records")), folder / "records.parquet")
    write_parquet(latencies("c0"), folder / "latencies.parquet")
    for options in ((), ("--csv",), ("--markdown",), ("--json",)):
        out = ask(tmp_path, "select model from records", *options).out
        assert all(c.isprintable() for c in out.replace("\n", "")), options
    assert json.loads(out)[0]["model"] == record["model"]
