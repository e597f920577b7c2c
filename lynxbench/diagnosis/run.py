"""One diagnosis, from a candidate's name to its numbers and causes."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lynxbench.diagnosis.causes import Evidence, Finding, find_causes
from lynxbench.diagnosis.facts import KernelFacts, MaskFacts, OpTime, TensorFacts, TimeFacts, WeightFacts, from_plain
from lynxbench.diagnosis.subject import Subject
from lynxbench.errors import CellError
from lynxbench.execution import host_facts, products_saturate
from lynxbench.scoring import Scores, score
from lynxbench.sweep.artifacts import REFERENCE_EXECUTOR, Artifact, build_artifacts
from lynxbench.sweep.child import Child
from lynxbench.sweep.plan import Cell
from lynxbench.sweep.setting import Setting
from lynxbench.sweep.wire import load_predictions

COMMAND = (sys.executable, "-m", "lynxbench.diagnosis.prober")
# Of graphs that run op by op; with dynamic scales the batch is one sample.
BATCH_SIZE = 16
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Diagnosis:
    """What was found about a candidate; `findings` empty: no cause was found.

    samples       test samples that were looked at, of `test_set_n` that the rubric has; `calibration_samples` likewise
    scores        by the rubric, on those samples alone: wider intervals than a sweep's
    op_types      op type → nodes whose output the candidate quantizes
    time, reference_time  None where no profile could be taken, with `time_reason`
    """

    candidate: str
    workload: str
    executor: str
    samples: int
    test_set_n: int
    calibration_samples: int
    scores: Scores
    findings: tuple[Finding, ...]
    tensors: tuple[TensorFacts, ...]
    weights: tuple[WeightFacts, ...]
    masks: tuple[MaskFacts, ...]
    kernels: KernelFacts
    op_types: dict[str, int]
    time: TimeFacts | None
    reference_time: TimeFacts | None
    time_reason: str | None = None


def diagnose(subject: Subject, *, cache: Path, on_step: OnStep = lambda step: None) -> Diagnosis:
    """Build the candidate, look into it, and conclude. Raises `CellError` where it cannot be built or does not run."""
    with tempfile.TemporaryDirectory(prefix="lynxbench-diagnose-") as folder:
        setting = Setting(subject.resolved, subject.material, subject.interpreters, Path(folder), cache)
        setting.write_samples()
        on_step("building the model files")
        artifacts = _built(subject, setting)
        child = Child(COMMAND, memory_limit_bytes=setting.memory_limit_bytes)
        try:
            return _Look(subject, setting, artifacts, child, on_step).diagnosis()
        finally:
            child.close()


def _built(subject: Subject, setting: Setting) -> dict[Cell, Artifact]:
    group = replace(subject.group, cells=(subject.reference, subject.cell), skipped={})
    built = build_artifacts([group], setting, lambda model, label: None)
    found = {}
    for cell in group.cells:
        artifact = built[group.workload.name, cell.deployment]
        if isinstance(artifact, CellError):
            raise artifact
        found[cell] = artifact
    return found


class _Look:
    """The questions to one child, one after the other."""

    def __init__(
        self, subject: Subject, setting: Setting, artifacts: dict[Cell, Artifact], child: Child, on_step: OnStep
    ) -> None:
        self._subject = subject
        self._setting = setting
        self._artifacts = artifacts
        self._child = child
        self._on_step = on_step
        self._rubric = subject.resolved.rubrics[subject.group.workload.name].spec
        self._samples = subject.material.test_sets[subject.group.workload.name].samples
        scenario = subject.cell.scenario
        self._batch_size = scenario.given_batch_size or 1
        self._of_outputs = 1 if subject.cell.deployment.scheme.kind == "int8-dynamic" else BATCH_SIZE

    def diagnosis(self) -> Diagnosis:
        subject = self._subject
        self._on_step("answering the samples")
        scores = score(self._rubric, self._answers(subject.cell), self._answers(subject.reference))
        self._on_step("looking at tensors and weights")
        numbers = self._ask("numbers", calibration=self._calibration_folder(), strata=list(self._rubric.strata))
        tensors = tuple(from_plain(TensorFacts, one) for one in numbers["tensors"])
        weights = tuple(from_plain(WeightFacts, one) for one in numbers["weights"])
        masks = tuple(from_plain(MaskFacts, one) for one in numbers["masks"])
        self._on_step("comparing kernels and batches")
        kernels = from_plain(KernelFacts, self._ask("kernels", batches_free=self._batches_free()))
        self._on_step("profiling")
        time, reference_time, reason = self._times()
        host = host_facts()
        evidence = Evidence(
            scheme=subject.cell.deployment.scheme,
            tensors=tensors,
            weights=weights,
            masks=masks,
            kernels=kernels,
            saturates=products_saturate(host),
            on_x86=platform.machine().lower() in {"x86_64", "amd64"},
            time=time,
            reference_time=reference_time,
        )
        return Diagnosis(
            candidate=subject.name,
            workload=subject.group.workload.name,
            executor=subject.cell.deployment.executor,
            samples=len(self._samples),
            test_set_n=subject.test_set_n,
            calibration_samples=self._calibration_n(),
            scores=scores,
            findings=find_causes(evidence),
            tensors=tensors,
            weights=weights,
            masks=masks,
            kernels=kernels,
            op_types=numbers["op_types"],
            time=time,
            reference_time=reference_time,
            time_reason=reason,
        )

    def _times(self) -> tuple[TimeFacts | None, TimeFacts | None, str | None]:
        """The candidate's and the reference's profile, or why there is none."""
        subject = self._subject
        if subject.cell.deployment.executor != REFERENCE_EXECUTOR:
            return None, None, "profiles are read of the CPU provider alone"
        cells = (subject.cell, subject.reference)
        try:
            answer = self._ask(
                "profile",
                artifacts=[[str(self._artifacts[cell].path), cell.deployment.scheme.kind] for cell in cells],
                threads=subject.resolved.suite.protocol.threads,
                batch_size=self._batch_size,
            )
        except CellError as error:
            return None, None, error.reason
        mine, before = (_times(one) for one in answer["times"])
        return mine, before, None

    def _answers(self, cell: Cell) -> Any:
        out = self._setting.work / f"answers-{cell.cell_id}.npz"
        self._ask(
            "answer",
            artifact=str(self._artifacts[cell].path),
            scheme_kind=cell.deployment.scheme.kind,
            executor=self._subject.resolved.executors[cell.deployment.executor].spec.model_dump_json(),
            threads=self._subject.resolved.suite.protocol.threads,
            batch_size=self._batch_size,
            out=str(out),
        )
        return load_predictions(out)

    def _ask(self, do: str, **more: Any) -> dict[str, Any]:
        subject, setting = self._subject, self._setting
        model = subject.material.models[subject.group.model.name]
        return self._child.ask(
            {
                "do": do,
                "model": setting.model_json(subject.group.model),
                "model_path": str(model.path),
                "model_sha256": model.sha256,
                "artifact": str(self._artifacts[subject.cell].path),
                "task": self._rubric.task,
                "samples": str(setting.sample_folder(subject.group.workload.name)),
                "executor": subject.resolved.executors[REFERENCE_EXECUTOR].spec.model_dump_json(),
                "cache": str(setting.cache),
                "count": len(self._samples),
                "batch_size": self._of_outputs,
                **more,
            },
            subject.resolved.suite.protocol.worker_timeout_s,
        )

    def _batches_free(self) -> bool:
        """Whether the model takes batches of several, as far as the suite asks for them."""
        group = self._subject.group
        return any(size > 1 for cell in group.cells for size in cell.scenario.batch_sizes)

    def _calibration_folder(self) -> str | None:
        calibration = self._subject.cell.deployment.calibration
        if calibration is None:
            return None
        return str(self._setting.sample_folder(self._subject.group.workload.name, calibration.name))

    def _calibration_n(self) -> int:
        calibration = self._subject.cell.deployment.calibration
        return 0 if calibration is None else min(calibration.count, len(self._samples))


def _times(data: dict[str, Any]) -> TimeFacts:
    """`TimeFacts` as the child sent them."""
    return from_plain(TimeFacts, {**data, "ops": tuple(from_plain(OpTime, one) for one in data["ops"])})
