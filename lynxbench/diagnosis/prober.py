"""The process that looks into models: `python -m lynxbench.diagnosis.prober`, spoken to in JSON lines.

numbers  every tensor and weight, candidate against fp32
kernels  what fused kernels and the batch change about the outputs
profile  where the time of a run goes
answer   a model file's predictions
parts    which nodes the candidate's scheme quantizes
build    the model in another scheme, to a file that is not kept
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from lynxbench.datasets.samples import Samples
from lynxbench.diagnosis.facts import MaskFacts, OpTime, TimeFacts, as_plain
from lynxbench.diagnosis.feeds import Batches, batches_of, inputs_of
from lynxbench.diagnosis.graphs import masks, pairs, represented
from lynxbench.diagnosis.kernels import kernel_facts
from lynxbench.diagnosis.observe import observe
from lynxbench.diagnosis.parts import quantized_nodes
from lynxbench.diagnosis.weights import weight_facts
from lynxbench.quantization import build_artifact
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.suite import Model
from lynxbench.sweep.builder import calibration_data
from lynxbench.sweep.child import serve
from lynxbench.sweep.wire import save_predictions
from lynxbench.tasks import answer_all, get_task, own_inputs

# A profile of this many runs or this long: medians of microseconds need some, slow models must not take minutes.
PROFILED_RUNS = 50
PROFILED_S = 3.0
WARM_UP_RUNS = 5


def numbers(request: dict[str, Any]) -> dict[str, Any]:
    """Tensors, weights and masks."""
    import onnx

    prepared, artifact = _prepared(request), onnx.load(request["artifact"])
    test = _batches(request, request["samples"])
    calibration = None if request["calibration"] is None else _batches(request, request["calibration"])
    tensors = observe(prepared, artifact, test, calibration)
    largest = {one.name: one.largest for one in tensors}
    ranges, twins = represented(artifact), pairs(prepared, artifact)
    found = [
        MaskFacts(
            constant=constant,
            value=value,
            tensor=tensor,
            softmax=softmax,
            unmasked_largest=max((largest.get(name, 0.0) for name in others), default=0.0),
            quantized=twins.get(tensor, tensor).removesuffix("_DequantizeLinear_Output") in ranges,
        )
        for constant, value, tensor, softmax, others in masks(prepared)
    ]
    return {
        "tensors": [as_plain(one) for one in tensors],
        "weights": [as_plain(one) for one in weight_facts(prepared, artifact)],
        "masks": [as_plain(one) for one in found],
        "op_types": dict(_quantized_ops(prepared, artifact)),
    }


def _quantized_ops(prepared: Any, artifact: Any) -> dict[str, int]:
    """Op type → how many of its nodes write a tensor that the candidate quantizes."""
    ranges, twins = represented(artifact), pairs(prepared, artifact)
    found: dict[str, int] = {}
    for node in prepared.graph.node:
        if any(twins.get(name, name).removesuffix("_DequantizeLinear_Output") in ranges for name in node.output):
            found[node.op_type] = found.get(node.op_type, 0) + 1
    return found


def kernels(request: dict[str, Any]) -> dict[str, Any]:
    """The outputs of fp32, of the candidate as written, as fused, and one by one."""
    model, task, samples = _material(request, request["samples"])
    return as_plain(
        kernel_facts(
            Path(request["model_path"]),
            Path(request["artifact"]),
            ExecutorSpec.from_json(request["executor"]),
            model,
            task,
            samples,
            batch_size=request["batch_size"],
        )
    )


def profile(request: dict[str, Any]) -> dict[str, Any]:
    """The time by op type of several model files at one batch size; their runs take turns."""
    from lynxbench.execution import Executor

    model, task, samples = _material(request, request["samples"])
    spec = ExecutorSpec.from_json(request["executor"])
    asked = task.inputs(samples)[: request["batch_size"]]

    def opened(stack: ExitStack, folder: str | None) -> list[tuple[Any, Callable[[], Any]]]:
        found: list[tuple[Any, Callable[[], Any]]] = []
        for number, (file, kind) in enumerate(request["artifacts"]):
            place = None if folder is None else Path(folder) / str(number)
            if place is not None:
                place.mkdir()
            executor = Executor(spec, threads=request["threads"], scheme=kind, spinning=False, profile_dir=place)
            stack.enter_context(executor).open(Path(file))
            feed = own_inputs(task.feed(asked, model, executor.inputs), executor.inputs)
            found.append((executor, partial(executor.run, feed)))
        return found

    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="lynxbench-profile-") as folder:
        run_ns, _ = _timed([run for _, run in opened(stack, None)])
        profiled = opened(stack, folder)
        profiled_ns, runs = _timed([run for _, run in profiled])
        found = []
        for number, (executor, _) in enumerate(profiled):
            times = sorted(executor.kernel_times(), key=lambda one: -one.ns)
            ops = tuple(OpTime(one.op_type, one.kernels, one.ns, one.reads) for one in times)
            kernels_ns = sum(op.ns for op in ops)
            found.append(TimeFacts(run_ns[number], profiled_ns[number], kernels_ns, runs, len(asked), ops))
    return {"times": [as_plain(one) for one in found]}


def _timed(runs: Sequence[Callable[[], Any]]) -> tuple[list[float], int]:
    """Median nanoseconds of each, in turns after a warm-up, and how many turns there were."""
    for run in runs:
        for _ in range(WARM_UP_RUNS):
            run()
    times: list[list[int]] = []
    begun = time.monotonic()
    while len(times) < PROFILED_RUNS and (not times or time.monotonic() - begun < PROFILED_S):
        turn = []
        for run in runs:
            start = time.perf_counter_ns()
            run()
            turn.append(time.perf_counter_ns() - start)
        times.append(turn)
    return [float(statistics.median(column)) for column in zip(*times, strict=True)], len(times)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Predictions of a model file, to a file."""
    from lynxbench.execution import Executor

    model, task, samples = _material(request, request["samples"])
    spec = ExecutorSpec.from_json(request["executor"])
    with Executor(spec, threads=request["threads"], scheme=request["scheme_kind"], spinning=False) as executor:
        executor.open(Path(request["artifact"]))
        answers = answer_all(task, executor, samples, model, request["batch_size"])
    predictions = task.predictions(samples, answers)
    save_predictions(predictions, Path(request["out"]))
    return {"n": len(predictions)}


def parts(request: dict[str, Any]) -> dict[str, Any]:
    """The nodes that can be tried one at a time."""
    return {
        "nodes": [as_plain(one) for one in quantized_nodes(_prepared(request), Scheme.from_json(request["scheme"]))]
    }


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Write the model in `scheme` to `out`, with what was observed before taken from the cache."""
    build_artifact(
        Path(request["model_path"]),
        Scheme.from_json(request["scheme"]),
        Path(request["out"]),
        calibration=None if request["calibration"] is None else calibration_data(request),
        cache_dir=Path(request["cache"]) / "ranges",
    )
    return {}


def _prepared(request: dict[str, Any]) -> Any:
    """The fp32 model as the quantizer saw it, from the cache that builds share."""
    from lynxbench.quantization.prepare import prepared_model

    model, _ = prepared_model(Path(request["model_path"]), request["model_sha256"], Path(request["cache"]) / "ranges")
    return model


def _material(request: dict[str, Any], samples: str) -> tuple[Model, Any, Samples]:
    return Model.from_json(request["model"]), get_task(request["task"]), Samples.read(Path(samples))


def _batches(request: dict[str, Any], folder: str) -> Batches:
    """Samples in batches as the fp32 model takes them."""
    model, task, samples = _material(request, folder)
    return batches_of(
        task,
        model,
        samples,
        inputs_of(Path(request["model_path"])),
        count=request["count"],
        batch_size=request["batch_size"],
        strata=tuple(request["strata"]),
    )


def main() -> None:
    """Serve until the parent closes the pipe."""
    serve(
        {
            "numbers": numbers,
            "kernels": kernels,
            "profile": profile,
            "answer": answer,
            "parts": parts,
            "build": build,
        }
    )


if __name__ == "__main__":
    main()
