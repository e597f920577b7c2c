"""Does a record say what its predictions give? What the trust tier "rescored" rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lynxbench.conclusions.rescoring import reference_of, scored_record
from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import UsageError
from lynxbench.records.fields import FIELDS
from lynxbench.records.record import MEASURED, Record
from lynxbench.scoring import Scores, score
from lynxbench.specs.rubric import Rubric

# Sums are added up in the order of the sample ids, the same everywhere: what is left is the rounding of libraries.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Difference:
    """One field of a record that its predictions contradict; `field` may lead into a list: ``scores[2].value``."""

    field: str
    recorded: Any
    recomputed: Any


@dataclass(frozen=True)
class Recomputed:
    """What became of one record. It agrees when it could be recomputed (`reason` is None) and no field differs."""

    cell_id: str
    differences: tuple[Difference, ...] = ()
    reason: str | None = None

    @property
    def agrees(self) -> bool:
        return self.reason is None and not self.differences


def recomputed(
    records: Sequence[Record],
    predictions: Mapping[str, Predictions],
    rubrics: Mapping[str, Rubric],
    *,
    run_custom_metrics: bool = False,
) -> tuple[Recomputed, ...]:
    """Score every measured record anew and compare, in the order given.

    `predictions` are by `predictions_id` (see `material.Answers`), `rubrics` by digest. A metric given as
    ``module:function`` is somebody's code: it runs only with `run_custom_metrics`, else such a record cannot be
    recomputed. Rows that were not measured are left out.
    """
    known: dict[tuple[str, str, str], Scores] = {}
    found = []
    for record in records:
        if record["status"] not in MEASURED:
            continue
        rubric = rubrics.get(record["rubric_digest"])
        if rubric is None:
            found.append(_cannot(record, "its rubric is not here"))
            continue
        custom = [use.metric for use in rubric.metrics if ":" in use.metric]
        if custom and not run_custom_metrics:
            found.append(_cannot(record, f"metric {custom[0]} is code that does not come with LynxBench"))
            continue
        reference = reference_of(record, records, rubric)
        if reference is None:
            found.append(_cannot(record, "its reference's record is not here"))
            continue
        if not {record["predictions_id"], reference["predictions_id"]} <= predictions.keys():
            found.append(_cannot(record, "its predictions, or its reference's, are not here"))
            continue
        found.append(_compared(record, reference, predictions, rubric, known))
    return tuple(found)


def recomputed_agrees(
    record: Record, reference: Record, predictions: Mapping[str, Predictions], rubric: Rubric
) -> Recomputed:
    """Compare one record with what the predictions of it and of its `reference`'s record give, field by field.

    Everything that a rubric says or scores give: values, intervals, tests, verdict, strata, disclosure, and what was
    asked. Numbers agree within `TOLERANCE`, relative and absolute; the bootstrap is seeded, so that goes for it too.
    """
    return _compared(record, reference, predictions, rubric, {})


def _compared(
    record: Record,
    reference: Record,
    predictions: Mapping[str, Predictions],
    rubric: Rubric,
    known: dict[tuple[str, str, str], Scores],
) -> Recomputed:
    own, base = record["predictions_id"], reference["predictions_id"]
    key = (own, base, rubric.digest())
    try:
        if key not in known:
            known[key] = score(rubric, predictions[own], predictions[base], is_reference=own == base)
        expected = scored_record(record, reference, rubric, known[key])
    except (UsageError, TypeError, ValueError) as error:
        return _cannot(record, f"its predictions cannot be scored: {error}")
    names = [field.name for field in FIELDS]
    found = [item for name in names for item in _differences(name, record[name], expected.get(name))]
    return Recomputed(record["cell_id"], tuple(found))


def _cannot(record: Record, reason: str) -> Recomputed:
    return Recomputed(record["cell_id"], reason=reason)


def _differences(place: str, recorded: Any, expected: Any) -> Iterator[Difference]:
    if isinstance(recorded, list | tuple) and isinstance(expected, list | tuple) and len(recorded) == len(expected):
        for index, (one, other) in enumerate(zip(recorded, expected, strict=True)):
            yield from _differences(f"{place}[{index}]", one, other)
    elif isinstance(recorded, Mapping) and isinstance(expected, Mapping):
        for name in {**recorded, **expected}:
            yield from _differences(f"{place}.{name}", recorded.get(name), expected.get(name))
    elif not _same(recorded, expected):
        yield Difference(place, recorded, expected)


def _same(recorded: Any, expected: Any) -> bool:
    if isinstance(recorded, float) and isinstance(expected, int | float) and not isinstance(expected, bool):
        return math.isclose(recorded, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(recorded == expected)
