"""`lynxbench compare` as a step of continuous integration: its tables, its forms and its exit codes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.conclusions.folders import answers, folder
from tests.conclusions.test_compare import speeds
from tests.running import Ran, lynxbench


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("compare")
    same = answers(range(100))
    others = [({**speeds(1.5), "scheme": "fp16"}, same), ({**speeds(1.5), "scheme": "gone"}, same)]
    folder(home / "old", [(speeds(1.5), same), *others])
    folder(home / "slow", [(speeds(1.2), same), *others[:1]], host_id="elsewhere")
    folder(home / "wrong", [(speeds(1.9), answers(range(60, 260))), *others])
    return home


def compare(home: Path, *arguments: str) -> Ran:
    return lynxbench("compare", *arguments, home=home)


def test_the_same_again_fails_no_gate(home: Path) -> None:
    ran = compare(home, "old", "old")
    assert ran.code == 0, ran.err
    assert "4 unchanged of 4: no gate failed" in ran.out


def test_a_slower_candidate_fails_the_gate(home: Path) -> None:
    ran = compare(home, "old", "slow")
    assert ran.code == 1
    assert ran.err == ""
    line = next(line for line in ran.out.splitlines() if line.startswith("int8-static"))
    assert "0.80× ±0.01" in line
    assert "regressed" in line
    assert "speed beyond the gate" in line
    assert "not compared: missing, only before: text gone single-stream" in ran.out
    assert "1 regressed, 2 unchanged of 3: a gate failed" in ran.out
    assert "of two hosts, on which no verdict rests" in " ".join(ran.out.split())
    assert all(len(line) <= 160 for line in ran.out.splitlines())


def test_a_regression_in_accuracy_outweighs_an_improved_speed(home: Path) -> None:
    ran = compare(home, "old", "wrong", "--only", "regressed")
    assert ran.code == 1
    line = next(line for line in ran.out.splitlines() if line.startswith("int8-static"))
    assert "−8.3 [−" in line
    assert "accuracy beyond the gate" in line
    assert not any(line.startswith("fp16") for line in ran.out.splitlines())
    assert compare(home, "old", "wrong", "--max-loss", "0.2").code == 0


def test_a_busy_machine_is_named(home: Path) -> None:
    busy = [{"code": "loaded_host", "advice": "…"}]
    folder(home / "busy", [({"scheme": "int8-static", "warnings": busy}, answers(range(100)))])
    folder(home / "quiet", [({"scheme": "int8-static", "warnings": []}, answers(range(100)))], warnings=[])
    assert "1 of 2 rows measured while the machine was busy (loaded_host)" in " ".join(
        compare(home, "quiet", "busy").out.split()
    )
    assert compare(home, "quiet", "busy", "--json").json()["busy_host"]
    assert compare(home, "quiet", "quiet", "--json").json()["busy_host"] is None


def test_what_is_printed_alone_changes_no_exit_code(home: Path) -> None:
    ran = compare(home, "old", "slow", "--only", "improved")
    assert ran.code == 1
    assert "nothing improved" in ran.out
    assert compare(home, "slow", "old", "--only", "improved").code == 0


def test_the_other_forms(home: Path) -> None:
    ran = compare(home, "old", "slow", "--json")
    document = ran.json()
    assert (ran.code, document["failed"], document["counts"]) == (1, True, {"unchanged": 2, "regressed": 1})
    rows = {row["scheme"]: row for row in document["rows"]}
    row = rows["int8-static"]
    assert row["relative_speed"] == pytest.approx(0.8)
    assert row["relative_speed_low"] < 0.8 < row["relative_speed_high"]
    assert row["slowdown_log_p_worse_holm"] < 0.001
    assert (row["loss"], row["loss_paired"], row["p50_ratio_between"]) == (0, True, "hosts")
    assert [one["reason"] for one in document["unmatched"]] == ["missing"]
    table = list(csv.DictReader(io.StringIO(compare(home, "old", "slow", "--csv").out)))
    assert {line["scheme"]: line["change"] for line in table} == {
        "fp32": "unchanged",
        "int8-static": "regressed",
        "fp16": "unchanged",
    }
    shown = compare(home, "old", "slow", "--markdown").out
    assert "| candidate | scenario | Δ accuracy |" in shown
    assert "| regressed |" in shown


def test_within_one_set(home: Path) -> None:
    hosts = ("--between", "text", "--between", "elsewhere")
    ran = lynxbench("compare", ".", "--by", "host", *hosts, "--where", "scheme=int8-static,fp32", home=home)
    assert ran.code == 1, ran.err
    assert "1 regressed, 1 unchanged of 2" in ran.out
    assert "older rows of the same cells were left out" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["old"], "two are compared, or one with --by host|"),
        (["old", "gone"], "gone: no such results folder"),
        (["old", "slow", "--only", "regresed"], "did you mean 'regressed'"),
        (["old", "slow", "--where", "schema=fp32"], "did you mean 'scheme'"),
        (["old", "slow", "--where", "scheme=int8"], "these results have no such scheme"),
        (["old", "slow", "--max-slowdown", "5"], "expected a share from 0 to below 1"),
        (["old", "--by", "executor"], "these results have 1 (cpu)"),
    ],
)
def test_mistakes_are_usage(home: Path, arguments: list[str], said: str) -> None:
    ran = compare(home, *arguments)
    assert (ran.code, said in ran.err) == (2, True), ran.err
