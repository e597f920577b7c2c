"""A rubric's mistakes are found before any work, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from lynxbench.scoring import METRICS, check_rubric
from tests.scoring.build import metric, rubric

REQUIRED: dict[str, dict[str, Any]] = {"top-k": {"k": 5}, "recall": {"k": 10}, "ndcg": {"k": 10}}


def test_every_built_in_metric_has_a_sound_declaration() -> None:
    for name, known in METRICS.items():
        for task in known.tasks:
            assert check_rubric(rubric(metric(name, parameters=REQUIRED.get(name, {})), task=task)) == []


@pytest.mark.parametrize(
    ("use", "key", "words"),
    [
        (metric("top1"), "metrics[0].metric", ["unknown metric", "did you mean 'top-1'?"]),
        (metric("recall", parameters={"k": 1}), "metrics[0].metric", ["does not fit task image-classification"]),
        (metric("ece", direction="higher-is-better"), "metrics[0].direction", ["lower-is-better"]),
        (metric("log-loss", unit="bits"), "metrics[0].unit", ["'nats'"]),
        (metric("ece", parameters={"bin": 3}), "metrics[0].parameters.bin", ["did you mean 'bins'?"]),
        (metric("top-1", parameters={"k": 3}), "metrics[0].parameters.k", ["takes no parameters"]),
        (metric("ece", parameters={"bins": 0}), "metrics[0].parameters.bins", ["at least 1", "0"]),
        (metric("ece", parameters={"bins": 2.5}), "metrics[0].parameters.bins", ["a whole number"]),
        (metric("ece", parameters={"bins": True}), "metrics[0].parameters.bins", ["a whole number"]),
        (metric("ece", parameters={"binning": "even"}), "metrics[0].parameters.binning", ["equal-width or equal-mass"]),
        (metric("log-loss", parameters={"clip": 0.7}), "metrics[0].parameters.clip", ["below 0.5"]),
        (metric("top-k"), "metrics[0].parameters.k", ["required, but missing"]),
        (metric("top-1", on={"view": ["cleen"]}), "metrics[0].on.view", ["no such view", "did you mean 'clean'?"]),
        (metric("top-1", on={"class": []}), "metrics[0].on.class", ["leaves no samples"]),
        (metric("nowhere:here"), "metrics[0].metric", ["cannot be loaded"]),
        (metric("tests.scoring.custom:gone"), "metrics[0].metric", ["cannot be loaded"]),
        (metric("tests.scoring.custom:__doc__"), "metrics[0].metric", ["is not a function"]),
        (metric("tests.scoring.custom:right", parameters={"x": 1}), "metrics[0].parameters", ["unexpected keyword"]),
    ],
)
def test_each_mistake_is_named_with_its_key(use: dict[str, Any], key: str, words: list[str]) -> None:
    (finding,) = check_rubric(rubric({**use, "name": "m"}))
    assert finding.key == key
    for word in words:
        assert word in " ".join(str(part) for part in finding)


def test_all_mistakes_at_once_in_order() -> None:
    uses = [metric("f2"), metric("ece", direction="higher-is-better", parameters={"bins": -1, "width": 2})]
    keys = [finding.key for finding in check_rubric(rubric(*uses))]
    assert keys == [
        "metrics[0].metric",
        "metrics[1].direction",
        "metrics[1].parameters.width",
        "metrics[1].parameters.bins",
    ]


def test_a_third_partys_metric_that_fits() -> None:
    assert check_rubric(rubric(metric("tests.scoring.custom:right", name="mine", parameters={"margin": 0.1}))) == []
