"""Does an ONNX file give what the framework gives that it came from? On the very same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lynxbench.intake.source import Array, Feed

TOLERANCE = 1e-3
BATCH = 32


@dataclass(frozen=True)
class Parity:
    """How near an ONNX file comes to its source, over `n` samples.

    largest_difference   of any output value
    relative_difference  the same, over the range of that output's values in the source
    same_answer_share    samples whose largest class score is of the same class, or a tie within the tolerance;
                         None where no output has class scores
    accuracy_source, accuracy_onnx  where labels were given
    """

    n: int
    inputs_from: str
    largest_difference: float
    relative_difference: float
    same_answer_share: float | None
    accuracy_source: float | None
    accuracy_onnx: float | None
    tolerance: float

    @property
    def holds(self) -> bool:
        """The differences are within the tolerance, and no answer is another."""
        return self.relative_difference <= self.tolerance and self.same_answer_share in (None, 1.0)


def run_onnx(path: Path, feed: Feed) -> dict[str, Array]:
    """The file's answers on the CPU, in batches: name → [n, …]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = {item.name for item in session.get_inputs()}
    n = len(next(iter(feed.values())))
    parts = [
        session.run(names, {name: values[start : start + BATCH] for name, values in feed.items() if name in wanted})
        for start in range(0, n, BATCH)
    ]
    return {name: np.concatenate([part[index] for part in parts]) for index, name in enumerate(names)}


def compare(
    given: Mapping[str, Array], answered: Mapping[str, Array], labels: Array | None, where: str, tolerance: float
) -> Parity:
    """`given` by the source, `answered` by the ONNX file, both name → [n, …]."""
    largest = relative = 0.0
    same: float | None = None
    accuracies: tuple[float | None, float | None] = (None, None)
    for name, source in given.items():
        onnx = answered[name]
        if source.size == onnx.size and source.shape != onnx.shape:
            onnx = onnx.reshape(source.shape)
        if source.shape != onnx.shape:
            return Parity(len(source), where, np.inf, np.inf, None, None, None, tolerance)
        if source.dtype.kind not in "fiub":  # labels that are words
            same = min(1.0 if same is None else same, float((source == onnx).mean()))
            continue
        a, b = source.astype(np.float64), onnx.astype(np.float64)
        finite = np.isfinite(a)
        difference = float(np.abs(a - b)[finite].max(initial=0.0))
        difference = np.inf if not np.array_equal(finite, np.isfinite(b)) else difference
        spread = float(a[finite].max(initial=0.0) - a[finite].min(initial=0.0)) or 1.0
        largest, relative = max(largest, difference), max(relative, difference / spread)
        if source.ndim == 2 and source.dtype.kind == "f" and source.shape[1] > 1:
            told, mine = a.argmax(axis=1), b.argmax(axis=1)
            rows = np.arange(len(a))
            close = a[rows, told] - a[rows, mine] <= tolerance * spread
            same = min(1.0 if same is None else same, float(((told == mine) | close).mean()))
            if labels is not None and len(labels) == len(a):
                accuracies = float((told == labels).mean()), float((mine == labels).mean())
    n = len(next(iter(given.values())))
    return Parity(n, where, largest, relative, same, *accuracies, tolerance)
