"""What `lynxbench diagnose --json` wrote, on its candidate's page: shown as text, drawn, or refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from lynxbench.errors import LynxBenchError, UntrustedInput, UsageError
from lynxbench.leaderboard.diagnoses import read_diagnosis
from lynxbench.leaderboard.site import build_site
from tests.leaderboard.conftest import ENDING, HOSTILE
from tests.leaderboard.test_browser import checked

Open = Callable[..., Page]


def trial(name: str, how: str, loss: float | None, kind: str = "node") -> dict[str, Any]:
    low, high = (None, None) if loss is None else (loss - 0.02, loss + 0.02)
    part = {"kind": kind, "name": name, "op_type": "Softmax", "nodes": ["a", "b"]}
    return {
        "part": part,
        "how": how,
        "loss": loss,
        "loss_low": low,
        "loss_high": high,
        "flip_rate": loss,
        "reason": None,
    }


def time(ns: float, *names: str) -> dict[str, Any]:
    ops = [{"op_type": name, "kernels": 3, "ns": ns / len(names), "reads": ["float float"]} for name in names]
    return {"run_ns": ns, "profiled_ns": 1.5 * ns, "kernels_ns": ns, "runs": 50, "batch_size": 1, "ops": ops}


def diagnosis(results: Path, scheme: str = "int8-static", **changes: Any) -> dict[str, Any]:
    """A diagnosis of one of the made-up candidates, hostile where a stranger could be."""
    rows = pq.read_table(results / "one" / "records.parquet").to_pylist()
    row = next(row for row in rows if row["scheme"] == scheme and row["status"] == "ok")
    tensor = {
        "name": ENDING, "producer": "Add", "sqnr_db": 1.25, "cosine": 0.5, "low": -2.0, "high": 3.0,
        "represented_low": -1e4, "represented_high": 0.0, "outside_share": 0.25, "worst_field": "view",
        "worst_stratum": HOSTILE, "worst_outside_share": 0.5, "distance": 0.125,
    }  # fmt: skip
    weight = {
        "name": "w", "node": "/MatMul", "shape": [3, 4], "scales": 1, "sqnr_db": 40.0, "outlier_ratio": 2.0,
        "channel_range_ratio": 1.5, "top_share": 0.1,
    }  # fmt: skip
    return {
        "format": 1, "candidate": f"{scheme} on {row['model']}", "candidate_id": row["candidate_id"],
        "workload": row["workload"], "cpu": "A CPU", "samples": 64, "test_set_n": 1200, "calibration_samples": 32,
        "causes": [{
            "cause": "mask_constant_stretches_range", "where": HOSTILE, "said": "the constant −10000 does it",
            "advice": "Export the mask with a smaller constant.", "others": ["b", "c", "d", "e"],
        }],
        "sensitivity": {
            "metric": "top-1", "unit": "fraction", "confidence": 0.95, "n": 64, "time_limit_s": 60.0, "spent_s": 59.0,
            "trials": [
                trial("Softmax", "alone", 0.5, "op-type"), trial("/layer.0/Softmax", "alone", 0.25),
                trial("/layer.0/Softmax", "left-in-float", 0.0), trial("/layer.1/Add", "alone", None),
            ],
            "not_tried": [{"part": trial("/layer.2/Add", "alone", None)["part"], "how": "alone"}],
        },
        "sensitivity_reason": None, "tensors": [tensor], "weights": [weight],
        "time": time(2e6, "QLinearMatMul", "Softmax"), "reference_time": time(1e6, "MatMul", "Softmax"),
        "time_reason": None, **changes,
    }  # fmt: skip


def built(results: Path, folder: Path, *documents: Any) -> Path:
    files = []
    for number, document in enumerate(documents):
        files.append(folder / f"diagnosis-{number}.json")
        files[-1].write_text(document if isinstance(document, str) else json.dumps(document))
    build_site([results], folder / "site", diagnoses=files)
    return folder / "site"


def page_of(opened: Open, site: Path, **context: Any) -> Page:
    first = sorted((site / "data").glob("d-*.js"))[0].stem.removeprefix("d-")
    page = opened(f"{(site / 'candidate.html').as_uri()}#{first}", **context)
    page.locator("#diagnosis").wait_for()
    return page


def test_a_page_shows_its_candidate_s_diagnosis_in_both_sizes(opened: Open, results: Path, tmp_path: Path) -> None:
    site = built(results, tmp_path, diagnosis(results))
    for width in (1280, 420):
        page = page_of(opened, site, viewport={"width": width, "height": 900})
        card = page.locator("section[aria-labelledby=diagnosis]")
        expect(card.locator(".causes li")).to_have_count(1)
        # What a stranger wrote is text.
        expect(card.locator(".causes code")).to_have_text(HOSTILE)
        expect(card.locator(".causes")).to_contain_text("Also at b, c, d and 1 more.")
        expect(card).to_contain_text("Not tried, as the time was over: 1 attempts, the next on /layer.2/Add.")
        expect(card.locator("svg[role=img]")).to_have_count(2)
        for summary in card.locator("summary").all():
            summary.click()
        figures = card.get_by_role("region", name="What parts cost").locator("tbody tr")
        assert [row.split("\t") for row in figures.all_inner_texts()] == [
            ["Softmax", "all of its type", "2", "+50.0 [+48.0, +52.0]", "50.0 %", "–"],
            ["/layer.0/Softmax", "Softmax", "2", "+25.0 [+23.0, +27.0]", "25.0 %", "0.0 [−2.0, +2.0]"],
        ]
        tensors = card.get_by_role("region", name="Tensors").locator("tbody td")
        assert tensors.all_inner_texts() == [
            ENDING, "Add", "1.3", "0.5000", "−2 … 3", "−10000 … 0", "25.00 %", f"view={HOSTILE} 50.00 %", "0.13",
        ]  # fmt: skip
        times = card.get_by_role("region", name="Time by op type").locator("tbody tr")
        assert times.first.inner_text().split("\t")[:4] == ["QLinearMatMul", "3", "1.00 ms", "50 %"]
        assert page.title() != "taken"
        checked(page)


def test_every_host_and_scenario_of_the_candidate_has_it_and_no_other(results: Path, tmp_path: Path) -> None:
    made = diagnosis(results)
    site = built(results, tmp_path, made)
    rows = pq.read_table(site / "data" / "records.parquet").to_pylist()
    mine = {row["id"] for row in rows if row["candidate_id"] == made["candidate_id"]}
    assert {file.stem for file in (site / "data").glob("d-*.js")} == {f"d-{one}" for one in mine}
    assert len({row["host_id"] for row in rows if row["id"] in mine}) == 2


def test_a_diagnosis_with_nothing_found_says_so(opened: Open, results: Path, tmp_path: Path) -> None:
    empty = diagnosis(results, causes=[], sensitivity=None, tensors=[], weights=[], time=None, reference_time=None,
                      time_reason="profiles are read of the CPU provider alone")  # fmt: skip
    card = page_of(opened, built(results, tmp_path, empty)).locator("section[aria-labelledby=diagnosis]")
    expect(card).to_contain_text("No cause found")
    expect(card).to_contain_text("No profile: profiles are read of the CPU provider alone.")
    expect(card.locator("svg")).to_have_count(0)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"candidate_id": "f" * 16}, UsageError, "is in none of these results"),
        ({"workload": "another"}, UsageError, "is in none of these results"),
        ({"format": 2}, UntrustedInput, "upgrade"),
        ({"samples": "many"}, UntrustedInput, "samples"),
        ({"cpu": "a\u202eb"}, UntrustedInput, "not seen"),
        ({"time": {"run_ns": 1.0}}, UntrustedInput, "time"),
    ],
)
def test_what_does_not_belong_here_is_refused(
    results: Path, tmp_path: Path, change: dict[str, Any], error: type[LynxBenchError], words: str
) -> None:
    with pytest.raises(error, match=words):
        built(results, tmp_path, diagnosis(results, **change))
    assert not (tmp_path / "site").exists()


def test_no_diagnosis_two_of_one_and_no_file(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UntrustedInput, match="is no diagnosis"):
        built(results, tmp_path, "[]")
    with pytest.raises(UsageError, match="another file is about"):
        built(results, tmp_path, diagnosis(results), diagnosis(results))
    with pytest.raises(UsageError, match="No such file"):
        read_diagnosis(tmp_path / "nothing.json")
