"""A rubric's mistakes are found before any work, all at once."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from lynxbench.scoring import METRICS, check_rubric
from lynxbench.specs.rubric import UNITS, TaskName
from tests.scoring.build import metric, rubric

REQUIRED: dict[str, dict[str, Any]] = {"top-k": {"k": 5}, "recall": {"k": 10}, "ndcg": {"k": 10}}


def test_every_built_in_metric_has_a_sound_declaration() -> None:
    for name, known in METRICS.items():
        for task in known.tasks & set(get_args(TaskName)):
            assert check_rubric(rubric(metric(name, parameters=REQUIRED.get(name, {})), task=task)) == []


@pytest.mark.parametrize(
    ("use", "key", "words"),
    [
        (metric("top1"), "metrics[0].metric", ["unknown metric", "did you mean 'top-1'?"]),
        (metric("recall", parameters={"k": 1}), "metrics[0].metric", ["does not fit task image-classification"]),
        (metric("ece", direction="higher-is-better"), "metrics[0].direction", ["lower-is-better"]),
        (metric("log-loss", unit="bits"), "metrics[0].unit", ["'nats'"]),
        (metric("rmse", unit="fraction"), "metrics[0].unit", ["outside 0 to 1", "minutes", "'units'"]),
        (metric("perplexity", unit="fraction"), "metrics[0].unit", ["outside 0 to 1", "'tokens'"]),
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
    task = {"rmse": "regression", "perplexity": "language-modelling"}.get(use["metric"], "image-classification")
    (finding,) = check_rubric(rubric({**use, "name": "m"}, task=task))
    assert finding.key == key
    for word in words:
        assert word in " ".join(str(part) for part in finding)


def test_a_unit_that_is_left_out_is_the_metrics_own() -> None:
    """And what is a fraction keeps its digest, said or unsaid."""
    for name in METRICS:
        said = metric(name, parameters=REQUIRED.get(name, {}))
        unsaid = {key: value for key, value in said.items() if key != "unit"}
        assert rubric(unsaid).digest() == rubric(said).digest()
        assert (rubric(unsaid).primary.unit == "fraction") == METRICS[name].bounded
    assert {name for name, one in METRICS.items() if one.unit is not None} <= {*UNITS} <= {*METRICS}
    unbounded = {name for name, one in METRICS.items() if one.tasks & {"regression", "language-modelling"}}
    assert {name for name, one in METRICS.items() if not one.bounded} == unbounded | {"log-loss"}


WEIGHTS = {"top-1": 0.7, "ece": -0.3}


def composed(on: dict[str, list[str]] | None = None, **parameters: Any) -> list[tuple[str, str]]:
    """Key and message of each finding of a composite of top-1 and ece."""
    use = {**metric("composite", parameters=parameters), "name": "both", "on": on or {}}
    return [(found.key, found.message) for found in check_rubric(rubric(metric("top-1"), metric("ece"), use))]


def test_a_composite_names_metrics_of_the_rubric_that_pull_its_way() -> None:
    key = "metrics[2].parameters.weights"
    assert composed(weights=WEIGHTS) == []
    assert composed() == [(key, "required, but missing")]
    assert composed(weights=WEIGHTS, k=1) == [("metrics[2].parameters.k", "unknown parameter of composite")]
    assert composed(weights={"top1": 1}) == [(f"{key}.top1", "no such metric in this rubric")]
    assert composed(weights={"both": 1}) == [(f"{key}.both", "no such metric in this rubric")]
    assert composed(weights={"top-1": 0}) == [(f"{key}.top-1", "wrong value")]
    assert composed(weights={"ece": 1.0}) == [(f"{key}.ece", "pulls against a composite that is higher-is-better")]
    assert composed(weights={"top-1": 1}, on={"view": ["clean"]}) == [
        (f"{key}.top-1", "is declared on other samples than the composite")
    ]


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rubric(metric("bleu"), task="generation")
    assert check_rubric(asked) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (finding,) = check_rubric(asked)
    assert (finding.key, finding.message) == ("metrics[0].metric", "bleu needs sacrebleu, which is not installed")
    assert finding.hint == 'pip install "lynxbench[text]"'


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
