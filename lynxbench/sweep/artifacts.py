"""Building every scheme's model file before anything is timed, several at once, each in a child process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lynxbench.errors import CellError
from lynxbench.sweep.child import Child, close_all
from lynxbench.sweep.plan import Deployment, Group
from lynxbench.sweep.setting import Setting

COMMAND = (sys.executable, "-m", "lynxbench.sweep.builder")
REFERENCE_EXECUTOR = "cpu"  # what first runs are compared with, whatever the rubric's reference is


@dataclass(frozen=True)
class Artifact:
    """A scheme's model file in the cache, and files with its first outputs by the CPU provider."""

    path: Path
    manifest: Mapping[str, Any]
    references: tuple[str, ...]
    shapes: tuple[Mapping[str, Sequence[int]], ...]  # of the inputs, one entry a batch size
    cached: bool
    damage: tuple[str, ...]  # what was found wrong with cached files, which were then built again

    @property
    def sha256(self) -> str:
        return str(self.manifest["artifact_sha256"])

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size


ArtifactKey = tuple[str, Deployment]  # by workload: its data calibrates and feeds the first run


def build_artifacts(
    groups: Sequence[Group], setting: Setting, on_built: Callable[[str, str], None]
) -> dict[ArtifactKey, Artifact | CellError]:
    """Build (or find) the model file of every deployment that has a cell to run; a failure is kept as its reason."""
    jobs = [(group.workload.name, deployment) for group in groups for deployment in group.deployments]
    if not jobs:
        return {}
    workers = min(len(jobs), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    # Children start in the main thread (see `Child`); each thread below only talks to its own.
    children = [Child(COMMAND, memory_limit_bytes=setting.memory_limit_bytes) for _ in range(workers)]
    idle = list(children)
    replaced: list[Child] = []
    again: set[ArtifactKey] = set()

    def one(job: ArtifactKey) -> Artifact | CellError:
        child = idle.pop()
        gone = child.ended
        try:
            return _build(child, job, setting)
        except CellError as error:
            if gone or (child.ended and error.status != "timeout"):
                again.add(job)
            return error
        finally:
            idle.append(child)
            on_built(job[1].model.name, job[1].label)

    results: dict[ArtifactKey, Artifact | CellError] = {}
    try:
        with ThreadPoolExecutor(workers) as pool:
            for job, result in zip(jobs, pool.map(one, jobs), strict=True):
                results[job] = result
        # A builder that died took the jobs after it along: those are tried once more, each with a fresh child. So is
        # the one that it died of, which then has the memory to itself; but not one that has had all its time.
        for job in results:
            if job in again:
                fresh = Child(COMMAND, memory_limit_bytes=setting.memory_limit_bytes)
                replaced.append(fresh)
                try:
                    results[job] = _build(fresh, job, setting)
                except CellError as error:
                    results[job] = error
    finally:
        close_all([*children, *replaced])
    return results


def _build(child: Child, job: ArtifactKey, setting: Setting) -> Artifact:
    workload, deployment = job
    resolved, material = setting.resolved, setting.material
    timeout_s = resolved.suite.protocol.worker_timeout_s
    model = material.models[deployment.model.name]
    rubric = resolved.rubrics[workload].spec
    calibration = None
    if deployment.calibration is not None:
        calibration = {
            "samples": str(setting.sample_folder(workload, deployment.calibration.name)),
            "batch_size": deployment.calibration.batch_size,
            "digest": material.calibrations[workload, deployment.calibration.name].digest,
            "feeding": setting.feeding(deployment.model),
        }
    declared = next(w for w in resolved.suite.workloads if w.name == workload)
    common = {"task": rubric.task, "model": setting.model_json(deployment.model)}
    built = child.ask(
        {
            "do": "build",
            "scheme": deployment.scheme.model_dump_json(),
            "model_path": str(model.path),
            "model_sha256": model.sha256,
            "calibration": calibration,
            "cache": str(setting.cache),
            **common,
        },
        timeout_s,
    )
    reference = child.ask(
        {
            "do": "reference",
            "artifact": built["path"],
            "source": str(model.path),
            "samples": str(setting.sample_folder(workload)),
            "executor": resolved.executors[REFERENCE_EXECUTOR].spec.model_dump_json(),
            "out": str(setting.work / "references" / f"{workload}-{deployment.model.name}-{deployment.label}"),
            "batch_sizes": sorted({n for scenario in resolved.scenarios_of(declared) for n in scenario.batch_sizes}),
            **common,
        },
        timeout_s,
    )
    return Artifact(
        path=Path(built["path"]),
        manifest=built["manifest"],
        references=tuple(reference["files"]),
        shapes=tuple(reference["shapes"]),
        cached=built["cached"],
        damage=tuple(built["damage"]),
    )
