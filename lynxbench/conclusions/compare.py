"""What changed between two sets of results: for each candidate its accuracy and its speed, against declared gates.

* Accuracy is paired by sample where both sides kept their predictions (`scoring.score`, the later one as the candidate,
  the earlier one as its reference); else two independent intervals are joined, and the row says so.
* Speed is a ratio of ratios: each side's speed over its own reference's, measured in the same rounds, so that what is
  common to a host or a run cancels. It says nothing of a change that hits candidate and reference alike; the plain
  ratio of the medians does, and compares different runs or hosts, so that no verdict rests on it.
* A verdict needs a whole interval beyond the gate, after Holm's correction over all the effects of all rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from lynxbench.conclusions.effects import Effect, Measured, corrected, difference, logarithm
from lynxbench.conclusions.limits import refuse_any_loss
from lynxbench.conclusions.matching import Pair, Unmatched, match
from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import StoreError, UsageError
from lynxbench.records.answers import predictions_of
from lynxbench.records.declarations import kept_rubrics
from lynxbench.records.location import Location
from lynxbench.records.places import dataset, find_places, in_memory, scanned
from lynxbench.records.record import MEASURED, Record
from lynxbench.records.results import Kept
from lynxbench.scoring import score
from lynxbench.scoring.composite import COMPOSITE
from lynxbench.specs.rubric import Rubric

Change = Literal["regressed", "improved", "unchanged", "undecided"]
MAX_SLOWDOWN = 0.05
# A larger file of predictions is read anew for each candidate, of a smaller one all at once.
LARGEST_IN_MEMORY_BYTES = 50 << 20
# Ends of a run that say that a candidate which could be measured no longer can.
_BROKEN = frozenset({"failed", "rejected", "timeout", "oom", "unsupported"})


@dataclass(frozen=True)
class Gates:
    """What counts as no change.

    max_loss      of the primary metric, in its unit; None: each rubric's own tolerance
    max_slowdown  share of a candidate's speed, relative to its reference's
    """

    max_loss: float | None = None
    max_slowdown: float = MAX_SLOWDOWN

    def __post_init__(self) -> None:
        if not 0 <= self.max_slowdown < 1:
            raise UsageError(f"--max-slowdown {self.max_slowdown:g}: expected a share from 0 to below 1, such as 0.05")
        if self.max_loss is not None and not (self.max_loss >= 0 and math.isfinite(self.max_loss)):
            raise UsageError(f"--max-loss {self.max_loss:g}: expected a loss in the metric's unit, such as 0.01")


@dataclass(frozen=True)
class Compared:
    """One candidate, before and after.

    loss       Effect in the metric's unit, or None; `paired` says how it came about, `n` on how many samples
    slowdown   Effect on the log scale, or None
    speed_open there is a speed to compare, but nothing to say how sure it is
    notes      why one of them is missing, and what else differs between the two sides
    why        what the verdict rests on
    """

    pair: Pair
    loss: Effect | None
    slowdown: Effect | None
    paired: bool
    n: int | None
    notes: tuple[str, ...]
    speed_open: bool = False
    change: Change = "undecided"
    why: str = ""

    @property
    def relative_speed(self) -> tuple[float, float, float] | None:
        """Speed after over before, each relative to its reference, with its interval; below 1 is slower."""
        if self.slowdown is None:
            return None
        return math.exp(-self.slowdown.value), math.exp(-self.slowdown.high), math.exp(-self.slowdown.low)

    @property
    def p50_ratio(self) -> float | None:
        """Median latency before over after, as it was: of two runs, or of two hosts."""
        before, after = (kept.record["p50_ns"] for kept in (self.pair.before, self.pair.after))
        return before / after if before and after else None

    @property
    def same_host(self) -> bool:
        return bool(self.pair.before.record["host_id"] == self.pair.after.record["host_id"])


@dataclass(frozen=True)
class Comparison:
    """All rows; `failed` when one regressed."""

    rows: tuple[Compared, ...]
    unmatched: tuple[Unmatched, ...]
    superseded: int
    gates: Gates

    @property
    def failed(self) -> bool:
        return any(row.change == "regressed" for row in self.rows)


def compare(before: Sequence[Kept], after: Sequence[Kept], gates: Gates, by: str | None = None) -> Comparison:
    """Match the rows of two sides and say what changed. Raises `UsageError` when nothing can be matched."""
    matched = match(before, after, by)
    if not matched.pairs:
        reasons = "; ".join(dict.fromkeys(f"{one.reason} ({one.detail})" for one in matched.unmatched))
        raise UsageError(f"nothing can be compared: {reasons or 'one side has no records'}")
    refuse_any_loss("--max-loss", gates.max_loss, (pair.after.record for pair in matched.pairs))
    stored = _Stored()
    rows = _corrected([_effects(pair, gates, stored) for pair in matched.pairs])
    return Comparison(tuple(map(_judged, rows)), matched.unmatched, matched.superseded, gates)


def _effects(pair: Pair, gates: Gates, stored: _Stored) -> Compared:
    if pair.after.record["status"] not in MEASURED:
        return Compared(pair, None, None, paired=False, n=None, notes=())
    loss, paired, n, about_loss = _loss(pair, gates, stored)
    slowdown, about_speed, speed_open = _slowdown(pair, gates)
    notes = [note for note in (about_loss, about_speed) if note] + _differences(pair)
    return Compared(pair, loss, slowdown, paired, n, tuple(notes), speed_open)


def _loss(pair: Pair, gates: Gates, stored: _Stored) -> tuple[Effect | None, bool, int | None, str | None]:
    """Effect, whether it is paired, samples, and what to say about it."""
    before, after = pair.before.record, pair.after.record
    try:
        rubric = stored.rubric(pair.after.folder, after["rubric_digest"])
        answers = [stored.answers(kept.folder, kept.record["predictions_id"]) for kept in (pair.after, pair.before)]
        scores = score(rubric, answers[0], answers[1], is_reference=False)
    except (StoreError, UsageError) as error:
        return *_independent(before, after, gates), f"accuracy: two independent intervals, not paired: {error}"
    primary = scores.primary
    gate = gates.max_loss if gates.max_loss is not None else scores.verdict.tolerance_loss
    if primary.loss is None or primary.loss_low is None or primary.loss_high is None or gate is None:
        return None, True, primary.n, f"accuracy: {primary.reason}"
    effect = Effect(primary.loss, primary.loss_low, primary.loss_high, gate, rubric.confidence)
    return effect, True, primary.n, None


def _independent(before: Record, after: Record, gates: Gates) -> tuple[Effect | None, bool, int | None]:
    gate = gates.max_loss
    if gate is None:
        gate = before["tolerance"] if before["tolerance_kind"] == "absolute" else before["tolerance_loss"]
    sides = []
    for record in (before, after):
        value, low, high = (record[f"primary_value{end}"] for end in ("", "_low", "_high"))
        if low is None or high is None or gate is None:
            return None, False, None
        upward = record["primary_direction"] == "higher-is-better"
        ends = (value, low, high) if upward else (-value, -high, -low)
        sides.append(Measured(*ends, _confidence(record)))
    return difference(sides[0], sides[1], gate), False, min(before["primary_n"], after["primary_n"])


def _slowdown(pair: Pair, gates: Gates) -> tuple[Effect | None, str | None, bool]:
    """Effect, what to say about it, and whether one is missing that there ought to be."""
    before, after = pair.before.record, pair.after.record
    if before["is_reference"] or after["is_reference"]:
        return None, "the reference, which speeds are relative to", False
    if before["simulated"] or after["simulated"]:
        return None, "speed: simulated, so its times say nothing", False
    if before["scenario_kind"] == "server-search":
        return None, "speed: a rate that was found by search has no interval", True
    name = "p50_ratio" if before["scenario_kind"] == "server" else "throughput_ratio"
    sides = []
    for record in (before, after):
        ratio, low, high = (record[f"{name}{end}"] for end in ("", "_low", "_high"))
        if ratio is None or low is None or high is None:
            return None, f"speed: {'no ratio' if ratio is None else 'one round, so no interval'}", True
        # Rounds of one process are no independent tries where there are several processes.
        tries = record["processes"] if record["processes"] > 1 else record["rounds"]
        sides.append(logarithm(ratio, low, high, _confidence(record), max(1, tries - 1)))
    return difference(sides[0], sides[1], -math.log1p(-gates.max_slowdown)), None, False


def _confidence(record: Record) -> float:
    return float(json.loads(record["protocol"]).get("confidence", 0.95))


def _differences(pair: Pair) -> list[str]:
    """What else is not the same, though it need not be for the two to be compared."""
    before, after = pair.before.record, pair.after.record
    notes = [
        f"{name.removesuffix('_version')} {before[name]} → {after[name]}"
        for name in ("onnxruntime_version", "lynxbench_version", "threads", "cpu")
        if before[name] != after[name]
    ]
    if before["executor"] == after["executor"] and before["executor_digest"] != after["executor_digest"]:
        notes.append(f"executor {before['executor']} is declared otherwise")
    if before["protocol"] != after["protocol"]:
        notes.append("another protocol")
    if before["artifact_sha256"] != after["artifact_sha256"]:
        notes.append("the quantizer made another file")
    return notes


def _corrected(rows: Sequence[Compared]) -> list[Compared]:
    effects = iter(corrected([effect for row in rows for effect in (row.loss, row.slowdown) if effect is not None]))
    return [
        replace(
            row,
            loss=None if row.loss is None else next(effects),
            slowdown=None if row.slowdown is None else next(effects),
        )
        for row in rows
    ]


def _judged(row: Compared) -> Compared:
    """The row's change from the outcomes of both effects, and what it rests on."""
    after = row.pair.after.record
    if after["status"] not in MEASURED:
        said = f"no longer measured: {after['status']}: {after['reason']}"
        return replace(row, change="regressed" if after["status"] in _BROKEN else "undecided", why=said)
    there = {name: effect for name, effect in (("accuracy", row.loss), ("speed", row.slowdown)) if effect is not None}
    outcomes = {name: effect.outcome for name, effect in there.items()}
    worse = [name for name, outcome in outcomes.items() if outcome == "worse"]
    better = [name for name, outcome in outcomes.items() if outcome == "better"]
    if worse:
        return replace(row, change="regressed", why=f"{' and '.join(worse)} beyond the gate")
    if row.speed_open:
        return replace(row, why="accuracy alone could be compared" if there else "nothing to compare")
    if better and all(effect.no_worse for effect in there.values()):
        return replace(row, change="improved", why=" and ".join(better))
    if there and all(outcome == "same" for outcome in outcomes.values()):
        return replace(row, change="unchanged", why="within the gates")
    if not there:
        return replace(row, why="nothing to compare")
    alone = [name for name, effect in there.items() if effect.alone == "worse"]
    if alone:
        return replace(row, why=f"{' and '.join(alone)} beyond the gate, but not beyond doubt among so many rows")
    if all(effect.no_worse for effect in there.values()):
        return replace(row, why="no worse than the gates, perhaps better")
    open_ = [name for name, effect in there.items() if not effect.no_worse]
    return replace(row, why=f"{' and '.join(open_)}: interval reaches over the gate")


class _Stored:
    """Rubrics and answers of results folders; the last ones are kept in memory."""

    def __init__(self) -> None:
        self.rubric = lru_cache(maxsize=64)(_primary_alone)
        self._whole = lru_cache(maxsize=2)(in_memory)

    def answers(self, folder: Location, predictions_id: str) -> Predictions:
        """What a candidate answered. Raises `StoreError` when it was not kept."""
        import pyarrow.compute as pc

        (place,) = find_places([folder])
        wanted = pc.field("predictions_id") == predictions_id
        if place.size_bytes("predictions") > LARGEST_IN_MEMORY_BYTES:
            rows = scanned(dataset([place], "predictions"), where=wanted)
        else:
            rows = self._whole(place, "predictions").filter(wanted)
        if rows.num_rows == 0:
            raise StoreError(f"{folder} does not hold the predictions {predictions_id}")
        return predictions_of(rows)


def _primary_alone(folder: Location, digest: str) -> Rubric:
    """A folder's rubric with the metric that decides alone: the others take time, and change nothing."""
    rubrics = kept_rubrics(folder)
    if digest not in rubrics:
        raise StoreError(f"{folder / 'sweep.json'} does not hold the rubric {digest[:12]}")
    rubric = rubrics[digest]
    if rubric.primary.metric == COMPOSITE:
        return rubric.model_copy(update={"strata": ()})
    return rubric.model_copy(update={"strata": (), "metrics": (rubric.primary,)})
