"""What is wrong with a rubric's metrics, all at once and before any work. `specs` cannot say: it imports no metrics."""

from __future__ import annotations

import importlib.util
import inspect
import math
from typing import Any, NamedTuple

from lynxbench.errors import UsageError
from lynxbench.scoring.composite import COMPOSITE
from lynxbench.scoring.metrics import METRICS, Metric, Parameter, load_function, share
from lynxbench.scoring.verdict import planned_resolution
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.rubric import UNITS, MetricUse, Rubric


class Finding(NamedTuple):
    """One thing wrong in a rubric: as `errors.Problem`, without the file."""

    key: str
    message: str
    value: str | None = None
    expected: str | None = None
    hint: str | None = None


def check_rubric(rubric: Rubric) -> list[Finding]:
    """Unknown metrics and options, wrong direction, unit or task, values that fit no view; in declaration order."""
    findings: list[Finding] = []
    for place, use in enumerate(rubric.metrics):
        key = f"metrics[{place}]"
        if ":" in use.metric:
            findings += _custom(use, key)
        elif use.metric == COMPOSITE:
            findings += _composite(use, rubric, key)
        elif use.metric in METRICS:
            findings += _built_in(use, METRICS[use.metric], rubric, key)
        else:
            fitting = [metric.name for metric in METRICS.values() if rubric.task in metric.tasks]
            findings.append(
                Finding(
                    f"{key}.metric",
                    "unknown metric",
                    value=repr(use.metric),
                    expected=f"one for {rubric.task}: {', '.join(fitting)}; a composite of them; or your own as "
                    "module:function",
                    hint=did_you_mean(use.metric, [*METRICS, COMPOSITE]),
                )
            )
        findings += _restriction(use, rubric, key)
    return findings


# Quantized models were seen to change 1 to 10 % of the answers; what was measured is in the record (`resolvable_loss`).
PLANNED_FLIPS = 0.05


def planned_answers(rubric: Rubric) -> tuple[int, float | None]:
    """Answers behind the primary metric at the standard size, and the smallest loss that they would resolve.

    The latter where answers are right or wrong and `PLANNED_FLIPS` of them change, each on its own; else None.
    """
    use = rubric.primary
    views = [view for view in rubric.test_set.views if view.name in use.on.get("view", (view.name,))]
    part = rubric.test_set.part
    asked = 1.0 if part is None else part.share if part.which == "tuning" else 1 - part.share
    n = round(rubric.test_set.count * asked) * len(views)
    known = METRICS.get(use.metric)
    if known is None or known.statistic is not share or n == 0:
        return n, None
    return n, planned_resolution(n, rubric.confidence, PLANNED_FLIPS)


def _built_in(use: MetricUse, metric: Metric, rubric: Rubric, key: str) -> list[Finding]:
    findings = []
    if rubric.task not in metric.tasks:
        findings.append(
            Finding(
                f"{key}.metric",
                f"{metric.name} does not fit task {rubric.task}",
                value=repr(use.metric),
                expected=", ".join(other.name for other in METRICS.values() if rubric.task in other.tasks),
            )
        )
    if metric.library is not None and importlib.util.find_spec(metric.library[0]) is None:
        library, extra = metric.library
        findings.append(
            Finding(
                f"{key}.metric",
                f"{metric.name} needs {library}, which is not installed",
                value=repr(use.metric),
                hint=f'pip install "lynxbench[{extra}]"',
            )
        )
    if use.direction != metric.direction:
        findings.append(
            Finding(
                f"{key}.direction",
                f"wrong for {metric.name}",
                value=repr(use.direction),
                expected=repr(metric.direction),
            )
        )
    if metric.unit is not None and use.unit != metric.unit:
        findings.append(
            Finding(f"{key}.unit", f"wrong for {metric.name}", value=repr(use.unit), expected=repr(metric.unit))
        )
    elif not metric.bounded and use.unit == "fraction":
        findings.append(
            Finding(
                f"{key}.unit",
                f"{metric.name} is no fraction: its scores may lie outside 0 to 1",
                value=repr(use.unit),
                expected="the unit that they are in, such as 'minutes', or none",
                hint=f"left out, it is {UNITS[metric.name]!r}; raise the rubric's version with it",
            )
        )
    for name in use.parameters:
        if name not in metric.parameters:
            hint = did_you_mean(name, metric.parameters) or f"{metric.name} takes no parameters"
            findings.append(Finding(f"{key}.parameters.{name}", f"unknown parameter of {metric.name}", hint=hint))
    for name, parameter in metric.parameters.items():
        wrong = _wrong(parameter, use.parameters.get(name, parameter.default))
        if wrong is not None:
            missing = name not in use.parameters
            findings.append(
                Finding(
                    f"{key}.parameters.{name}",
                    "required, but missing" if missing else "wrong value",
                    value=None if missing else repr(use.parameters[name]),
                    expected=wrong,
                )
            )
    return findings


def _wrong(parameter: Parameter, value: Any) -> str | None:
    """What was expected instead, or None when the value will do."""
    if value is None and parameter.optional:
        return None
    if parameter.kind == "bool":
        return None if isinstance(value, bool) else "true or false"
    if parameter.kind == "text" and not parameter.choices:
        return None if isinstance(value, str) and value else "a text"
    if parameter.kind == "text":
        return None if value in parameter.choices else " or ".join(parameter.choices)
    numeric = int if parameter.kind == "int" else (int, float)
    expected = "a whole number" if parameter.kind == "int" else "a number"
    if parameter.minimum is not None:
        expected += f" of at least {parameter.minimum:g}"
    if parameter.below is not None:
        expected += f" and below {parameter.below:g}"
    if not isinstance(value, numeric) or isinstance(value, bool):
        return expected
    low = parameter.minimum is not None and value < parameter.minimum
    high = parameter.below is not None and value >= parameter.below
    return expected if low or high else None


def _composite(use: MetricUse, rubric: Rubric, key: str) -> list[Finding]:
    """A composite's weights name other metrics of the rubric, on the same samples, and point the composite's way."""
    weights = use.parameters.get("weights")
    key = f"{key}.parameters"
    expected = 'the weight of each metric by its name here, e.g. { "top-1" = 0.8, "ece" = -0.2 }'
    findings = [
        Finding(f"{key}.{name}", "unknown parameter of composite", hint="it takes weights alone")
        for name in use.parameters
        if name != "weights"
    ]
    if not isinstance(weights, dict) or not weights:
        return [*findings, Finding(f"{key}.weights", "required, but missing", expected=expected)]
    parts = {part.name: part for part in rubric.metrics if part.metric != COMPOSITE}
    for name, weight in weights.items():
        place = f"{key}.weights.{name}"
        if name not in parts:
            hint = did_you_mean(name, parts)
            findings.append(Finding(place, "no such metric in this rubric", expected=", ".join(parts), hint=hint))
        elif (
            not isinstance(weight, int | float) or isinstance(weight, bool) or weight == 0 or not math.isfinite(weight)
        ):
            findings.append(Finding(place, "wrong value", repr(weight), "a number other than 0"))
        elif (weight > 0) != (parts[name].direction == use.direction):
            expected = f"a {'negative' if weight > 0 else 'positive'} weight: {name} is {parts[name].direction}"
            findings.append(
                Finding(place, f"pulls against a composite that is {use.direction}", repr(weight), expected)
            )
        elif use.unit == "fraction" and parts[name].unit != "fraction":
            expected = f"a unit of the composite's own: {name} is in {parts[name].unit}"
            findings.append(Finding(place, "makes the composite no fraction", expected=expected))
        elif dict(parts[name].on) != dict(use.on):
            expected = f"the same `on` as {name}"
            findings.append(Finding(place, "is declared on other samples than the composite", expected=expected))
    return findings


def _custom(use: MetricUse, key: str) -> list[Finding]:
    try:
        function = load_function(use.metric)
    except UsageError as error:
        return [
            Finding(f"{key}.metric", str(error), value=repr(use.metric), expected="module:function, importable here")
        ]
    try:
        inspect.signature(function).bind(None, **use.parameters)
    except TypeError as error:
        expected = f"what {use.metric} takes after the predictions: {inspect.signature(function)}"
        return [Finding(f"{key}.parameters", str(error), value=repr(dict(use.parameters)), expected=expected)]
    except ValueError:
        return []  # built-in functions may have no signature to look at
    return []


def _restriction(use: MetricUse, rubric: Rubric, key: str) -> list[Finding]:
    views = [view.name for view in rubric.test_set.views]
    findings = []
    for field, values in use.on.items():
        if not values:
            findings.append(
                Finding(f"{key}.on.{field}", "an empty list leaves no samples", expected="at least one value")
            )
        for value in values if field == "view" else ():
            if value not in views:
                hint = did_you_mean(value, views)
                findings.append(Finding(f"{key}.on.view", "no such view", repr(value), ", ".join(views), hint))
    return findings
