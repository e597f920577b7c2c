"""Rounds with scripted entrants: order, stopping, dropping out, exclusion; and the A/A error rate of the whole rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lynxbench.measurement import Block, EntrantRounds, RoundProgress, RoundsResult, TimingWarning, run_rounds
from tests.fakes import ScriptedClock, ScriptedEntrant, make_block


def noisy_blocks(level_ns: float, noise: float, seed: int, count: int = 200, runs: int = 10) -> list[Block]:
    rng = np.random.default_rng(seed)
    levels = level_ns * np.exp(noise * rng.standard_normal(count))
    return [make_block(np.full(runs, round(level))) for level in levels]


def rounds_of(entrants: list[ScriptedEntrant], **changes: object) -> RoundsResult:
    settings: dict[str, object] = {
        "block_ns": 10_000_000,
        "minimum_rounds": 8,
        "time_limit_ns": 1_000_000_000,
        "half_width_ratio": 0.02,
    }
    return run_rounds(entrants, "fp32", **(settings | changes))  # type: ignore[arg-type]


def steady(name: str, level_ns: int = 1_000_000, log: list[str] | None = None, runs: int = 10) -> ScriptedEntrant:
    return ScriptedEntrant(name, [make_block([level_ns] * runs)], log=log)


def test_each_round_asks_everyone_exactly_once_in_the_order_that_is_reported() -> None:
    log: list[str] = []
    names = ["fp32", "int8", "fp16", "int4"]
    result = rounds_of([steady(name, log=log) for name in names])
    assert result.rounds == 8
    assert [tuple(log[i : i + 4]) for i in range(0, len(log), 4)] == list(result.order)
    assert all(sorted(round_) == sorted(names) for round_ in result.order)
    for entrant in result.entrants.values():
        assert entrant.round_numbers == tuple(range(8))


def test_the_order_is_random_and_follows_the_seed() -> None:
    def orders(seed: int) -> tuple[tuple[str, ...], ...]:
        return rounds_of([steady("fp32"), steady("int8")], minimum_rounds=60, seed=seed).order

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert 15 <= sum(order[0] == "fp32" for order in orders(1)) <= 45


def test_the_ratio_is_formed_within_a_round_so_shared_drift_cancels() -> None:
    """Both get slower by 10 % a round; the candidate is always twice as fast."""
    drift = [1.1**i for i in range(8)]
    reference = ScriptedEntrant("fp32", [make_block([round(8e6 * d)] * 4) for d in drift])
    candidate = ScriptedEntrant("int8", [make_block([round(4e6 * d)] * 4) for d in drift])
    result = rounds_of([reference, candidate])
    assert result.stopped_by == "precision"
    estimate = result.entrants["int8"].p50_ratio
    assert estimate is not None
    assert estimate.value == pytest.approx(2, rel=1e-6)
    assert estimate.half_width_ratio == pytest.approx(0, abs=1e-6)
    assert reference.asked_ns == [10_000_000] * 8


def test_both_ratios_are_per_sample_and_greater_than_one_when_faster() -> None:
    reference = ScriptedEntrant("fp32", [make_block([10, 10, 10, 10, 60])])  # median 10, mean 20
    batched = ScriptedEntrant("int8", [make_block([40, 40, 40, 40, 40])])  # 8 samples in 40: 5 a sample
    result = rounds_of([reference, batched], samples_per_query={"int8": 8}, time_limit_ns=10**6)
    entrant = result.entrants["int8"]
    assert entrant.p50_ratio is not None
    assert entrant.throughput_ratio is not None
    assert entrant.p50_ratio.value == pytest.approx(2)
    assert entrant.throughput_ratio.value == pytest.approx(4)
    own = result.entrants["fp32"].p50_ratio
    assert own is not None
    assert (own.value, own.low, own.high, own.method) == (1, 1, 1, "reference")


def test_rounds_go_on_until_every_ratio_is_tight() -> None:
    quick = rounds_of([steady("fp32"), steady("int8")], time_limit_ns=10**12)
    assert (quick.stopped_by, quick.rounds) == ("precision", 8)
    noisy = ScriptedEntrant("noisy", noisy_blocks(1e6, 0.05, seed=1))
    slow = rounds_of([steady("fp32"), steady("int8"), noisy], time_limit_ns=10**12)
    assert slow.stopped_by == "precision"
    assert 8 < slow.rounds < 120
    for name in ("int8", "noisy"):
        width = slow.entrants[name].half_width_ratio
        assert width is not None
        assert width <= 0.02
        assert slow.entrants[name].warnings == ()


def test_the_time_limit_counts_each_entrants_timed_time() -> None:
    noisy = ScriptedEntrant("int8", noisy_blocks(1e6, 0.3, seed=2))
    result = rounds_of([steady("fp32"), noisy], time_limit_ns=205_000_000)
    assert result.stopped_by == "time-limit"
    assert result.entrants["fp32"].timed_ns == 210_000_000  # the first whole block beyond it
    width = result.entrants["int8"].half_width_ratio
    assert width is not None
    assert width > 0.02
    assert TimingWarning.TIME_LIMIT_BEFORE_PRECISION in result.entrants["int8"].warnings


def test_a_slow_candidate_leaves_when_its_time_is_spent_and_the_others_go_on() -> None:
    slow = steady("slow", level_ns=40_000_000)  # 0.4 s a block
    noisy = ScriptedEntrant("noisy", noisy_blocks(1e6, 0.05, seed=1))
    result = rounds_of([steady("fp32"), slow, noisy], time_limit_ns=1_000_000_000)
    assert len(result.entrants["slow"].blocks) == 3
    assert [("slow" in order) for order in result.order] == [True] * 3 + [False] * (result.rounds - 3)
    assert len(result.entrants["noisy"].blocks) > 8
    assert result.stopped_by == "time-limit"  # the slow one never had its eight rounds
    assert TimingWarning.FEW_ROUNDS in result.entrants["slow"].warnings
    assert result.entrants["slow"].p50_ratio is not None
    assert result.entrants["slow"].p50_ratio.value == pytest.approx(1 / 40)
    assert result.entrants["noisy"].warnings == ()


def test_a_slow_reference_ends_the_rounds() -> None:
    result = rounds_of([steady("fp32", level_ns=60_000_000), steady("int8")], time_limit_ns=1_000_000_000)
    assert (result.stopped_by, result.rounds) == ("time-limit", 2)


def test_the_overall_limit_is_read_from_the_clock_after_whole_rounds() -> None:
    clock = ScriptedClock(start_ns=777)
    entrants = [
        ScriptedEntrant("fp32", noisy_blocks(1e6, 0.3, seed=3), clock=clock),
        ScriptedEntrant("int8", noisy_blocks(1e6, 0.3, seed=4), clock=clock),
    ]
    result = rounds_of(entrants, clock_ns=clock, overall_limit_ns=100_000_000, time_limit_ns=10**12)
    assert result.stopped_by == "time-limit"
    assert result.wall_ns == clock.now_ns - 777
    assert 100_000_000 <= result.wall_ns < 150_000_000
    assert len(result.entrants["fp32"].blocks) == len(result.entrants["int8"].blocks) == result.rounds


def test_a_candidate_that_fails_is_dropped_with_its_exception_and_the_others_go_on() -> None:
    died = RuntimeError("worker died")
    good = make_block([1_000_000] * 10)
    log: list[str] = []
    entrants = [steady("fp32", log=log), ScriptedEntrant("int8", [good, good, died], log=log), steady("fp16", log=log)]
    result = rounds_of(entrants)
    failed = result.entrants["int8"]
    assert failed.error is died
    assert len(failed.blocks) == 2
    assert (failed.p50_ratio, failed.throughput_ratio, failed.half_width_ratio) == (None, None, None)
    assert log.count("int8") == 3
    assert result.stopped_by == "precision"
    assert result.entrants["fp16"].error is None
    assert len(result.entrants["fp16"].blocks) == 8


@pytest.mark.parametrize("healthy", [0, 3])
def test_without_the_reference_there_are_latencies_but_no_ratios(healthy: int) -> None:
    blocks: list[Block | BaseException] = [make_block([1_000_000] * 10)] * healthy
    result = rounds_of([ScriptedEntrant("fp32", [*blocks, OSError("gone")]), steady("int8")], time_limit_ns=200_000_000)
    assert result.stopped_by == "time-limit"
    assert result.entrants["int8"].timed_ns == 200_000_000
    assert result.entrants["int8"].p50_ratio is None
    assert result.entrants["int8"].warnings == (TimingWarning.REFERENCE_FAILED,)


def test_when_all_have_failed_the_rounds_end() -> None:
    result = rounds_of([ScriptedEntrant(name, [ValueError(name)]) for name in ("fp32", "int8")])
    assert (result.stopped_by, result.rounds) == ("all-failed", 1)
    assert {str(entrant.error) for entrant in result.entrants.values()} == {"fp32", "int8"}


def test_an_empty_block_is_a_failure_not_a_zero() -> None:
    result = rounds_of([steady("fp32"), ScriptedEntrant("int8", [make_block([])])])
    assert "empty block" in str(result.entrants["int8"].error)


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        rounds_of([steady("fp32"), ScriptedEntrant("int8", [KeyboardInterrupt()])])


def test_rounds_with_a_starved_side_do_not_count_and_more_are_run() -> None:
    good = make_block([1_000_000] * 10)
    starved = make_block([9_000_000] * 10, delay_ratio=0.8)
    reference = ScriptedEntrant("fp32", [good, starved, good])
    candidate = ScriptedEntrant("int8", [good, good, starved, good])
    result = rounds_of([reference, candidate])
    assert (result.stopped_by, result.rounds) == ("precision", 10)
    entrant = result.entrants["int8"]
    assert entrant.rounds_excluded == 2
    assert entrant.p50_ratio is not None
    assert (entrant.p50_ratio.value, entrant.p50_ratio.rounds) == (1, 8)
    assert entrant.warnings == (TimingWarning.EXCLUDED_BLOCKS,)


def test_where_too_few_rounds_would_remain_all_are_kept_with_a_warning() -> None:
    starved = make_block([1_000_000] * 10, delay_ratio=0.8)
    result = rounds_of([steady("fp32"), ScriptedEntrant("int8", [starved])], time_limit_ns=200_000_000)
    entrant = result.entrants["int8"]
    assert result.stopped_by == "time-limit"
    assert entrant.rounds_excluded == 0
    assert entrant.p50_ratio is not None
    assert entrant.p50_ratio.rounds == 20
    assert TimingWarning.STARVED_BLOCKS_KEPT in entrant.warnings


def test_the_reference_alone_runs_the_minimum() -> None:
    result = rounds_of([steady("fp32")])
    assert (result.stopped_by, result.rounds) == ("precision", 8)


def test_progress_is_told_after_every_round() -> None:
    told: list[RoundProgress] = []
    failing = ScriptedEntrant("int8", [make_block([1_000_000] * 10)] * 2 + [RuntimeError("x")])
    result = rounds_of([steady("fp32"), failing, steady("fp16")], on_round=told.append)
    assert [progress.round_number for progress in told] == list(range(result.rounds))
    assert [progress.failed for progress in told] == [()] * 2 + [("int8",)] * 6
    assert told[0].half_widths == {"int8": None, "fp16": None}
    assert told[-1].half_widths == {"int8": None, "fp16": 0.0}
    assert told[3].timed_ns == {"fp32": 40_000_000, "int8": 20_000_000, "fp16": 40_000_000}


def test_wrong_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        rounds_of([steady("fp32"), steady("fp32")])
    with pytest.raises(ValueError, match="not among the entrants"):
        rounds_of([steady("int8")])
    with pytest.raises(ValueError, match="must be positive"):
        rounds_of([steady("fp32")], minimum_rounds=0)


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 10**6))
def test_whatever_fails_when_every_other_block_is_kept(rounds: int, entrants: int, seed: int) -> None:
    """Candidate k fails in round k; every block before stays, and nobody is asked after its failure."""
    good = make_block([1_000_000])
    group = [steady("fp32", runs=1)]
    group += [ScriptedEntrant(f"c{k}", [good] * k + [RuntimeError(str(k))]) for k in range(entrants)]
    result = rounds_of(group, minimum_rounds=rounds, seed=seed)
    for k in range(entrants):
        entrant: EntrantRounds = result.entrants[f"c{k}"]
        assert len(entrant.blocks) == min(k, result.rounds)
        assert (entrant.error is not None) == (result.rounds > k)


def aa_false_alarms(groups: int, noise: float, tail: bool, seed: int) -> float:
    """Share of groups in which a candidate is told apart from itself, with rounds that stop by the usual rule."""
    rng = np.random.default_rng(seed)
    alarms = 0
    for group in range(groups):
        own = rng.standard_t(2, (2, 40)) if tail else rng.standard_normal((2, 40))
        levels = 1e6 * np.exp(np.cumsum(rng.normal(0, 0.05, 40)) + noise * own)
        entrants = [
            ScriptedEntrant(name, [make_block([round(level)] * 10) for level in levels[side]])
            for side, name in enumerate(("fp32", "again"))
        ]
        result = rounds_of(entrants, time_limit_ns=300_000_000, seed=group)
        estimate = result.entrants["again"].p50_ratio
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        alarms += not estimate.low <= 1 <= estimate.high
    return alarms / groups


@pytest.mark.parametrize(("noise", "tail"), [(0.02, False), (0.04, False), (0.01, True), (0.03, True)])
def test_a_candidate_is_hardly_ever_told_apart_from_itself(noise: float, tail: bool) -> None:
    """Looking after each round costs little: about 5 % false alarms, with a drift that both share."""
    share = aa_false_alarms(400, noise, tail, seed=round(1_000 * noise))
    assert share <= 0.08
    assert not math.isclose(share, 0)  # an interval that is never wrong would be too wide to be of use


def test_sittings_share_the_rounds_and_each_begins_with_a_renewal() -> None:
    log: list[str] = []
    entrants = [steady("fp32", log=log), steady("int8", 500_000, log=log)]
    result = rounds_of(entrants, minimum_rounds=9, sittings=3, renew=lambda sitting: log.append(f"renew {sitting}"))
    assert result.stopped_by == "precision"
    assert [entry for entry in log if entry.startswith("renew")] == ["renew 1", "renew 2"]
    assert [log.index(f"renew {sitting}") for sitting in (1, 2)] == [6, 13]  # three rounds of two, twice
    candidate = result.entrants["int8"]
    assert candidate.sittings == (0,) * 3 + (1,) * 3 + (2,) * 3
    assert candidate.p50_ratio is not None
    assert (candidate.p50_ratio.method, candidate.p50_ratio.value) == ("sittings", pytest.approx(2))


def test_the_last_sitting_is_measured_however_precise_the_one_before_was() -> None:
    """The first sitting needs more rounds than the minimum of all, and ends by precision."""
    entrants = [steady("fp32"), ScriptedEntrant("int8", noisy_blocks(1e6, 0.04, seed=5))]
    result = rounds_of(entrants, minimum_rounds=4, sittings=2, renew=lambda sitting: None, time_limit_ns=10**10)
    counts = [result.entrants["int8"].sittings.count(sitting) for sitting in (0, 1)]
    assert counts[0] > 4
    assert counts[1] >= 2
    assert result.stopped_by == "precision"


def test_a_sitting_ends_when_its_share_of_the_time_is_used() -> None:
    renewed: list[int] = []
    entrants = [steady("fp32"), ScriptedEntrant("int8", noisy_blocks(1e6, 0.3, seed=9))]
    result = rounds_of(entrants, sittings=2, renew=renewed.append, time_limit_ns=1_000_000_000)
    assert (result.stopped_by, renewed) == ("time-limit", [1])
    counts = [result.entrants["fp32"].sittings.count(sitting) for sitting in (0, 1)]
    assert abs(counts[0] - counts[1]) < 0.4 * sum(counts)
    with pytest.raises(ValueError, match="need a way to renew"):
        rounds_of(entrants, sittings=2)
