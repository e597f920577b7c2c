"""docs/findings.md in small form: calibration set, metric, task and stratum, each changes what one would conclude."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lynxbench.execution import host_facts, products_saturate
from tests.running import lynxbench


def test_the_calibration_set_changes_the_verdict(tmp_path: Path) -> None:
    only = "model=fashion-resnet8,calibration=in-domain,low-contrast,tiny,scheme=int8-static"
    ran = lynxbench("sweep", "calibration", "--budget", "quick", "--only", only, "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    rows = {r["calibration"]: r for r in ran.json()["records"] if not r["is_reference"]}
    assert set(rows) == {"in-domain", "low-contrast", "tiny"}
    assert rows["low-contrast"]["verdict"] == "fragile"
    assert rows["in-domain"]["verdict"] != "fragile"
    assert rows["low-contrast"]["primary_loss_low"] > 0.1 > rows["in-domain"]["primary_loss_high"]
    assert json.loads(rows["low-contrast"]["calibration_options"]) == {"corruption": "contrast", "severity": 5}
    assert rows["low-contrast"]["decision_grade"] is True
    assert rows["tiny"]["decision_grade"] is False
    assert {item["item"] for item in rows["tiny"]["disclosure"] if not item["held"]} == {"calibration"}
    shown = lynxbench("show", Path(ran.json()["folder"]), home=tmp_path)
    assert "int8-static (low-contrast)" in shown.out
    assert "int8-static on fashion-resnet8 depends on its calibration" in " ".join(shown.out.split())


def measured(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    ran = lynxbench("sweep", *arguments, "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    return [record for record in ran.json()["records"] if not record["is_reference"]]


def test_the_metric_changes_the_size_of_the_loss(tmp_path: Path) -> None:
    only = "model=fashion-resnet8,calibration=noise,scheme=int8-static"
    # 7-bit weights: the page is from a processor with VNNI, and with 8 bits others saturate.
    changed = ("--set", "schemes.int8-static.reduce_range=true")
    (row,) = measured(tmp_path, "calibration", "--only", only, *changed)
    scores = {item["metric"]: item for item in row["scores"]}
    top1, ece = scores["top-1"], scores["ece"]
    lost = {name: item["loss_low"] / item["reference_value"] for name, item in scores.items()}
    assert row["verdict"] == "robust"
    assert lost["ece"] > 0.5
    assert abs(top1["loss_high"]) / top1["reference_value"] < 0.05 * ece["loss_low"] / ece["reference_value"]


def test_one_task_is_robust_and_another_fragile_under_the_same_scheme(tmp_path: Path) -> None:
    only = "model=fashion-resnet8,arithmetic-transformer,scheme=int8-static,scenario=offline"
    rows = {row["model"]: row for row in measured(tmp_path, "starter", "--budget", "quick", "--only", only)}
    assert rows["arithmetic-transformer"]["verdict"] == "fragile"
    assert rows["arithmetic-transformer"]["primary_loss_low"] > 0.8
    assert rows["fashion-resnet8"]["verdict"] != "fragile"
    assert rows["fashion-resnet8"]["primary_loss_high"] < 0.05


def test_the_processor_changes_the_verdict(tmp_path: Path) -> None:
    """The same file, with and without VNNI: this machine shows one side of it, and that 7-bit weights are the mend."""
    only = ("--only", "workload=retrieve,scheme=int8-static,scenario=offline")
    full = lynxbench("sweep", "starter", *only, home=tmp_path)
    assert full.code == 0, full.err
    saturates = products_saturate(host_facts())
    assert ("Not the same on every processor: int8-static." in " ".join(full.out.split())) == saturates
    (row,) = measured(tmp_path, "starter", *only)
    assert row["verdict"] == ("fragile" if saturates else "robust")
    (row,) = measured(tmp_path, "starter", *only, "--set", "schemes.int8-static.reduce_range=true")
    assert row["verdict"] == "robust"
    assert "products-saturate" not in {warning["code"] for warning in row["warnings"]}


def test_an_average_hides_a_stratum(tmp_path: Path) -> None:
    only = "model=fashion-mobilenetv2,scheme=int8-static-p99"
    (row,) = measured(tmp_path, "views", "--budget", "quick", "--only", only)
    worst = max((item for item in row["strata_scores"] if item["loss"] is not None), key=lambda item: item["loss"])
    assert row["primary_loss"] < 0.03
    assert worst["loss_low"] > 0.05
    assert worst["p_value_holm"] < 0.01
