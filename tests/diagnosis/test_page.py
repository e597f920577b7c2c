"""docs/diagnose.md, and the command as a reader would type it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lynxbench.diagnosis.causes import Cause
from lynxbench.leaderboard.diagnoses import read_diagnosis
from tests.running import ROOT, lynxbench

PAGE = (ROOT / "docs" / "diagnose.md").read_text()


def test_the_page_lists_every_cause_and_each_has_advice() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [cause.value for cause in Cause]
    assert all(cause.advice.endswith(".") for cause in Cause)


def test_the_first_command_of_the_page_and_its_json(tmp_path: Path) -> None:
    (first, *_) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    ran = lynxbench(*shlex.split(first)[1:], "--samples", "16", "--time-limit", "4", home=tmp_path)
    assert ran.code == 0, ran.err
    for heading in (
        "where the loss comes from, what costs most first",
        "wins back when left in float",
        "each scored on the same 16 samples",
        "tensors, those furthest from fp32 first",
        "weights, those",
        "time of a run",
        "kernels add up to",
    ):
        assert heading in ran.out
    whole = lynxbench(*shlex.split(first)[1:], "--samples", "16", "--time-limit", "4", "--json", home=tmp_path)
    document = whole.json()
    assert {finding["cause"] for finding in document["causes"]} <= {cause.value for cause in Cause}
    assert all(finding["advice"] for finding in document["causes"])
    shown = [finding["cause"] for finding in document["causes"] if finding["cause"] == Cause.PRODUCTS_SATURATE]
    assert all(f"{cause} (accuracy)" in ran.out for cause in shown)
    assert document["samples"] == 16
    parts = document["sensitivity"]
    assert parts["time_limit_s"] == 4
    assert {one["part"]["kind"] for one in parts["trials"]} <= {"node", "op-type"}
    assert parts["trials"]
    # A site reads what a program reads.
    (tmp_path / "diagnosis.json").write_text(whole.out)
    read = read_diagnosis(tmp_path / "diagnosis.json")
    assert [one.cause for one in read.causes] == [one["cause"] for one in document["causes"]]
    assert len(read.tensors) == len(document["tensors"])
    # Without time for it nothing is tried.
    none = lynxbench(*shlex.split(first)[1:], "--samples", "16", "--time-limit", "0", "--json", home=tmp_path).json()
    assert none["sensitivity"] is None
    assert {one["name"] for one in document["tensors"]} >= {"image", "embedding"}
    time = document["time"]
    assert sum(op["ns"] for op in time["ops"]) == time["kernels_ns"] <= time["profiled_ns"]
