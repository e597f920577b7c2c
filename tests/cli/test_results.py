"""What a sweep of real models says, and whether a stranger comes to the same numbers from the files alone."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss

from lynxbench.execution import host_facts, products_saturate
from lynxbench.records.record import MEASURED
from tests.cli.conftest import Starter
from tests.running import lynxbench

Row = dict[str, object]
SATURATES = products_saturate(host_facts())


def rows(starter: Starter, table: str) -> list[dict]:
    return pq.read_table(starter.folder / f"{table}.parquet").to_pylist()


@pytest.fixture(scope="module")
def records(starter: Starter) -> list[dict]:
    return rows(starter, "records")


@pytest.fixture(scope="module")
def predictions(starter: Starter) -> dict[str, list[dict]]:
    by_id: dict[str, list[dict]] = {}
    for row in rows(starter, "predictions"):
        by_id.setdefault(row["predictions_id"], []).append(row)
    return by_id


def test_every_cell_is_a_row_and_every_row_is_scored(starter: Starter, records: list[dict]) -> None:
    plan = lynxbench("sweep", "--budget", "quick", "--dry-run", "--json", home=starter.home).json()
    assert len(records) == len(plan["cells"]) == len({row["cell_id"] for row in records})
    assert {row["status"] for row in records} == {"ok"}
    assert all(row["scores"] and row["primary_value"] is not None and row["throughput_per_s"] > 0 for row in records)


def test_one_scheme_is_robust_here_and_fragile_there(records: list[dict]) -> None:
    verdicts = {
        row["verdict"] for row in records if row["scheme"] == "int8-static" and row["scenario"] == "single-stream"
    }
    assert "fragile" in verdicts
    # Where products saturate, none of them may be beyond doubt; but they are not all broken.
    assert verdicts & ({"robust", "inconclusive"} if SATURATES else {"robust"})


def test_a_processor_that_cuts_products_off_is_told(records: list[dict]) -> None:
    for row in records:
        told = "products-saturate" in {warning["code"] for warning in row["warnings"]}
        assert told == (SATURATES and row["scheme_kind"] in {"int8-dynamic", "int8-static"}), row["scheme"]


def test_some_stratum_loses_more_than_the_average(records: list[dict]) -> None:
    rivals = [row for row in records if not row["is_reference"] and row["worst_stratum_loss"] is not None]
    assert any(row["worst_stratum_loss"] > row["primary_loss"] for row in rivals)


def test_nodes_ran_on_the_cpu_provider(records: list[dict]) -> None:
    for row in records:
        assert {node["provider"] for node in row["nodes"]} == {"CPUExecutionProvider"}
        assert sum(node["count"] for node in row["nodes"]) > 5


def test_candidates_have_memory_of_their_own(records: list[dict]) -> None:
    # A worker's figure once was the parent's, the same for all of a group.
    peaks = {row["peak_rss_bytes"] for row in records if row["workload"] == "reason"}
    assert len(peaks) > 1


def test_a_stranger_recomputes_the_scores(records: list[dict], predictions: dict[str, list[dict]]) -> None:
    checked = set()
    for record in records:
        mine = predictions[record["predictions_id"]]
        assert len(mine) == record["primary_n"]
        scores = {score["metric"]: score["value"] for score in record["scores"]}
        if record["task"] == "image-classification":
            labels = np.array([row["label"] for row in mine])
            logits = np.array([row["logits"] for row in mine], dtype=np.float64)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities = odds / odds.sum(axis=1, keepdims=True)
            clean = np.array([dict_of(row)["view"] == "clean" for row in mine])
            answers = logits.argmax(axis=1)
            assert scores["top-1"] == pytest.approx(accuracy_score(labels, answers))
            assert scores["top-1-clean"] == pytest.approx(accuracy_score(labels[clean], answers[clean]))
            assert scores["log-loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(10)), rel=1e-5)
            assert scores["ece"] == pytest.approx(expected_calibration_error(probabilities, labels), abs=1e-6)
        elif record["task"] == "image-retrieval":
            first = [row["ranked_ids"][0] == row["source_id"] for row in mine]
            among_ten = [row["source_id"] in row["ranked_ids"][:10] for row in mine]
            assert scores["recall-at-1"] == pytest.approx(np.mean(first))
            assert scores["recall-at-10"] == pytest.approx(np.mean(among_ten))
        else:
            assert scores["exact-match"] == pytest.approx(np.mean([row["text"] == row["target"] for row in mine]))
        checked.add(record["task"])
    assert checked == {"image-classification", "image-retrieval", "generation"}


def dict_of(row: dict) -> dict[str, str]:
    return {pair["field"]: pair["value"] for pair in row["strata"]}


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Guo et al. 2017, equal widths."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(
        sum(
            abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean()
            for b in range(bins)
            if (place == b).any()
        )
    )


def test_a_stranger_recomputes_the_deltas(records: list[dict], predictions: dict[str, list[dict]]) -> None:
    references = {(r["workload"], r["model"], r["batch_size"]): r for r in records if r["is_reference"]}
    for record in records:
        reference = references[record["workload"], record["model"], record["batch_size"]]
        assert record["primary_delta"] == pytest.approx(record["primary_value"] - reference["primary_value"], abs=1e-12)
        assert record["primary_delta_low"] <= record["primary_delta"] <= record["primary_delta_high"]
        if record["task"] != "image-classification":
            continue
        right = {
            row["sample_id"]: int(np.argmax(row["logits"])) == row["label"]
            for row in predictions[record["predictions_id"]]
        }
        was = {
            row["sample_id"]: int(np.argmax(row["logits"])) == row["label"]
            for row in predictions[reference["predictions_id"]]
        }
        strata = {row["sample_id"]: dict_of(row) for row in predictions[record["predictions_id"]]}
        for score in record["strata_scores"]:
            if score["value"] is None:
                continue
            ids = [i for i in right if strata[i][score["stratum_field"]] == score["stratum"]]
            assert score["n"] == len(ids)
            assert score["delta"] == pytest.approx(np.mean([right[i] - was[i] for i in ids]), abs=1e-12)


def test_a_stranger_recomputes_the_timing(starter: Starter, records: list[dict]) -> None:
    latencies = pq.read_table(starter.folder / "latencies.parquet")
    cell = np.array(latencies["cell_id"].to_pylist())
    used = ~latencies["excluded"].to_numpy()
    ns = latencies["latency_ns"].to_numpy()
    for record in records:
        mine = ns[(cell == record["cell_id"]) & used]
        assert len(mine) == record["latency_n"]
        assert mine.min() == record["latency_min_ns"]
        assert mine.mean() == pytest.approx(record["latency_mean_ns"])
        assert record["throughput_per_s"] == pytest.approx(len(mine) * record["batch_size"] / (mine.sum() / 1e9))
        for name, q in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
            if record[f"{name}_ns"] is not None:
                # An order statistic; definitions of a percentile differ by one place at most.
                around = np.percentile(mine, q, method="lower"), np.percentile(mine, q, method="higher")
                assert around[0] <= record[f"{name}_ns"] <= around[1]


def test_small_samples_leave_percentiles_empty(records: list[dict]) -> None:
    for record in records:
        if record["latency_n"] < 368:
            assert record["p99_ns"] is None
        if record["latency_n"] < 3688:
            assert record["p99_9_ns"] is None


def test_the_tables_say_what_was_found(starter: Starter) -> None:
    out = starter.ran.out
    for word in (
        "classify",
        "retrieve",
        "reason",
        "int8-static",
        "fragile",
        "robust",
        "worst stratum",
        "records.parquet",
        "lynxbench show",
    ):
        assert word in out
    assert "breaks arithmetic-transformer" in out
    assert "Traceback" not in starter.ran.err


def test_show_prints_the_same_again(starter: Starter) -> None:
    again = lynxbench("show", starter.folder, home=starter.home)
    assert again.code == 0
    strip = [line for line in again.out.splitlines() if not line.startswith(("files", "again"))]
    assert strip == [line for line in starter.ran.out.splitlines() if not line.startswith(("files", "again"))]


def test_json_is_one_document_of_records(starter: Starter, records: list[dict]) -> None:
    document = lynxbench("show", starter.folder, "--json", home=starter.home).json()
    assert [row["cell_id"] for row in document["records"]] == [
        row["cell_id"] for row in sorted(records, key=lambda row: row["position"])
    ]
    json.dumps(document, allow_nan=False)


def test_the_same_command_measures_nothing_twice(starter: Starter) -> None:
    before = (starter.folder / "records.parquet").read_bytes()
    again = lynxbench("sweep", "--budget", "quick", home=starter.home)
    assert again.code == 0
    assert "52 of 52 cells were finished before and kept" in again.err
    assert (starter.folder / "records.parquet").read_bytes() == before


def test_results_are_sound(starter: Starter) -> None:
    ran = lynxbench("validate", starter.folder, home=starter.home)
    assert (ran.code, ran.out.strip().endswith("52 sound records")) == (0, True)


def test_statuses_that_count_as_measured() -> None:
    assert {"ok", "partial"} == MEASURED
