"""docs/your-model.md, command by command, as a reader would type them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

from lynxbench.datasets.sources import FORMATS
from lynxbench.specs.data import AudioFiles, ImageFiles
from lynxbench.specs.rubric import TaskName
from tests.running import ROOT, environment, lynxbench

PAGE = (ROOT / "docs" / "your-model.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_from_top_to_bottom(tmp_path: Path) -> None:
    for block in blocks("python"):
        (tmp_path / block.split()[1].rstrip(":")).write_text(block)
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert [shlex.split(line)[1] for line in commands] == ["my_data.py", "export", "init", "sweep", "sweep"]
    subprocess.run([sys.executable, "my_data.py"], cwd=tmp_path, env=environment(tmp_path), check=True)
    said = []
    for line in commands[1:]:
        ran = lynxbench(*shlex.split(line)[1:], home=tmp_path)
        assert ran.code == 0, ran.err
        said.append(ran.out)
    assert "the same answer for 100%" in said[0]
    assert "int8-static" in said[1]
    assert all(scheme in said[3] for scheme in ("fp32", "int8-dynamic", "int8-static", "fp16"))
    assert "not measured" not in said[3]


def test_what_the_page_lists_is_what_there_is() -> None:
    assert all(f"`{suffix}`" in PAGE for suffix in FORMATS)
    assert all(f"`{task}`" in PAGE.split("## Tasks")[1] for task in get_args(TaskName))
    (declared,) = blocks("toml")
    data = tomllib.loads(declared)
    given = {key: {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()} for key, table in data.items()}
    ImageFiles.model_validate(given["image"])
    AudioFiles.model_validate(given["audio"])


def test_the_page_names_files_that_there_are() -> None:
    for name in re.findall(r"`(lynxbench/[\w/]+\.py)`", PAGE):
        assert len((ROOT / name).read_text().splitlines()) < 100
