"""A rubric that leaves an item of its minimum disclosure out is refused by name, whichever command reads it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lynxbench.errors import DeclarationError
from lynxbench.specs.base import build
from lynxbench.specs.rubric import Rubric
from tests.running import lynxbench
from tests.specs.declare import RUBRIC, SUITE, folder

# The item, the lines that declare it, and the key that is missed without them.
ITEMS = {
    "version": ('version = "1.0"', "version"),
    "composition": ('composition = ["clean"]', "test_set.composition"),
    "how it was composed": ('composition_note = "some pictures"', "test_set.composition_note"),
    "sample size": ("count = 40", "test_set.count"),
    "metric": ('metric = "top-1"', "metrics[0].metric"),
    "direction": ('direction = "higher-is-better"', "metrics[0].direction"),
    "primary metric": ('role = "primary"\n', ""),
    "reference scheme": ('scheme = "fp32"', "reference.scheme"),
    "reference executor": ('executor = "cpu"', "reference.executor"),
    "strata": ('strata = ["view", "class"]', "strata"),
    "smallest stratum": ("strata_minimum_n = 5", "strata_minimum_n"),
    "calibration count": ("minimum_count = 5", "calibration.minimum_count"),
    "calibration domain": ('domain = "pictures of the same kind"', "calibration.domain"),
    "tolerance kind": ('kind = "absolute"', "tolerance.kind"),
    "tolerance": ("value = 0.01", "tolerance.value"),
    "confidence": ("confidence = 0.95", "confidence"),
}


@pytest.mark.parametrize("item", ITEMS)
def test_each_item_is_missed_by_name(item: str) -> None:
    line, key = ITEMS[item]
    assert line in RUBRIC
    with pytest.raises(DeclarationError) as caught:
        build(Rubric, tomllib.loads(RUBRIC.replace(line, "", 1)), "rubric.toml")
    (problem,) = caught.value.problems
    assert problem.key == key
    assert ("missing" in problem.message) or ("found 0: none" in problem.message)


@pytest.mark.parametrize("arguments", [["sweep", "suite.toml"], ["validate", "rubric.toml"], ["list", "rubrics"]])
def test_every_command_refuses_all_that_is_missing_at_once(tmp_path: Path, arguments: list[str]) -> None:
    bare = RUBRIC
    for line, _ in ITEMS.values():
        bare = bare.replace(line, "", 1) if line != 'role = "primary"\n' else bare
    folder(tmp_path, SUITE, bare)
    if arguments[0] == "list":
        (tmp_path / "rubrics").mkdir()
        (tmp_path / "rubrics" / "small.toml").write_text(bare)
        arguments = [*arguments, "--rubrics", "rubrics"]
    ran = lynxbench(*arguments, home=tmp_path)
    assert ran.code == 2, ran.err
    for _, key in ITEMS.values():
        assert key in ran.err, key
    assert ("rubrics/small.toml" if arguments[0] == "list" else "rubric.toml") in ran.err
    assert not (tmp_path / "results").exists()
