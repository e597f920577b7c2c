"""Time and peak memory of calibration, beside ONNX Runtime's own calibrators and plain inference over the same samples.

    python benchmarks/calibration.py           # small sizes, under a minute
    python benchmarks/calibration.py --full    # a ResNet18 at 224 pixels and a 6-layer transformer of MiniLM's size,
                                               # 32 and 512 samples, ten minutes

Every line is measured in a process of its own. The two ratios, of wall time and of CPU time, are to plain inference of
the same number of samples (ONNX Runtime's default optimization, one thread). Our histograms count one batch on a second
thread while the next is computed, so that the two differ where a core is free. `MB` is the peak above what the process
held before it began.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lynxbench.quantization.calibration import CalibrationData
from lynxbench.quantization.convert import quantizable_op_types
from lynxbench.quantization.observe import observation
from lynxbench.quantization.prepare import prepared_model
from lynxbench.quantization.ranges import calibrated_ranges
from lynxbench.specs.scheme import Scheme

PERCENTILE = 99.99
BATCH = 8


@dataclass
class Builder:
    """Nodes and random weights, one after the other."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, values: Any) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, *shape: int, scale: float) -> str:
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=f"{op_type}_{output}", **attributes))
        return output

    def model(self, graph_input: Any, output: str) -> Any:
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "benchmark", [graph_input], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def cnn(size: int) -> Any:
    """ResNet18's layers with random weights, batch norms folded in; input `x` [n, 3, size, size]."""
    make = Builder()

    def conv(x: str, channels: tuple[int, int], kernel: int, stride: int, *, relu: bool = True) -> str:
        taken, given = channels
        weight = make.weight(given, taken, kernel, kernel, scale=(2 / (taken * kernel * kernel)) ** 0.5)
        bias = make.weight(given, scale=0.1)
        y = make.op("Conv", x, weight, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)
        return make.op("Relu", y) if relu else y

    x = make.op("MaxPool", conv("x", (3, 64), 7, 2), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    taken = 64
    for given, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        y = conv(conv(x, (taken, given), 3, stride), (given, given), 3, 1, relu=False)
        skip = x if taken == given else conv(x, (taken, given), 1, stride, relu=False)
        x, taken = make.op("Relu", make.op("Add", skip, y)), given
    x = make.op("Flatten", make.op("GlobalAveragePool", x))
    x = make.op("Gemm", x, make.weight(1000, 512, scale=0.05), make.weight(1000, scale=0.1), transB=1)
    return make.model(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size]), x)


def transformer(layers: int, width: int, heads: int, vocabulary: int) -> Any:
    """An encoder with random weights; input `ids` [n, tokens]."""
    make = Builder()
    split = make.constant(np.array([0, 0, heads, width // heads]))
    join = make.constant(np.array([0, 0, width]))
    scale, half, one, root = (make.constant(np.float32(v)) for v in ((width // heads) ** -0.5, 0.5, 1.0, 0.5**0.5))

    def linear(x: str, taken: int, given: int) -> str:
        weight = make.weight(taken, given, scale=taken**-0.5)
        return make.op("Add", make.op("MatMul", x, weight), make.weight(given, scale=0.02))

    def norm(x: str) -> str:
        ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
        return make.op("LayerNormalization", x, make.constant(ones), make.constant(zeros), axis=-1)

    x = make.op("Gather", make.weight(vocabulary, width, scale=1.0), "ids")
    for _ in range(layers):
        q, k, v = (
            make.op("Transpose", make.op("Reshape", linear(x, width, width), split), perm=perm)
            for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        attention = make.op("Softmax", make.op("Mul", make.op("MatMul", q, k), scale), axis=-1)
        y = make.op("Transpose", make.op("MatMul", attention, v), perm=[0, 2, 1, 3])
        x = norm(make.op("Add", x, linear(make.op("Reshape", y, join), width, width)))
        y = linear(x, width, 4 * width)
        gelu = make.op("Add", make.op("Erf", make.op("Mul", y, root)), one)
        x = norm(make.op("Add", x, linear(make.op("Mul", make.op("Mul", y, half), gelu), 4 * width, width)))
    return make.model(helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "tokens"]), x)


def feeds(model: str, count: int, size: int) -> Callable[[], Iterator[dict[str, Any]]]:
    """Batches that cost next to nothing to make: one random batch, varied."""
    rng = np.random.default_rng(1)
    if model == "cnn":
        pixels = rng.standard_normal((BATCH, 3, size, size)).astype(np.float32)
        return lambda: ({"x": pixels * np.float32(1 + 0.001 * i)} for i in range(count // BATCH))
    ids = rng.integers(0, 1000, (BATCH, size))
    return lambda: ({"ids": (ids + 7 * i) % 1000} for i in range(count // BATCH))


def peak_kib() -> int:
    """The process's peak resident memory (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) if found else 0


def child(path: str, *, model: str, who: str, method: str, count: int, size: int) -> dict[str, float]:
    """One measurement."""
    import onnxruntime
    from onnxruntime.quantization import calibrate

    scheme = Scheme(name="benchmark", kind="int8-static")
    op_types = sorted(quantizable_op_types(scheme))
    batches = feeds(model, count, size)
    prepared = onnx.load(path)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = peak_kib()
    start, cpu = time.perf_counter(), time.process_time()
    if who == "plain":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for feed in batches():
            session.run(None, feed)
    elif who == "ours":
        data = CalibrationData(batches, count, "0" * 64)
        calibrated_ranges(prepared, observation(prepared, op_types), data, method=method, percentile=PERCENTILE)
    else:
        kinds: dict[str, Any] = {
            "minmax": lambda: calibrate.MinMaxCalibrater(Path(path), op_types, f"{path}.augmented"),
            "percentile": lambda: calibrate.PercentileCalibrater(
                Path(path), op_types, f"{path}.augmented", percentile=PERCENTILE
            ),
            "entropy": lambda: calibrate.EntropyCalibrater(Path(path), op_types, f"{path}.augmented", num_bins=2048),
        }
        with contextlib.redirect_stdout(io.StringIO()):
            calibrater = kinds[method]()
            calibrater.augment_graph()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            calibrater.infer_session = onnxruntime.InferenceSession(f"{path}.augmented", options)
            iterator = batches()
            calibrater.collect_data(type("Reader", (), {"get_next": lambda self: next(iterator, None)})())
            calibrater.compute_data()
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": (peak_kib() - before) / 1024,
    }


def measured(*arguments: str) -> dict[str, float] | None:
    """`child` in a process of its own; None when it died, of want of memory mostly."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def measurements(full: bool, count: int) -> Iterator[tuple[str, str]]:
    """What is measured of `count` samples: method and who does it."""
    yield "inference", "plain"
    for method in ("minmax", "percentile", "entropy"):
        yield method, "ours"
        # ONNX Runtime's histograms hold every activation, and its entropy search takes up to a second a tensor.
        if method == "minmax" or (count < 512 and (full or method == "percentile")):
            yield method, "onnxruntime"


def table(full: bool, source: Path, name: str, size: int) -> None:
    """Print a model's lines."""
    print(f"{'method':12}{'by':14}{'samples':>8}{'wall s':>9}{'cpu s':>9}{'wall':>7}{'cpu':>7}{'MB':>7}")
    for count in (32, 512) if full else (96,):
        plain = None
        for method, who in measurements(full, count):
            found = measured(str(source), name, who, method, str(count), str(size))
            line = f"{method:12}{who:14}{count:8d}"
            if found is None:
                print(f"{line}   failed", flush=True)
                continue
            plain = plain or found
            ratios = "".join(f"{found[key] / plain[key]:7.2f}" for key in ("wall_s", "cpu_s"))
            print(f"{line}{found['wall_s']:9.2f}{found['cpu_s']:9.2f}{ratios}{found['peak_mb']:7.0f}", flush=True)


def report(full: bool) -> None:
    """Print the tables."""
    models = {
        "cnn": (cnn(224), 224) if full else (cnn(96), 96),
        "transformer": (transformer(6, 384, 12, 30522), 128) if full else (transformer(2, 256, 4, 1000), 64),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, size) in models.items():
            source = Path(folder) / f"{name}.onnx"
            onnx.save(model, source)
            start = time.perf_counter()
            prepared, _ = prepared_model(source, "", None)
            onnx.save(prepared, source)
            print(f"\n{name}: prepared in {time.perf_counter() - start:.1f} s", flush=True)
            table(full, source, name, size)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        path, model, who, method, count, size = sys.argv[2:]
        print(json.dumps(child(path, model=model, who=who, method=method, count=int(count), size=int(size))))
        return
    parser = argparse.ArgumentParser(description="time and memory of calibration")
    parser.add_argument("--full", action="store_true", help="ResNet18 and MiniLM sizes, 32 and 512 samples")
    report(parser.parse_args().full)


if __name__ == "__main__":
    main()
