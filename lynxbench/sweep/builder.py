"""The process that builds model files: `python -m lynxbench.sweep.builder`, spoken to in JSON lines.

`build` makes a scheme's model file in the cache unless it is there, intact; `reference` runs a model file on the CPU
provider, with and without graph optimizations, for workers to compare their first run with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.samples import Samples
from lynxbench.errors import CellError
from lynxbench.quantization import CalibrationData, artifact_key, artifact_path, build_artifact, lookup
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import Model
from lynxbench.sweep.child import serve
from lynxbench.tasks import Feed, batches, first_feed, fixed_batch, get_task


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Build or find one artifact; says which, and where it is."""
    scheme = Scheme.from_json(request["scheme"])
    cache = Path(request["cache"]) / "artifacts"
    calibration = None
    if request["calibration"] is not None:
        calibration = calibration_data(request)
    key = artifact_key(request["model_sha256"], scheme, None if calibration is None else calibration.digest)
    damage: list[str] = []
    found = lookup(cache, key, damage.append)
    if found is not None:
        path, manifest = found
    else:
        path = artifact_path(cache, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        manifest = build_artifact(
            Path(request["model_path"]),
            scheme,
            path,
            calibration=calibration,
            cache_dir=Path(request["cache"]) / "ranges",
            on_damage=damage.append,
        )
    return {"path": str(path), "manifest": asdict(manifest), "cached": found is not None, "damage": damage}


def calibration_data(request: dict[str, Any]) -> CalibrationData:
    """The calibration set that a request names, as the model is fed with it."""
    declared = request["calibration"]
    samples = Samples.read(Path(declared["samples"]))
    model = Model.from_json(request["model"])
    task = get_task(request["task"])
    asked = task.inputs(samples)
    tensors = _tensors(Path(request["model_path"]))

    fixed = fixed_batch(tensors)

    def feeds() -> Iterator[Feed]:
        for positions in batches(len(asked), declared["batch_size"]):
            # Cut, or filled up from the start for a model that takes nothing less: some samples are then met twice.
            yield task.feed(asked[positions if fixed else positions[: len(asked) - int(positions[0])]], model, tensors)

    # Ranges are observed on what the model is fed: the same samples, prepared otherwise, are another calibration.
    fed = hashlib.sha256(f"{declared['digest']}\0{request['task']}\0{declared['feeding']}".encode()).hexdigest()
    return CalibrationData(feeds=feeds, count=len(samples), digest=fed)


def _tensors(path: Path) -> Any:
    """The model's inputs, as its own graph declares them."""
    from lynxbench.execution import graph_inputs

    return graph_inputs(path)


def reference(request: dict[str, Any]) -> dict[str, Any]:
    """The first sample's outputs by the CPU provider, optimized and not, to two files.

    Of a model file for which the CPU provider has no kernels (bfloat16), those of its source: what another provider
    computes with it must come near.
    """
    from lynxbench.execution import Executor

    samples = Samples.read(Path(request["samples"]))
    model = Model.from_json(request["model"])
    task = get_task(request["task"])
    spec = ExecutorSpec.from_json(request["executor"])
    files, shapes = [], []
    for optimization in ("all", "disabled"):
        with Executor(spec, threads=1, optimization=optimization) as executor:
            try:
                executor.open(Path(request["artifact"]))
            except CellError as error:
                if error.status != "unsupported":
                    raise
                executor.open(Path(request["source"]))
            feed = first_feed(task, samples, model, executor.inputs)
            outputs = executor.run(feed)
            # What will be run, for providers that compile for shapes.
            shapes = [{name: [b, *array.shape[1:]] for name, array in feed.items()} for b in request["batch_sizes"]]
        file = Path(request["out"]) / f"reference-{optimization}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as handle:
            np.savez(handle, **outputs)  # type: ignore[arg-type]
        files.append(str(file))
    return {"files": files, "shapes": shapes}


def main() -> None:
    """Serve until the parent closes the pipe."""
    serve({"build": build, "reference": reference})


if __name__ == "__main__":
    main()
