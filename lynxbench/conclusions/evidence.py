"""What is known of one row at a confidence: values with intervals, as recorded or recomputed from what was kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from lynxbench.conclusions.material import Material
from lynxbench.conclusions.rescoring import reference_of
from lynxbench.conclusions.rounds import By, ratio_between, used_latencies
from lynxbench.measurement import percentile_estimate
from lynxbench.records.record import Record
from lynxbench.scoring import Score, Scores, score
from lynxbench.specs.rubric import Rubric

if TYPE_CHECKING:
    import pyarrow as pa

PERCENTILES: Mapping[str, float] = {"p50": 0.5, "p99": 0.99}


@dataclass(frozen=True)
class Known:
    """A value with the ends of its interval; None where the data do not give one. Exact values are all three alike."""

    value: float | None
    low: float | None
    high: float | None

    @staticmethod
    def exactly(value: float | None) -> Known:
        return Known(value, value, value)

    @property
    def negated(self) -> Known:
        """For limits from below: everything with its sign turned."""
        turned = [None if end is None else -end for end in (self.value, self.high, self.low)]
        return Known(*turned)


NOTHING = Known(None, None, None)


@dataclass(frozen=True)
class Evidence:
    """A results folder at one confidence."""

    material: Material
    confidence: float
    _scores: dict[tuple[str, str], Scores] = field(default_factory=dict)

    @cached_property
    def latencies(self) -> pa.Table:
        return self.material.latencies

    def scores(self, record: Record) -> Scores | None:
        """The row's scores at this confidence, where its predictions, its reference's and its rubric are kept."""
        rubric = self._rubric(record, self.confidence)
        reference = None if rubric is None else reference_of(record, self.material.records, rubric)
        if rubric is None or reference is None:
            return None
        key = (str(record["predictions_id"]), str(reference["predictions_id"]))
        if not set(key) <= self.material.answers.keys():
            return None
        if key not in self._scores:
            own, base = (self.material.answers[name] for name in key)
            self._scores[key] = score(rubric, own, base, is_reference=key[0] == key[1])
        return self._scores[key]

    def loss(self, record: Record) -> Known:
        """Of the primary metric, relative to the reference."""
        if record["is_reference"]:
            return Known.exactly(0.0)
        if self._as_recorded(record):
            return Known(record["primary_loss"], record["primary_loss_low"], record["primary_loss_high"])
        scores = self.scores(record)
        return NOTHING if scores is None else _loss(scores.primary)

    def verdict(self, record: Record) -> str | None:
        """By the rubric's own tolerance; None where this confidence cannot be had."""
        if self._as_recorded(record) or record["is_reference"]:
            return str(record["verdict"])
        scores = self.scores(record)
        return None if scores is None else scores.verdict.verdict

    def strata(self, record: Record) -> list[tuple[str, int, Known]]:
        """Every stratum with its samples and its loss; one that is too small to report has nothing."""
        items = record["strata_scores"]
        if record["is_reference"]:
            return [(f"{s['stratum_field']}={s['stratum']}", s["n"], Known.exactly(0.0)) for s in items]
        if self._as_recorded(record):
            return [
                (f"{s['stratum_field']}={s['stratum']}", s["n"], Known(s["loss"], s["loss_low"], s["loss_high"]))
                for s in items
            ]
        scores = self.scores(record)
        return [] if scores is None else [(f"{s.stratum_field}={s.stratum}", s.n, _loss(s)) for s in scores.strata]

    def percentile(self, record: Record, name: str) -> Known:
        """A latency's percentile in ns; nothing where so few queries cannot support it."""
        if self._timed_as_recorded(record):
            return Known(record[f"{name}_ns"], record[f"{name}_low_ns"], record[f"{name}_high_ns"])
        used, sizes = used_latencies(record, self.latencies)
        if len(used) == 0:
            return NOTHING
        found = percentile_estimate(used, PERCENTILES[name], self.confidence, block_sizes=sizes)
        return Known(found.value_ns, found.low_ns, found.high_ns)

    def ratio(self, record: Record, by: By) -> Known:
        """Its speed over the reference's."""
        if record["is_reference"] and record[by] is not None:
            return Known.exactly(1.0)
        if self._timed_as_recorded(record):
            return Known(record[by], record[f"{by}_low"], record[f"{by}_high"])
        rubric = self._rubric(record, self.confidence)
        reference = None if rubric is None else reference_of(record, self.material.records, rubric)
        found = None if reference is None else ratio_between(record, reference, self.latencies, by, self.confidence)
        return NOTHING if found is None else Known(found.value, found.low, found.high)

    def throughput(self, record: Record) -> Known:
        """Samples a second."""
        value, low = record["throughput_per_s"], record["throughput_per_s_low"]
        if self._timed_as_recorded(record) or low is None:
            return Known(value, low, record["throughput_per_s_high"])
        # Its interval is Student's over blocks, on the log scale: at another confidence only the quantile differs.
        from scipy.special import stdtrit

        degrees = record["blocks_used"] - 1
        quantiles = [float(stdtrit(degrees, (1 + c) / 2)) for c in (self.confidence, _timing_confidence(record))]
        spread = math.exp(math.log(value / low) * quantiles[0] / quantiles[1])
        return Known(value, value / spread, value * spread)

    def compared(self, own: Record, other: Record, confidence: float) -> Score | None:
        """The primary metric of `own` beside `other` as if that were the reference, paired by sample."""
        rubric = self._rubric(own, confidence)
        ids = [str(row["predictions_id"]) for row in (own, other)]
        if rubric is None or not set(ids) <= self.material.answers.keys():
            return None
        alone = rubric.model_copy(update={"metrics": _needed(rubric)})
        return score(alone, *(self.material.answers[name] for name in ids), is_reference=False).primary

    def _rubric(self, record: Record, confidence: float) -> Rubric | None:
        rubric = self.material.rubrics.get(record["rubric_digest"])
        return None if rubric is None else rubric.model_copy(update={"confidence": confidence})

    def _as_recorded(self, record: Record) -> bool:
        rubric = self.material.rubrics.get(record["rubric_digest"])
        return rubric is not None and math.isclose(rubric.confidence, self.confidence)

    def _timed_as_recorded(self, record: Record) -> bool:
        return math.isclose(_timing_confidence(record), self.confidence)


def _timing_confidence(record: Record) -> float:
    return float(json.loads(record["protocol"])["confidence"])


def _needed(rubric: Rubric) -> tuple[object, ...]:
    """The primary metric, and the others only where it is made of them."""
    return rubric.metrics if "weights" in rubric.primary.parameters else (rubric.primary,)


def _loss(item: Score) -> Known:
    return Known(item.loss, item.loss_low, item.loss_high)
