"""A claim holds everything that belongs to it, or is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lynxbench
from lynxbench.cli.claim import _print
from lynxbench.conclusions.claiming import claim_of, facts
from lynxbench.conclusions.material import material
from lynxbench.conclusions.naming import chosen
from lynxbench.conclusions.words import busy_host
from lynxbench.errors import UsageError
from lynxbench.records.record import Record
from lynxbench.specs.rubric import Rubric
from tests.conclusions.build import scored
from tests.running import lynxbench as run
from tests.scoring.build import classified, metric, rubric

QUESTION = rubric(metric("top-1"), tolerance={"kind": "absolute", "value": 0.05})
KNOWN = {QUESTION.digest(): QUESTION}


def candidate(n: int = 400, lost: int = 100, question: Rubric = QUESTION, **changes: Any) -> Record:
    """A candidate that answers `lost` of n samples wrongly which the reference answers right."""
    views = {"view": np.where(np.arange(n) % 2, "clean", "blur")}
    answers = {
        "fp32": classified(np.arange(n) % 10 > 0, strata=views),
        "int8-dynamic": classified((np.arange(n) % 10 > 0) & (np.arange(n) >= lost), strata=views),
    }
    record = scored(question, answers)[1]
    return Record({**record.values, "scheme_kind": "int8-dynamic", **changes})


def test_the_sentence_holds_all_that_belongs_to_it() -> None:
    record = candidate()
    found = claim_of(record, KNOWN)
    assert found.sentence is not None
    for part in (
        "image-classification by test 1", "set: clean", "n = 400", "int8-dynamic moves top-1 of net text",
        "95 % paired interval", "fp32 on cpu", "from 90.0 %", "beyond the tolerance of 5 points",
        "not calibrated on any samples", "worst stratum, view=", "picked among 2", "n = 200",
        "0.50 times [0.25, 0.50]", "single-stream at batch 1", "3 threads", "text",
    ):  # fmt: skip
        assert part in found.sentence, part
    assert found.speed
    assert [item.item for item in found.checklist] == [
        "task", "model", "metric", "reference", "calibration", "strata",
    ]  # fmt: skip
    assert found.wanting == ()


def test_too_few_samples_make_no_claim_and_say_how_many_would() -> None:
    record = candidate(n=60, lost=2)
    found = claim_of(record, KNOWN)
    assert found.sentence is None
    assert "no narrower" in found.why
    (wanted,) = found.wanting
    assert "answers instead of 60" in wanted
    width = record["primary_loss_high"] - record["primary_loss_low"]
    needed = int(wanted.split()[1].replace(",", ""))
    assert needed == pytest.approx(60 * (width / 0.05) ** 2, abs=2)
    # As many samples of the same kind do make a claim.
    assert claim_of(candidate(n=needed + 60, lost=round((needed + 60) / 30)), KNOWN).sentence is not None


def test_a_simulator_and_a_partial_run_never_claim_a_speed() -> None:
    for changes in (
        {"simulated": True}, {"status": "partial", "reason": "3 of 10 nodes ran on the CPU"},
        {"throughput_ratio_low": None, "throughput_ratio_high": None}, {"scenario_kind": "server-search"},
    ):  # fmt: skip
        found = claim_of(candidate(**changes), KNOWN)
        assert found.sentence is not None
        assert not found.speed
        assert found.no_speed
        assert "times" not in found.sentence
        assert "throughput" not in found.sentence


def test_a_speed_that_was_measured_beside_other_work_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    busy = {"warnings": [{"code": code, "advice": "…"} for code in ("loaded_host", "few_samples", "starved_blocks")]}
    found = claim_of(candidate(**busy), KNOWN)
    assert found.busy_host is not None
    assert found.busy_host.startswith("measured while the machine was busy (loaded_host, starved_blocks): repeat on a")
    _print(found)
    assert "machine was busy" in capsys.readouterr().out
    assert claim_of(candidate(), KNOWN).busy_host is None
    assert claim_of(candidate(**busy, simulated=True), KNOWN).busy_host is None
    assert busy_host([candidate(), candidate(**busy)]).startswith("1 of 2 rows measured while")  # type: ignore[union-attr]


def test_what_is_no_candidate_makes_no_claim() -> None:
    record = candidate()
    cases = (
        ({"is_reference": True}, "the reference"),
        ({"status": "failed", "reason": "it fell"}, "failed: it fell"),
        ({"model_version": ""}, "model: not said"),
        ({"scheme_kind": "int8-static"}, "calibration: not said"),
    )
    for changes, why in cases:
        found = claim_of(Record({**record.values, **changes}), KNOWN)
        assert found.sentence is None
        assert why in found.why
        assert found.wanting
    assert "is not kept" in claim_of(record, {}).why


CALIBRATED = {
    "scheme_kind": "int8-static", "scheme_options": '{"method": "entropy"}', "calibration": "train",
    "calibration_split": "train", "calibration_selection": "random", "calibration_seed": 4, "calibration_n": 300,
    "calibration_batch_size": 8, "calibration_digest": "0" * 64, "calibration_minimum_n": 100,
    "calibration_overlap_n": 0,
}  # fmt: skip


def test_calibration_is_said_in_full_and_counts() -> None:
    found = claim_of(candidate(**CALIBRATED), KNOWN)
    assert found.sentence is not None
    said = "calibrated by entropy on 300 samples of train (split train, random, seed 4), none of them in the test set"
    assert said in found.sentence
    few = claim_of(candidate(**{**CALIBRATED, "calibration_n": 20}), KNOWN)
    assert (few.sentence, "at least 100 samples" in few.wanting[0]) == (None, True)
    seen = claim_of(candidate(**{**CALIBRATED, "calibration_overlap_n": 3}), KNOWN)
    assert (seen.sentence, "not scored" in seen.wanting[0]) == (None, True)


def test_a_stored_grade_is_not_taken_at_its_word() -> None:
    record = candidate(n=60, lost=2)
    assert claim_of(Record({**record.values, "decision_grade": True}), KNOWN).sentence is None


def test_candidates_by_name_and_by_id(results: Path) -> None:
    records = material(results).records
    meant = chosen(records, "int8-static on fashion-resnet8 by cpu", {})
    assert (meant["scheme"], meant["model"], meant["scenario"]) == ("int8-static", "fashion-resnet8", "single-stream")
    assert chosen(records, "int8-static (fashion-train)", {"model": "fashion-resnet8"}) == meant
    assert chosen(records, meant["cell_id"], {}) == meant
    assert chosen(records, meant["candidate_id"][:8], {}) == meant
    offline = chosen(records, "int8-static", {"model": "fashion-resnet8", "scenario": "offline"})
    assert offline["scenario"] == "offline"
    assert chosen(records, offline["cell_id"], {}) == offline
    with pytest.raises(UsageError, match=r"2 rows.*\n.*fashion-resnet8.*\n.*fashion-embedder"):
        chosen(records, "int8-static", {})
    with pytest.raises(UsageError, match="did you mean 'int8-static on fashion-resnet8'"):
        chosen(records, "int8-statik on fashion-resnet8", {})
    with pytest.raises(UsageError, match="did you mean 'fashion-resnet8'"):
        chosen(records, "int8-static", {"model": "fashion-resnet9"})


def test_the_command_exits_by_what_can_be_claimed(results: Path, tmp_path: Path) -> None:
    opened = material(results)
    grades = set()
    for record in opened.records:
        expected = claim_of(record, opened.rubrics)
        ran = run("claim", results, "--candidate", record["cell_id"], "--json", home=tmp_path)
        document = ran.json()
        assert (ran.code == 0) == (document["sentence"] is not None) == (record["decision_grade"] is True)
        assert document["sentence"] == expected.sentence
        assert document["model_sha256"] == facts(record)["model_sha256"]
        grades.add(ran.code)
        if len(grades) == 2:
            break
    assert 1 in grades


def test_the_forms_of_a_claim(results: Path, tmp_path: Path) -> None:
    name = "fp16 on fashion-resnet8"
    found = lynxbench.claim(results, name)
    text = run("claim", results, "--candidate", name, home=tmp_path)
    card = run("claim", results, "--candidate", name, "--markdown", home=tmp_path)
    assert text.code == card.code == (0 if found.sentence else 1)
    assert str(found.record["artifact_sha256"]) in card.out
    if found.sentence is None:
        said = " ".join(text.out.split())
        assert said.startswith(f"No claim can be made of {name}: not decision-grade.")
        assert "it takes" in said
        assert " moves " not in said
    everything = run("claim", results, "--csv", home=tmp_path).out.splitlines()
    assert len(everything) == 1 + 12
    assert run("claim", results, "--candidate", "fp32 on fashion-resnet8", home=tmp_path).code == 1
