"""Runs in steps: what one run leaves behind goes into the next without leaving the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lynxbench.execution.tensors import Array


class Stepper:
    """A session whose `carried` outputs (output → input) are the inputs of the next step: a decoder's cache.

    A step's other inputs come from host memory, its other outputs can be read there when it returns.
    """

    def __init__(self, session: Any, carried: Mapping[str, str], memory: str) -> None:
        self._session = session
        self._carried = dict(carried)
        self._memory = memory
        self._read = [item.name for item in session.get_outputs() if item.name not in self._carried]
        self._held: dict[str, Any] = {}

    def reset(self, first: Mapping[str, Array]) -> None:
        """Begin anew: the carried inputs of the first step (a cache of length 0, say)."""
        import onnxruntime

        self._held = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in first.items()}

    def step(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One run; name → array for every output that is not carried."""
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name, value in self._held.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._read:
            binding.bind_output(name, "cpu")
        for name in self._carried:
            binding.bind_output(name, self._memory)
        self._session.run_with_iobinding(binding)
        values = binding.get_outputs()
        kept = values[len(self._read) :]
        self._held = dict(zip(self._carried.values(), kept, strict=True))
        return {name: value.numpy() for name, value in zip(self._read, values, strict=False)}
