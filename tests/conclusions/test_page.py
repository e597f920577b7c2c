"""docs/conclusions.md, command by command, as a reader would type them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

from lynxbench.conclusions.limits import Limits
from lynxbench.conclusions.rescoring import Why
from tests.running import ROOT, environment, lynxbench

PAGE = (ROOT / "docs" / "conclusions.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_from_top_to_bottom(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "results" / "starter")
    (declared,) = blocks("toml")
    (tmp_path / declared.split()[1]).write_text(declared)
    # The sweep that tests share holds two models: what the page shows on a third is asked of one of them.
    here = ("fashion-mobilenetv3", "fashion-embedder")
    said = []
    for line in "".join(blocks("sh")).replace(*here).splitlines():
        ran = lynxbench(*shlex.split(line)[1:], home=tmp_path)
        assert ran.code in {0, 1}, ran.err
        said.append(" ".join(ran.out.split()))
    claims, chosen, rescored, again = said[:2], said[2], said[3], said[4]
    for text in claims:
        assert (" moves " in text) != ("No claim can be made of" in text)
        assert "item disclosed what" in text
    for text in (chosen, again):
        assert ("Deploy " in text) != ("Nothing holds every limit" in text)
        assert "classify, fashion-resnet8: best in latency, single-stream" in text
    assert "fashion-sure 1.0: log-loss" in rescored
    assert "The same answers, another question" in rescored
    (script,) = blocks("python")
    script = script.replace(*here)
    ran_script = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran_script.returncode == 0, ran_script.stderr
    assert "verdicts change" in ran_script.stdout


def test_every_limit_and_every_reason_is_on_the_page() -> None:
    for name in vars(Limits()):
        assert f"`--{name.replace('_', '-')}`" in PAGE
    for reason in get_args(Why):
        assert f"`{reason}`" in PAGE
