"""What may be said of a candidate in public: the sentence with all that belongs to it, or what it lacks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lynxbench.conclusions.material import material
from lynxbench.conclusions.naming import chosen, narrow
from lynxbench.conclusions.words import busy_host, level, loss, moved, times, unit_of
from lynxbench.records.location import Url, location
from lynxbench.records.record import MEASURED, Record
from lynxbench.scoring import disclose
from lynxbench.scoring.disclosure import Item
from lynxbench.specs.rubric import Rubric


@dataclass(frozen=True)
class Claim:
    """One candidate's claim.

    sentence     what may be published; None unless it is decision-grade
    speed        whether the sentence says how fast it is; `no_speed` says why it does not
    why          what decision-grade rests on, or lacks
    wanting      what would make it decision-grade, one thing each; empty where it is
    checklist    the six items of the disclosure
    """

    record: Record
    sentence: str | None
    speed: bool
    no_speed: str | None
    why: str
    wanting: tuple[str, ...]
    checklist: tuple[Item, ...]

    @property
    def decision_grade(self) -> bool:
        return self.sentence is not None

    @property
    def busy_host(self) -> str | None:
        """What to say of a speed that was measured beside other work; None where none is claimed."""
        return busy_host([self.record]) if self.speed else None


def claim(
    results: str | Path | Url,
    candidate: str,
    *,
    workload: str | None = None,
    model: str | None = None,
    scheme: str | None = None,
    executor: str | None = None,
    scenario: str | None = None,
) -> Claim:
    """What may be said of one candidate of a results folder, as `lynxbench claim` does.

    `candidate` and the names are as in `naming.chosen`. Raises `UsageError` where they mean no row or several.
    """
    opened = material(location(results))
    only = {"workload": workload, "model": model, "scheme": scheme, "executor": executor, "scenario": scenario}
    return claim_of(chosen(opened.records, candidate, only), opened.rubrics)


def claims(
    records: Sequence[Record], rubrics: Mapping[str, Rubric], only: Mapping[str, str | None]
) -> tuple[Claim, ...]:
    """A claim for every row that the axes in `only` leave, the references left out."""
    return tuple(claim_of(record, rubrics) for record in narrow(records, only) if not record["is_reference"])


def claim_of(record: Record, rubrics: Mapping[str, Rubric]) -> Claim:
    """The claim of one row; `rubrics` are those of its folder, by digest. The checklist is computed anew."""
    rubric = rubrics.get(record["rubric_digest"])
    if record["is_reference"]:
        return _none(record, (), "the reference: there is no loss to claim", ("claim a candidate beside it",))
    if record["status"] not in MEASURED:
        why = f"{record['status']}: {record['reason']}"
        return _none(record, (), why, ("a measurement: the same sweep with --retry, once the reason is mended",))
    found = disclose(record.values)
    if rubric is None:
        why = f"rubric {record['rubric']} is not kept beside the records, so that its confidence is not known"
        return _none(record, found.items, why, ("measure into a new folder: this one has no rubrics",))
    if not found.decision_grade:
        return _none(record, found.items, found.why, tuple(_wanting(record, rubric, found.items)))
    no_speed = _no_speed(record)
    parts = [_accuracy(record, rubric), _calibration(record), *_worst(record, rubric)]
    parts += [_host(record)] if no_speed else [_speed(record)]
    return Claim(record, " ".join(part for part in parts if part), not no_speed, no_speed, found.why, (), found.items)


def _none(record: Record, items: tuple[Item, ...], why: str, wanting: tuple[str, ...]) -> Claim:
    return Claim(record, None, False, "not decision-grade", why, wanting, items)


def _accuracy(record: Record, rubric: Rubric) -> str:
    unit = unit_of(record)
    before = next(score["reference_value"] for score in record["scores"] if score["role"] == "primary")
    change = moved(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], unit)
    within = {
        "robust": "within the tolerance of",
        "fragile": "beyond the tolerance of",
        "inconclusive": "which leaves open whether it stays within the tolerance of",
    }[record["verdict"]]
    return (
        f"On {record['task']} by {record['rubric']} {record['rubric_version']} ({record['test_set']}: "
        f"{', '.join(record['test_set_composition'])}; n = {record['primary_n']:,}), {record['scheme']} moves "
        f"{record['primary_metric']} of {record['model']} {record['model_version']} by {change} "
        f"({100 * rubric.confidence:g} % paired interval), from {level(before, unit)} of the reference, "
        f"{record['reference_scheme']} on {record['reference_executor']}, to {level(record['primary_value'], unit)}: "
        f"{within} {loss(record['tolerance_loss'], unit)}."
    )


def _calibration(record: Record) -> str:
    if record["calibration"] is None:
        return "It was not calibrated on any samples."
    method = json.loads(record["scheme_options"]).get("method")
    return (
        f"It was calibrated{f' by {method}' if method else ''} on {record['calibration_n']:,} samples of "
        f"{record['calibration']} (split {record['calibration_split']}, {record['calibration_selection']}, seed "
        f"{record['calibration_seed']}), none of them in the test set."
    )


def _worst(record: Record, rubric: Rubric) -> Iterable[str]:
    reported = [score for score in record["strata_scores"] if score["loss"] is not None]
    worst = next((s for s in reported if f"{s['stratum_field']}={s['stratum']}" == record["worst_stratum"]), None)
    if worst is None or worst["delta_low"] is None:
        return
    change = moved(worst["delta"], worst["delta_low"], worst["delta_high"], unit_of(record))
    yield (
        f"Its worst stratum, {record['worst_stratum']}, moves by {change} (n = {worst['n']:,}, "
        f"{100 * rubric.confidence:g} %; picked among {len(reported)}, for which the interval is not corrected)."
    )


def _no_speed(record: Record) -> str | None:
    """Why nothing may be said of its speed; None where something may."""
    if record["simulated"]:
        return f"{record['executor']} is a simulator: its times say nothing of the device"
    if record["status"] == "partial":
        return f"part of it ran elsewhere than asked: {record['reason']}"
    if record["scenario_kind"] == "server-search":
        return "the highest rate was found by search: it is no ratio to the reference, and has no interval"
    if None in _ratio(record):
        return "its ratio to the reference has no interval: more rounds are needed (protocol.time_limit_s)"
    return None


def _ratio(record: Record) -> tuple[float, float, float]:
    name = "p50_ratio" if record["scenario_kind"] == "server" else "throughput_ratio"
    return record[name], record[f"{name}_low"], record[f"{name}_high"]


def _speed(record: Record) -> str:
    confidence = json.loads(record["protocol"])["confidence"]
    load = f"batch {record['batch_size']}"
    if record["scenario_kind"] == "server":
        load = f"{record['rate_per_s']:g} queries/s"
    elif record["in_flight"] != 1:
        load += f", {record['in_flight']} queries in flight"
    what = "its median latency is shorter by" if record["scenario_kind"] == "server" else "its throughput is"
    than = "a factor of " if record["scenario_kind"] == "server" else ""
    ratio = times(*_ratio(record))
    told = f"{than}{ratio.replace(' times', '')}" if than else f"{ratio} the reference's"
    return f"In {record['scenario']} at {load} {what} {told} ({100 * confidence:g} %), {_where(record)}."


def _host(record: Record) -> str:
    return f"Its answers were computed {_where(record)}."


def _where(record: Record) -> str:
    threads = "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"
    isa = ", ".join(record["isa_flags"]) or "no int8 instructions"
    simulated = " (simulated)" if record["simulated"] else ""
    return (
        f"on {record['cpu']} ({isa}; {record['cores_usable']:g} cores, {threads}) by "
        f"{record['provider']}{simulated} of {record['wheel']}"
    )


def _wanting(record: Record, rubric: Rubric, items: Sequence[Item]) -> Iterable[str]:
    """What would make it decision-grade."""
    missing = {item.item: item.why for item in items if not item.held}
    yield from (f"{name}: {_remedy(name, record)} ({why})" for name, why in missing.items())
    if record["primary_loss_low"] is None or record["primary_loss_high"] is None:
        return
    width = record["primary_loss_high"] - record["primary_loss_low"]
    enough = max(abs(record["primary_loss"]), record["tolerance_loss"] or 0.0)
    if width >= enough > 0:
        needed = _needed(record, width / enough)
        counts = {"quick": rubric.test_set.quick_count, "thorough": rubric.test_set.thorough_count}
        count = counts.get(json.loads(record["protocol"]).get("test_set", "")) or rubric.test_set.count
        yield (
            f"about {needed:,} answers instead of {record['primary_n']:,} (test_set.count of about "
            f"{math.ceil(count * needed / record['primary_n']):,} instead of {count:,}), so that the interval, now "
            f"{loss(width, unit_of(record))} wide, is narrower than {loss(enough, unit_of(record))}"
        )


def _needed(record: Record, ratio: float) -> int:
    """Widths shrink as 1 ∕ √n; as 1 ∕ n where no answer differs (see `scoring.verdict.required_n`)."""
    factor = ratio if record["flip_rate"] == 0 else ratio**2
    return max(int(record["primary_n"]) + 1, math.ceil(int(record["primary_n"]) * factor))


def _remedy(item: str, record: Record) -> str:
    if item == "calibration" and (record["calibration_overlap_n"] or 0) > 0:
        return "calibrate on samples that are not scored"
    if item == "calibration" and record["calibration_n"] is not None:
        return f"calibrate on at least {record['calibration_minimum_n']:,} samples"
    if item == "strata":
        return "report by every declared field: more samples in each stratum, or a lower strata_minimum_n"
    return "disclose what is missing"


def facts(record: Record) -> dict[str, Any]:
    """What a reader needs to check a claim: who, where, and the digests of everything that it rests on."""
    names = (
        "cell_id", "candidate_id", "sweep", "rescored_from", "workload", "task", "model", "model_version", "scheme",
        "scheme_options", "executor", "provider", "wheel", "onnxruntime_version", "scenario", "batch_size", "threads",
        "cpu", "isa_flags", "cores_usable", "model_sha256", "artifact_sha256", "rubric_digest", "test_set_digest",
        "calibration_digest", "executor_digest", "suite_digest", "lynxbench_version", "started_at",
    )  # fmt: skip
    return {name: record[name] for name in names}
