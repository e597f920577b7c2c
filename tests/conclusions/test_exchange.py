"""Results in the formats of others, read back by readers that others wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import mlcroissant
import pandas
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from lynxbench.conclusions.exchange import croissant, every_eval_ever, hf_eval_results
from lynxbench.conclusions.exchange.terms import Place, Terms, safe
from lynxbench.conclusions.material import Material, material
from lynxbench.records.record import Record
from lynxbench.records.store import read_records
from tests.conclusions.every_eval_ever import SCHEMA
from tests.running import lynxbench

HOSTILE = 'a/../..\\b: "c"\n- d\u202e\x7f\U0001f600'


def with_rows(opened: Material, *rows: Record) -> Material:
    return Material(opened.folder, rows)


def bent(record: Record, **values: Any) -> Record:
    return Record({**record.values, **values})


@pytest.fixture(scope="module")
def logs(results: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every Eval Ever's documents by cell."""
    out = tmp_path_factory.mktemp("eee") / "out"
    terms = Terms(organization="Tests", relationship="third_party", models={"fashion-resnet8": "lynx/resnet8"})
    done = every_eval_ever.export(material(results), out, terms)
    assert sorted(done.files) == sorted(path.relative_to(out).as_posix() for path in out.rglob("*.json"))
    found = {}
    for file in done.files:
        document = json.loads((out / file).read_text())
        found[document["source_metadata"]["additional_details"]["cell_id"]] = {**document, "at": file}
    return found


def test_every_row_is_a_log_that_the_schema_takes(logs: dict[str, Any], results: Path) -> None:
    records = {record["cell_id"]: record for record in read_records(results)}
    assert set(logs) == set(records)
    validator = jsonschema.Draft7Validator(SCHEMA)
    layout = (
        r"data/[\w.+-]+/[\w.+-]+/[\w.+-]+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json"
    )
    for log in logs.values():
        assert re.fullmatch(layout, log["at"])
        validator.validate({name: value for name, value in log.items() if name != "at"})
    assert len({log["evaluation_id"] for log in logs.values()}) == len(logs)
    ids = [one["evaluation_result_id"] for log in logs.values() for one in log["evaluation_results"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda log: log.pop("eval_library"),
        lambda log: log["source_metadata"].update(evaluator_relationship="friend"),
        lambda log: log["model_info"]["additional_details"].update(threads=1),
        lambda log: log["evaluation_results"][0]["metric_config"].update(min_score=None),
        lambda log: log["evaluation_results"][0]["score_details"].update(score="0.5"),
        lambda log: log["evaluation_results"][0]["source_data"].update(source_type="private"),
    ],
)
def test_the_schema_of_these_tests_can_refuse(logs: dict[str, Any], break_it: Any) -> None:
    log = json.loads(json.dumps({name: value for name, value in next(iter(logs.values())).items() if name != "at"}))
    break_it(log)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(log)


def test_scores_deltas_latencies_and_host_arrive(logs: dict[str, Any], results: Path) -> None:
    for record in read_records(results):
        log = logs[record["cell_id"]]
        results_of = {one["evaluation_result_id"].partition("/")[2]: one for one in log["evaluation_results"]}
        metric = record["primary_metric"]
        score = results_of[f"{metric}/score"]["score_details"]
        assert score["score"] == record["primary_value"]
        assert score["uncertainty"]["num_samples"] == record["primary_n"]
        assert score["details"]["verdict"] == record["verdict"]
        assert (f"{metric}/delta" in results_of) == (not record["is_reference"])
        if not record["is_reference"]:
            delta = results_of[f"{metric}/delta"]["score_details"]
            interval = delta["uncertainty"]["confidence_interval"]
            assert delta["score"] == record["primary_delta"]
            assert (interval["lower"], interval["upper"]) == (record["primary_delta_low"], record["primary_delta_high"])
            assert interval["confidence_level"] == 0.95
            assert interval["method"].startswith("paired by sample: ")
        assert log["source_metadata"]["additional_details"]["cpu"] == record["cpu"]
        assert log["model_info"]["additional_details"]["scheme"] == record["scheme"]
        resnet = record["model"] == "fashion-resnet8"
        assert log["model_info"]["id"] == ("lynx/resnet8" if resnet else f"unknown/{record['model']}")
        strata = [name for name in results_of if "=" in name and name.endswith("/score")]
        assert len(strata) == sum(one["value"] is not None for one in record["strata_scores"])
        assert ("latency_p50" in results_of) == (record["p50_ns"] is not None)
        if record["p50_ns"] is None:
            continue
        p50 = results_of["latency_p50"]
        assert p50["score_details"]["score"] == pytest.approx(record["p50_ns"] / 1e6)
        assert p50["metric_config"]["metric_unit"] == "ms"
        assert p50["metric_config"]["lower_is_better"] is True
        assert p50["score_details"]["details"]["scenario"] == record["scenario"]


def test_the_same_row_has_the_same_name_again(results: Path, tmp_path: Path) -> None:
    opened = material(results)
    one, two = (every_eval_ever.export(opened, tmp_path / name, Terms()).files for name in ("one", "two"))
    assert one == two


def test_rows_without_a_score_stay_at_home_with_their_reason(results: Path, tmp_path: Path) -> None:
    opened = material(results)
    keep = {name: value for name, value in opened.records[0].values.items() if value is not None}
    declared = {name: keep[name] for name in keep if not name.startswith(("primary_", "latency_", "throughput"))}
    timed = ("p50", "p90", "p95", "p99", "lateness", "harness", "cpu_over", "scheduler", "scores", "strata_scores")
    declared = {name: value for name, value in declared.items() if not name.startswith(timed)}
    failed = Record({**declared, "status": "failed", "reason": "no kernel"})
    done = every_eval_ever.export(with_rows(opened, failed, opened.records[1]), tmp_path / "out", Terms())
    assert (done.rows, [why for _, why in done.skipped]) == (1, ["failed: no kernel"])


def entries(out: Path, files: tuple[str, ...]) -> list[Any]:
    return [entry for file in files for entry in parse_eval_result_entries(yaml.safe_load((out / file).read_text()))]


def test_hugging_face_s_own_parser_reads_every_score(results: Path, tmp_path: Path) -> None:
    terms = Terms(url="https://example.org/r", datasets={"fashion-classification": Place("lynx/views", "top-1")})
    opened = material(results)
    done = hf_eval_results.export(opened, tmp_path / "out", terms)
    found = entries(tmp_path / "out", done.files)
    mine = [r for r in opened.records if r["rubric"] == "fashion-classification" and r["scenario"] == "single-stream"]
    assert len(found) == len(mine) == 4
    assert sorted(one.value for one in found) == pytest.approx(sorted(r["primary_value"] for r in mine))
    for record in mine:
        (entry,) = [one for one in found if f"cell {record['cell_id']}" in one.notes]
        assert (entry.dataset_id, entry.task_id, entry.source_url) == ("lynx/views", "top-1", "https://example.org/r")
        assert entry.date == record["started_at"].date().isoformat()
        assert f"n = {record['primary_n']:,}" in entry.notes
        assert record["cpu"] in entry.notes
        assert f"p50 {record['p50_ns'] / 1e6:.3g} ms" in entry.notes
        if not record["is_reference"]:
            assert record["verdict"] in entry.notes
            assert re.search(r"[+−]?\d+\.\d points \[[+−]?\d+\.\d, [+−]?\d+\.\d\] against fp32 on cpu", entry.notes)
            assert "decision-grade" in entry.notes
    assert all("/.eval_results/" in file for file in done.files)
    assert len(done.skipped) == len(opened.records) - 4


def test_text_from_records_is_text_in_yaml_and_no_path(results: Path, tmp_path: Path) -> None:
    opened = material(results)
    record = bent(opened.records[0], model=HOSTILE, scheme="../../x", scenario="single-stream")
    terms = Terms(datasets={record["rubric"]: Place("lynx/views")})
    done = hf_eval_results.export(with_rows(opened, record), tmp_path / "deep" / "out", terms)
    (entry,) = entries(tmp_path / "deep" / "out", done.files)
    assert 'a/../..\\b: "c"- d\U0001f600 ' in entry.notes
    log = every_eval_ever.export(with_rows(opened, record), tmp_path / "deep" / "log", Terms())
    assert len(log.files) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out", "log"}


def test_of_one_candidate_on_two_hosts_one_score_is_given(results: Path, tmp_path: Path) -> None:
    opened = material(results)
    one = next(r for r in opened.records if r["scenario"] == "single-stream")
    terms = Terms(datasets={one["rubric"]: Place("lynx/views")})
    rows = with_rows(opened, one, bent(one, host_id="e" * 16, primary_value=0.0, primary_value_low=None))
    done = hf_eval_results.export(rows, tmp_path / "out", terms)
    assert [e.value for e in entries(tmp_path / "out", done.files)] == pytest.approx([one["primary_value"]])
    assert "more than once" in done.skipped[0][1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant's, of the rdflib that it asks for
def test_croissant_is_valid_and_loads_every_row(results: Path, tmp_path: Path) -> None:
    opened = material(results)
    terms = Terms(organization="Tests", url="https://example.org/r", license="CC0-1.0")
    croissant.export(opened, tmp_path / "out", terms)
    dataset = mlcroissant.Dataset(tmp_path / "out" / "croissant.json")
    assert dataset.metadata.issues.errors == set()
    assert dataset.metadata.issues.warnings == set()
    assert {one.uuid for one in dataset.metadata.record_sets} == {"records", "predictions", "latencies"}
    rows = list(dataset.records("records"))
    assert [row["records/cell_id"].decode() for row in rows] == [
        one["cell_id"] for one in pq.read_table(tmp_path / "out" / "records.parquet").to_pylist()
    ]
    by_cell = {record["cell_id"]: record for record in opened.records}
    for row in rows:
        record = by_cell[row["records/cell_id"].decode()]
        assert row["records/primary_delta"] == record["primary_delta"] or pandas.isna(row["records/primary_delta"])
        assert row["records/p50_ns"] == record["p50_ns"]
        assert row["records/cpu"].decode() == record["cpu"]
        assert [flag.decode() for flag in row["records/isa_flags"]] == list(record["isa_flags"])
    first = next(iter(dataset.records("predictions")))
    assert first["predictions/predictions_id"].decode() in {record["predictions_id"] for record in opened.records}
    described = " ".join(str(dataset.metadata.description).split())
    assert all(record["test_set_digest"][:16] in described for record in opened.records)
    assert all(record["calibration_digest"][:16] in described for record in opened.records if record["calibration"])


def test_a_file_that_was_changed_is_noticed(results: Path, tmp_path: Path) -> None:
    croissant.export(material(results), tmp_path / "out", Terms())
    document = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert len({one["sha256"] for one in document["distribution"]}) == 3
    columns = set(pq.read_schema(tmp_path / "out" / "records.parquet").names)
    named = {field["name"] for one in document["recordSet"] if one["name"] == "records" for field in one["field"]}
    assert columns - named == {"warnings", "nodes", "disclosure", "scores", "strata_scores"}
    assert all(name in document["description"] for name in columns - named)


@pytest.mark.parametrize(
    ("name", "path"), [("a/b", "a-b"), ("..", "unnamed"), (".x", "x"), ("é ü", "é-ü"), ("", "unnamed")]
)
def test_names_of_files(name: str, path: str) -> None:
    assert safe(name) == path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "croisant"], "did you mean 'croissant'"),
        (["--format", "hf-eval-results"], "--dataset fashion-classification=ORG/DATASET"),
        (["--format", "hf-eval-results", "--dataset", "fashion-clasification=a/b"], "'fashion-classification'"),
        (["--format", "hf-eval-results", "--dataset", "fashion-classification"], "expected NAME=ORG/NAME"),
        (["--format", "every-eval-ever", "--model-id", "resnet=a/b"], "none of that name here"),
        (["--format", "every-eval-ever", "--relationship", "third-party"], "'third_party'"),
        (["--format", "every-eval-ever", "--only", "scheme=int4"], "no scheme 'int4' here"),
        (["--format", "croissant", "--only", "scheme=fp32"], "travel whole"),
        (["--format", "croissant", "--out", "full"], "not empty"),
    ],
)
def test_what_cannot_be_exported_is_said(results: Path, tmp_path: Path, options: list[str], words: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    ran = lynxbench("export-results", results, *options, home=tmp_path)
    assert ran.code == 2
    assert words in ran.err
    assert {path.name for path in tmp_path.iterdir()} - {"cache", "config"} == {"full"}
