"""From results folders to the files of a site: what is compared, ranked, averaged, kept apart and written."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.synthetic import one_host
from lynxbench.errors import StoreError, UsageError
from lynxbench.leaderboard.chunks import plain_rows, script
from lynxbench.leaderboard.collect import collect, results_folders
from lynxbench.leaderboard.contests import places, summaries
from lynxbench.leaderboard.histograms import histograms
from lynxbench.leaderboard.rows import workloads
from lynxbench.leaderboard.site import build_site
from lynxbench.records.record import Record
from lynxbench.records.store import read_records
from tests.leaderboard.conftest import ENDING, HOSTILE, changed, other_host, varied, write_folder


def test_folders_of_results_and_results_themselves_are_found(results: Path) -> None:
    assert results_folders([results]) == (results / "one", results / "two")
    assert results_folders([results / "two", results]) == (results / "two", results / "one")


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no records"):
        results_folders([tmp_path])
    with pytest.raises(UsageError, match="no such folder"):
        results_folders([tmp_path / "gone"])


def test_a_row_that_breaks_a_rule_stops_the_build(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "results", list(one_host(0, models=1)))
    table = pq.read_table(folder / "records.parquet")
    slow = table.set_column(table.schema.get_field_index("p90_ns"), "p90_ns", table["latency_min_ns"])
    pq.write_table(slow, folder / "records.parquet")
    with pytest.raises(StoreError, match=r"results: not a record: p90_ns: below p50_ns \(row 0, cell "):
        build_site([folder], tmp_path / "site")
    assert not (tmp_path / "site").exists()
    assert list(tmp_path.glob(".site*")) == []


def test_contests_share_question_model_scenario_and_host_and_nothing_else(results: Path) -> None:
    collected = collect(results_folders([results]))
    placed = places(collected.records)
    contests: dict[int, set[tuple[Any, ...]]] = defaultdict(set)
    shared = ("rubric_digest", "test_set_digest", "model", "model_sha256", "scenario", "host_id")
    for row, place in zip(collected.records.select(shared).to_pylist(), placed, strict=True):
        contests[place.contest].add(tuple(row.values()))
    assert all(len(keys) == 1 for keys in contests.values())
    assert len(contests) == len(set().union(*contests.values())) == 2 * 4 * 3 * 2


def test_a_new_version_of_a_rubric_is_another_workload(tmp_path: Path) -> None:
    old = list(one_host(0, models=1))
    new = [
        changed(r, rubric_version="1.10", rubric_digest="f" * 64, cell_id=f"{r['cell_id']}-new", host_id="c" * 16)
        for r in old
    ]
    collected = collect([write_folder(tmp_path / "old", old), write_folder(tmp_path / "new", new)])
    placed = places(collected.records)
    names = [(w.about["rubric"], w.about["version"]) for w in workloads(collected, placed)]
    assert names[:2] == [("captions", "1.10"), ("captions", "1.0")]
    # The means take the newest: 1.10 is newer than 1.9 would be, and the old host has no part in it.
    assert {summary.host_id for summary in summaries(collected.records, placed)} == {"c" * 16}


def test_only_decision_grade_rows_of_real_devices_are_ranked(results: Path) -> None:
    collected = collect(results_folders([results]))
    placed = places(collected.records)
    ranked = 0
    for row, place in zip(collected.records.to_pylist(), placed, strict=True):
        sound = row["status"] == "ok" and not row["simulated"] and (row["is_reference"] or row["decision_grade"])
        assert (place.unranked is None) == sound
        assert any(place.standing.values()) == sound
        ranked += sound
    assert 0 < ranked < len(placed)
    reasons = {place.unranked for place in placed}
    assert {"not decision-grade", "status is failed", "simulated: its times are not a device's"} <= reasons


def test_means_are_those_of_the_ranked_ratios(tmp_path: Path) -> None:
    records = [
        changed(r, decision_grade=False) if r["scheme"] == "int8-static" and r["model"].endswith("02") else r
        for r in one_host(0, models=3)
    ]
    collected = collect([write_folder(tmp_path / "results", records)])
    found = summaries(collected.records, places(collected.records))
    (mine,) = [s for s in found if (s.scheme, s.executor) == ("int8-static", "cpu") and "single" in s.scenario]
    ratios = [
        r["throughput_ratio"] for r in records
        if (r["scheme"], r["executor"], r["scenario"]) == ("int8-static", "cpu", "single-stream")
        and r["decision_grade"]
    ]  # fmt: skip
    assert (mine.mean.covered, mine.mean.of) == (len(ratios), 4 * 3)
    assert len(ratios) < 12
    assert mine.mean.ratio.value == pytest.approx(float(np.exp(np.log(ratios).mean())))


def test_rows_that_another_rubric_scored_are_no_further_evidence_of_speed(tmp_path: Path) -> None:
    measured = collect([write_folder(tmp_path / "results", list(one_host(0, models=1)))]).records
    again = measured
    for name, of in (("rescored_from", "text"), ("rubric", "other"), ("rubric_digest", "0" * 64)):
        place = again.schema.get_field_index(name)
        values = pa.array([of] * len(again)).cast(again.schema.field(name).type)
        again = again.set_column(place, again.schema.field(name), values)
    both = pa.concat_tables([measured, again])
    assert summaries(both, places(both)) == summaries(measured, places(measured))


def test_of_two_runs_on_one_host_the_later_counts_even_if_it_is_worse(tmp_path: Path) -> None:
    first = list(one_host(0, models=1))
    later = [
        changed(r, started_at=r["started_at"] + timedelta(hours=1), peak_rss_bytes=1, artifact_bytes=7) for r in first
    ]
    folders = [write_folder(tmp_path / "b", later), write_folder(tmp_path / "a", first)]
    for order in (folders, folders[::-1]):
        collected = collect(order)
        assert collected.replaced == len(first)
        assert set(collected.records["artifact_bytes"].to_pylist()) == {7}


def test_ids_stay_the_same_from_site_to_site(tmp_path: Path, results: Path) -> None:
    one = collect([results / "one"]).records["id"].to_pylist()
    both = collect([results / "two", results / "one"]).records["id"].to_pylist()
    assert set(one) < set(both)
    assert len(set(both)) == len(both)


def test_every_row_bears_the_trust_of_the_folder_that_it_was_taken_in_by(results: Path, site: Path) -> None:
    cells = [record["cell_id"] for record in read_records(results / "one")]
    rows = pq.read_table(site / "data" / "records.parquet").to_pylist()
    assert {row["trust"] for row in rows if row["host_id"] == "b" * 16} == {"self-reported"}
    for row in (row for row in rows if row["host_id"] != "b" * 16):
        signed = row["cell_id"] == cells[0] or row["status"] == "failed"
        assert row["trust"] == ("signed" if signed else "rescored")
        assert row["trust_why"]
    listed = [json.loads("[" + text.removeprefix("lynxbench.receive(").removesuffix(");\n") + "]")[1]["json"]
              for text in (file.read_text() for file in (site / "data").glob("rows-*.js"))]  # fmt: skip
    assert Counter(row["trust"] for part in listed for row in part) == Counter(row["trust"] for row in rows)


def test_downloads_hold_every_record_whole(site: Path, results: Path) -> None:
    records = {(r["cell_id"], r["host_id"]): r for name in ("one", "two") for r in read_records(results / name)}
    columns = next(iter(records.values())).values.keys()
    table = pq.read_table(site / "data" / "records.parquet", page_checksum_verification=True)
    assert len(table) == len(records)
    for row in table.to_pylist():
        assert Record({name: row[name] for name in columns}) == records[row["cell_id"], row["host_id"]]
    rows = json.loads((site / "data" / "records.json").read_text())
    assert len(rows) == len(records)
    assert rows[0]["strata_scores"] == table["strata_scores"][0].as_py()
    assert rows[0]["started_at"] == "2026-11-20T12:00:00Z"


def test_the_same_records_make_the_same_site(site: Path, results: Path, tmp_path: Path) -> None:
    build_site([results], tmp_path / "again", title=f"Tests {HOSTILE}")
    mine, its = (
        {f.relative_to(s): f.read_bytes() for f in s.rglob("*") if f.is_file()} for s in (site, tmp_path / "again")
    )
    assert mine.keys() == its.keys()
    assert [name for name in mine if mine[name] != its[name]] == []


def test_every_candidate_is_in_the_chunk_that_the_page_looks_into(tmp_path: Path) -> None:
    records = varied()
    more = [r for n in range(4) for r in other_host(records, str(n) * 16, f"CPU {n}")]
    folders = [write_folder(tmp_path / "results", more)]
    build_site(folders, tmp_path / "site")
    data = tmp_path / "site" / "data"
    chunks = len(list(data.glob("c-*.js")))
    assert chunks == math.ceil(len(more) / 250) > 1
    seen = 0
    for file in data.glob("c-*.js"):
        name, content = json.loads("[" + file.read_text().removeprefix("lynxbench.receive(").removesuffix(");\n") + "]")
        assert name == file.stem
        for row in content["json"]:
            assert f"c-{int(row['id'][:8], 16) % chunks}" == file.stem
            seen += 1
    assert seen == len(more)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_no_text_ends_a_script(value: Any) -> None:
    text = script("call", value, ENDING, "\u2028<!--")
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads("[" + text.removeprefix("call(").removesuffix(");\n") + "]") == [value, ENDING, "\u2028<!--"]


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script("call", math.nan)


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=300), st.integers(0, 5))
def test_a_histogram_counts_every_query_once_and_in_its_bin(values: list[int], excluded: int) -> None:
    import pyarrow as pa

    cells = ["a"] * len(values) + ["b"] * excluded
    table = pa.table(
        {"cell_id": cells, "latency_ns": values + [5] * excluded, "excluded": [False] * len(values) + [True] * excluded}
    )
    found = histograms(table)
    assert found.keys() == {"a"}
    mine = found["a"]
    assert sum(mine.counts) + mine.beyond_n == len(values)
    edges = mine.from_ns * mine.step_ratio ** np.arange(len(mine.counts) + 1)
    assert mine.from_ns == min(values)
    # NumPy counts the same but for values on an edge, which rounding may move by one bin.
    counted, _ = np.histogram(values, edges)
    assert np.abs(np.cumsum(counted) - np.cumsum(mine.counts)).max() <= max(values.count(v) for v in values) * 2
    assert mine.beyond_n <= 0.005 * len(values)


def test_an_older_site_is_replaced_when_asked_and_nothing_else_ever(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    build_site([results / "one"], out)
    with pytest.raises(UsageError, match=r"older site\n  try       --force"):
        build_site([results / "one"], out)
    (out / "data" / "stray.js").write_text("")
    build_site([results / "one"], out, force=True)
    assert not (out / "data" / "stray.js").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no site that LynxBench built"):
        build_site([results / "one"], mine, force=True)
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert {path.name for path in tmp_path.iterdir()} == {"site", "mine"}


def test_times_are_text_and_the_rest_as_it_was(results: Path) -> None:
    table = pq.read_table(results / "one" / "records.parquet")
    rows = plain_rows(table)
    assert {type(row["started_at"]) for row in rows} == {str}
    assert [row["p50_ns"] for row in rows] == table["p50_ns"].to_pylist()
