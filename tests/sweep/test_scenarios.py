"""Every load pattern through the real command: what the rows and the raw latencies say of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lynxbench.execution import usable_threads
from tests.running import lynxbench

SUITE = """
name = "patterns"
version = "1"

[[models]]
name = "resnet8"
version = "1"
path = "builtin:starter/fashion-resnet8.onnx"
image = { scale = 0.00392156862745098, mean = [0.2860], std = [0.3530] }

[[schemes]]
name = "fp32"
kind = "fp32"

[[schemes]]
name = "int8-dynamic"
kind = "int8-dynamic"

[[scenarios]]
name = "one"
kind = "single-stream"

[[scenarios]]
name = "eight"
kind = "multi-stream"

[[scenarios]]
name = "many"
kind = "offline"
batch_size = 32

[[workloads]]
name = "classify"
rubric = "fashion-classification"
models = ["resnet8"]

[protocol]
block_s = 0.02
minimum_rounds = 4
time_limit_s = 0.2
warm_up_s = 0.05
test_set = "quick"
"""


def with_scenarios(scenarios: str) -> str:
    return SUITE[: SUITE.index("[[scenarios]]")] + scenarios + SUITE[SUITE.index("[[workloads]]") :]


def measured(home: Path, suite: str, *, code: int = 0) -> dict[tuple[str, str], dict[str, Any]]:
    """Sweep `suite`, to end with `code`: its rows by scenario and scheme."""
    (home / "patterns.toml").write_text(suite)
    ran = lynxbench("sweep", "patterns.toml", "--json", home=home)
    assert ran.code == code, ran.err
    return {(row["scenario"], row["scheme"]): row for row in ran.json()["records"]}


def test_one_eight_and_many_samples_a_query(tmp_path: Path) -> None:
    rows = measured(tmp_path, SUITE)
    assert len(rows) == 6
    assert {row["status"] for row in rows.values()} == {"ok"}
    kinds = {scenario: (row["scenario_kind"], row["batch_size"]) for (scenario, _), row in rows.items()}
    assert kinds == {"one": ("single-stream", 1), "eight": ("multi-stream", 8), "many": ("offline", 32)}
    latencies = pq.read_table(tmp_path / "results" / "patterns" / "latencies.parquet").to_pylist()
    for row in rows.values():
        own = np.array([x["latency_ns"] for x in latencies if x["cell_id"] == row["cell_id"] and not x["excluded"]])
        # A query is one latency, however many samples it holds; throughput counts samples.
        assert row["latency_n"] == len(own)
        assert np.isclose(row["throughput_per_s"], row["batch_size"] * len(own) / (own.sum() / 1e9), rtol=1e-9)
    # A candidate includes its batch size: what it answers at eight is kept apart from what it answers alone.
    assert len({row["predictions_id"] for row in rows.values()}) == 6

    shown = lynxbench("show", "results/patterns", "--columns", "speed,others", home=tmp_path)
    heading = next(line for line in shown.out.splitlines() if line.startswith("candidate"))
    assert "eight 8" in heading
    assert "batch 32" in heading


SERVER = """
[[scenarios]]
name = "steady"
kind = "server"
rate_per_s = 250.0

[[scenarios]]
name = "flood"
kind = "server"
rate_per_s = 60000.0
"""


def test_queries_that_arrive_when_they_do(tmp_path: Path) -> None:
    rows = measured(tmp_path, with_scenarios(SERVER).replace("minimum_rounds = 4", "minimum_rounds = 2"), code=3)
    assert len(rows) == 4
    for scheme in ("fp32", "int8-dynamic"):
        flood = rows["flood", scheme]
        assert (flood["status"], flood["rate_per_s"], flood["p50_ns"]) == ("rejected", 60_000, None)
        assert "never served: lower rate_per_s" in flood["reason"]
    file = tmp_path / "results" / "patterns" / "latencies.parquet"
    latencies = pq.read_table(file).to_pylist() if file.exists() else []  # where nothing was timed there is none
    for scheme in ("fp32", "int8-dynamic"):
        row = rows["steady", scheme]
        if row["status"] == "rejected":  # beside other work the dispatcher may be late: then no latency is printed
            assert "issued late" in row["reason"]
            assert row["p50_ns"] is None
            continue
        own = [x for x in latencies if x["cell_id"] == row["cell_id"] and not x["excluded"]]
        scheduled, issued, latency = (
            np.array([x[name] for x in own]) for name in ("scheduled_ns", "issued_ns", "latency_ns")
        )
        rounds = np.array([x["round"] for x in own])
        assert row["latency_n"] == len(own)
        assert (issued >= scheduled).all()
        for number in set(rounds.tolist()):
            done = (scheduled + latency)[rounds == number]
            assert (np.diff(done) > 0).all()  # first come, first served, one at a time
            # LynxBench's block of 50 arrivals on average, Poisson: the whole of it is within six standard deviations.
            assert 8 < len(done) < 93
        assert row["lateness_p99_ns"] == np.percentile(issued - scheduled, 99)
        assert row["throughput_ratio"] is None
        assert row["throughput_per_s"] > 100
    shown = lynxbench("show", "results/patterns", home=tmp_path)
    assert "steady, 250 queries/s" in " ".join(shown.out.split())


SEARCHES = """
[[scenarios]]
name = "fastest"
kind = "offline"
largest_batch_size = 8
most_in_flight = 4

[[scenarios]]
name = "again"
kind = "offline"
largest_batch_size = 8

[[scenarios]]
name = "crowd"
kind = "offline"
batch_size = 4
in_flight = 1000

[[scenarios]]
name = "capacity"
kind = "server-search"
latency_limit_ms = 1000.0

[[scenarios]]
name = "impossible"
kind = "server-search"
latency_limit_ms = 0.001
"""


def test_loads_that_are_found_by_trying(tmp_path: Path) -> None:
    text = with_scenarios(SEARCHES).replace("minimum_rounds = 4", "minimum_rounds = 2\nsearch_limit_s = 6.0")
    (tmp_path / "patterns.toml").write_text(text)
    planned = lynxbench("sweep", "patterns.toml", "--dry-run", home=tmp_path)
    assert "fastest, best batch up to 8, best of up to 4 in flight" in planned.out
    assert "capacity, highest rate with p99 within 1000 ms" in planned.out
    rows = measured(tmp_path, text, code=3)
    assert len(rows) == 10
    latencies = pq.read_table(tmp_path / "results" / "patterns" / "latencies.parquet").to_pylist()
    for scheme in ("fp32", "int8-dynamic"):
        fastest = rows["fastest", scheme]
        assert fastest["status"] == "ok", fastest["reason"]
        found = json.loads(fastest["searched"])
        assert (found["batch_size"], found["in_flight"]) == (fastest["batch_size"], fastest["in_flight"])
        speeds = dict(found["batch_sizes_tried"])
        assert list(speeds) == [1, 2, 4, 8][: len(speeds)]
        assert speeds[fastest["batch_size"]] * 1.03 >= max(speeds.values())

        # Another search may find another size: its answers are its own.
        assert rows["again", scheme]["status"] == "ok"
        assert rows["again", scheme]["predictions_id"] != fastest["predictions_id"]

        crowd = rows["crowd", scheme]
        assert crowd["status"] == "unsupported"
        assert "1000 queries in flight with 1 threads each are more than the" in crowd["reason"]

        impossible = rows["impossible", scheme]
        assert (impossible["status"], impossible["p99_ns"], impossible["rate_per_s"]) == ("rejected", None, None)
        assert "no rate was found whose p99 holds 0.001 ms: at " in impossible["reason"]

        capacity = rows["capacity", scheme]
        if capacity["status"] == "rejected":  # beside other work the dispatcher may be late at every rate
            assert "late" in capacity["reason"] or "never served" in capacity["reason"]
            continue
        tried = json.loads(capacity["searched"])["tried"]
        assert capacity["rate_per_s"] == max(rate for rate, _, reason in tried if reason is None)
        assert all(p99_ns <= 1e9 for _, p99_ns, reason in tried if reason is None)
        if capacity["rate_high_per_s"] is not None:
            assert capacity["rate_high_per_s"] > capacity["rate_per_s"]
        assert capacity["p50_ratio"] is capacity["throughput_ratio"] is None
        own = [x for x in latencies if x["cell_id"] == capacity["cell_id"]]
        assert all(x["scheduled_ns"] is not None for x in own)
    shown = " ".join(lynxbench("show", "results/patterns", home=tmp_path).out.split())
    assert "rate at p99 1000 ms" in shown


def test_queries_in_flight_share_a_session(tmp_path: Path) -> None:
    """Two with one thread each need two cores."""
    two = '[[scenarios]]\nname = "two"\nkind = "offline"\nbatch_size = 4\nin_flight = 2\n'
    (tmp_path / "patterns.toml").write_text(with_scenarios(two))
    ran = lynxbench("sweep", "patterns.toml", "--json", home=tmp_path)
    rows = ran.json()["records"]
    if usable_threads() < 2:
        assert {row["status"] for row in rows} == {"unsupported"}
        return
    assert ran.code == 0, ran.err
    for row in rows:
        assert (row["status"], row["in_flight"], row["recheck_difference"]) == ("ok", 2, 0.0)
        assert row["p50_early_stopping_ns"] >= row["p50_ns"]
        # Two are under way at a time, so throughput is not one over the latency.
        assert row["throughput_per_s"] > 4 / (row["latency_mean_ns"] / 1e9)


def test_a_dry_run_tells_what_no_runtime_has_kernels_for(tmp_path: Path) -> None:
    scheme = '[[schemes]]\nname = "s8u8"\nkind = "int8-static"\nactivation_type = "int8"\nweight_type = "uint8"\n'
    calibration = (
        '[[calibrations]]\nname = "train"\nsource = "builtin:starter/fashion-calibration.npz"\n'
        'split = "train"\nstratify_by = "label"\ncount = 128\nseed = 1\n'
    )
    text = SUITE.replace("[[workloads]]", f"{scheme}\n{calibration}\n[[workloads]]")
    text = text.replace('models = ["resnet8"]', 'models = ["resnet8"]\ncalibrations = ["train"]')
    (tmp_path / "patterns.toml").write_text(text)
    ran = lynxbench("sweep", "patterns.toml", "--dry-run", home=tmp_path)
    assert ran.code == 0, ran.err
    assert "no kernels for int8 activations with uint8 weights" in " ".join(ran.out.split())


def test_bf16_on_the_cpu_is_unsupported_before_any_work(tmp_path: Path) -> None:
    text = SUITE.replace("[[workloads]]", '[[schemes]]\nname = "bf16"\nkind = "bf16"\n\n[[workloads]]')
    (tmp_path / "patterns.toml").write_text(text)
    ran = lynxbench("sweep", "patterns.toml", "--dry-run", home=tmp_path)
    assert ran.code == 0, ran.err
    assert "executor cpu does not run bf16" in " ".join(ran.out.split())
