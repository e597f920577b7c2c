"""Groups whose workers together would not fit into memory, in parts that do, each with the reference in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lynxbench.errors import CellError
from lynxbench.sweep.artifacts import Artifact, ArtifactKey
from lynxbench.sweep.plan import Deployment, Group

# What a worker holds before it has a model: Python, NumPy and ONNX Runtime (90 to 140 MB were seen).
WORKER_BYTES = 200 << 20
# Weights are read, rearranged for the kernels and kept; activations come on top.
MODEL_COPIES = 3
# Samples are read and turned into the model's inputs.
SAMPLE_COPIES = 2


def worker_bytes(artifact_bytes: int, samples_bytes: int) -> int:
    """What a worker is expected to hold, estimated upwards: a part too many costs time, one too few costs cells."""
    return WORKER_BYTES + MODEL_COPIES * artifact_bytes + SAMPLE_COPIES * samples_bytes


def split(sizes_bytes: Sequence[int], limit_bytes: int) -> list[list[int]]:
    """Positions of `sizes_bytes` in parts of at most `limit_bytes`, position 0 in each of them.

    In order, each in the first part that has room; what fits nowhere gets a part with position 0 alone, above the limit
    though it be: it may still run.
    """
    if not sizes_bytes:
        return []
    parts: list[list[int]] = []
    held: list[int] = []
    for position in range(1, len(sizes_bytes)):
        size = sizes_bytes[position]
        part = next((n for n, bytes_ in enumerate(held) if bytes_ + size <= limit_bytes), None)
        if part is None:
            parts.append([0])
            held.append(sizes_bytes[0])
            part = len(parts) - 1
        parts[part].append(position)
        held[part] += size
    return parts or [[0]]


def parts_of(
    group: Group, artifacts: Mapping[ArtifactKey, Artifact | CellError], samples_bytes: int, limit_bytes: int
) -> list[Group]:
    """The group itself where it fits, else groups of some of its deployments each; what has no model file counts 0."""

    def size(deployment: Deployment) -> int:
        artifact = artifacts[group.workload.name, deployment]
        return 0 if isinstance(artifact, CellError) else worker_bytes(artifact.size_bytes, samples_bytes)

    deployments = group.deployments
    chosen = split([size(deployment) for deployment in deployments], limit_bytes)
    if len(chosen) < 2:
        return [group]
    members = [{deployments[position] for position in positions} for positions in chosen]
    return [replace(group, cells=tuple(cell for cell in group.running if cell.deployment in mine)) for mine in members]
