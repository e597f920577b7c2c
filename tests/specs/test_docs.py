"""What the documentation declares is what LynxBench takes."""

from __future__ import annotations

import re
import tomllib

from lynxbench.specs.suite import Scenario
from tests.running import ROOT


def test_every_scenario_of_the_page_is_sound_and_every_kind_is_there() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    scenarios = [Scenario.model_validate(one) for one in tomllib.loads(block)["scenarios"]]
    assert {one.kind for one in scenarios} == {"single-stream", "multi-stream", "offline", "server", "server-search"}
    assert [one.name for one in scenarios if one.is_searched] == ["best-bulk"]
