"""What this processor's kernels and the batch change about a candidate's outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lynxbench.datasets.samples import Samples
from lynxbench.diagnosis.emulation import products_in_float
from lynxbench.diagnosis.facts import KernelFacts
from lynxbench.diagnosis.feeds import batches_of, inputs_of
from lynxbench.diagnosis.streaming import Error
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.suite import Model
from lynxbench.tasks import Task, fixed_batch

# One by one or in batches of what the caller says.
_How = tuple[Path, Literal["all", "disabled"], bool]


def kernel_facts(
    fp32: Path, artifact: Path, spec: ExecutorSpec, model: Model, task: Task, samples: Samples, *, batch_size: int
) -> KernelFacts:
    """Compare outputs over all samples: fp32's, the candidate's as written, as it runs, and one by one.

    As written means op by op, products of integers computed in float, so that nothing depends on the processor. One by
    one compares each sample with itself in a batch of `batch_size`, filled up alike; of a model whose batch is fixed
    it is left out.
    """
    import onnx

    def outputs(how: _How) -> Iterator[list[Any]]:
        from lynxbench.execution import Executor

        file, optimization, singly = how
        with Executor(spec, threads=1, optimization=optimization) as executor:
            executor.open(file)
            for batch in batches_of(task, model, samples, executor.inputs, count=len(samples), batch_size=batch_size):
                singles = batch.singles() if singly else None
                if singly and singles is None:
                    return
                if singles is None:
                    yield [batch.own(values) for values in executor.run(batch.feed).values()]
                else:
                    runs = [executor.run(feed).values() for feed in singles]
                    yield [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    def gap(one: _How | None, other: _How | None) -> float | None:
        error = Error()
        if one is None or other is None:
            return None
        # Not strict: what cannot be run one by one ends at once, and has no gap.
        for right, values in zip(outputs(one), outputs(other), strict=False):
            for a, b in zip(right, values, strict=True):
                if a.dtype.kind == "f" and a.shape == b.shape:
                    good = np.isfinite(a) & np.isfinite(b)
                    error.add(a[good], b[good])
        return error.sqnr_db

    with tempfile.TemporaryDirectory(prefix="lynxbench-kernels-") as folder:
        written = products_in_float(onnx.load(artifact))
        as_written: _How | None = None
        if written is not None:
            onnx.save(written, Path(folder) / "written.onnx")
            as_written = (Path(folder) / "written.onnx", "disabled", False)
        del written
        free = fixed_batch(inputs_of(fp32)) is None
        before: _How = (fp32, "all", False)
        fused: _How = (artifact, "all", False)
        return KernelFacts(
            as_written_sqnr_db=gap(before, as_written),
            fused_sqnr_db=gap(before, fused),
            kernels_sqnr_db=gap(as_written, fused),
            batch_sqnr_db=gap(fused, (artifact, "all", True)) if free else None,
            fp32_batch_sqnr_db=gap(before, (fp32, "all", True)) if free else None,
        )
