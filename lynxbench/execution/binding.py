"""A run whose inputs and outputs are bound once: what is timed.

Whatever the provider, a call takes the samples from host memory and returns when the answers can be read there:
that is what a user waits for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from lynxbench.execution.tensors import Array

# What vector instructions like best. NumPy promises only 16 bytes, so two runs of one candidate could differ.
ALIGNMENT_BYTES = 64
# The run configuration that says which captured graph a run belongs to; -1: none, neither captured nor replayed.
GRAPH_ID = "gpu_graph_id"
NO_GRAPH = "-1"
_graph_ids = itertools.count(1)


class BoundRun:
    """Call it to run. `inputs` may be overwritten in place between calls; `outputs` are valid until the next call.

    `call` is the same without this class's own frame (0.1 µs), for the tightest loops.
    """

    def __init__(self, inputs: dict[str, Array], outputs: dict[str, Array], call: Callable[[], None]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.call = call

    def __call__(self) -> None:
        self.call()


def bind(
    session: Any, feed: Mapping[str, Array], outputs: Mapping[str, Array], read_back: str, memory: str
) -> BoundRun:
    """Bind copies of `feed`, and buffers like `outputs`, to `session`.

    read_back "host": the session reads and writes the very arrays. "read-back": ONNX Runtime copies them to and from
    the device inside the call. "stream": buffers stay on the device `memory` (which a captured graph needs), and the
    call copies into and out of them; what the session wants in host memory is bound there.
    """
    host_inputs = {name: aligned_copy(array) for name, array in feed.items()}
    host_outputs = {name: aligned_empty(array.shape, array.dtype) for name, array in outputs.items()}
    if read_back == "host":
        call = _on_host(session, host_inputs, host_outputs)
    elif read_back == "read-back":
        call = _copied_by_runtime(session, host_inputs, host_outputs)
    else:
        call = _resident(session, host_inputs, host_outputs, memory)
    return BoundRun(host_inputs, host_outputs, call)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An uninitialized, C-contiguous array that begins on a 64-byte boundary."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def aligned_copy(array: Array) -> Array:
    """A copy of `array` as `aligned_empty` makes them."""
    copy = aligned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def _on_host(session: Any, inputs: dict[str, Array], outputs: dict[str, Array]) -> Callable[[], None]:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    _bind_host_outputs(binding, outputs)
    # The public run_with_iobinding adds checks for captured WebGPU graphs: 0.3 µs, no use here.
    return partial(session._sess.run_with_iobinding, binding._iobinding, None)


def _copied_by_runtime(session: Any, inputs: dict[str, Array], outputs: dict[str, Array]) -> Callable[[], None]:
    binding = session.io_binding()
    _bind_host_outputs(binding, outputs)
    pairs = tuple(inputs.items())

    def call() -> None:
        # ONNX Runtime copies an input to the device when it is bound, not when it runs.
        for name, array in pairs:
            binding.bind_cpu_input(name, array)
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def _resident(session: Any, inputs: dict[str, Array], outputs: dict[str, Array], memory: str) -> Callable[[], None]:
    import onnxruntime

    binding = session.io_binding()
    # A captured graph replays the addresses that it saw, so each binding captures under an id of its own.
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(GRAPH_ID, str(next(_graph_ids)))
    placed_inputs = []
    on_host = _inputs_on_host(session)
    for name, array in inputs.items():
        if name in on_host:
            # Read by nodes on the CPU alone. Bound on the device it would be copied back here once, when it is bound,
            # and what is written into it later would never be seen.
            binding.bind_cpu_input(name, array)
            continue
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, memory, 0)
        binding.bind_ortvalue_input(name, value)
        placed_inputs.append((value, array))
    placed_outputs = []
    for name, array in outputs.items():
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype, memory, 0)
        binding.bind_ortvalue_output(name, value)
        placed_outputs.append((value, array))

    def call() -> None:
        for value, array in placed_inputs:
            value.update_inplace(array)
        session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()
        for value, array in placed_outputs:
            np.copyto(array, value.numpy())

    return call


def _inputs_on_host(session: Any) -> frozenset[str]:
    """Names of the inputs that the session reads in host memory, whatever its provider."""
    where = zip(session.get_inputs(), session.get_input_memory_infos(), strict=True)
    return frozenset(item.name for item, memory in where if memory.name.lower() == "cpu")


def _bind_host_outputs(binding: Any, outputs: dict[str, Array]) -> None:
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
