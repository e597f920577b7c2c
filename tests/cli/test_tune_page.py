"""docs/tune.md, command by command, and what is refused before any work."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lynxbench.diagnosis.facts import TensorFacts
from lynxbench.records.store import read_records
from lynxbench.study.correlates import CORRELATES
from tests.cli.conftest import Starter
from tests.running import ROOT, lynxbench

PAGE = (ROOT / "docs" / "tune.md").read_text()
TUNE, STUDY = (block.splitlines() for block in re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL))


def test_the_plan_on_the_page_is_what_is_printed(tmp_path: Path) -> None:
    ran = lynxbench(*shlex.split(TUNE[0])[1:], home=tmp_path)
    assert ran.code == 0, ran.err
    (shown,) = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert ran.out.strip() == shown
    assert not (tmp_path / "results").exists()
    (plan,) = lynxbench(*shlex.split(TUNE[0])[1:], "--json", home=tmp_path).json()
    assert (plan["tuning_n"], plan["untouched_n"], plan["max_loss"]) == (79, 161, 0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--split", "1.5"), "a share between 0 and 1"),
        (("--max-loss", "-1"), "not negative"),
        (("--max-loss", "1"), "0.01 means one point"),
        (("--budget", "quik"), "did you mean 'quick'"),
        (("--model", "fashion-resnet"), "did you mean 'fashion-resnet8'"),
        (("--scheme", "int8-statik"), "did you mean 'int8-static'"),
        (("--scheme", "fp16"), "nothing to choose but its kind"),
        (("--scenario", "ofline"), "did you mean 'offline'"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options: tuple[str, str], words: str, tmp_path: Path) -> None:
    ran = lynxbench("tune", "starter", *options, home=tmp_path)
    assert ran.code == 2, ran.out
    assert words in " ".join(ran.err.split())


def test_the_study_of_the_page_over_the_starter_suite(starter: Starter) -> None:
    command = shlex.split(STUDY[1])[1:]
    assert Path(command[1]) == starter.folder.relative_to(starter.home)
    ran = lynxbench(*command, home=starter.home)
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    for question in ("image-classification, top-1: ", "all tasks, loss ∕ tolerance: "):
        assert re.search(re.escape(question) + r"(a tendency, no law\.|nothing\.)", said)
    # Of so few candidates no correlation is printed.
    assert re.search(r"image-retrieval, recall-at-1: nothing to say\. [4-7] candidates", said)
    assert re.search(r"generation, exact-match: nothing to say\. [4-7] candidates", said)
    drawn = ElementTree.parse(starter.home / "study.svg").getroot()
    assert len(drawn.findall(".//{*}circle")) == ran.out.count("●")


def test_its_points_are_the_records_and_diagnoses_come_along(starter: Starter, tmp_path: Path) -> None:
    tensor = TensorFacts(
        "t", "Conv", 12.5, 0.9, -1.0, 1.0, 3.5, 0.5, represented_low=-1.0, represented_high=2.0, outside_share=0.25,
        distance=0.1,
    )  # fmt: skip
    for scheme in ("int8-static", "int8-static-pct"):
        named = {
            "candidate": f"{scheme}@fashion-train on fashion-resnet8",
            "workload": "classify",
            "executor": "cpu",
            "candidate_id": scheme,
        }
        (tmp_path / f"{scheme}.json").write_text(json.dumps({**named, "tensors": [asdict(tensor)]}))
    ran = lynxbench("study", starter.folder, "--diagnoses", tmp_path, "--json", home=starter.home)
    assert ran.code == 0, ran.err
    questions = {(one["task"], one["metric"]): one for one in ran.json()["questions"]}
    points = questions["image-classification", "top-1"]["points"]
    assert points["range stretch"] == [
        {"value": 4.0, "loss": point["loss"], "model": "fashion-resnet8"} for point in points["range stretch"]
    ]
    assert len(points["range stretch"]) == 2
    assert {point["value"] for point in points["tensor SQNR"]} == {12.5}
    rows = [
        row
        for row in read_records(starter.folder)
        if row["task"] == "image-classification" and not row["is_reference"] and row["scheme"] != "fp32"
    ]
    losses = {(row["model"], row["primary_loss"]) for row in rows}
    assert {(point["model"], point["loss"]) for point in points["weight bits"]} == losses
    sizes = {row["artifact_bytes"] for row in rows}
    assert len({point["value"] for point in points["size"]}) <= len(sizes)
    assert ran.json()["without_file"] == 0
    assert 0 < max(point["value"] for point in points["effective rank"]) <= 1
    every = lynxbench("study", starter.folder, "--all-metrics", "--csv", home=starter.home)
    assert "log-loss" in every.out


def test_what_is_no_diagnosis_is_refused(starter: Starter, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    ran = lynxbench("study", starter.folder, "--diagnoses", tmp_path / "other.json", home=starter.home)
    assert ran.code == 2
    assert "is nothing that lynxbench diagnose --json printed" in " ".join(ran.err.split())


def test_every_correlate_says_what_it_is_and_what_is_expected() -> None:
    assert len({one.name for one in CORRELATES}) == len(CORRELATES)
    assert all(one.meaning and abs(one.expected) == 1 for one in CORRELATES)
