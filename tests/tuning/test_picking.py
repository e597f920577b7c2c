"""Which candidate is looked into, and which one is picked."""

from __future__ import annotations

from lynxbench.conclusions.tradeoff import Estimate
from lynxbench.records.record import Record
from lynxbench.tuning.picking import KINDS, Measured, better, frontier, losers, measured, pick
from tests.records.rows import whole

Three = tuple[float, float, float]


def candidate(name: str, loss: Three, speed: Three, kind: str = "int8-static") -> Measured:
    record = Record(
        whole(
            scheme=name, scheme_kind=kind, calibration=None, is_reference=False, primary_loss=loss[0],
            primary_loss_low=loss[1], primary_loss_high=loss[2], throughput_ratio=speed[0],
            throughput_ratio_low=speed[1], throughput_ratio_high=speed[2],
        )
    )  # fmt: skip
    return Measured(record, name, Estimate(*loss), Estimate(*speed))


REFERENCE = measured([Record(whole(is_reference=True, calibration=None, scheme="fp32", scheme_kind="fp32"))])[0]
SAFE = candidate("safe", (0.0, -0.005, 0.005), (1.2, 1.1, 1.3))
LIKELY = candidate("likely", (0.0, -0.03, 0.03), (1.8, 1.6, 2.0))
UNSTEADY = candidate("unsteady", (0.0, -0.005, 0.005), (1.9, 0.8, 2.9))
BROKEN = candidate("broken", (0.9, 0.8, 1.0), (2.5, 2.4, 2.6))
POOR = candidate("poor", (0.05, 0.03, 0.07), (1.5, 1.4, 1.6))
SLOW = candidate("slow", (0.0, -0.005, 0.005), (0.3, 0.2, 0.4), "int8-dynamic")
HALF = candidate("half", (0.0, -0.005, 0.005), (0.9, 0.8, 1.0), "fp16")
ALL = [REFERENCE, SAFE, LIKELY, UNSTEADY, BROKEN, POOR, SLOW, HALF]


def test_a_row_becomes_its_loss_and_its_speed() -> None:
    assert measured([POOR.record])[0] == POOR
    assert (REFERENCE.loss.value, REFERENCE.speed.value, REFERENCE.is_reference) == (0.0, 1.0, True)
    failed = Record(whole(status="failed", reason="it broke"))
    assert measured([failed]) == []


def test_what_is_sure_in_both_comes_before_what_is_faster() -> None:
    assert pick(ALL, 0.01) is SAFE
    assert pick([REFERENCE, LIKELY, BROKEN], 0.01) is LIKELY
    assert pick([REFERENCE, LIKELY, UNSTEADY], 0.01) is UNSTEADY  # each is sure in one
    assert pick([REFERENCE, BROKEN, SLOW, POOR], 0.01) is None
    assert pick([REFERENCE, POOR], 0.08) is POOR


def test_losers_are_the_fastest_and_the_nearest_first_and_those_of_other_kinds_none() -> None:
    assert losers(ALL, 0.01, KINDS) == [BROKEN, POOR, SLOW]
    assert losers([REFERENCE, SAFE, HALF], 0.01, KINDS) == []
    assert losers([SLOW], 0.01, KINDS) == [SLOW]


def test_a_search_goes_on_from_the_fastest_that_holds_else_from_what_loses_least() -> None:
    assert better(SAFE, POOR, 0.01)
    assert better(LIKELY, SAFE, 0.01)
    assert better(POOR, BROKEN, 0.01)
    assert not better(SLOW, SAFE, 0.01)


def test_the_frontier_is_of_loss_and_speed() -> None:
    standing = dict(zip((one.name for one in ALL), frontier(ALL), strict=True))
    assert standing["slow"] == "dominated"
    assert standing["unsteady"] == "frontier"
    assert standing["safe"] == "dominated"  # by likely, whose speed is higher beyond doubt
    assert standing["broken"] == "frontier"
