"""What rubrics/README.md teaches is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

from lynxbench.datasets.corruptions import CORRUPTIONS_OF
from lynxbench.scoring import METRICS, check_rubric, planned_answers
from lynxbench.specs.base import build
from lynxbench.specs.rubric import CorruptionName, Rubric, TaskName

PAGE = (Path(__file__).parents[2] / "rubrics" / "README.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """The rows of the table below a heading: first cell → second."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return dict(cells[2:])


def quoted(text: str) -> set[str]:
    return set(re.findall("`([^`]+)`", text))


def test_the_example_is_a_sound_rubric() -> None:
    (example,) = re.findall("```toml\n(.*?)```", PAGE, re.DOTALL)
    rubric = build(Rubric, tomllib.loads(example), "README.md")
    assert check_rubric(rubric) == []
    assert planned_answers(rubric) == (2000, None)


def test_every_metric_stands_beside_its_task_with_its_parameters() -> None:
    table = rows("Metrics")
    for task in get_args(TaskName):
        fitting = {metric.name: metric for metric in METRICS.values() if task in metric.tasks}
        told = {parameter for metric in fitting.values() for parameter in metric.parameters if parameter != "clip"}
        extras = {metric.library[1] for metric in fitting.values() if metric.library}
        (row,) = (second for first, second in table.items() if task in quoted(first))
        assert quoted(row) == {*fitting, *told, *extras}
    assert all(metric.tasks & set(get_args(TaskName)) for metric in METRICS.values())


def test_every_corruption_stands_beside_its_kind() -> None:
    table = rows("Corruptions")
    assert {kind: quoted(names) - {"images", *get_args(TaskName)} for kind, names in table.items()} == {
        kind: set(names) for kind, names in CORRUPTIONS_OF.items() if names
    }
    assert {name for names in CORRUPTIONS_OF.values() for name in names} == set(get_args(CorruptionName)) - {"none"}
