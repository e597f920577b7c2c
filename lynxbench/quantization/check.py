"""Does an artifact load, and does it run? Asked before anybody measures it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lynxbench.errors import CellError
from lynxbench.quantization.calibration import Feed
from lynxbench.quantization.failures import failing_as, plain

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
# ONNX Runtime's spelling → onnx.TensorProto's number.
ELEMENT_TYPES = {
    "tensor(float)": 1,
    "tensor(uint8)": 2,
    "tensor(int8)": 3,
    "tensor(int32)": 6,
    "tensor(int64)": 7,
    "tensor(string)": 8,
    "tensor(bool)": 9,
    "tensor(float16)": 10,
    "tensor(double)": 11,
}


def check(artifact: bytes, source: bytes, feed: Feed | None, threads: int, *, kind: str = "") -> tuple[bool, list[str]]:
    """Load an artifact on the CPU and run it once, on `feed` or else on zeros.

    Returns whether it was run (zeros that the source itself refuses prove nothing) and remarks. Raises `CellError`
    when it does not load, does not run, or has other inputs or outputs than its source. Of schemes of `kind` bf16, for
    which the CPU has no kernels, only the graph is checked.
    """
    if kind == "bf16":
        return False, [_sound_without_kernels(artifact)]
    with failing_as("loading the source"):
        before = session(source, threads)
    try:
        with failing_as("loading the artifact"):
            after = session(artifact, threads)
    except CellError as error:
        # ONNX Runtime's optimizer, before any provider is asked, refuses a Clip or Relu before a float8 number.
        if kind == "fp8" and "clip_quantizelinear" in error.reason:
            reason = "ONNX Runtime's optimizer does not take a Clip or Relu right before a float8 number"
            raise CellError("unsupported", reason) from None
        raise
    for what, mine, theirs in (
        ("inputs", after.get_inputs(), before.get_inputs()),
        ("outputs", after.get_outputs(), before.get_outputs()),
    ):
        if [item.name for item in mine] != [item.name for item in theirs]:
            raise CellError("failed", f"the artifact has other {what} than its source: {[item.name for item in mine]}")
    try:
        given = zeros(before) if feed is None else feed
        wanted = before.run(None, given)
    except Exception as error:  # ONNX Runtime's errors share no public base class
        if feed is not None:
            raise CellError("failed", f"running the source once: {plain(error)}") from error
        return False, [f"not run once: the source refuses zeros as input: {plain(error)}"]
    with failing_as("running the artifact once"):
        answers = after.run(None, _as_declared(after, given))
    broken = [
        item.name
        for item, answer, right in zip(after.get_outputs(), answers, wanted, strict=True)
        if not _finite(answer) and _finite(right)
    ]
    return True, [f"the first run gave NaN or infinity in {name}, where the source gave numbers" for name in broken]


def _sound_without_kernels(artifact: bytes) -> str:
    import onnx

    with failing_as("checking the graph"):
        onnx.checker.check_model(artifact, full_check=True)
    return "not run once: the CPU provider has no bfloat16 kernels; the graph is sound"


def _finite(answer: Any) -> bool:
    return not isinstance(answer, np.ndarray) or answer.dtype.kind != "f" or bool(np.isfinite(answer).all())


def session(model: bytes, threads: int, *, optimize: bool = True, varied_shapes: bool = False) -> Any:
    """An ONNX Runtime session on the CPU, quiet, without spinning threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # A memory plan is made and kept for each shape, which adds up where every batch has another.
    options.enable_mem_pattern = not varied_shapes
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def zeros(session: Any) -> Feed:
    """Zeros for every input; dimensions that are free become 1."""
    feed: Feed = {}
    for item in session.get_inputs():
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in item.shape]
        if item.type == "tensor(string)":
            feed[item.name] = np.full(shape, "", dtype=object)
        else:
            feed[item.name] = np.zeros(shape, dtype=_DTYPES.get(item.type, "float32"))
    return feed


def _as_declared(session: Any, feed: Feed) -> Feed:
    """The feed in the float type that the artifact asks for: float16 inputs where its i/o types were converted."""
    types = {item.name: _DTYPES.get(item.type) for item in session.get_inputs()}
    half = np.dtype("float16")
    return {
        name: array.astype(half) if types.get(name) == "float16" and array.dtype == np.float32 else array
        for name, array in feed.items()
    }
