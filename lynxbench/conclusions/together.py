"""One choice for a model that serves several workloads: what holds every limit on all of them, and who is as good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lynxbench.conclusions.deciding import (
    Comparison,
    Considered,
    Decision,
    Objective,
    Place,
    comparing,
    merit,
    speaks_for,
)
from lynxbench.conclusions.evidence import Evidence
from lynxbench.conclusions.naming import names
from lynxbench.errors import UsageError

Compare = Callable[[Considered, Considered], Comparison]


@dataclass(frozen=True)
class Joint:
    """What could be deployed for all workloads: one model file by one executor, and how it fares on each.

    `on` has the workloads that it was measured on, by name.
    """

    name: str
    place: Place
    why: str
    on: Mapping[str, Considered]


@dataclass(frozen=True)
class JointDecision:
    """One model's choice over `workloads` on one host."""

    model: str
    host_id: str
    objective: Objective
    confidence: float
    workloads: tuple[str, ...]
    considered: tuple[Joint, ...]
    decisions: tuple[Decision, ...]

    @property
    def best(self) -> Joint | None:
        return next((one for one in self.considered if one.place == "best"), None)


def together(made: Sequence[Decision], evidence: Evidence) -> tuple[JointDecision, ...]:
    """One decision for each model and host that several of the decisions `made` are about.

    A candidate must hold every limit on every workload, each as it is held on one. Raises `UsageError` where no model
    was asked about more than one workload.
    """
    groups: dict[tuple[str, str], list[Decision]] = {}
    for one in made:
        groups.setdefault((one.model, one.host_id), []).append(one)
    found = tuple(_joint(mine, evidence) for mine in groups.values() if len({one.workload for one in mine}) > 1)
    if not found:
        raise UsageError("--together: every model here was measured on one workload alone")
    return found


def _joint(made: Sequence[Decision], evidence: Evidence) -> JointDecision:
    workloads = tuple(dict.fromkeys(one.workload for one in made))
    rows = [considered for one in made for considered in one.considered]
    known = names([one.record for one in rows])
    files: dict[tuple[str, str], dict[str, Considered]] = {}
    for one in rows:
        # The same file by the same executor: a scheme calibrated on other samples is another one.
        file = one.record["artifact_sha256"] or one.record["cell_id"]
        files.setdefault((file, one.record["executor"]), {})[one.record["workload"]] = one
    found = []
    for on in files.values():
        place, why = _standing(on, workloads)
        found.append(Joint(known[next(iter(on.values())).record["cell_id"]], place, why, on))
    able = [one for one in found if one.place == "behind"]
    if able:
        ranked = _ranked(able, workloads, made[0].objective, evidence)
        found = [ranked[one.name] if one.place == "behind" else one for one in found]
    order: tuple[Place, ...] = ("best", "tied", "behind", "undecided", "excluded")
    found.sort(key=lambda one: order.index(one.place))
    first = made[0]
    return JointDecision(
        first.model, first.host_id, first.objective, first.confidence, workloads, tuple(found), tuple(made)
    )


def _standing(on: Mapping[str, Considered], workloads: Sequence[str]) -> tuple[Place, str]:
    """Excluded, undecided, or (for now) behind: what holds every limit on every workload."""
    out = [f"on {name}: {one.why}" for name, one in on.items() if one.place == "excluded"]
    out += [f"on {name}: this file was not measured there" for name in workloads if name not in on]
    if out:
        return "excluded", "; ".join(out)
    unsure = [f"on {name}: {one.why}" for name, one in on.items() if one.place == "undecided"]
    return ("undecided", "; ".join(unsure)) if unsure else ("behind", "holds every limit on all")


def _ranked(
    able: Sequence[Joint], workloads: Sequence[str], objective: Objective, evidence: Evidence
) -> dict[str, Joint]:
    """The best: who is worth most on all together and is beaten by none; Bonferroni over all comparisons made.

    One beats another that is better beyond doubt on one workload at least, and worse beyond doubt on none.
    """
    confidence = 1 - (1 - evidence.confidence) / max(1, (len(able) - 1) * len(workloads))
    compare: Compare = comparing(objective, evidence, confidence)

    def worth(one: Joint) -> float:
        mine = [merit(considered.record, objective, evidence) for considered in one.on.values()]
        if any(value is None for value in mine):
            return float("-inf")
        least = [value for value in mine if value is not None]
        # Speeds are ratios; of losses the worst counts.
        if objective in {"latency", "throughput"}:
            return sum(map(math.log, least)) / len(least) if min(least) > 0 else float("-inf")
        return min(least)

    def beats(one: Joint, other: Joint) -> bool:
        for_it = [speaks_for(compare(one.on[name], other.on[name])) for name in workloads]
        against = [speaks_for(compare(other.on[name], one.on[name])) for name in workloads]
        return any(for_it) and not any(against)

    best = max(able, key=worth)
    for _ in able:
        beaten_by = [one for one in able if one is not best and beats(one, best)]
        if not beaten_by:
            break
        best = max(beaten_by, key=worth)
    placed = {}
    for one in able:
        place: Place = "best" if one is best else "behind" if beats(best, one) else "tied"
        why = {
            "best": "holds every limit on all",
            "behind": f"worse in {objective} beyond doubt on one workload, and better on none",
            "tied": "as good as the best: better on none beyond doubt, or worse on another",
        }[place]
        placed[one.name] = Joint(one.name, place, why, one.on)
    return placed
