"""docs/findings.md in small form: the calibration set changes the verdict; the record says which set it was."""

from __future__ import annotations

import json
from pathlib import Path

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
