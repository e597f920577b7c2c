"""Interleaved rounds: every entrant gets one block a round, in random order, until the ratios are tight."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from lynxbench.measurement.advice import TimingWarning
from lynxbench.measurement.blocks import Block, Clock
from lynxbench.measurement.ratios import RatioEstimate, ratio_interval, sittings_interval

__all__ = ["Entrant", "EntrantRounds", "RoundProgress", "RoundsResult", "StoppedBy", "run_rounds"]

StoppedBy = Literal["precision", "time-limit", "all-failed"]


class Entrant(Protocol):
    """What takes part in rounds: a name, and a way to get one timed block, here or in another process."""

    @property
    def name(self) -> str: ...

    def block(self, duration_ns: int) -> Block: ...


@dataclass(frozen=True)
class EntrantRounds:
    """What one entrant's rounds gave.

    blocks, round_numbers   its blocks, and the round (from 0) of each
    sittings                which of its processes each block comes from, from 0
    error                   what its block raised, after which it was dropped; None if it stayed to the end
    p50_ratio               speed relative to the reference by median latency a sample: reference / entrant, one value
                            a round; > 1 is faster. None for what failed, or where the reference failed
    throughput_ratio        the same by mean latency a sample, so (samples / Σ latencies) of entrant / reference
    rounds_excluded         rounds left out of both ratios because either side waited too long for a CPU
    timed_ns                wall time of its blocks
    """

    name: str
    blocks: tuple[Block, ...]
    round_numbers: tuple[int, ...]
    sittings: tuple[int, ...]
    error: Exception | None
    p50_ratio: RatioEstimate | None
    throughput_ratio: RatioEstimate | None
    rounds_excluded: int
    timed_ns: int
    warnings: tuple[TimingWarning, ...]

    @property
    def half_width_ratio(self) -> float | None:
        """Relative half-width of the interval of `p50_ratio`, which the stopping rule looks at."""
        return None if self.p50_ratio is None else self.p50_ratio.half_width_ratio


@dataclass(frozen=True)
class RoundsResult:
    """A group's rounds: each entrant's, in the order they were entered, and why the rounds stopped.

    order: for each round the names in the order in which they were asked for their block.
    stopped_by: "precision", every ratio is as tight as declared; "time-limit"; "all-failed", nobody was left.
    """

    reference: str
    entrants: Mapping[str, EntrantRounds]
    order: tuple[tuple[str, ...], ...]
    stopped_by: StoppedBy
    wall_ns: int

    @property
    def rounds(self) -> int:
        """How many rounds were begun."""
        return len(self.order)


@dataclass(frozen=True)
class RoundProgress:
    """How far a group is after a round; `half_widths` holds each candidate's, None while it has no interval."""

    round_number: int
    wall_ns: int
    timed_ns: Mapping[str, int]
    half_widths: Mapping[str, float | None]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class _Rules:
    """When rounds stop, and against whom ratios are formed."""

    reference: str
    minimum_rounds: int
    time_limit_ns: int
    half_width_ratio: float
    confidence: float
    sittings: int


@dataclass
class _Lane:
    """One entrant under way. Medians and means a sample are kept, so that a check after each round costs little."""

    entrant: Entrant
    samples_per_query: int
    blocks: list[Block] = field(default_factory=list)
    round_numbers: list[int] = field(default_factory=list)
    sitting_of: dict[int, int] = field(default_factory=dict)  # by round
    log_p50: dict[int, float] = field(default_factory=dict)
    log_mean: dict[int, float] = field(default_factory=dict)
    excluded_rounds: set[int] = field(default_factory=set)
    timed_ns: int = 0
    error: Exception | None = None

    def take(self, block: Block, number: int, sitting: int) -> None:
        self.blocks.append(block)
        self.sitting_of[number] = sitting
        self.round_numbers.append(number)
        self.timed_ns += block.wall_ns
        # A clock tick too coarse to see a run at all must not make an infinite ratio.
        self.log_p50[number] = float(np.log(max(1.0, float(np.median(block.latencies_ns))) / self.samples_per_query))
        self.log_mean[number] = float(np.log(max(1.0, block.busy_ns / len(block)) / self.samples_per_query))
        if block.excluded:
            self.excluded_rounds.add(number)


def run_rounds(
    entrants: Sequence[Entrant],
    reference: str,
    *,
    block_ns: int,
    minimum_rounds: int,
    time_limit_ns: int,
    half_width_ratio: float,
    confidence: float = 0.95,
    overall_limit_ns: int | None = None,
    seed: int = 0,
    sittings: int = 1,
    renew: Callable[[int], None] | None = None,
    samples_per_query: Mapping[str, int] | None = None,
    clock_ns: Clock = time.monotonic_ns,
    on_round: Callable[[RoundProgress], None] | None = None,
) -> RoundsResult:
    """Measure `entrants` against the one named `reference` in interleaved rounds.

    A round asks every entrant once for a block of `block_ns`, one after the other, in an order drawn from `seed`.
    Rounds stop by precision once every candidate has `minimum_rounds` rounds in which neither side's block is one to
    exclude (waited for a CPU for more than 5 % of its time), and the interval of its p50 ratio at `confidence` is no
    wider than ×/÷ (1 + `half_width_ratio`). They stop at the time limit when the reference has been timed for
    `time_limit_ns`, or every candidate that is not yet precise has, or when `overall_limit_ns` have passed on the
    clock (all checked after whole rounds, so there is always one). A candidate that has used its time leaves and the
    others go on. A group of the reference alone stops by precision after `minimum_rounds`.

    With several `sittings` the rounds are spread over them, and `renew(sitting)` is called before each but the first:
    the place to give every entrant a fresh process, since processes of one candidate differ by more than rounds do. A
    sitting ends when its share of `minimum_rounds` is done and every candidate's rounds in it are as tight as asked, or
    when its share of the time limit is used; the last one ends the rounds. The ratio's interval then comes from the
    spread between sittings, and may be wider than asked.

    An entrant whose block raises an Exception, or comes back empty, is dropped with the exception kept; the others go
    on, without the reference to the time limit and without ratios. KeyboardInterrupt passes through.
    `samples_per_query` (name → samples, default 1) makes the ratios compare samples where batches differ.
    Raises ValueError for duplicate names or an unknown reference.
    """
    names = [entrant.name for entrant in entrants]
    if len(set(names)) != len(names):
        raise ValueError(f"entrants must have different names, not {names}")
    if reference not in names:
        raise ValueError(f"the reference {reference!r} is not among the entrants {names}")
    if sittings < 1 or (sittings > 1 and renew is None):
        raise ValueError(f"{sittings} sittings need a way to renew the entrants")
    if minimum_rounds < 1 or block_ns < 1:
        raise ValueError(f"minimum_rounds ({minimum_rounds}) and block_ns ({block_ns}) must be positive")

    lanes = {e.name: _Lane(e, (samples_per_query or {}).get(e.name, 1)) for e in entrants}
    rules = _Rules(reference, minimum_rounds, time_limit_ns, half_width_ratio, confidence, sittings)
    random = np.random.default_rng(seed)
    started_ns = clock_ns()
    order: list[tuple[str, ...]] = []
    stopped_by: StoppedBy | None = None
    sitting = 0
    while stopped_by is None:
        number = len(order)
        drawn = [names[index] for index in random.permutation(len(names))]
        running = [n for n in drawn if lanes[n].error is None and lanes[n].timed_ns < time_limit_ns]
        order.append(tuple(running))
        for name in running:
            _one_block(lanes[name], number, sitting, block_ns)

        wall_ns = clock_ns() - started_ns
        half_widths = {name: _half_width(lane, lanes[reference], rules) for name, lane in lanes.items()}
        del half_widths[reference]
        if on_round is not None:
            on_round(
                RoundProgress(
                    round_number=number,
                    wall_ns=wall_ns,
                    timed_ns={name: lane.timed_ns for name, lane in lanes.items()},
                    half_widths=half_widths,
                    failed=tuple(name for name, lane in lanes.items() if lane.error is not None),
                )
            )
        stopped_by = _why_stop(lanes, half_widths, rules, sitting)
        if stopped_by is None and overall_limit_ns is not None and wall_ns >= overall_limit_ns:
            stopped_by = "time-limit"
        # Only after asking whether to stop: what the old processes were precise about says nothing of the fresh ones.
        if stopped_by is None and renew is not None and sitting < sittings - 1 and _is_over(lanes, sitting, rules):
            sitting += 1
            renew(sitting)

    results = {name: _result(lane, lanes[reference], rules) for name, lane in lanes.items()}
    return RoundsResult(reference, results, tuple(order), stopped_by, clock_ns() - started_ns)


def _one_block(lane: _Lane, number: int, sitting: int, block_ns: int) -> None:
    try:
        block = lane.entrant.block(block_ns)
        if len(block) == 0:
            raise ValueError(f"{lane.entrant.name} came back with an empty block")
    except Exception as error:  # whatever one entrant does, the others' rounds go on
        lane.error = error
    else:
        lane.take(block, number, sitting)


def _is_over(lanes: Mapping[str, _Lane], sitting: int, rules: _Rules) -> bool:
    """Whether it is time for fresh processes, after a whole round."""
    alive = [lane for lane in lanes.values() if lane.error is None]
    reference = lanes[rules.reference]
    if not alive:
        return False
    share_ns = rules.time_limit_ns * (sitting + 1) / rules.sittings
    if max(lane.timed_ns for lane in alive) >= share_ns:
        return True
    if reference.error is not None:
        return False
    for lane in alive:
        _, clean = _shared_rounds(lane, reference)
        width = _width_within(lane, reference, [n for n in clean if lane.sitting_of[n] == sitting], rules)
        if width is None or width > rules.half_width_ratio:
            return False
    return True


def _why_stop(
    lanes: Mapping[str, _Lane], half_widths: Mapping[str, float | None], rules: _Rules, sitting: int
) -> StoppedBy | None:
    """Whether the rounds are over after a whole round, and why."""
    alive = {name: lane for name, lane in lanes.items() if lane.error is None}
    if not alive:
        return "all-failed"
    spent = {name for name, lane in alive.items() if lane.timed_ns >= rules.time_limit_ns}
    rivals = alive.keys() - {rules.reference}
    if rules.reference not in alive:
        return "time-limit" if rivals <= spent else None
    precise = {name for name in rivals if (width := half_widths[name]) is not None and width <= rules.half_width_ratio}
    last = sitting == rules.sittings - 1
    if last and rivals == precise and len(lanes[rules.reference].blocks) >= rules.minimum_rounds:
        return "precision"
    if rules.reference in spent or (last and rivals and rivals <= precise | spent):
        return "time-limit"
    return None


def _shared_rounds(lane: _Lane, reference: _Lane) -> tuple[list[int], list[int]]:
    """Rounds in which both have a block: all of them, and those that neither side excludes."""
    shared = [number for number in lane.round_numbers if number in reference.log_p50]
    excluded = lane.excluded_rounds | reference.excluded_rounds
    return shared, [number for number in shared if number not in excluded]


def _half_width(lane: _Lane, reference: _Lane, rules: _Rules) -> float | None:
    """Half-width of the p50 ratio over the rounds that count, None where there are too few."""
    if lane.error is not None or reference.error is not None:
        return None
    _, clean = _shared_rounds(lane, reference)
    if len(clean) < rules.minimum_rounds:
        return None
    # Within the latest sitting: to stop when the few sittings' estimates happen to agree would pick lucky intervals.
    latest = lane.sitting_of[clean[-1]]
    return _width_within(lane, reference, [n for n in clean if lane.sitting_of[n] == latest], rules)


def _width_within(lane: _Lane, reference: _Lane, rounds: Sequence[int], rules: _Rules) -> float | None:
    """Half-width of the p50 ratio over rounds of one sitting; None where they are too few."""
    if len(rounds) < -(-rules.minimum_rounds // rules.sittings):
        return None
    return ratio_interval([reference.log_p50[n] - lane.log_p50[n] for n in rounds], rules.confidence).half_width_ratio


def _ratio(
    own: Mapping[int, float], base: Mapping[int, float], rounds: Sequence[int], lane: _Lane, rules: _Rules
) -> RatioEstimate:
    """The ratio over `rounds`, from the spread between sittings where there are several."""
    logs = [base[number] - own[number] for number in rounds]
    return sittings_interval(logs, [lane.sitting_of[number] for number in rounds], rules.confidence)


def _result(lane: _Lane, reference: _Lane, rules: _Rules) -> EntrantRounds:
    warnings: list[TimingWarning] = []
    p50_ratio = throughput_ratio = None
    excluded = 0
    shared, clean = _shared_rounds(lane, reference)
    if reference.error is not None:
        warnings.append(TimingWarning.REFERENCE_FAILED)
    elif lane is reference:
        p50_ratio = throughput_ratio = RatioEstimate(1.0, 1.0, 1.0, len(shared), rules.confidence, "reference")
    elif lane.error is None and shared:
        kept = clean if len(clean) >= rules.minimum_rounds else shared
        excluded = len(shared) - len(kept)
        p50_ratio = _ratio(lane.log_p50, reference.log_p50, kept, lane, rules)
        throughput_ratio = _ratio(lane.log_mean, reference.log_mean, kept, lane, rules)
        if len(clean) < len(shared):
            warnings.append(TimingWarning.EXCLUDED_BLOCKS if excluded else TimingWarning.STARVED_BLOCKS_KEPT)
        if len(kept) < rules.minimum_rounds:
            warnings.append(TimingWarning.FEW_ROUNDS)
        width = p50_ratio.half_width_ratio
        if width is None or width > rules.half_width_ratio:
            warnings.append(TimingWarning.TIME_LIMIT_BEFORE_PRECISION)
    return EntrantRounds(
        name=lane.entrant.name,
        blocks=tuple(lane.blocks),
        round_numbers=tuple(lane.round_numbers),
        sittings=tuple(lane.sitting_of[number] for number in lane.round_numbers),
        error=lane.error,
        p50_ratio=p50_ratio,
        throughput_ratio=throughput_ratio,
        rounds_excluded=excluded,
        timed_ns=lane.timed_ns,
        warnings=tuple(warnings),
    )
