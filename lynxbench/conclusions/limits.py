"""Does a row hold a limit beyond doubt, does it break it beyond doubt, and if neither, what would tell?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from lynxbench.conclusions.evidence import NOTHING, PERCENTILES, Evidence, Known
from lynxbench.conclusions.words import loss, unit_of
from lynxbench.errors import UsageError
from lynxbench.measurement import least_samples
from lynxbench.records.record import Record
from lynxbench.scoring.intervals import Interval
from lynxbench.scoring.verdict import POWER, required_n, tolerated
from lynxbench.specs.rubric import Tolerance

# Limits that times are held against, by the names of their options.
TIMED = frozenset({"p50-ms", "p99-ms", "min-speed", "min-throughput"})
State = Literal["satisfied", "beyond", "undecided"]


@dataclass(frozen=True)
class Limits:
    """What a candidate must hold; None: not asked. Without `max_loss` the rubric's own tolerance is the limit.

    Losses are in the metric's unit (0.01 is one point), times in ms, sizes in MB (10⁶ bytes), `min_speed` is the
    throughput over the reference's (under the server scenario the median latency's ratio), `min_throughput` samples/s.
    """

    max_loss: float | None = None
    max_stratum_loss: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    min_speed: float | None = None
    min_throughput: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0.0 if "loss" in name else math.nextafter(0.0, 1.0)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise UsageError(f"--{name.replace('_', '-')} {value}: a limit is a {_kind(name)} number")


def _kind(name: str) -> str:
    return "non-negative" if "loss" in name else "positive"


def refuse_any_loss(option: str, bound: float | None, records: Iterable[Record]) -> None:
    """Raises `UsageError` for a bound on the loss of a fraction that every loss keeps to: 1 is meant as one point."""
    if bound is None or bound < 1:
        return
    for record in records:
        if record["scores"]:
            refuse_any_loss_of(option, bound, record["primary_metric"], record["workload"], unit_of(record))


def refuse_any_loss_of(option: str, bound: float, metric: str, workload: str, unit: str) -> None:
    """As `refuse_any_loss`, of one metric on one workload."""
    if bound >= 1 and unit == "fraction":
        raise UsageError(
            f"{option} {bound:g} would accept any loss of {metric} on {workload}, a fraction: 0.01 means one point"
        )


@dataclass(frozen=True)
class Check:
    """One limit, one row. `low` and `high` are the interval that was compared with `bound`; `needs` what would decide.

    limit   as the option is called: max-loss, p99-ms, …
    """

    limit: str
    bound: float
    state: State
    value: float | None
    low: float | None
    high: float | None
    needs: str | None = None


def check(record: Record, limits: Limits, evidence: Evidence) -> tuple[Check, ...]:
    """Every limit that is asked. An interval's end decides, never an estimate: what has no interval is undecided."""
    return tuple(_checks(record, limits, evidence))


def _checks(record: Record, limits: Limits, evidence: Evidence) -> Iterator[Check]:
    yield _loss(record, limits, evidence)
    if limits.max_stratum_loss is not None:
        yield _strata(record, limits.max_stratum_loss, evidence)
    for name in PERCENTILES:
        bound = getattr(limits, f"{name}_ms")
        if bound is not None:
            yield _percentile(record, name, bound, evidence)
    if limits.min_speed is not None:
        by = speed_field(record)
        known = NOTHING if record["simulated"] else evidence.ratio(record, by)
        yield _least(record, "min-speed", limits.min_speed, known, evidence.confidence, log=True)
    if limits.min_throughput is not None:
        known = NOTHING if record["simulated"] else evidence.throughput(record)
        yield _least(record, "min-throughput", limits.min_throughput, known, evidence.confidence, log=True)
    # A file's size is what it is. The peak of resident memory is this run's, and has no interval to look at.
    for limit, bound, held in (
        ("max-size-mb", limits.max_size_mb, record["artifact_bytes"]),
        ("max-memory-mb", limits.max_memory_mb, record["peak_rss_bytes"]),
    ):
        if bound is not None:
            yield _most(limit, bound, Known.exactly(None if held is None else held / 1e6))


def speed_field(record: Record) -> Literal["p50_ratio", "throughput_ratio"]:
    """Which ratio tells how fast a row is: where a rate is given, throughput says nothing."""
    return "p50_ratio" if record["scenario_kind"] in {"server", "server-search"} else "throughput_ratio"


def _loss(record: Record, limits: Limits, evidence: Evidence) -> Check:
    known = evidence.loss(record)
    n, sparse = int(record["primary_n"]), record["flip_rate"] == 0
    if limits.max_loss is not None:
        return _most("max-loss", limits.max_loss, known, needs=_samples(known, limits.max_loss, n, evidence, sparse))
    # A tolerance that depends on the reference's score has that score's uncertainty in it: the verdict knows.
    bound = _tolerance_loss(record)
    verdict = evidence.verdict(record)
    states: dict[str | None, State] = {"robust": "satisfied", "reference": "satisfied", "fragile": "beyond"}
    state = states.get(verdict, "undecided")
    needs = _samples(known, bound, n, evidence, sparse) if state == "undecided" else None
    return Check("max-loss", bound, state, known.value, known.low, known.high, needs)


def _tolerance_loss(record: Record) -> float:
    """The rubric's tolerance as a loss; the reference's row, which needs none, does not hold it."""
    if record["tolerance_loss"] is not None:
        return float(record["tolerance_loss"])
    score = next((score for score in record["scores"] or () if score["role"] == "primary"), None)
    reference = None if score is None else score["value" if record["is_reference"] else "reference_value"]
    if reference is None:
        return float(record["tolerance"])
    tolerance = Tolerance(kind=record["tolerance_kind"], value=record["tolerance"])
    return tolerated(tolerance, record["primary_direction"], reference)[0]


def _strata(record: Record, bound: float, evidence: Evidence) -> Check:
    """The stratum that is farthest from holding the limit stands for all: each one must hold it."""
    found = evidence.strata(record)
    unit = unit_of(record)
    if not found:
        return Check("max-stratum-loss", bound, "undecided", None, None, None, "strata that are scored")
    checks = []
    for name, n, known in found:
        needs = (
            f"{name}: more than its {n:,} samples, so that it is reported"
            if known.value is None
            else f"{name}: {_samples(known, bound, n, evidence, False) or f'a loss other than {loss(bound, unit)}'}"
        )
        checks.append(_most("max-stratum-loss", bound, known, needs=needs))
    order: dict[State, int] = {"beyond": 2, "undecided": 1, "satisfied": 0}
    return max(checks, key=lambda one: (order[one.state], -math.inf if one.high is None else one.high))


def _percentile(record: Record, name: str, bound: float, evidence: Evidence) -> Check:
    limit = f"{name}-ms"
    if record["simulated"]:
        return Check(limit, bound, "undecided", None, None, None, "a run on the device itself: this is a simulator")
    known = _in_ms(evidence.percentile(record, name))
    if known.value is None and name != "p50":
        # Too few queries for it; but where the median is beyond the limit already, so is every higher percentile.
        median = _in_ms(evidence.percentile(record, "p50"))
        if median.low is not None and median.low > bound:
            return Check(limit, bound, "beyond", None, median.low, None)
    if known.value is None:
        fewest = least_samples(PERCENTILES[name], evidence.confidence)
        needs = f"{fewest:,} queries instead of {record['latency_n']:,} (about {_seconds(record, fewest)})"
        return Check(limit, bound, "undecided", None, None, None, needs)
    return _most(limit, bound, known, needs=_time(record, known, bound, evidence.confidence))


def _in_ms(known: Known) -> Known:
    return Known(*(None if end is None else end / 1e6 for end in (known.value, known.low, known.high)))


def _most(limit: str, bound: float, known: Known, *, needs: str | None = None) -> Check:
    """The value must not exceed the bound."""
    if known.high is not None and known.high <= bound:
        return Check(limit, bound, "satisfied", known.value, known.low, known.high)
    if known.low is not None and known.low > bound:
        return Check(limit, bound, "beyond", known.value, known.low, known.high)
    return Check(limit, bound, "undecided", known.value, known.low, known.high, needs or "a measurement of it")


def _least(record: Record, limit: str, bound: float, known: Known, confidence: float, *, log: bool) -> Check:
    """The value must reach the bound."""
    if known.value is None:
        why = "a run on the device itself: this is a simulator" if record["simulated"] else "a measurement of it"
        return Check(limit, bound, "undecided", None, None, None, why)
    turned = _most(limit, -bound, known.negated, needs="more rounds (protocol.time_limit_s)")
    needs = turned.needs
    if turned.state == "undecided" and known.low is not None and known.high is not None and log:
        logs = Known(math.log(known.value), math.log(known.low), math.log(known.high))
        needs = _time(record, logs, math.log(bound), confidence)
    return Check(limit, bound, turned.state, known.value, known.low, known.high, needs)


def _samples(known: Known, bound: float, n: int, evidence: Evidence, sparse: bool) -> str | None:
    if known.value is None or known.low is None or known.high is None or known.high <= bound or known.low > bound:
        return None
    interval = Interval(known.low - bound, known.high - bound)
    needed, why = required_n(known.value - bound, interval, n, evidence.confidence, sparse)
    return why if needed is None else f"about {needed:,} samples instead of {n:,}"


def _time(record: Record, known: Known, bound: float, confidence: float) -> str:
    """How long it would have to be timed: half-widths shrink as 1 ∕ √time, and `POWER` of such runs decide."""
    if known.value is None or known.value == bound:
        return "more than any time: it lies at the limit"
    end = known.high if known.value < bound else known.low
    if end is None:
        return "more rounds (protocol.time_limit_s): its interval has no end"
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    factor = ((end - known.value) / (bound - known.value) * (z + NormalDist().inv_cdf(POWER)) / z) ** 2
    needed = max(record["latency_n"] + 1, math.ceil(record["latency_n"] * factor))
    return f"about {_seconds(record, needed)} of timing instead of {_seconds(record, record['latency_n'])}"


def _seconds(record: Record, queries: int) -> str:
    return f"{queries * record['latency_mean_ns'] / 1e9:,.3g} s"
