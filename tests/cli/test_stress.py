"""The stress suite breaks what it says it breaks, and says so."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tests.running import lynxbench


def test_what_breaks_is_called_fragile(tmp_path: Path) -> None:
    only = "model=fashion-mobilenetv2,scheme=percentile-99,int8-static,calibration=noise,in-domain"
    ran = lynxbench("sweep", "stress", "--budget", "quick", "--only", only, "--out", "out", home=tmp_path)
    assert ran.code == 0, ran.err
    rows = pq.read_table(tmp_path / "out" / "records.parquet").to_pylist()
    by = {(row["scheme"], row["calibration"]): row for row in rows}
    broken = by["percentile-99", "noise"]
    assert (broken["verdict"], broken["status"]) == ("fragile", "ok")
    assert broken["primary_loss_low"] > 0.05
    assert by["int8-static", "in-domain"]["primary_loss"] < 0.05
    assert "percentile-99 (noise) breaks fashion-mobilenetv2" in ran.out
