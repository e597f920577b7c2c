"""Which candidate to deploy: the best of those that hold every limit beyond doubt, and who is as good as it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from lynxbench.conclusions.evidence import Evidence
from lynxbench.conclusions.limits import TIMED, Check, Limits, check, refuse_any_loss
from lynxbench.conclusions.material import Material, material
from lynxbench.conclusions.naming import filters, main_scenario, names, narrow
from lynxbench.conclusions.rounds import ratio_between
from lynxbench.conclusions.words import busy_host
from lynxbench.errors import UsageError
from lynxbench.records.location import Url, location
from lynxbench.records.record import MEASURED, Record
from lynxbench.scoring import disclose
from lynxbench.specs.base import did_you_mean

Objective = Literal["latency", "throughput", "size", "accuracy"]
Place = Literal["best", "tied", "behind", "undecided", "excluded"]


@dataclass(frozen=True)
class Comparison:
    """The best beside another that holds every limit: a ratio above 1, or a loss below 0, speaks for the best."""

    test: str
    value: float | None
    low: float | None
    high: float | None
    confidence: float

    @property
    def neutral(self) -> float:
        return 1.0 if self.test.startswith(("rounds", "ratios", "bytes")) else 0.0

    @property
    def tied(self) -> bool:
        """True unless the interval leaves out what it would be of two that are alike."""
        return self.low is None or self.high is None or self.low <= self.neutral <= self.high


@dataclass(frozen=True)
class Considered:
    """One candidate: where it ended, and why; `comparison` is with the best, for those that hold every limit."""

    record: Record
    name: str
    place: Place
    why: str
    checks: tuple[Check, ...] = ()
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Decision:
    """One model's choice on one workload and host, under one scenario.

    nearest  where nothing holds every limit: by limit that nobody holds, who comes nearest to it, by the end of its
             interval
    """

    workload: str
    model: str
    host_id: str
    scenario: str
    objective: Objective
    confidence: float
    considered: tuple[Considered, ...]
    nearest: Mapping[str, tuple[str, Check]]

    @property
    def busy_host(self) -> str | None:
        """What to say where times count and the machine had other work while they were measured."""
        by_time = self.objective in {"latency", "throughput"}
        timed = by_time or any(item.limit in TIMED for one in self.considered for item in one.checks)
        return busy_host([one.record for one in self.considered]) if timed else None

    @property
    def best(self) -> Considered | None:
        return next((one for one in self.considered if one.place == "best"), None)


def decide(
    results: str | Path | Url,
    *,
    max_loss: float | None = None,
    max_stratum_loss: float | None = None,
    p50_ms: float | None = None,
    p99_ms: float | None = None,
    min_speed: float | None = None,
    min_throughput: float | None = None,
    max_size_mb: float | None = None,
    max_memory_mb: float | None = None,
    objective: str = "latency",
    confidence: float = 0.95,
    scenario: str | None = None,
    only: Sequence[str] = (),
) -> tuple[Decision, ...]:
    """What to deploy, for each workload and model of a results folder, as `lynxbench decide` says it.

    Raises `UsageError` for a limit, objective, confidence or name that cannot be.
    """
    limits = Limits(max_loss, max_stratum_loss, p50_ms, p99_ms, min_speed, min_throughput, max_size_mb, max_memory_mb)
    return decisions(
        material(location(results)), limits, objective=objective, confidence=confidence, scenario=scenario, only=only
    )


def decisions(
    opened: Material,
    limits: Limits,
    *,
    objective: str = "latency",
    confidence: float = 0.95,
    scenario: str | None = None,
    only: Sequence[str] = (),
) -> tuple[Decision, ...]:
    """One decision for each workload, model and host: a model's loss is relative to its own reference.

    A limit is held, or broken, beyond doubt where the end of a two-sided interval at `confidence` says so; each limit
    of each candidate is wrongly held with a probability of at most (1 − confidence) ∕ 2.
    """
    if objective not in get_args(Objective):
        close = did_you_mean(objective, get_args(Objective))
        raise UsageError(f"--objective {objective}: unknown; {close or ', '.join(get_args(Objective))}")
    if not 0.5 <= confidence < 1:
        raise UsageError(f"--confidence {confidence}: a share from 0.5 to below 1, e.g. 0.95")
    kept = {row["cell_id"]: row for one in filters(only) for row in narrow(opened.records, one)}
    refuse_any_loss("--max-loss", limits.max_loss, kept.values())
    refuse_any_loss("--max-stratum-loss", limits.max_stratum_loss, kept.values())
    groups: dict[tuple[str, ...], list[Record]] = {}
    for row in sorted(kept.values(), key=lambda r: int(r["position"])):
        groups.setdefault(tuple(str(row[n]) for n in ("sweep", "host_id", "workload", "model")), []).append(row)
    evidence = Evidence(opened, confidence)
    made = []
    for rows in groups.values():
        name = _scenario(rows, scenario, objective)
        mine = [row for row in rows if row["scenario"] == name]
        made.append(_decision(mine, limits, objective, evidence))  # type: ignore[arg-type]
    return tuple(made)


def _scenario(rows: Sequence[Record], wanted: str | None, objective: str) -> str:
    """The one that is named; else for throughput the first offline one; else `main_scenario`."""
    there = list(dict.fromkeys(str(row["scenario"]) for row in rows))
    if wanted is not None:
        if wanted not in there:
            hint = did_you_mean(wanted, there)
            raise UsageError(f"--scenario {wanted}: {rows[0]['model']} was not measured under it; {hint or there}")
        return wanted
    offline = [str(row["scenario"]) for row in rows if row["scenario_kind"] == "offline"]
    return offline[0] if objective == "throughput" and offline else main_scenario(rows)


def _decision(rows: Sequence[Record], limits: Limits, objective: Objective, evidence: Evidence) -> Decision:
    known = names(rows)
    considered = [_judged(row, known[row["cell_id"]], limits, objective, evidence) for row in rows]
    able = [one for one in considered if one.place == "behind"]
    if able:
        ranked = _ranked(able, objective, evidence)
        considered = [ranked.get(one.record["cell_id"], one) for one in considered]
    order = get_args(Place)
    considered.sort(key=lambda one: order.index(one.place))
    first = rows[0]
    return Decision(
        workload=first["workload"],
        model=first["model"],
        host_id=first["host_id"],
        scenario=first["scenario"],
        objective=objective,
        confidence=evidence.confidence,
        considered=tuple(considered),
        nearest={} if able else _nearest(considered),
    )


def _judged(row: Record, name: str, limits: Limits, objective: Objective, evidence: Evidence) -> Considered:
    """Excluded, undecided, or (for now) behind: one that holds every limit."""
    if row["status"] not in MEASURED or row["status"] == "partial":
        return Considered(row, name, "excluded", f"{row['status']}: {row['reason']}")
    lacking = [f"{item.item}: {item.why}" for item in disclose(row.values).items if not item.held]
    checks = check(row, limits, evidence)
    if lacking and not row["is_reference"]:
        return Considered(row, name, "excluded", f"not disclosed: {'; '.join(lacking)}", checks)
    beyond = [one.limit for one in checks if one.state == "beyond"]
    if beyond:
        return Considered(row, name, "excluded", f"certainly beyond {', '.join(beyond)}", checks)
    unsure = [one for one in checks if one.state == "undecided"]
    if unsure:
        why = "; ".join(f"{one.limit}: {one.needs or 'more data'}" for one in unsure)
        return Considered(row, name, "undecided", why, checks)
    if objective in {"latency", "throughput"}:
        if row["simulated"]:
            return Considered(row, name, "excluded", "a simulator: its times are not ranked", checks)
        if merit(row, objective, evidence) is None:
            return Considered(row, name, "undecided", "speed: more rounds, so that its ratio has an interval", checks)
    return Considered(row, name, "behind", "holds every limit", checks)


def merit(row: Record, objective: Objective, evidence: Evidence) -> float | None:
    """What it is at least worth, at the worse end of its interval; more is better."""
    if objective == "size":
        return -float(row["artifact_bytes"])
    if objective == "accuracy":
        return evidence.loss(row).negated.low
    return evidence.ratio(row, _field(row, objective)).low


def _field(row: Record, objective: Objective) -> Literal["p50_ratio", "throughput_ratio"]:
    return "p50_ratio" if objective == "latency" or row["throughput_ratio"] is None else "throughput_ratio"


def _ranked(able: Sequence[Considered], objective: Objective, evidence: Evidence) -> dict[str, Considered]:
    """The best, and what the others are beside it; Bonferroni's correction over the comparisons made."""
    confidence = 1 - (1 - evidence.confidence) / max(1, len(able) - 1)

    def worth(one: Considered) -> float:
        least = merit(one.record, objective, evidence)
        return float("-inf") if least is None else least

    best = max(able, key=worth)
    compare = comparing(objective, evidence, confidence)
    # A wide interval may hide a better candidate: whoever beats the best beyond doubt takes its place.
    for _ in able:
        beaten_by = [one for one in able if one is not best and speaks_for(compare(one, best))]
        if not beaten_by:
            break
        best = max(beaten_by, key=worth)
    placed = {}
    for one in able:
        if one is best:
            placed[one.record["cell_id"]] = replace(one, place="best", why="holds every limit")
            continue
        found = compare(best, one)
        place: Place = "tied" if found.tied else "behind"
        why = "as good as the best: no difference beyond doubt" if found.tied else f"worse in {objective} beyond doubt"
        placed[one.record["cell_id"]] = replace(one, place=place, why=f"{why} ({found.test})", comparison=found)
    return placed


def speaks_for(found: Comparison) -> bool:
    if found.tied or found.low is None or found.high is None:
        return False
    return found.low > 1 if found.neutral == 1.0 else found.high < 0


def comparing(
    objective: Objective, evidence: Evidence, confidence: float
) -> Callable[[Considered, Considered], Comparison]:
    def by_speed(own: Considered, other: Considered) -> Comparison:
        by = _field(own.record, objective)
        ratio = ratio_between(own.record, other.record, evidence.latencies, by, confidence)
        if ratio is not None:
            return Comparison(f"rounds in common, {ratio.method}", ratio.value, ratio.low, ratio.high, confidence)
        one, two = evidence.ratio(own.record, by), evidence.ratio(other.record, by)
        if one.value is None or two.value is None or None in (one.low, one.high, two.low, two.high):
            return Comparison("ratios to the reference", None, None, None, confidence)
        # Not timed together: the ends of both intervals, which is wider than any test would be.
        assert one.low is not None
        assert one.high is not None
        assert two.low is not None
        assert two.high is not None
        return Comparison(
            "ratios to the reference, intervals apart", one.value / two.value, one.low / two.high, one.high / two.low,
            confidence,
        )  # fmt: skip

    def by_size(own: Considered, other: Considered) -> Comparison:
        ratio = other.record["artifact_bytes"] / own.record["artifact_bytes"]
        return Comparison("bytes", ratio, ratio, ratio, confidence)

    def by_accuracy(own: Considered, other: Considered) -> Comparison:
        found = evidence.compared(own.record, other.record, confidence)
        if found is None or found.loss is None:
            return Comparison("no answers to pair", None, None, None, confidence)
        return Comparison(f"paired by sample, {found.test}", found.loss, found.loss_low, found.loss_high, confidence)

    return {"size": by_size, "accuracy": by_accuracy}.get(objective, by_speed)


def _nearest(considered: Sequence[Considered]) -> dict[str, tuple[str, Check]]:
    """By limit that nobody holds, the candidate whose interval's end lies nearest to holding it."""
    found: dict[str, tuple[str, Check]] = {}
    for one in considered:
        for item in one.checks:
            held = found.get(item.limit)
            if held is None or _short(item) < _short(held[1]):
                found[item.limit] = (one.name, item)
    return {limit: near for limit, near in found.items() if near[1].state != "satisfied"}


def _short(item: Check) -> float:
    """By how much the end that counts misses the bound, as a share of it; not above 0 where it is held."""
    if item.state == "satisfied":
        return -math.inf
    least = item.limit.startswith("min-")
    end = item.low if least else item.high
    if end is None:
        return float("inf")
    short = item.bound - end if least else end - item.bound
    return short / item.bound if item.bound else short
