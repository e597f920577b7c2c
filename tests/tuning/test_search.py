"""The arithmetic transformer under static int8: what is tuned holds on samples that it was not picked on."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lynxbench.cli.tune_tables import document, draw_tuning
from lynxbench.conclusions.material import material
from lynxbench.errors import UsageError
from lynxbench.records.declarations import kept_suite
from lynxbench.records.record import Record
from lynxbench.records.store import read_records
from lynxbench.scoring import disclose
from lynxbench.specs.base import as_frozen
from lynxbench.specs.resolve import resolve_suite
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.toml import to_toml
from lynxbench.sweep.run import prepare_sweep, run_sweep
from lynxbench.tuning.declaring import Job
from lynxbench.tuning.search import Limits, Tuning, groups, tune

SUITE = """
name = "sums"
version = "1"
[[models]]
name = "transformer"
version = "1"
path = "builtin:starter/arithmetic-transformer.onnx"
generation = { vocabulary = "0123456789+-*=;#.", pad_id = 17, prompt_length = 27, max_new_tokens = 24, stop = "." }
[[schemes]]
name = "fp32"
kind = "fp32"
[[schemes]]
name = "static"
kind = "int8-static"
[[calibrations]]
name = "sums"
source = "builtin:starter/arithmetic-calibration.jsonl"
split = "train"
stratify_by = "steps"
count = 100
[[scenarios]]
name = "offline"
kind = "offline"
batch_size = 16
[[workloads]]
name = "reason"
rubric = "arithmetic-steps"
models = ["transformer"]
calibrations = ["sums"]
"""


@dataclass(frozen=True)
class Found:
    job: Job
    limits: Limits
    home: Path
    tuning: Tuning

    def records(self, name: str) -> dict[str, Record]:
        return {record["scheme"]: record for record in material(self.job.folder / name).records}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    home = tmp_path_factory.mktemp("tuned")
    (home / "suites").mkdir()
    (home / "out").mkdir()
    (home / "suites" / "sums.toml").write_text(SUITE)
    resolved = resolve_suite(str(home / "suites" / "sums.toml"), budget="quick")
    ((workload, model),) = groups(resolved)
    job = Job(resolved, workload, model, resolved.suite.scenarios[0], "cpu", share=0.33, seed=0, folder=home / "out")
    limits = Limits(max_loss=0.02, candidates=4, time_limit_s=600.0, sensitivity_s=0.0)
    return Found(job, limits, home, tune(job, limits, cache=home / "cache", base="static"))


def test_the_cause_is_named_and_what_mends_it_is_tried(found: Found) -> None:
    (looked,) = found.tuning.looked
    assert looked.causes[0] == "mask_constant_stretches_range"
    rows = {one.record["scheme"]: one for one in found.tuning.tuning}
    assert rows["static"].loss.value > 0.8
    assert rows["static+mask-float"].loss.value < 0.3
    assert rows["static+linear"].loss.value <= 0.04
    assert found.tuning.tried == 1 + 4
    assert found.tuning.stopped_by == "candidates"


def test_the_parts_have_no_sample_in_common_and_the_records_say_so(found: Found) -> None:
    asked = {}
    for name in ("tuning-0", "tuning-1", "untouched"):
        opened = material(found.job.folder / name)
        asked[name] = {str(i) for i in opened.predictions["sample_id"].to_pylist()}
    assert asked["tuning-0"] == asked["tuning-1"]
    assert not asked["tuning-0"] & asked["untouched"]
    assert len(asked["tuning-0"]) + len(asked["untouched"]) == 80
    rows = found.records("untouched")
    tuned = [row for row in rows.values() if row["tuning_tried_n"] is not None]
    assert tuned, "no tuned scheme was measured on the untouched part"
    for row in tuned:
        assert row["tuning_untouched"] is True
        assert row["tuning_tried_n"] == 5
        assert row["tuning_n"] == len(asked["tuning-0"])
        assert row["tuning_limit_s"] == 600.0
        assert json.loads(row["tuning_split"])["share"] == 0.33
        assert row["tuning_loss"] == found.records("tuning-1")[row["scheme"]]["primary_loss"]
    assert rows["static"]["tuning_tried_n"] is None
    assert sum(bool(row["tuning_picked"]) for row in tuned) <= 1
    # Beside what the suite had, in the same rounds.
    assert len({row["group_id"] for row in rows.values()}) == 1
    assert set(rows) == {"fp32", "static", *(row["scheme"] for row in tuned)}


def test_what_is_picked_is_a_suite_that_runs_and_says_where_it_came_from(found: Found) -> None:
    """Whether anything is faster than fp32 is for the machine to say; what is picked is judged by its loss alone."""
    picked, suite = found.tuning.picked, found.tuning.suite
    if picked is None:
        assert suite is None
        return
    assert suite is not None
    untouched = found.tuning.of("untouched", picked)
    assert untouched is not None
    assert untouched.state(found.limits.max_loss) != "beyond"
    resolved = resolve_suite(str(suite))
    (scheme,) = [one for one in resolved.suite.schemes if one.tuned is not None]
    assert untouched.record["scheme"] == scheme.name
    prepared = prepare_sweep(resolved)
    assert prepared.material.test_sets["reason"].fingerprint == untouched.record["test_set_digest"]
    pasted = tomllib.loads((found.job.folder / "scheme.toml").read_text())["schemes"][0]
    assert Scheme.model_validate(as_frozen(pasted)) == scheme


def test_what_a_reader_sees_has_both_losses_and_both_frontiers(
    found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_tuning(found.tuning)
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "untouched samples beside",
        "loss, tuning samples",
        "before",
        "after",
        "tried, on the tuning samples",
    ):
        assert words in said
    assert "Looked into static@sums: mask_constant_stretches_range" in said
    assert "5 candidates were compared on the tuning samples" in said
    assert ("which is flattered by the choice" in said) == (found.tuning.picked is not None)
    told = document(found.tuning)
    assert {row["candidate"] for row in told["untouched"]} >= {"fp32", "static@sums"}
    assert all(row["before"] is None for row in told["untouched"] if row["changes"])
    assert told["tried"] == 5


def test_scored_on_the_samples_that_it_was_picked_on_it_is_not_decision_grade(found: Found) -> None:
    row = next(row for row in found.records("untouched").values() if row["tuning_tried_n"] is not None)
    assert next(item for item in disclose(row.values).items if item.item == "task").held
    flattered = disclose({**row.values, "tuning_untouched": False})
    assert flattered.decision_grade is False
    assert "picked on samples that are scored" in flattered.why


def test_the_same_search_again_measures_nothing(found: Found) -> None:
    before = {file: file.stat().st_mtime_ns for file in found.job.folder.glob("tuning-*/records.parquet")}
    again = tune(found.job, found.limits, cache=found.home / "cache", base="static")
    assert (again.picked, again.tried, again.spent_s) == (
        found.tuning.picked, found.tuning.tried, found.tuning.spent_s,
    )  # fmt: skip
    assert again.tuning == found.tuning.tuning
    assert again.final == found.tuning.final
    assert all(file.is_file() for file in before)
    with pytest.raises(UsageError, match="another candidates"):
        tune(found.job, replace(found.limits, candidates=9), cache=found.home / "cache", base="static")


def test_a_sweep_on_the_whole_test_set_says_that_its_loss_is_flattered(found: Found) -> None:
    """The scheme pasted into the suite that it came from: scored on everything, so on what it was picked on, too."""
    finalist = next(one for one in found.tuning.final if one.record["tuning_tried_n"] is not None)
    kept = kept_suite(found.job.folder / "untouched")
    tuned = next(one for one in kept.schemes if one.name == finalist.record["scheme"])
    text = (found.home / "suites" / "sums.toml").read_text()
    data = {**tomllib.loads(text), "scenarios": [{"name": "one", "kind": "offline", "batch_size": 16}]}
    data["schemes"] = [data["schemes"][0], tuned.model_dump(mode="json", exclude_none=True)]
    (found.home / "suites" / "pasted.toml").write_text(to_toml(data))
    resolved = resolve_suite(str(found.home / "suites" / "pasted.toml"), budget="quick")
    folder = run_sweep(prepare_sweep(resolved), found.home / "pasted", cache=found.home / "cache").folder
    row = next(record for record in read_records(folder) if not record["is_reference"])
    assert row["tuning_untouched"] is False
    assert row["decision_grade"] is False
    assert "tuned_on_these_samples" in {warning["code"] for warning in row["warnings"]}
    assert row["test_set_n"] == 80
