"""Small rubrics and predictions for the tests of scoring."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.scoring.metrics import METRICS
from lynxbench.specs.base import build
from lynxbench.specs.rubric import UNITS, Rubric

Array = npt.NDArray[Any]

# Random cases of each property; LYNXBENCH_EXAMPLES=1000 for a thorough run.
EXAMPLES = int(os.environ.get("LYNXBENCH_EXAMPLES", "60"))


def value(name: str, answers: Predictions, **parameters: Any) -> float:
    """A built-in metric of all these predictions, by the very steps that scoring takes."""
    known = METRICS[name]
    options = known.options(parameters)
    statistic = known.statistic(known.measure(answers, options), options)
    sums = statistic.sums(np.zeros(len(answers), dtype=np.int64), 1)
    return float(statistic.finish(sums)[0])


def metric(name: str, /, **changes: Any) -> dict[str, Any]:
    """A metric's declaration with the direction and unit that belong to it."""
    known = METRICS.get(name)
    declared: dict[str, Any] = {"name": name.replace(":", "."), "metric": name, "direction": "higher-is-better"}
    if known is not None:
        declared["direction"] = known.direction
        declared["unit"] = UNITS.get(name, "fraction")
    return {**declared, **changes}


def rubric(*metrics: Mapping[str, Any], tolerance: Mapping[str, Any] | None = None, **changes: Any) -> Rubric:
    """A rubric over these metrics, the first of them primary."""
    declared = [{**use, "role": "primary" if place == 0 else "secondary"} for place, use in enumerate(metrics)]
    data: dict[str, Any] = {
        "name": "test",
        "version": "1",
        "title": "?",
        "task": "image-classification",
        "test_set": {
            "name": "set",
            "source": "set.npz",
            "composition": ["clean"],
            "composition_note": "drawn",
            "count": 10,
        },
        "metrics": declared,
        "reference": {"scheme": "fp32", "executor": "cpu"},
        "strata": ["view"],
        "strata_minimum_n": 2,
        "tolerance": dict(tolerance or {"kind": "absolute", "value": 0.01}),
        "calibration": {"minimum_count": 1, "domain": "any"},
        "confidence": 0.95,
        "resamples": 500,
        "seed": 3,
        **changes,
    }
    return build(Rubric, data, "test.toml")


def predictions(
    n: int,
    *,
    strata: Mapping[str, Sequence[str] | Array] | None = None,
    sources: Sequence[str] | Array | None = None,
    failed: Sequence[bool] | Array | None = None,
    **columns: Any,
) -> Predictions:
    """Predictions of n samples ``s000…``, each its own source and of view ``clean`` unless said otherwise."""
    ids = np.array([f"s{place:07d}" for place in range(n)], dtype=str)
    return Predictions(
        sample_ids=ids,
        source_ids=ids if sources is None else np.asarray(sources, dtype=str),
        strata={name: np.asarray(column) for name, column in (strata or {"view": ["clean"] * n}).items()},
        failed=np.zeros(n, dtype=bool) if failed is None else np.asarray(failed, dtype=bool),
        **columns,
    )


def classified(right: Array, **columns: Any) -> Predictions:
    """Predictions of a two-class task where sample i is right if right[i]."""
    right = np.asarray(right, dtype=bool)
    labels = np.arange(len(right)) % 2
    chosen = np.where(right, labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[chosen] * 2
    return predictions(len(right), labels=labels.astype(np.int64), logits=logits, **columns)
