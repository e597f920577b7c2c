"""docs/diagnose.md, and the command as a reader would type it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lynxbench.diagnosis.causes import Cause
from tests.running import ROOT, lynxbench

PAGE = (ROOT / "docs" / "diagnose.md").read_text()


def test_the_page_lists_every_cause_and_each_has_advice() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [cause.value for cause in Cause]
    assert all(cause.advice.endswith(".") for cause in Cause)


def test_the_first_command_of_the_page_and_its_json(tmp_path: Path) -> None:
    (first, *_) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    ran = lynxbench(*shlex.split(first)[1:], "--samples", "16", home=tmp_path)
    assert ran.code == 0, ran.err
    for heading in ("tensors, those furthest from fp32 first", "weights, those", "time of a run", "kernels add up to"):
        assert heading in ran.out
    document = lynxbench(*shlex.split(first)[1:], "--samples", "16", "--json", home=tmp_path).json()
    assert {finding["cause"] for finding in document["causes"]} <= {cause.value for cause in Cause}
    assert all(finding["advice"] for finding in document["causes"])
    shown = [finding["cause"] for finding in document["causes"] if finding["cause"] == Cause.PRODUCTS_SATURATE]
    assert all(f"{cause} (accuracy)" in ran.out for cause in shown)
    assert document["samples"] == 16
    assert {one["name"] for one in document["tensors"]} >= {"image", "embedding"}
    time = document["time"]
    assert sum(op["ns"] for op in time["ops"]) == time["kernels_ns"] <= time["profiled_ns"]
