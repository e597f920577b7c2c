"""Stored predictions by another rubric: what can be asked of them, what cannot, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lynxbench
from lynxbench.conclusions.asking import asked_rubric, rescore
from lynxbench.conclusions.material import material
from lynxbench.conclusions.recomputing import recomputed
from lynxbench.conclusions.rescoring import rescored
from lynxbench.conclusions.rounds import ratio_between
from lynxbench.errors import UsageError
from lynxbench.records.record import Record
from lynxbench.records.schema import SECTIONS
from lynxbench.scoring import score
from lynxbench.specs.rubric import Rubric
from tests.conclusions.build import answers_for, scored, stored
from tests.running import ROOT
from tests.running import lynxbench as run
from tests.scoring.build import metric, rubric

MEASURED_AS_IT_WAS = [
    field.name
    for section in SECTIONS
    if section.title in {"Host", "Cold start", "Timing", "Memory and energy", "Executor", "Scenario and protocol"}
    for field in section.fields
]


def asked(text: dict[str, str], tmp_path: Path) -> Path:
    """The starter's rubric for classification with some text replaced."""
    declared = (ROOT / "rubrics" / "fashion-classification.toml").read_text()
    for before, after in text.items():
        assert before in declared
        declared = declared.replace(before, after)
    file = tmp_path / "other.toml"
    file.write_text(declared)
    return file


def test_the_same_rubric_says_the_same(results: Path) -> None:
    found = rescore(results, "fashion-classification")
    assert len(found.changes) == 8
    assert found.flipped == ()
    for change in found.changes:
        changed = {name for name in change.before.values if change.before[name] != change.after[name]}
        assert changed <= {"cell_id", "rescored_from", "lynxbench_version"}
    assert {row.why for row in found.unanswered} == {"other-task"}


def test_another_tolerance_flips_verdicts_and_nothing_that_was_measured(results: Path, tmp_path: Path) -> None:
    found = rescore(results, asked({"value = 0.01": "value = 0.2"}, tmp_path))
    assert {change.after["verdict"] for change in found.flipped} == {"robust"}
    for change in found.changes:
        for name in MEASURED_AS_IT_WAS:
            assert change.before[name] == change.after[name]
        assert change.after["primary_loss"] == change.before["primary_loss"]
        assert change.after["rescored_from"] == f"{change.before['sweep']}/{change.before['cell_id']}"


def test_another_reference_turns_the_question_round(results: Path, tmp_path: Path) -> None:
    file = asked({'scheme = "fp32"\nexecutor': 'scheme = "int8-static"\nexecutor'}, tmp_path)
    opened, found = material(results), rescore(results, file)
    for change in found.changes:
        twin = next(
            c for c in found.changes if c.before["scheme"] == "int8-static"
            and c.before["scenario"] == change.before["scenario"]
        )  # fmt: skip
        assert change.after["is_reference"] == (change.after["scheme"] == "int8-static")
        if change.before["scheme"] == "fp32":
            assert change.after["primary_delta"] == pytest.approx(-twin.before["primary_delta"], abs=1e-12)
            assert change.after["throughput_ratio"] == pytest.approx(1 / twin.before["throughput_ratio"], rel=1e-9)
            assert twin.after["throughput_ratio"] == 1
        elif not change.after["is_reference"]:
            ratio = ratio_between(change.before, twin.before, opened.latencies, "p50_ratio", 0.95)
            assert ratio is not None
            assert change.after["p50_ratio"] == ratio.value


def test_ratios_from_raw_latencies_are_those_of_the_sweep(results: Path) -> None:
    opened = material(results)
    checked = 0
    for record in opened.records:
        base = next(
            r for r in opened.records if r["is_reference"] and r["group_id"] == record["group_id"]
            and r["scenario"] == record["scenario"]
        )  # fmt: skip
        for by in ("p50_ratio", "throughput_ratio"):
            ratio = ratio_between(record, base, opened.latencies, by, 0.95)  # type: ignore[arg-type]
            assert ratio is not None
            assert ratio.value == pytest.approx(record[by], rel=1e-9)
            if not record["is_reference"] and record[f"{by}_low"] is not None:
                assert (ratio.low, ratio.high) == pytest.approx((record[f"{by}_low"], record[f"{by}_high"]), rel=1e-9)
                checked += 1
    assert checked > 8


def test_over_several_processes_too_and_between_two_rivals(tmp_path: Path) -> None:
    only = "model=fashion-resnet8,scheme=fp32,int8-static,fp16,scenario=single-stream"
    options = ("--budget", "quick", "--only", only, "--set", "protocol.processes=2", "--out", "two")
    ran = run("sweep", *options, home=tmp_path)
    assert ran.code == 0, ran.err
    opened = material(tmp_path / "two")
    assert set(opened.latencies["process"].to_pylist()) == {0, 1}
    base, *rivals = sorted(opened.records, key=lambda record: not record["is_reference"])
    assert [record["processes"] for record in opened.records] == [2, 2, 2]
    for own in rivals:
        ratio = ratio_between(own, base, opened.latencies, "p50_ratio", 0.95)
        assert ratio is not None
        assert ratio.method == "sittings"
        assert (ratio.value, ratio.low, ratio.high) == pytest.approx(
            (own["p50_ratio"], own["p50_ratio_low"], own["p50_ratio_high"]), rel=1e-9
        )
    between = ratio_between(rivals[0], rivals[1], opened.latencies, "p50_ratio", 0.95)
    assert between is not None
    assert between.method == "sittings"
    # Files of before this was kept: better no ratio than one whose interval is too narrow.
    place = opened.latencies.schema.get_field_index("process")
    unknown = pa.nulls(len(opened.latencies), pa.int32())
    older = opened.latencies.set_column(place, "process", unknown)
    assert ratio_between(rivals[0], rivals[1], older, "p50_ratio", 0.95) is None


def test_a_folder_of_what_was_rescored_is_one_like_any_other(results: Path, tmp_path: Path) -> None:
    file = asked({'name = "fashion-classification"': 'name = "lax"', "value = 0.01": "value = 0.2"}, tmp_path)
    ran = run("rescore", results, "--rubric", file, "--out", tmp_path / "lax", "--json", home=tmp_path)
    assert ran.code == 0, ran.err
    assert len(ran.json()["rows"]) == 8
    assert {row["why"] for row in ran.json()["not_scored"]} == {"other-task"}
    opened = material(tmp_path / "lax")
    assert {r["rubric"] for r in opened.records} == {"lax"}
    assert not {r["cell_id"] for r in opened.records} & {r["cell_id"] for r in material(results).records}
    assert all(one.agrees for one in recomputed(opened.records, opened.answers, opened.rubrics))
    known = set(opened.latencies["cell_id"].to_pylist())
    assert known == {r["cell_id"] for r in opened.records}
    assert "8 sound records" in run("validate", tmp_path / "lax", home=tmp_path).out
    assert run("show", tmp_path / "lax", home=tmp_path).code == 0
    again = run("rescore", results, "--rubric", file, "--out", tmp_path / "lax", home=tmp_path)
    assert (again.code, "exists already" in again.err) == (2, True)


def test_the_command_says_that_the_question_made_the_loss(results: Path, tmp_path: Path) -> None:
    file = asked({"value = 0.01": "value = 0.2"}, tmp_path)
    said = " ".join(run("rescore", results, "--rubric", file, home=tmp_path).out.split())
    assert "No model was run: this loss is a property of the question" in said
    assert "Not scored, 8 rows of retrieve: its answers are to image-retrieval" in said
    markdown = run("rescore", results, "--rubric", file, "--markdown", home=tmp_path).out
    assert markdown.startswith("**fashion-classification 1.0")
    csv = run("rescore", results, "--rubric", file, "--csv", home=tmp_path).out
    assert csv.splitlines()[0].startswith("candidate,workload,model")


REFUSED = {
    "test_set.count": ({"count = 600": "count = 10", "quick_count = 120": "quick_count = 50"}, "other-test-set"),
    "test_set.seed": ({"\nseed = 7": "\nseed = 8"}, "other-test-set"),
    "on = { view": ({'  { name = "blur-2", corruption = "blur", severity = 2 },\n': ""}, "other-test-set"),
    "no field 'season'": ({'strata = ["view", "class"]': 'strata = ["season"]'}, "no-such-stratum"),
    "bf16 on cpu, was not measured": ({'scheme = "fp32"': 'scheme = "bf16"'}, "no-reference"),
    "11": ({'metric = "top-1"\nrole = "primary"': 'metric = "top-k"\nparameters = { k = 11 }\nrole = "primary"'},
           "no-score"),
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_what_the_answers_cannot_say_is_refused_with_a_reason(said: str, results: Path, tmp_path: Path) -> None:
    text, why = REFUSED[said]
    file = asked(text, tmp_path)
    opened = material(results)
    rubric_ = asked_rubric(str(file)).spec
    found = rescored(opened.records, opened.answers, rubric_, measured_by=opened.rubrics, latencies=opened.latencies)
    assert found.changes == ()
    mine = [row for row in found.unanswered if row.record["workload"] == "classify"]
    assert {row.why for row in mine} == {why}
    assert all(said in row.reason for row in mine)
    with pytest.raises(UsageError, match="cannot be asked"):
        lynxbench.rescore(results, file)


def test_rows_without_a_measurement_or_answers_keep_their_reasons() -> None:
    question = rubric(metric("top-1"))
    answers = {scheme: answers_for(question.task, 60, seed) for seed, scheme in enumerate(("fp32", "fp16", "int8"))}
    reference, half, whole_ = scored(question, answers)
    failed = Record({**half.values, "status": "failed", "reason": "it fell"})
    predictions = stored(answers)
    del predictions["answers-int8"]
    found = rescored([reference, failed, whole_], predictions, question, measured_by={question.digest(): question})
    assert [(row.why, row.reason) for row in found.unanswered] == [
        ("not-measured", "failed: it fell"),
        ("no-predictions", "its predictions are not in this folder"),
    ]
    unknown = rescored([reference], predictions, question, measured_by={})
    assert unknown.unanswered[0].why == "other-test-set"


def other(question: Rubric, **changes: Any) -> Rubric:
    return question.model_copy(update=changes)


def test_another_confidence_is_what_scoring_says_at_it() -> None:
    question = rubric(metric("log-loss"), metric("top-1"))
    answers = {scheme: answers_for(question.task, 200, seed) for seed, scheme in enumerate(("fp32", "fp16"))}
    surer = other(question, confidence=0.99)
    found = rescored(scored(question, answers), stored(answers), surer, measured_by={question.digest(): question})
    after, before = found.changes[1].after, found.changes[1].before
    expected = score(surer, answers["fp16"], answers["fp32"]).primary
    assert (after["primary_loss_low"], after["primary_loss_high"]) == (expected.loss_low, expected.loss_high)
    assert after["primary_loss_low"] < before["primary_loss_low"] < before["primary_loss_high"]


def test_without_shared_rounds_another_reference_leaves_no_ratio() -> None:
    question = rubric(metric("top-1"))
    answers = {scheme: answers_for(question.task, 60, seed) for seed, scheme in enumerate(("fp32", "fp16", "int8"))}
    records = scored(question, answers)
    turned = other(question, reference=question.reference.model_copy(update={"scheme": "int8"}))
    empty = pa.table({
        "cell_id": pa.array([], pa.string()), "round": pa.array([], pa.int32()), "process": pa.array([], pa.int32()),
        "excluded": pa.array([], pa.bool_()), "latency_ns": pa.array([], pa.int64()),
    })  # fmt: skip
    found = rescored(records, stored(answers), turned, measured_by={question.digest(): question}, latencies=empty)
    assert [change.after["throughput_ratio"] for change in found.changes] == [None, None, 1.0]
    assert [change.after["verdict"] == "reference" for change in found.changes] == [False, False, True]
    assert np.isfinite([change.after["primary_loss"] for change in found.changes]).all()
