"""The one way in: a rubric, a candidate's and its reference's predictions; out come `Scores`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import UsageError
from lynxbench.scoring.agreement import agreement
from lynxbench.scoring.composite import COMPOSITE, combined
from lynxbench.scoring.estimate import Estimate, Sampling, estimate, estimate_by_calls
from lynxbench.scoring.intervals import holm
from lynxbench.scoring.metrics import Ingredients, custom_mean, custom_values, known_metric
from lynxbench.scoring.pairing import compact, pair, source_codes
from lynxbench.scoring.resampling import generator
from lynxbench.scoring.results import Score, Scores, Verdict
from lynxbench.scoring.statistic import Ints, Statistic, UndefinedError
from lynxbench.scoring.unusable import unusable
from lynxbench.scoring.verdict import judge, undecided
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.rubric import MetricUse, Rubric

Mask = npt.NDArray[np.bool_]


def score(
    rubric: Rubric, candidate: Predictions, reference: Predictions, *, is_reference: bool | None = None
) -> Scores:
    """Score `candidate` beside `reference` on the samples that both answered, as the rubric asks.

    is_reference  the candidate is the reference itself: deltas are 0, the verdict is ``reference``; when left out, true
                  if both are the same object
    Raises `UsageError` for an unknown metric or stratum field, and when the two do not answer the same test set.
    """
    itself = candidate is reference if is_reference is None else is_reference
    paired = _Paired.of(rubric, candidate, candidate if itself else reference, itself)
    metrics, verdict = [], None
    strata: list[Score] = []
    for use in rubric.metrics:
        compared = _prepare(use, paired)
        result, numbers = paired.score(use, compared, paired.mask(use), None)
        metrics.append(result)
        if use.role == "primary":
            verdict = _verdict(rubric, use, result, numbers, itself)
            strata = _strata(use, compared, paired)
    if verdict is None:
        raise UsageError(f"rubric {rubric.name} has no primary metric")
    reported = [item for item in strata if item.loss is not None]
    sampling = paired.sampling(np.arange(len(paired.candidate)), "agreement")
    return Scores(
        n=len(paired.candidate),
        n_candidate=len(candidate),
        n_reference=len(candidate if itself else reference),
        metrics=tuple(metrics),
        strata=tuple(strata),
        worst_stratum=None if itself or not reported else max(reported, key=lambda item: item.loss or 0.0),
        verdict=verdict,
        agreement=agreement(paired.candidate, paired.reference, sampling),
    )


# What stands behind a metric on any subset [m] of the paired samples; raises `UndefinedError`.
Compared = Callable[[Ints, Sampling], Estimate]


@dataclass(frozen=True)
class _Paired:
    rubric: Rubric
    candidate: Predictions
    reference: Predictions
    sources: Ints
    failed: tuple[Mask, Mask]
    itself: bool

    @staticmethod
    def of(rubric: Rubric, candidate: Predictions, reference: Predictions, itself: bool) -> _Paired:
        ours, theirs = pair(candidate, reference)
        return _Paired(rubric, ours, theirs, source_codes(ours), (unusable(ours), unusable(theirs)), itself)

    def mask(self, use: MetricUse, without: str | None = None) -> Mask:
        """[n] the samples that a metric is declared on, leaving out one field's restriction."""
        chosen = np.ones(len(self.candidate), dtype=np.bool_)
        for field, values in use.on.items():
            if field != without:
                chosen &= np.isin(self.field(field), values)
        return chosen

    def field(self, name: str) -> npt.NDArray[np.str_]:
        """[n] one stratum field, or `UsageError` with the nearest name."""
        if name not in self.candidate.strata:
            hint = did_you_mean(name, self.candidate.strata) or "the test set has none"
            raise UsageError(f"rubric {self.rubric.name}: samples have no field {name!r} to report by; {hint}")
        return self.candidate.strata[name].astype(str)

    def sampling(self, index: Ints, *names: str) -> Sampling:
        """How to resample the samples at `index`, with a stream of their own."""
        sources, count = compact(self.sources[index])
        return Sampling(
            self.rubric.confidence, self.rubric.resamples, sources, count, generator(self.rubric.seed, *names)
        )

    def score(
        self, use: MetricUse, compared: Compared, mask: Mask, stratum: tuple[str, str] | None
    ) -> tuple[Score, Estimate | None]:
        """One `Score`, and the numbers behind it where there are any."""
        index = np.flatnonzero(mask)
        sampling = self.sampling(index, use.name, *(stratum or ()))
        blank = Score(
            name=use.name,
            metric=use.metric,
            role=use.role,
            direction=use.direction,
            unit=use.unit,
            stratum_field=stratum[0] if stratum else None,
            stratum=stratum[1] if stratum else None,
            n=len(index),
            n_sources=sampling.count,
            n_failed=int(self.failed[0][index].sum()),
            n_failed_reference=int(self.failed[1][index].sum()),
            confidence=self.rubric.confidence,
            seed=self.rubric.seed,
        )
        least = self.rubric.strata_minimum_n
        if stratum is not None and len(index) < least:
            return replace(blank, reason=f"n = {len(index)} is below the rubric's strata_minimum_n of {least}"), None
        if len(index) == 0:
            return replace(blank, reason="no samples"), None
        try:
            numbers = compared(index, sampling)
        except UndefinedError as error:
            return replace(blank, reason=str(error)), None
        return _filled(blank, numbers, self.itself), numbers


def _prepare(use: MetricUse, paired: _Paired) -> Compared:
    """Compute what the metric needs of every sample once; hand back how to compare any of them."""
    sides = (paired.candidate,) if paired.itself else (paired.candidate, paired.reference)
    try:
        if use.metric != COMPOSITE:
            made = _of_metric(use, sides)
            return _by_calls(use.metric, dict(use.parameters), sides) if made is None else _by_statistics(*made)
        return _by_statistics(*_of_parts(use, paired.rubric, sides))
    except UndefinedError as error:
        return _undefined(str(error))


Made = tuple[list[Ingredients], Callable[[Ingredients], Statistic]]


def _of_metric(use: MetricUse, sides: tuple[Predictions, ...]) -> Made | None:
    """Each side's ingredients and what becomes of them; None for a third party's function of the whole set."""
    parameters = dict(use.parameters)
    if ":" in use.metric:
        returned = [custom_values(use.metric, side, parameters) for side in sides] if len(sides[0]) else []
        if returned and returned[0].ndim == 0:
            return None
        return [(values,) for values in returned], lambda values: custom_mean(values[0])
    metric = known_metric(use.metric)
    options = metric.options(parameters)
    return [metric.measure(side, options) for side in sides], lambda values: metric.statistic(values, options)


def _of_parts(use: MetricUse, rubric: Rubric, sides: tuple[Predictions, ...]) -> Made:
    """A composite: the ingredients of all its parts in a row."""
    weights: dict[str, float] = use.parameters["weights"]
    uses = {part.name: part for part in rubric.metrics}
    made = [_of_metric(uses[name], sides) for name in weights]
    parts = [part for part in made if part is not None]
    if len(parts) < len(made):
        raise UsageError(f"composite {use.name} has a part that is one number for the whole set: give one a sample")
    ends = np.cumsum([0, *(len(ingredients[0]) if ingredients else 0 for ingredients, _ in parts)]).tolist()

    def statistic(values: Ingredients) -> Statistic:
        pieces = [values[start:end] for start, end in itertools.pairwise(ends)]
        return combined([make(piece) for (_, make), piece in zip(parts, pieces, strict=True)], list(weights.values()))

    rows = [tuple(itertools.chain.from_iterable(part[0][side] for part in parts)) for side in range(len(sides))]
    return rows, statistic


def _by_statistics(ingredients: list[Ingredients], statistic: Callable[[Ingredients], Statistic]) -> Compared:
    def compared(index: Ints, sampling: Sampling) -> Estimate:
        made = [statistic(tuple(column[index] for column in side)) for side in ingredients]
        return estimate(made[0], made[-1], sampling)

    return compared


def _by_calls(target: str, parameters: dict[str, Any], sides: tuple[Predictions, ...]) -> Compared:
    def compared(index: Ints, sampling: Sampling) -> Estimate:
        chosen = [side.take(index) for side in sides]

        def call(side: Predictions) -> Callable[[Ints], float]:
            return lambda rows: float(custom_values(target, side.take(rows), parameters))

        return estimate_by_calls(call(chosen[0]), call(chosen[-1]), sampling)

    return compared


def _undefined(reason: str) -> Compared:
    def compared(index: Ints, sampling: Sampling) -> Estimate:
        raise UndefinedError(reason)

    return compared


def _filled(blank: Score, numbers: Estimate, itself: bool) -> Score:
    value, base, delta = numbers.value_interval, numbers.reference_interval, numbers.delta_interval
    filled = replace(
        blank,
        value=numbers.value,
        value_low=value.low if value else None,
        value_high=value.high if value else None,
        reference_value=numbers.reference,
        reference_low=base.low if base else None,
        reference_high=base.high if base else None,
        resamples=numbers.resamples,
    )
    if itself:
        return replace(filled, delta=0.0, delta_low=0.0, delta_high=0.0, loss=0.0, loss_low=0.0, loss_high=0.0)
    worse = -1.0 if blank.direction == "higher-is-better" else 1.0
    # Adding 0.0 turns a loss of −0.0 into a plain 0.
    ends = sorted(worse * end + 0.0 for end in delta) if delta else [None, None]
    return replace(
        filled,
        delta=numbers.delta,
        delta_low=delta.low if delta else None,
        delta_high=delta.high if delta else None,
        loss=worse * numbers.delta + 0.0,
        loss_low=ends[0],
        loss_high=ends[1],
        test=numbers.test,
        p_value=numbers.p_value,
        interval_method=numbers.method,
        reason=numbers.reason,
    )


def _strata(use: MetricUse, compared: Compared, paired: _Paired) -> list[Score]:
    """The primary metric by each field and value, Holm-corrected together.

    A field that the metric itself is restricted by is still reported by all its values: a metric declared on clean
    images says how it does on the others.
    """
    scores = []
    for field in paired.rubric.strata:
        column, allowed = paired.field(field), paired.mask(use, without=field)
        scores += [
            paired.score(use, compared, allowed & (column == value), (field, value))[0]
            for value in sorted(np.unique(column).tolist(), key=_natural)
        ]
    tested = [place for place, item in enumerate(scores) if item.p_value is not None]
    for place, corrected in zip(tested, holm([scores[place].p_value or 0.0 for place in tested]), strict=True):
        scores[place] = replace(scores[place], p_value_corrected=corrected)
    return scores


def _natural(value: str) -> tuple[int, int, str]:
    return (0, int(value), value) if value.isdecimal() and len(value) < 10 else (1, 0, value)


def _verdict(rubric: Rubric, use: MetricUse, result: Score, numbers: Estimate | None, itself: bool) -> Verdict:
    if itself:
        return undecided(rubric.tolerance, use, "reference")
    if numbers is None:
        return undecided(rubric.tolerance, use, reason=result.reason)
    return judge(rubric.tolerance, use, numbers, result.n, rubric.confidence)
