"""docs/fleet.md: what it tells one to type, and what it says of a suite."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

from lynxbench.records.store import read_records
from lynxbench.specs.suite import Fleet
from tests.running import ROOT, lynxbench

PAGE = (ROOT / "docs" / "fleet.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("lynxbench ")
]


def test_a_fleet_of_this_machine(tmp_path: Path) -> None:
    (typed,) = [command for command in COMMANDS if "local-cluster" in command]
    ran = lynxbench(*typed[1:], home=tmp_path)
    assert ran.code == 0, ran.err
    assert "robust" in ran.out or "inconclusive" in ran.out
    records = read_records(tmp_path / "results" / "starter-quick")
    assert {record["status"] for record in records} == {"ok"}
    assert len({record["node"] for record in records} - {None}) == 1
    # The folder is that of a local sweep, which finds nothing left to do.
    again = lynxbench(*typed[1:-2], home=tmp_path)
    assert "4 of 4 cells were finished before and kept" in again.err


def test_every_option_on_the_page_is_one() -> None:
    said = {verb: lynxbench(*verb.split(), "--help", home=ROOT).out for verb in ("sweep", "node start")}
    for command in COMMANDS:
        verb = "node start" if command[1] == "node" else "sweep"
        for option in command:
            assert not option.startswith("--") or option in said[verb]
    assert all(option in said["node start"] for option in re.findall(r"`(--executor|--name)", PAGE))


def test_the_table_in_a_suite_is_the_default() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert Fleet.model_validate(tomllib.loads(block)["fleet"]) == Fleet()
