"""What every part of a running sweep works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lynxbench.execution import host_facts
from lynxbench.specs.resolve import ResolvedSuite
from lynxbench.specs.suite import Model
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

    def sample_folder(self, workload: str, calibration: str | None = None) -> Path:
        """Where children read a workload's test samples, or the samples of one of its calibration sets."""
        return self.work / f"{workload}{'' if calibration is None else '.' + calibration}.samples"

    def model_json(self, model: Model) -> str:
        """The model's declaration for a child, which does not know where it was declared."""
        tokenizer = self.material.models[model.name].tokenizer
        if model.text is not None and tokenizer is not None:
            model = model.model_copy(update={"text": model.text.model_copy(update={"tokenizer": str(tokenizer)})})
        return model.model_dump_json()

    def feeding(self, model: Model) -> str:
        """What the model is fed depends on, beyond the samples: the same samples prepared otherwise are others."""
        declared = model.model_dump_json(include={"image", "generation", "text"})
        return f"{declared}\0{self.material.models[model.name].tokenizer_sha256}"

    def write_samples(self) -> None:
        """Put all samples where `sample_folder` says."""
        for workload, test_set in self.material.test_sets.items():
            test_set.samples.write(self.sample_folder(workload))
        for (workload, name), calibration in self.material.calibrations.items():
            calibration.samples.write(self.sample_folder(workload, name))


def _most_of_the_host() -> int:
    facts = host_facts()
    return round(0.9 * min(facts.memory_bytes, facts.memory_limit_bytes or facts.memory_bytes))
