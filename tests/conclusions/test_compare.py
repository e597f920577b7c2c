"""What changed is said of the same question to the same candidate alone, and only where the intervals hold it up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from lynxbench.conclusions.compare import Comparison, Gates, compare
from lynxbench.conclusions.matching import match, split
from lynxbench.errors import UsageError
from lynxbench.records.places import find_places
from lynxbench.records.results import Kept, kept_records
from lynxbench.scoring import score
from tests.conclusions.folders import SAMPLES, answers, folder, rubric

INT8 = {"scheme": "int8-static"}


def kept(*folders: Path) -> list[Kept]:
    return [one for place in find_places(folders) for one in kept_records(place)]


def compared(before: Path, after: Path, **gates: Any) -> Comparison:
    return compare(kept(before), kept(after), Gates(**gates))


def by_scheme(found: Comparison) -> dict[str, Any]:
    return {row.pair.after.record["scheme"]: row for row in found.rows}


def test_accuracy_is_paired_as_scoring_pairs_it(tmp_path: Path) -> None:
    before, after = answers(range(100, 200)), answers(range(160, 320))
    a = folder(tmp_path / "a", [(INT8, before)])
    b = folder(tmp_path / "b", [(INT8, after)])
    row = by_scheme(compared(a, b))["int8-static"]
    expected = score(rubric(), after, before, is_reference=False)
    assert (row.loss.value, row.loss.low, row.loss.high) == (
        expected.primary.loss,
        expected.primary.loss_low,
        expected.primary.loss_high,
    )
    assert row.paired
    assert row.n == SAMPLES
    assert row.loss.value == pytest.approx((160 - 100) / SAMPLES)
    assert row.loss.gate == 0.01
    assert row.change == "regressed"
    # An independent test of the same pairs agrees that they differ.
    right = [np.ones(SAMPLES, dtype=bool), np.ones(SAMPLES, dtype=bool)]
    right[0][100:200], right[1][160:320] = False, False
    both = [[np.sum((right[0] == x) & (right[1] == y)) for y in (True, False)] for x in (True, False)]
    assert mcnemar(both, exact=True).pvalue < 0.001
    # By independent intervals the same change would have been much less sure.
    loose = by_scheme(compared(folder(tmp_path / "c", [(INT8, before)], keep_answers=False), b))["int8-static"]
    assert not loose.paired
    assert loose.loss.value == pytest.approx(row.loss.value)
    assert loose.loss.high - loose.loss.low > row.loss.high - row.loss.low
    assert any("not paired" in note for note in loose.notes)


def test_without_a_kept_rubric_accuracy_is_not_paired(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", [(INT8, answers(range(100)))])
    b = folder(tmp_path / "b", [(INT8, answers(range(100)))], keep_rubric=False)
    row = by_scheme(compared(a, b))["int8-static"]
    assert not row.paired
    # Wilson's two intervals, joined (Newcombe 1998, method 10).
    record = row.pair.after.record
    up = record["primary_value_high"] - record["primary_value"]
    down = record["primary_value"] - record["primary_value_low"]
    assert row.loss.high == pytest.approx(np.hypot(up, down), rel=1e-9)
    assert row.loss.value == 0


def speeds(ratio: float, half: float = 0.01, **more: Any) -> dict[str, Any]:
    ends = {"throughput_ratio_low": ratio * (1 - half), "throughput_ratio_high": ratio * (1 + half)}
    return {**INT8, "throughput_ratio": ratio, **ends, **more}


@pytest.mark.parametrize(
    ("ratio", "half", "change"),
    [(1.5, 0.01, "unchanged"), (1.3, 0.01, "regressed"), (1.8, 0.01, "improved"), (1.45, 0.2, "undecided")],
)
def test_speed_is_a_ratio_of_ratios_against_its_gate(ratio: float, half: float, change: str, tmp_path: Path) -> None:
    same = answers(range(100))
    a = folder(tmp_path / "a", [(speeds(1.5), same)])
    b = folder(tmp_path / "b", [(speeds(ratio, half), same)], host_id="another", p50_ns=3.0)
    found = compared(a, b)
    row = by_scheme(found)["int8-static"]
    assert row.change == change
    assert found.failed == (change == "regressed")
    assert row.relative_speed[0] == pytest.approx(ratio / 1.5)
    assert row.relative_speed[1] < ratio / 1.5 < row.relative_speed[2]
    assert row.p50_ratio == pytest.approx(2 / 3)
    assert not row.same_host


def test_a_gate_is_what_it_is_declared_to_be(tmp_path: Path) -> None:
    same = answers(range(100))
    a = folder(tmp_path / "a", [(speeds(1.5), same)])
    b = folder(tmp_path / "b", [(speeds(1.3), answers(range(60, 180)))])
    row = by_scheme(compared(a, b, max_slowdown=0.2, max_loss=0.1))["int8-static"]
    assert row.change == "unchanged"
    assert row.loss.gate == 0.1
    assert np.exp(-row.slowdown.gate) == pytest.approx(0.8)
    for wrong in ({"max_slowdown": 1.0}, {"max_slowdown": -0.1}, {"max_loss": -1.0}, {"max_loss": float("nan")}):
        with pytest.raises(UsageError, match="--max-"):
            Gates(**wrong)
    with pytest.raises(UsageError, match=r"--max-loss 1 would accept any loss of top-1 .* 0.01 means one point"):
        compared(a, b, max_loss=1.0)


def test_the_reference_has_accuracy_and_no_speed(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", [], reference=answers(range(100)))
    b = folder(tmp_path / "b", [], reference=answers(range(50, 200)))
    (row,) = compared(a, b).rows
    assert row.slowdown is None
    assert row.loss.value == pytest.approx(50 / SAMPLES)
    assert row.change == "regressed"


def test_a_speed_without_interval_decides_nothing(tmp_path: Path) -> None:
    same = answers(range(100))
    a = folder(tmp_path / "a", [(speeds(1.5), same)])
    b = folder(tmp_path / "b", [({**speeds(0.2), "throughput_ratio_low": None, "throughput_ratio_high": None}, same)])
    row = by_scheme(compared(a, b))["int8-static"]
    assert (row.change, row.why) == ("undecided", "accuracy alone could be compared")


def unmeasured(status: str) -> dict[str, Any]:
    from lynxbench.records.schema import FIELDS

    empty = {field.name: None for field in FIELDS if field.need != "always" and field.name != "batch_size"}
    return {**empty, "status": status, "reason": "it broke", "scheme": "int8-static", "scenario": "single-stream"}


@pytest.mark.parametrize(
    ("status", "change"), [("failed", "regressed"), ("oom", "regressed"), ("unavailable", "undecided")]
)
def test_a_candidate_that_no_longer_runs_has_regressed(status: str, change: str, tmp_path: Path) -> None:
    same = answers(range(100))
    a = folder(tmp_path / "a", [(dict(INT8), same)], calibration=None, calibration_digest=None)
    b = folder(tmp_path / "b", [(unmeasured(status), same)], calibration=None, calibration_digest=None)
    row = by_scheme(compared(a, b))["int8-static"]
    assert row.change == change
    assert row.why == f"no longer measured: {status}: it broke"
    # The other way round there is nothing to compare with.
    other = compare(kept(b), kept(a), Gates())
    assert [(one.reason, one.side) for one in other.unmatched] == [("not-measured", "before")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_set_digest": "1" * 64}, "other-test-set"),
        ({"model_sha256": "1" * 64}, "other-model-file"),
        ({"scheme_options": '{"reduce_range": true}'}, "other-scheme-options"),
        ({"calibration_digest": "1" * 64}, "other-calibration"),
        ({"batch_size": 77}, "other-load"),
        ({"model": "another"}, "missing"),
        ({"executor": "another"}, "missing"),
    ],
)
def test_what_cannot_be_compared_is_told_with_its_reason(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    same = answers(range(100))
    a = folder(tmp_path / "a", [(INT8, same)], scheme_options='{"reduce_range": false, "method": "minmax"}')
    b = folder(tmp_path / "b", [(INT8, same)], scheme_options='{"reduce_range": false, "method": "minmax"}')
    assert len(compared(a, b).rows) == 2
    c = folder(
        tmp_path / "c",
        [({**INT8, **changes}, same)],
        scheme_options='{"reduce_range": false, "method": "minmax"}',
    )
    found = compared(a, c)
    assert [row.pair.after.record["scheme"] for row in found.rows] == ["fp32"]
    assert [(one.reason, one.side) for one in found.unmatched] == [(reason, "before"), (reason, "after")]
    if reason == "other-scheme-options":
        assert "reduce_range false before, true after" in found.unmatched[1].detail
        assert '"minmax" before, null after' in found.unmatched[1].detail
    elif reason not in {"missing", "other-load"}:
        assert next(iter(changes)) in found.unmatched[0].detail


def test_another_rubric_is_another_question(tmp_path: Path) -> None:
    other = rubric().model_copy(update={"version": "2"})
    a = folder(tmp_path / "a", [])
    b = folder(tmp_path / "b", [], asked=other)
    with pytest.raises(UsageError, match="nothing can be compared: other-rubric"):
        compared(a, b)


def test_of_several_rows_the_latest_counts(tmp_path: Path) -> None:
    from tests.conclusions.folders import BEGIN

    same = answers(range(100))
    old = folder(tmp_path / "before" / "old", [(speeds(1.0), same)])
    folder(tmp_path / "before" / "new", [(speeds(1.5), same)], started_at=BEGIN.replace(year=2027))
    after = folder(tmp_path / "after", [(speeds(1.5), same)])
    found = compare(kept(tmp_path / "before"), kept(after), Gates())
    assert found.superseded == 2
    row = by_scheme(found)["int8-static"]
    assert row.pair.before.folder.name == "new"
    assert row.change == "unchanged"
    assert by_scheme(compare(kept(old), kept(after), Gates()))["int8-static"].change == "improved"


def test_one_set_by_host_version_and_executor(tmp_path: Path) -> None:
    same = answers(range(100))
    folder(tmp_path / "all" / "one", [(speeds(1.5), same)], host_id="h1", onnxruntime_version="1.31.0")
    folder(tmp_path / "all" / "two", [(speeds(1.3), same), (speeds(1.6, executor="gpu"), same)], host_id="h2",
           onnxruntime_version="1.32.0")  # fmt: skip
    everything = kept(tmp_path / "all")
    for by, between in (("host", ("h1", "h2")), ("onnxruntime_version", ("1.31.0", "1.32.0"))):
        before, after, first, second = split(everything, by)
        assert (first, second) == between
        found = compare(before, after, Gates(), by)
        assert by_scheme(found)["int8-static"].change == "regressed"
        assert [one.reason for one in found.unmatched] == ["missing"]  # gpu was measured on one of them alone
        before, after, *_ = split(everything, by, between[::-1])
        assert by_scheme(compare(before, after, Gates(), by))["int8-static"].change == "improved"
    before, after, *_ = split(everything, "executor", ("cpu", "gpu"))
    found = compare(before, after, Gates(), "executor")
    (row,) = found.rows
    assert row.pair.after.record["executor"] == "gpu"
    with pytest.raises(UsageError, match="these results have 1"):
        split(everything, "lynxbench_version")
    with pytest.raises(UsageError, match="did you mean 'host'"):
        split(everything, "hosts")
    with pytest.raises(UsageError, match="no such host in these results; one of: h1, h2"):
        split(everything, "host", ("x", "h2"))


def test_hosts_are_told_apart_where_both_sides_have_several(tmp_path: Path) -> None:
    same = answers(range(100))
    for side, ratio in (("a", 1.5), ("b", 1.5)):
        for host, factor in (("h1", 1.0), ("h2", 2.0)):
            folder(tmp_path / side / host, [(speeds(ratio * factor), same)], host_id=host)
    matched = match(kept(tmp_path / "a"), kept(tmp_path / "b"))
    assert len(matched.pairs) == 4
    assert all(pair.before.record["host_id"] == pair.after.record["host_id"] for pair in matched.pairs)
    assert matched.superseded == 0


def test_no_single_row_among_many_is_a_regression_by_chance(tmp_path: Path) -> None:
    """One row whose interval alone lies just beyond the gate fails alone, and not among fifty."""
    same = answers(range(100))
    just = speeds(1.5 * 0.95 * 0.98)
    assert compared(folder(tmp_path / "a", [(speeds(1.5), same)]), folder(tmp_path / "b", [(just, same)])).failed
    many = [({**speeds(1.5), "scheme": f"s{n}"}, same) for n in range(50)]
    found = compared(
        folder(tmp_path / "c", [(speeds(1.5), same), *many]), folder(tmp_path / "d", [(just, same), *many])
    )
    row = by_scheme(found)["int8-static"]
    assert row.slowdown.alone == "worse"
    assert not found.failed
    assert "not beyond doubt among so many rows" in row.why
