"""The suites and rubrics that a search runs by, written as files: whoever doubts a figure can sweep them again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lynxbench.specs.hub import HUB
from lynxbench.specs.load import BUILTIN, FETCHED, locate
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import BUDGETS, Model, Scenario, Workload
from lynxbench.specs.toml import to_toml
from lynxbench.specs.tuned import Part

Which = Literal["tuning", "untouched"]


@dataclass(frozen=True)
class Job:
    """One model, one question, one executor and load: what is tuned. Files go into `folder`, which must exist."""

    resolved: ResolvedSuite
    workload: Workload
    model: Model
    scenario: Scenario
    executor: str
    share: float
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.workload.name}.{self.model.name}"

    @property
    def rubric(self) -> Rubric:
        """As declared, before it is split."""
        return self.resolved.rubrics[self.workload.name].spec

    @property
    def originals(self) -> tuple[Scheme, ...]:
        """The workload's schemes and the reference's."""
        reference = self.rubric.reference.scheme
        listed = self.resolved.schemes_of(self.workload)
        return tuple(s for s in self.resolved.suite.schemes if s in listed or s.name == reference)


def write_rubric(job: Job, which: Which) -> Path:
    """The rubric on one part of its test set; returns the file."""
    declared = job.resolved.rubrics[job.workload.name]
    part = Part(which=which, share=job.share, seed=job.seed)
    test_set = declared.spec.test_set
    moved = test_set.model_copy(
        update={
            "part": part,
            "source": _moved(test_set.source, declared.file, job.folder),
            "corpus": None if test_set.corpus is None else _moved(test_set.corpus, declared.file, job.folder),
            "target": _moved_target(test_set.target, declared.file, job.folder),
        }
    )
    rubric = declared.spec.model_copy(update={"name": f"{declared.spec.name}.{which}"[:64], "test_set": moved})
    file = job.folder / f"rubric-{which}.toml"
    _write(file, rubric.model_dump(mode="json", exclude_defaults=True))
    return file


def write_suite(
    job: Job,
    file: Path,
    which: Which,
    schemes: Sequence[Scheme],
    *,
    calibrations: Sequence[str] | None = None,
    quick: bool = False,
) -> None:
    """A suite of `schemes` on one part, with the calibration sets named (None: all of the workload).

    `quick` times more briefly and less precisely than the suite does: to search by, not to publish.
    """
    suite, here = job.resolved.suite, job.resolved.file
    kept = job.workload.calibrations if calibrations is None else calibrations
    text = job.model.text
    model = job.model.model_copy(
        update={
            "path": _moved(job.model.path, here, job.folder),
            "text": None
            if text is None
            else text.model_copy(update={"tokenizer": _moved(text.tokenizer, here, job.folder)}),
        }
    )
    sets = [
        one.model_copy(
            update={
                "source": _moved(one.source, here, job.folder),
                "target": _moved_target(one.target, here, job.folder),
            }
        )
        for one in suite.calibrations
        if one.name in kept
    ]
    protocol = suite.protocol.model_dump(mode="json")
    if quick:
        timing = suite.budgets.get("quick", BUDGETS["quick"])
        # Slow models get no ratio with an interval in so short a time: half of the suite's is the least.
        least = {"time_limit_s": max(timing.get("time_limit_s", 0.0), protocol["time_limit_s"] / 2)}
        protocol |= {key: value for key, value in timing.items() if key != "test_set"} | least
    data: dict[str, Any] = {
        "name": f"{suite.name}.{job.model.name}"[:64],
        "version": suite.version,
        "description": f"{job.workload.name}, {job.model.name}: by lynxbench tune from suite {suite.name}",
        "executors": [job.executor],
        "protocol": protocol,
        "models": [model.model_dump(mode="json", exclude_defaults=True)],
        "schemes": [scheme.model_dump(mode="json", exclude_defaults=True) for scheme in schemes],
        "calibrations": [one.model_dump(mode="json", exclude_defaults=True) for one in sets],
        "scenarios": [job.scenario.model_dump(mode="json", exclude_defaults=True)],
        "workloads": [
            {
                "name": job.workload.name,
                "rubric": f"rubric-{which}.toml",
                "models": [job.model.name],
                "calibrations": [one.name for one in sets],
            }
        ],
    }
    # An empty array of tables would be an array: leave it out.
    _write(file, {key: value for key, value in data.items() if value != []})


def write_scheme(scheme: Scheme, file: Path) -> None:
    """One scheme, to be pasted into a suite."""
    _write(file, {"schemes": [scheme.model_dump(mode="json", exclude_defaults=True)]})


def _write(file: Path, data: dict[str, Any]) -> None:
    file.write_text(to_toml(data), encoding="utf-8")


def _moved(path: str, declared_in: Path, into: Path) -> str:
    """A declared path as it is said from another folder."""
    if not path or path.startswith((BUILTIN, FETCHED, HUB)):
        return path
    return Path(os.path.relpath(locate(path, declared_in), into.resolve())).as_posix()


def _moved_target(target: str | None, declared_in: Path, into: Path) -> str | None:
    """``file.py:function`` likewise; a module's name is the same everywhere."""
    if target is None:
        return None
    file, _, function = target.rpartition(":")
    return f"{_moved(file, declared_in, into)}:{function}" if file.endswith(".py") else target
