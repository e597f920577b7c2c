"""docs/results.md, command by command, as a reader would type them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

from lynxbench.cli.cells import DEFAULT, NAMED, OTHERS
from lynxbench.conclusions.compare import MAX_SLOWDOWN, Change
from lynxbench.conclusions.matching import By, Reason
from lynxbench.records.query import MEMORY_GB
from tests.running import ROOT, environment, lynxbench

PAGE = (ROOT / "docs" / "results.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_from_top_to_bottom(tmp_path: Path) -> None:
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    verbs = [command[1] for command in commands]
    assert verbs == ["sweep", "sweep", "show", "show", "show", "compare", "query", "query", "query"]
    said = []
    for command in commands:
        ran = lynxbench(*command[1:], home=tmp_path)
        # On a machine that is busy enough a speed may well have changed.
        assert ran.code in ({0, 1} if command[1] == "compare" else {0}), ran.err
        said.append(ran.out)
    shown = [block.splitlines()[0].split() for block in blocks("text") if block.startswith(("candidate", "folder"))]
    for heading in shown:
        assert any(line.split() == heading for out in said for line in out.splitlines()), heading
    (python,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", python],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_the_page_lists_is_what_there_is() -> None:
    listed = re.search(r"asks for others: `([^`]*)`", " ".join(PAGE.split()))
    assert listed is not None
    assert set(listed.group(1).split()) == {*NAMED, OTHERS}
    assert len(DEFAULT) == 6
    for name in (*get_args(Reason), *get_args(By), *get_args(Change)):
        assert f"`{name}`" in PAGE or f"--by {name}`" in PAGE, name
    assert f"default {MAX_SLOWDOWN:g}" in PAGE
    assert f"`--memory-gb` ({MEMORY_GB:g})" in PAGE
