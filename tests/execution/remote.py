"""Run one executor in this process and tell what came of it: a request as JSON in, the answer as JSON out.

Started as a script with the interpreter of an environment of its own, which sees LynxBench but not the tests.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.errors import LynxBenchError
from lynxbench.execution import Executor
from lynxbench.specs.executor import ExecutorSpec


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Open, verify against the references, and run bound: in place changed inputs must reach the provider."""
    spec = ExecutorSpec.model_validate_json(request["spec"])
    feed = _arrays(request["feed"])
    references = [_arrays(reference) for reference in request["references"]]
    cache_dir = Path(request["cache_dir"]) if request["cache_dir"] else None
    with Executor(spec, threads=request["threads"], options=request["options"], cache_dir=cache_dir) as executor:
        cold = executor.open(Path(request["model"]), shapes=[{name: array.shape for name, array in feed.items()}])
        verification = executor.verify(feed, references, scheme=request["scheme"])
        plain = executor.run(feed)
        bound = executor.bind(feed)
        bound()
        first = {name: array.copy() for name, array in bound.outputs.items()}
        for array in bound.inputs.values():
            array[...] = array[::-1].copy() if len(array) > 1 else array * 2
        changed_feed = {name: array.copy() for name, array in bound.inputs.items()}
        bound()
        second = {name: array.copy() for name, array in bound.outputs.items()}
        expected = executor.run(changed_feed)
        sensors = executor.read_sensors().to_plain()
    return {
        "cold": asdict(cold),
        "verification": asdict(verification),
        "outputs": _lists(plain),
        "bound_difference": _worst(first, plain),
        "changed_difference": _worst(second, expected),
        "change": _worst(second, first),
        "sensors": sensors,
    }


def _arrays(lists: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(item["data"], dtype=item["dtype"]) for name, item in lists.items()}


def _lists(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: {"data": array.tolist(), "dtype": str(array.dtype)} for name, array in arrays.items()}


def _worst(found: dict[str, Any], expected: dict[str, Any]) -> float:
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


def main() -> None:
    """Answer one request; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.read())
    try:
        result = answer(request)
    except LynxBenchError as error:
        result = {"error": type(error).__name__, "status": getattr(error, "status", None), "reason": str(error)}
    out.write(json.dumps(result) + "\n")
    out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
