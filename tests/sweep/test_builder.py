"""The builder's reference outputs: what workers compare their first run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lynxbench.datasets.samples import Samples
from lynxbench.quantization import build_artifact
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import load_folder
from lynxbench.sweep.builder import reference
from tests.execution.models import perceptron
from tests.quantization.models import scheme
from tests.tasks.models import model


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_what_the_cpu_cannot_run_is_compared_with_its_source(kind: str, tmp_path: Path) -> None:
    source = perceptron(tmp_path / "source.onnx")
    build_artifact(source, scheme(kind), tmp_path / "artifact.onnx", calibration=None)
    ids = np.asarray(["a", "b"])
    inputs = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    Samples(ids=ids, source_ids=ids, inputs=inputs, contents=ids, labels=np.asarray([0, 1])).write(tmp_path / "samples")

    def outputs(artifact: Path) -> list[Any]:
        answer = reference(
            {
                "artifact": str(artifact),
                "source": str(source),
                "samples": str(tmp_path / "samples"),
                "model": model().model_dump_json(),
                "task": "classification",
                "executor": load_folder("executors", ExecutorSpec, None)["cpu"].spec.model_dump_json(),
                "out": str(tmp_path / artifact.stem),
                "batch_sizes": [1, 2],
            }
        )
        assert answer["shapes"] == [{"x": [1, 16]}, {"x": [2, 16]}]
        return [np.load(file)["y"] for file in answer["files"]]

    found, wanted = outputs(tmp_path / "artifact.onnx"), outputs(source)
    for mine, theirs in zip(found, wanted, strict=True):
        # The very numbers of the source where there are no kernels; half precision's own where there are.
        assert np.array_equal(mine, theirs) == (kind == "bf16")
        np.testing.assert_allclose(mine, theirs, rtol=0.02, atol=0.02)
