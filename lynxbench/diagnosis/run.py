"""One diagnosis, from a candidate's name to its numbers and causes."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lynxbench.datasets.predictions import Predictions
from lynxbench.diagnosis.causes import Evidence, Finding
from lynxbench.diagnosis.conclude import find_causes
from lynxbench.diagnosis.facts import KernelFacts, MaskFacts, OpTime, TensorFacts, TimeFacts, WeightFacts, from_plain
from lynxbench.diagnosis.meter import Meter, OnProgress
from lynxbench.diagnosis.sensitivity import Node, Sensitivity, find_sensitivity
from lynxbench.diagnosis.subject import Subject
from lynxbench.errors import CellError
from lynxbench.execution import host_facts, products_saturate, usable_threads
from lynxbench.scoring import Scores, score
from lynxbench.specs.scheme import Scheme
from lynxbench.sweep.artifacts import REFERENCE_EXECUTOR, Artifact, build_artifacts
from lynxbench.sweep.child import Child
from lynxbench.sweep.plan import Cell
from lynxbench.sweep.setting import Setting
from lynxbench.sweep.wire import load_predictions

COMMAND = (sys.executable, "-m", "lynxbench.diagnosis.prober")
# NumPy's products of short vectors: threads that wait for each other cost fifty times what they add up. ONNX Runtime's
# own threads are others.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}
# Of graphs that run op by op, and of what is answered one by one as well.
BATCH_SIZE = 16


@dataclass(frozen=True)
class Diagnosis:
    """What was found about a candidate; `findings` empty: no cause was found.

    candidate_id  as records have it: of model, scheme, calibration, executor and batch size
    rubric, cpu   name and version; what it was diagnosed on
    samples       test samples that were looked at, of `test_set_n` that the rubric has; `calibration_samples` likewise
    scores        by the rubric, on those samples alone: wider intervals than a sweep's
    op_types      op type → nodes whose output the candidate quantizes
    time, reference_time  None where no profile could be taken, with `time_reason`
    sensitivity   which parts the loss comes from; None where no time was given to find out, or `sensitivity_reason`
    """

    candidate: str
    candidate_id: str
    workload: str
    rubric: str
    executor: str
    cpu: str
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
    sensitivity: Sensitivity | None = None
    sensitivity_reason: str | None = None


def diagnose(
    subject: Subject, *, cache: Path, time_limit_s: float = 0.0, on_progress: OnProgress = lambda progress: None
) -> Diagnosis:
    """Build the candidate, look into it, and conclude. Raises `CellError` where it cannot be built or does not run.

    time_limit_s  how long parts of the model may be tried one at a time, after everything else; 0: not at all
    """
    with tempfile.TemporaryDirectory(prefix="lynxbench-diagnose-") as folder:
        setting = Setting(subject.resolved, subject.material, subject.interpreters, Path(folder), cache)
        setting.write_samples()
        meter = Meter(time_limit_s > 0, on_progress)
        meter.step("building the model files")
        artifacts = _built(subject, setting)
        child = Child(COMMAND, {**os.environ, **ONE_THREAD}, memory_limit_bytes=setting.memory_limit_bytes)
        try:
            return _Look(subject, setting, artifacts, child, meter, time_limit_s).diagnosis()
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
        self,
        subject: Subject,
        setting: Setting,
        artifacts: dict[Cell, Artifact],
        child: Child,
        meter: Meter,
        time_limit_s: float,
    ) -> None:
        self._subject = subject
        self._setting = setting
        self._artifacts = artifacts
        self._child = child
        self._meter = meter
        self._time_limit_s = time_limit_s
        self._rubric = subject.resolved.rubrics[subject.group.workload.name].spec
        self._samples = subject.material.test_sets[subject.group.workload.name].samples
        scenario = subject.cell.scenario
        self._batch_size = scenario.given_batch_size or 1

    def diagnosis(self) -> Diagnosis:
        subject = self._subject
        self._meter.step("answering the samples")
        candidate, reference = self._answers(subject.cell), self._answers(subject.reference)
        scores = score(self._rubric, candidate, reference)
        self._meter.step("looking at tensors and weights")
        numbers = self._ask(
            "numbers",
            calibration=self._calibration_folder(),
            strata=list(self._rubric.strata),
            # With scales of its own for each batch, a tensor is what the batch that is deployed makes of it.
            batch_size=self._batch_size if subject.cell.deployment.scheme.kind == "int8-dynamic" else BATCH_SIZE,
        )
        tensors = tuple(from_plain(TensorFacts, one) for one in numbers["tensors"])
        weights = tuple(from_plain(WeightFacts, one) for one in numbers["weights"])
        masks = tuple(from_plain(MaskFacts, one) for one in numbers["masks"])
        self._meter.step("comparing kernels and batches")
        kernels = from_plain(KernelFacts, self._ask("kernels", batch_size=BATCH_SIZE))
        self._meter.step("profiling")
        own_time, reference_time, reason = self._times()
        host = host_facts()
        evidence = Evidence(
            scheme=subject.cell.deployment.scheme,
            tensors=tensors,
            weights=weights,
            masks=masks,
            kernels=kernels,
            saturates=products_saturate(host),
            on_x86=platform.machine().lower() in {"x86_64", "amd64"},
            time=own_time,
            reference_time=reference_time,
        )
        sensitivity, sensitivity_reason = self._sensitivity(candidate, reference, tensors)
        return Diagnosis(
            candidate=subject.name,
            candidate_id=subject.cell.candidate_id,
            workload=subject.group.workload.name,
            rubric=f"{self._rubric.name} {self._rubric.version}",
            cpu=host.cpu_model,
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
            time=own_time,
            reference_time=reference_time,
            time_reason=reason,
            sensitivity=sensitivity,
            sensitivity_reason=sensitivity_reason,
        )

    def _sensitivity(
        self, candidate: Predictions, reference: Predictions, tensors: Sequence[TensorFacts]
    ) -> tuple[Sensitivity | None, str | None]:
        """Parts tried one at a time, or why none were."""
        if self._time_limit_s <= 0:
            return None, None
        scheme = self._subject.cell.deployment.scheme
        try:
            found = self._ask("parts", scheme=scheme.model_dump_json())["nodes"]
        except CellError as error:
            return None, error.reason
        nodes = [from_plain(Node, one) for one in found]
        if len({node.op_type for node in nodes}) < 2 and len(nodes) < 2:
            return None, "it quantizes a single node, which cannot be told from all of it"
        return find_sensitivity(
            self._rubric,
            scheme,
            nodes,
            tensors,
            candidate,
            reference,
            self._answers_in,
            time_limit_s=self._time_limit_s,
            on_trial=self._meter.trial,
        ), None

    def _answers_in(self, scheme: Scheme, timeout_s: float) -> Predictions:
        """Predictions of the model in another scheme of the candidate's kind; its file is not kept."""
        file, begun = self._setting.work / "trial.onnx", time.monotonic()
        self._ask(
            "build", timeout_s, scheme=scheme.model_dump_json(), calibration=self._calibration_request(), out=str(file)
        )
        left_s = max(0.0, timeout_s - (time.monotonic() - begun))
        return self._answers(self._subject.cell, file, left_s)

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

    def _answers(self, cell: Cell, file: Path | None = None, timeout_s: float | None = None) -> Predictions:
        """What a cell answers, or `file` in its place."""
        out = self._setting.work / f"answers-{cell.cell_id}.npz"
        self._ask(
            "answer",
            timeout_s,
            artifact=str(self._artifacts[cell].path if file is None else file),
            scheme_kind=cell.deployment.scheme.kind,
            executor=self._subject.resolved.executors[cell.deployment.executor].spec.model_dump_json(),
            # Not those that are timed: nothing is here, and answers of one graph differ by rounding at most.
            threads=usable_threads(),
            batch_size=self._batch_size,
            out=str(out),
        )
        return load_predictions(out)

    def _ask(self, do: str, timeout_s: float | None = None, **more: Any) -> dict[str, Any]:
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
                **more,
            },
            subject.resolved.suite.protocol.worker_timeout_s if timeout_s is None else timeout_s,
        )

    def _calibration_folder(self) -> str | None:
        calibration = self._subject.cell.deployment.calibration
        if calibration is None:
            return None
        return str(self._setting.sample_folder(self._subject.group.workload.name, calibration.name))

    def _calibration_request(self) -> dict[str, Any] | None:
        """What a build is to be calibrated on, as a sweep's would be."""
        deployment, workload = self._subject.cell.deployment, self._subject.group.workload.name
        if deployment.calibration is None:
            return None
        return {
            "samples": self._calibration_folder(),
            "batch_size": deployment.calibration.batch_size,
            "digest": self._subject.material.calibrations[workload, deployment.calibration.name].digest,
            "feeding": self._setting.feeding(deployment.model),
        }

    def _calibration_n(self) -> int:
        calibration = self._subject.cell.deployment.calibration
        return 0 if calibration is None else min(calibration.count, len(self._samples))


def _times(data: dict[str, Any]) -> TimeFacts:
    """`TimeFacts` as the child sent them."""
    return from_plain(TimeFacts, {**data, "ops": tuple(from_plain(OpTime, one) for one in data["ops"])})
