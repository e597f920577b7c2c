"""What every part of a running sweep works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lynxbench.execution import host_facts
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.sweep.prepare import Material


@dataclass(frozen=True)
class Setting:
    """A sweep's declarations and data, the interpreter of each executor, and its folders.

    `work` lives as long as the run and lies in the results folder; `cache` outlives it.
    """

    resolved: ResolvedSuite
    material: Material
    interpreters: Mapping[str, str]
    work: Path
    cache: Path

    @property
    def memory_limit_bytes(self) -> int:
        """What one child may hold: as declared, else nine tenths of what the machine or its container has."""
        declared = self.resolved.suite.protocol.worker_memory_bytes
        return _most_of_the_host() if declared is None else declared

    @property
    def group_limit_bytes(self) -> int:
        """What the workers of a group may hold together, likewise."""
        declared = self.resolved.suite.protocol.group_memory_bytes
        return _most_of_the_host() if declared is None else declared

    def sample_file(self, workload: str, calibration: str | None = None) -> Path:
        """Where children read a workload's test samples, or the samples of one of its calibration sets."""
        return self.work / f"{workload}{'' if calibration is None else '.' + calibration}.samples.npz"

    def write_samples(self) -> None:
        """Put all samples where `sample_file` says."""
        for workload, test_set in self.material.test_sets.items():
            self.sample_file(workload).write_bytes(test_set.samples.to_npz())
        for (workload, name), calibration in self.material.calibrations.items():
            self.sample_file(workload, name).write_bytes(calibration.samples.to_npz())


def _most_of_the_host() -> int:
    facts = host_facts()
    return round(0.9 * min(facts.memory_bytes, facts.memory_limit_bytes or facts.memory_bytes))
