"""Records say what their predictions give, whatever the metric, and a tampered one is caught field by field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lynxbench.conclusions.material import material
from lynxbench.conclusions.recomputing import recomputed, recomputed_agrees
from lynxbench.records.record import Record
from lynxbench.scoring.metrics import METRICS
from tests.conclusions.build import answers_for, scored, stored, task_of
from tests.scoring.build import metric, rubric

PARAMETERS: dict[str, dict[str, Any]] = {name: {"k": 2} for name in ("top-k", "recall", "ndcg")}


def asked(name: str, **changes: Any) -> Any:
    declared = metric(name, parameters=PARAMETERS.get(name, {}))
    return rubric(declared, task=task_of(name), reference={"scheme": "fp32", "executor": "cpu"}, **changes)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_recomputed_from_what_is_stored(name: str) -> None:
    question = asked(name)
    answers = {scheme: answers_for(question.task, 60, seed) for seed, scheme in enumerate(("fp32", "fp16"))}
    found = recomputed(scored(question, answers), stored(answers), {question.digest(): question})
    assert [(one.cell_id, one.differences, one.reason) for one in found] == [
        ("cell-fp32", (), None),
        ("cell-fp16", (), None),
    ]


def test_a_real_sweep_agrees_with_its_predictions(results: Path) -> None:
    opened = material(results)
    found = recomputed(opened.records, opened.answers, opened.rubrics)
    assert len(found) == len(opened.records) == 16
    assert [one for one in found if not one.agrees] == []


TAMPERED: tuple[tuple[str, Any], ...] = (
    ("primary_value", 0.9999), ("primary_value_low", 0.001), ("primary_loss", -0.2), ("primary_loss_high", 0.4),
    ("primary_n", 61), ("primary_failed_n", 1), ("verdict", "fragile"), ("required_n", 7), ("tolerance_loss", 0.5),
    ("tolerance", 0.5), ("tolerance_kind", "relative"), ("flip_rate", 0.01), ("kl_divergence", 0.01), ("sqnr_db", 99.0),
    ("worst_stratum", "view=other"), ("worst_stratum_loss", 0.0), ("decision_grade", True), ("is_reference", True),
    ("strata", ["view", "class"]), ("primary_metric", "other"), ("rubric_version", "9"), ("resolvable_loss", 0.0001),
    ("decision_grade_why", "because"), ("reference_scheme", "int8"), ("primary_p_value", 0.9), ("test_set", "other"),
)  # fmt: skip


def fragile() -> Any:
    question = asked("log-loss", tolerance={"kind": "absolute", "value": 0.05})
    answers = {scheme: answers_for(question.task, 60, seed) for seed, scheme in enumerate(("fp32", "fp16"))}
    return question, scored(question, answers), stored(answers)


@pytest.mark.parametrize(("field", "claimed"), TAMPERED)
def test_a_tampered_field_is_named(field: str, claimed: Any) -> None:
    question, (reference, record), predictions = fragile()
    assert record[field] != claimed
    bent = Record({**record.values, field: claimed})
    (difference,) = recomputed_agrees(bent, reference, predictions, question).differences
    assert (difference.field, difference.recorded, difference.recomputed) == (field, claimed, record[field])


def test_a_tampered_stratum_is_named_by_its_place() -> None:
    question, (reference, record), predictions = fragile()
    strata = [dict(item) for item in record["strata_scores"]]
    strata[1]["loss_low"] = -5.0
    bent = Record({**record.values, "strata_scores": strata})
    (difference,) = recomputed_agrees(bent, reference, predictions, question).differences
    assert difference.field == "strata_scores[1].loss_low"


def test_tampered_predictions_show_in_the_scores() -> None:
    question, (reference, record), predictions = fragile()
    answers = predictions["answers-fp16"]
    assert answers.logits is not None
    logits = answers.logits.copy()
    logits[3, 0] += 1e-3
    predictions["answers-fp16"] = replace(answers, logits=logits)
    found = recomputed_agrees(record, reference, predictions, question)
    assert {"primary_value", "primary_loss"} <= {item.field for item in found.differences}


def test_what_cannot_be_recomputed_says_why() -> None:
    question, records, predictions = fragile()
    known = {question.digest(): question}
    assert recomputed(records, predictions, {})[1].reason == "its rubric is not here"
    assert "reference's record" in str(recomputed(records[1:], predictions, known)[0].reason)
    assert "predictions" in str(recomputed(records, {"answers-fp32": predictions["answers-fp32"]}, known)[1].reason)
    unmeasured = Record({**records[1].values, "status": "failed", "reason": "it fell"})
    assert [one.cell_id for one in recomputed([records[0], unmeasured], predictions, known)] == ["cell-fp32"]


def test_code_that_a_stranger_names_is_not_run() -> None:
    question = rubric(
        {"name": "own", "metric": "tests.scoring.custom:right", "direction": "higher-is-better"},
        reference={"scheme": "fp32", "executor": "cpu"},
    )
    answers = {scheme: answers_for(question.task, 60, seed) for seed, scheme in enumerate(("fp32", "fp16"))}
    records, predictions, known = scored(question, answers), stored(answers), {question.digest(): question}
    assert all("code" in str(one.reason) for one in recomputed(records, predictions, known))
    assert all(one.agrees for one in recomputed(records, predictions, known, run_custom_metrics=True))
