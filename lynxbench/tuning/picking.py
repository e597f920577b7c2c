"""Which of the measured candidates lost, which one is picked, and who stands on the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lynxbench.conclusions.tradeoff import Class, Estimate, Offer, standings
from lynxbench.errors import UsageError
from lynxbench.records.record import MEASURED, Record
from lynxbench.specs.scheme_options import OPTIONS

State = Literal["held", "beyond", "undecided"]
# Kinds whose operators can be chosen: of the others there is nothing to mend but the kind.
KINDS = frozenset(kind for kind, options in OPTIONS.items() if "op_types" in options and kind != "fp8")


@dataclass(frozen=True)
class Measured:
    """A candidate of one sweep: its loss and its speed over the reference's, with intervals."""

    record: Record
    name: str
    loss: Estimate
    speed: Estimate

    @property
    def is_reference(self) -> bool:
        return bool(self.record["is_reference"])

    def state(self, max_loss: float) -> State:
        """Whether the interval of the loss lies within the limit, beyond it, or on both sides."""
        low, high = self.loss.ends()
        return "held" if high <= max_loss else "beyond" if low > max_loss else "undecided"


def label(record: Record) -> str:
    """The scheme as tables call it: with its calibration set, where it has one."""
    return str(record["scheme"]) if record["calibration"] is None else f"{record['scheme']}@{record['calibration']}"


def measured(records: Sequence[Record]) -> list[Measured]:
    """Those that were timed and scored; the reference loses nothing and is once as fast as itself."""
    found = []
    for record in records:
        if record["status"] not in MEASURED:
            continue
        if record["is_reference"]:
            found.append(Measured(record, label(record), Estimate(0.0, 0.0, 0.0), Estimate(1.0, 1.0, 1.0)))
            continue
        by = "p50_ratio" if record["throughput_ratio"] is None else "throughput_ratio"
        if record[by] is not None and record["primary_loss"] is not None:
            loss, speed = (Estimate(record[n], record[f"{n}_low"], record[f"{n}_high"]) for n in ("primary_loss", by))
            found.append(Measured(record, label(record), loss, speed))
    return found


def losers(candidates: Sequence[Measured], max_loss: float, kinds: frozenset[str]) -> list[Measured]:
    """Candidates of these kinds that lose more than is allowed or are not faster, the most promising first.

    Promising are the fastest, and of those that lose least among the faster ones the best: the first has most to win,
    the second the shortest way to go. Both are judged by estimates: what they are is looked into, not claimed.
    """
    lost = [
        one
        for one in candidates
        if one.record["scheme_kind"] in kinds and (one.loss.value > max_loss or one.speed.value <= 1)
    ]
    lost.sort(key=lambda one: -one.speed.value)
    faster = [one for one in lost if one.speed.value > 1] or lost
    nearest = min(faster, key=lambda one: one.loss.value, default=None)
    first = lost[:1] + ([nearest] if nearest is not None and nearest is not lost[0] else [])
    return first + [one for one in lost if all(one is not other for other in first)]


def pick(candidates: Sequence[Measured], max_loss: float) -> Measured | None:
    """The fastest that is faster than the reference and holds the limit by its estimates; None where there is none.

    Those that are so beyond doubt in both come first, then those in one: what was picked on few samples by an estimate
    alone is often no winner on others.
    """

    def certainty(one: Measured) -> int:
        return (one.state(max_loss) == "held") + (one.speed.ends()[0] > 1)

    able = [one for one in candidates if not one.is_reference and one.speed.value > 1 and one.loss.value <= max_loss]
    return max(able, key=lambda one: (certainty(one), one.speed.value), default=None)


def better(one: Measured, other: Measured | None, max_loss: float) -> bool:
    """Whether a search should go on from `one` rather than from `other`."""
    if other is None:
        return True
    holds = [x.loss.value <= max_loss for x in (one, other)]
    if holds[0] != holds[1]:
        return holds[0]
    return one.speed.value > other.speed.value if holds[0] else one.loss.value < other.loss.value


def frontier(candidates: Sequence[Measured]) -> list[Class]:
    """Where each stands among `candidates`: loss against the inverse of the speed."""
    offers = [Offer(one.loss, _inverse(one.speed)) for one in candidates]
    return [one.standing for one in standings(offers)]


def _inverse(speed: Estimate) -> Estimate:
    low, high = (None if end is None or end <= 0 else 1 / end for end in (speed.high, speed.low))
    return Estimate(1 / speed.value, low, high)


def bases(first: Sequence[Measured], base: str | None, max_loss: float) -> list[Measured]:
    """What is to be mended."""
    if base is None:
        return distinct(losers(first, max_loss, KINDS))
    meant = [one for one in first if base in (one.record["scheme"], one.name) and not one.is_reference]
    if not meant:
        raise UsageError(f"{base} could not be measured on the tuning samples, so there is nothing to mend")
    return meant


def distinct(candidates: Sequence[Measured]) -> list[Measured]:
    """The first of each scheme: its calibration set is chosen apart."""
    found: dict[str, Measured] = {}
    for one in candidates:
        found.setdefault(one.record["scheme"], one)
    return list(found.values())


def calibration_of(first: Sequence[Measured]) -> str | None:
    """The calibration set of the static candidate that loses least; None where no scheme has one."""
    static = [one for one in first if one.record["calibration"] is not None]
    return min(static, key=lambda one: one.loss.value).record["calibration"] if static else None
