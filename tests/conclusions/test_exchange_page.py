"""docs/exchange.md, command by command, as a reader would type them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from lynxbench.conclusions.exchange.every_eval_ever import SCHEMA_VERSION
from lynxbench.conclusions.exchange.exporting import FORMATS
from tests.running import ROOT, environment, lynxbench

PAGE = (ROOT / "docs" / "exchange.md").read_text()


def test_the_page_from_top_to_bottom(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "results" / "starter")
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines():
        ran = lynxbench(*shlex.split(line)[1:], home=tmp_path)
        assert ran.code == 0, ran.err
        assert "rows in" in ran.out
    assert {path.name for path in tmp_path.iterdir()} >= {"logs", "scores", "dataset"}
    assert len(list((tmp_path / "scores").rglob("*.yaml"))) == 4
    ran = lynxbench("export-results", "results/starter", "--format", "croissant", "--json", home=tmp_path)
    assert ran.json()["folder"] == "starter-croissant"
    assert ran.json()["files"][0] == "croissant.json"
    (call,) = re.findall(r"`(lynxbench\.export_results\(.*?\))`", PAGE)
    done = subprocess.run(
        [sys.executable, "-c", "import lynxbench\n" + call.replace('"dataset"', '"python"')],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "python" / "croissant.json").is_file()


def test_every_format_is_on_the_page() -> None:
    assert all(f"`{name}`" in PAGE for name in FORMATS)
    assert f"schema {SCHEMA_VERSION}" in PAGE
