"""What the Python harness adds to a run, beside a C++ loop over ONNX Runtime's C API, interleaved in one process.

    python benchmarks/overhead.py [--seconds 4]

Needs `g++`: the loop, benchmarks/floor/floor.cpp, is built into a temporary folder. Both run the same model on one
thread: the harness by the path that a sweep times (`Executor.bind`, a task's query, `time_block`), the loop with inputs
and outputs bound once. The wheel's Python module holds a runtime of its own, so the loop's session lives in a second
copy of the same version, from the wheel's shared library. Blocks alternate in random order; the difference is formed
within a round. The bar: at most 1.5 µs at the median.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.execution import Executor
from lynxbench.measurement import time_block, warm_up
from lynxbench.specs.executor import ExecutorSpec
from lynxbench.specs.load import load_folder
from lynxbench.tasks.base import BoundQuery

BAR_US = 1.5
BLOCK_S = 0.05
SOURCE = Path(__file__).parent / "floor" / "floor.cpp"
_FLOAT32 = 1  # ONNX's number of the element type
_MOST_RUNS = 200_000

Array = npt.NDArray[np.float32]


class Floor:
    """A model in the C++ loop, bound to `feed`; `outputs` hold the last answer."""

    def __init__(self, library: ctypes.CDLL, model: Path, feed: dict[str, Array], outputs: dict[str, Array]) -> None:
        self._library = library
        self._handle = library.floor_open(str(runtime_library()).encode(), str(model).encode(), 1)
        self._check()
        self._inputs = {name: np.ascontiguousarray(values) for name, values in feed.items()}
        self.outputs = {name: np.zeros_like(values) for name, values in outputs.items()}
        for is_output, arrays in ((0, self._inputs), (1, self.outputs)):
            for name, values in arrays.items():
                shape = (ctypes.c_int64 * values.ndim)(*values.shape)
                data, rank = values.ctypes.data, values.ndim
                library.floor_bind(self._handle, is_output, name.encode(), data, values.nbytes, shape, rank, _FLOAT32)
                self._check()
        self._latencies_ns = np.zeros(_MOST_RUNS, dtype=np.int64)

    def block(self, seconds: float) -> npt.NDArray[np.int64]:
        """One block's latencies, [n] ns."""
        cells = self._latencies_ns
        runs = self._library.floor_run(self._handle, round(seconds * 1e9), cells.ctypes.data, len(cells))
        self._check()
        return cells[:runs].copy()

    def close(self) -> None:
        self._library.floor_close(self._handle)

    def _check(self) -> None:
        error = self._library.floor_error(self._handle).decode()
        if error:
            raise RuntimeError(error)


def build(folder: Path) -> ctypes.CDLL:
    """Compile the loop and load it; raises RuntimeError where that is not possible here."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise RuntimeError("there is no g++ here to build the C++ loop with")
    built = folder / "floor.so"
    subprocess.run(
        [compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-o", str(built), str(SOURCE), "-ldl"],
        check=True,
    )
    library = ctypes.CDLL(str(built))
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    library.floor_version.restype = library.floor_error.restype = text
    library.floor_version.argtypes = [text]
    library.floor_open.restype = pointer
    library.floor_open.argtypes = [text, text, ctypes.c_int]
    library.floor_error.argtypes = library.floor_close.argtypes = [pointer]
    library.floor_bind.argtypes = [pointer, ctypes.c_int, text, pointer, size, pointer, size, ctypes.c_int]
    library.floor_run.restype = ctypes.c_int64
    library.floor_run.argtypes = [pointer, ctypes.c_int64, pointer, ctypes.c_int64]
    return library


def runtime_library() -> Path:
    """The wheel's shared library; raises RuntimeError where it ships none."""
    import onnxruntime

    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    if not found:
        raise RuntimeError("the wheel of ONNX Runtime brings no libonnxruntime.so")
    return found[0]


def models(folder: Path) -> dict[str, tuple[Path, dict[str, Array]]]:
    """A tiny model, an MLP and a small CNN, each with an input."""
    from onnx import TensorProto, helper, numpy_helper, save

    random_ = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Any:
        values = random_.standard_normal(shape) / np.sqrt(np.prod(shape[1:] or shape))
        return numpy_helper.from_array(values.astype(np.float32), name)

    def model(name: str, nodes: Sequence[Any], inits: Sequence[Any], shape: list[int]) -> tuple[Path, dict[str, Array]]:
        ends = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, name, [ends], [out], inits)
        file = folder / f"{name}.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
        return file, {"x": random_.standard_normal(shape).astype(np.float32)}

    node = helper.make_node
    return {
        "tiny": model("tiny", [node("MatMul", ["x", "w"], ["y"])], [weights("w", 8, 4)], [1, 8]),
        "mlp": model(
            "mlp",
            [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])],
            [weights("a", 64, 128), weights("b", 128, 10)],
            [1, 64],
        ),
        "cnn": model(
            "cnn",
            [
                node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
                node("Relu", ["c"], ["r"]),
                node("GlobalAveragePool", ["r"], ["p"]),
                node("Flatten", ["p"], ["f"]),
                node("MatMul", ["f", "w"], ["y"]),
            ],
            [weights("k", 8, 1, 3, 3), weights("w", 8, 10)],
            [1, 1, 28, 28],
        ),
    }


def measure(seconds: float = 4.0) -> list[dict[str, Any]]:
    """A row for each model: medians in µs, and what the harness adds, with its 95 % interval over the rounds.

    Raises RuntimeError where the loop cannot be built or answers otherwise than the Python API.
    """
    import onnxruntime

    rows = []
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build(folder)
        version = library.floor_version(str(runtime_library()).encode()).decode()
        if version != onnxruntime.__version__:
            raise RuntimeError(f"the wheel's library is {version}, its Python module {onnxruntime.__version__}")
        spec = load_folder("executors", ExecutorSpec, None)["cpu"].spec
        for label, (model, feed) in models(folder).items():
            with Executor(spec, threads=1) as executor:
                executor.open(model)
                query = BoundQuery(executor, feed)
                query.run()
                expected = query.answer()
                floor = Floor(library, model, feed, expected)
                try:
                    floor.block(0.2)
                    warm_up([query.run], 300, 0.2)
                    for key, values in expected.items():
                        if not np.allclose(values, floor.outputs[key], rtol=1e-5, atol=1e-6):
                            raise RuntimeError(f"{label}: the C++ loop answers otherwise than the Python API")
                    pairs = [_round(floor, query, dice) for _ in range(max(4, round(seconds / (2 * BLOCK_S))))]
                finally:
                    floor.close()
            c_us, python_us = np.array(pairs).T / 1e3
            added = python_us - c_us
            half = 1.96 * 1.2533 * added.std(ddof=1) / np.sqrt(len(added))  # of a median, asymptotically
            rows.append(
                {
                    "model": label,
                    "rounds": len(added),
                    "floor_us": float(np.median(c_us)),
                    "harness_us": float(np.median(python_us)),
                    "added_us": float(np.median(added)),
                    "half_width_us": float(half),
                }
            )
    return rows


def _round(floor: Floor, query: BoundQuery, dice: random.Random) -> tuple[float, float]:
    """One block of each in random order: the medians in ns."""
    medians = {}
    for who in dice.sample(["c", "python"], 2):
        if who == "c":
            medians[who] = float(np.median(floor.block(BLOCK_S)))
        else:
            medians[who] = float(np.median(time_block([query.run], round(BLOCK_S * 1e9)).latencies_ns))
    return medians["c"], medians["python"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each model")
    arguments = parser.parse_args()
    try:
        rows = measure(arguments.seconds)
    except RuntimeError as error:
        print(f"not run: {error}")
        return
    print(f"{'model':<6}{'rounds':>7}{'C++ loop, µs':>14}{'harness, µs':>13}   added, µs (bar {BAR_US})")
    for row in rows:
        print(
            f"{row['model']:<6}{row['rounds']:>7}{row['floor_us']:>14.2f}{row['harness_us']:>13.2f}"
            f"   {row['added_us']:.2f} ± {row['half_width_us']:.2f}"
        )


if __name__ == "__main__":
    main()
