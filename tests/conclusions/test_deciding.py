"""A choice rests on the ends of intervals; what the data leave open stays open, and says what would decide."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lynxbench
from lynxbench.cli.decide import _sentences
from lynxbench.conclusions.deciding import decide, decisions
from lynxbench.conclusions.evidence import Evidence, Known
from lynxbench.conclusions.limits import Limits, check
from lynxbench.conclusions.material import Material, material
from lynxbench.conclusions.rounds import ratio_between
from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import UsageError
from lynxbench.records.record import Record
from lynxbench.specs.rubric import Rubric
from tests.conclusions.build import answers_for, scored, stored
from tests.running import lynxbench as run
from tests.scoring.build import EXAMPLES, classified, metric, rubric

QUESTION = rubric(metric("top-1"), tolerance={"kind": "absolute", "value": 0.05})
KNOWN_TO_HOLD = {"scheme_kind": "int8-dynamic"}


def opened(
    records: tuple[Record, ...], answers: dict[str, Predictions], latencies: pa.Table | None = None, *, of: Rubric
) -> Material:
    """A folder's worth, in memory."""
    made = Material(Path("nowhere"), records)
    made.__dict__.update(rubrics={of.digest(): of}, answers=stored(answers), latencies=latencies)
    return made


def two(lost: int = 20, n: int = 1000, **changes: Any) -> Material:
    """The reference and a candidate that loses `lost` of n answers."""
    views = {"view": np.where(np.arange(n) % 2, "clean", "blur")}
    right = np.arange(n) % 10 > 0
    answers = {
        "fp32": classified(right, strata=views),
        "int8-dynamic": classified(right & (np.arange(n) >= lost * 10 / 9), strata=views),
    }
    reference, record = scored(QUESTION, answers)
    timed = {"throughput_ratio": 2.0, "throughput_ratio_low": 1.9, "throughput_ratio_high": 2.1, "p50_ratio": 2.0,
             "p50_ratio_low": 1.9, "p50_ratio_high": 2.1}  # fmt: skip
    own = Record({**record.values, **KNOWN_TO_HOLD, **timed, **changes})
    ones = dict.fromkeys(timed, 1.0)
    empty = pa.table({
        "cell_id": pa.array([], pa.string()), "round": pa.array([], pa.int32()), "process": pa.array([], pa.int32()),
        "excluded": pa.array([], pa.bool_()), "latency_ns": pa.array([], pa.int64()),
    })  # fmt: skip
    return opened((Record({**reference.values, **ones}), own), answers, empty, of=QUESTION)


def place(folder: Material, limits: Limits, **options: Any) -> str:
    (made,) = decisions(folder, limits, **options)
    return next(one.place for one in made.considered if not one.record["is_reference"])


def test_the_best_holds_every_limit_and_is_ahead_beyond_doubt() -> None:
    (made,) = decisions(two(), Limits(max_loss=0.05))
    assert made.best is not None
    assert made.best.name == "int8-dynamic on net"
    (other,) = (one for one in made.considered if one.place == "behind")
    assert other.record["is_reference"]
    assert other.comparison is not None
    assert (other.comparison.low, other.comparison.high) == (1.9, 2.1)


def test_each_limit_excludes_or_stays_open() -> None:
    times = {"p50_ns": 2e6, "p50_low_ns": 1.5e6, "p50_high_ns": 3e6, "latency_min_ns": 1e5, "latency_max_ns": 9e9,
             "p90_ns": 3e6, "p95_ns": 4e6, "p99_ns": 5e6, "p99_low_ns": 4e6, "p99_high_ns": 6e6, "p99_9_ns": 7e6,
             "artifact_bytes": 2_000_000, "peak_rss_bytes": 50_000_000, "throughput_per_s": 100.0,
             "throughput_per_s_low": 90.0, "throughput_per_s_high": 110.0}  # fmt: skip
    folder = two(**times)
    expected: dict[str, tuple[tuple[float, str], ...]] = {
        "max_loss": ((0.05, "best"), (0.02, "undecided"), (0.001, "excluded")),
        "max_stratum_loss": ((0.1, "best"), (0.02, "undecided"), (0.001, "excluded")),
        "p50_ms": ((3.0, "best"), (2.0, "undecided"), (1.4, "excluded")),
        "p99_ms": ((6.0, "best"), (5.5, "undecided"), (3.9, "excluded")),
        "min_speed": ((1.9, "best"), (2.0, "undecided"), (2.2, "excluded")),
        "min_throughput": ((90.0, "best"), (100.0, "undecided"), (111.0, "excluded")),
        "max_size_mb": ((2.0, "best"), (1.9, "excluded")),
        "max_memory_mb": ((50.0, "best"), (49.0, "excluded")),
    }
    for limit, cases in expected.items():
        for bound, where in cases:
            limits = replace(Limits(max_loss=0.5), **{limit: bound})
            found = decisions(folder, limits)[0].considered
            mine = next(one for one in found if not one.record["is_reference"])
            assert mine.place == where, (limit, bound)
            if where != "best":
                name = limit.replace("_", "-")
                assert name in mine.why
            if where == "undecided":
                assert any(
                    word in mine.why for word in ("samples instead of", "of timing instead of", "equals", "lies at")
                )


def test_a_percentile_without_support_is_open_and_says_how_many_queries_it_takes() -> None:
    nothing = dict.fromkeys(("p99_ns", "p99_low_ns", "p99_high_ns", "p99_9_ns", "p99_9_low_ns", "p99_9_high_ns"))
    folder = two(**nothing, latency_n=100)
    mine = next(o for o in decisions(folder, Limits(p99_ms=1e6))[0].considered if not o.record["is_reference"])
    assert (mine.place, "368 queries instead of 100" in mine.why) == ("undecided", True)
    # A median that is beyond the limit leaves no doubt about the 99th percentile.
    slow = two(**nothing, p50_low_ns=1.5, p50_ns=2.0, p50_high_ns=2.5)
    assert place(slow, Limits(p99_ms=1e-6)) == "excluded"


def test_simulators_partial_runs_and_what_is_undisclosed_are_never_chosen() -> None:
    assert place(two(simulated=True), Limits()) == "excluded"
    assert place(two(simulated=True), Limits(min_speed=0.1)) == "undecided"
    assert place(two(status="partial", reason="some nodes ran elsewhere"), Limits()) == "excluded"
    assert place(two(status="failed", reason="it fell"), Limits()) == "excluded"
    assert place(two(scheme_kind="int8-static"), Limits()) == "excluded"
    assert place(two(p50_ratio_low=None, p50_ratio_high=None), Limits()) == "undecided"


def test_without_a_limit_of_its_own_the_rubrics_tolerance_counts() -> None:
    for lost, where in ((20, "best"), (50, "undecided"), (120, "excluded")):
        folder = two(lost)
        assert place(folder, Limits()) == where
        assert {"best": "robust", "undecided": "inconclusive", "excluded": "fragile"}[where] == folder.records[1][
            "verdict"
        ]


def test_nothing_qualifies_and_the_nearest_are_named() -> None:
    (made,) = decisions(two(artifact_bytes=10_000_000), Limits(max_loss=0.5, max_size_mb=1e-9))
    assert made.best is None
    assert made.nearest["max-size-mb"][0] == "fp32 on net"
    assert set(made.nearest) == {"max-size-mb"}  # the reference holds the other
    apart = decisions(two(120), Limits(max_loss=0.01, min_speed=1.5))[0]
    assert apart.best is None
    assert not apart.nearest
    assert "each limit alone is held" in " ".join(_sentences(apart))


def test_a_loss_that_any_candidate_keeps_to_is_no_limit() -> None:
    for limits in (Limits(max_loss=1.0), Limits(max_stratum_loss=5.0)):
        with pytest.raises(UsageError, match=r"would accept any loss of top-1 on ask.*0\.01 means one point"):
            decisions(two(), limits)
    numbers = rubric(metric("rmse"), task="regression", tolerance={"kind": "relative", "value": 0.01})
    answers = {scheme: answers_for("regression", 100, seed) for seed, scheme in enumerate(("fp32", "int8-dynamic"))}
    reference, _ = scored(numbers, answers)
    made = opened((reference,), answers, of=numbers)
    (held,) = check(reference, Limits(max_loss=1.5), Evidence(made, 0.95))
    assert held.bound == 1.5
    decisions(made, Limits(max_loss=1.5))
    # The reference is held to what the tolerance is of its own score.
    (own,) = check(reference, Limits(), Evidence(made, 0.95))
    assert own.bound == pytest.approx(0.01 * reference["primary_value"])
    assert own.state == "satisfied"


def test_a_busy_machine_is_named_where_times_count() -> None:
    busy = two(warnings=[{"code": "loaded_host", "advice": "…"}])
    (made,) = decisions(busy, Limits())
    assert "1 of 2 rows measured while the machine was busy (loaded_host)" in " ".join(_sentences(made))
    assert decisions(busy, Limits(), objective="accuracy")[0].busy_host is None
    assert decisions(busy, Limits(min_speed=1.1), objective="size")[0].busy_host is not None
    assert decisions(two(), Limits())[0].busy_host is None


def test_a_higher_confidence_is_recomputed_from_what_was_kept() -> None:
    folder = two(40)
    own = folder.records[1]
    surer = Evidence(folder, 0.999).loss(own)
    usual = Evidence(folder, 0.95).loss(own)
    assert surer.low is not None
    assert surer.high is not None
    assert usual == Known(own["primary_loss"], own["primary_loss_low"], own["primary_loss_high"])
    assert surer.low < own["primary_loss_low"] < own["primary_loss_high"] < surer.high


@given(
    low=st.floats(0.001, 0.4), wide=st.floats(0.0001, 0.4), share=st.floats(0, 1), other=st.floats(0, 1),
    bound=st.floats(0.0005, 0.9),
)  # fmt: skip
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_choice_rests_on_an_estimate(low: float, wide: float, share: float, other: float, bound: float) -> None:
    """Where in its interval an estimate lies moves nothing."""
    folder, states = two(), []
    for where in (share, other):
        value = low + where * wide
        bent = Record({
            **folder.records[1].values, "primary_loss": value, "primary_loss_low": low, "primary_loss_high": low + wide,
            "p50_ratio": value, "p50_ratio_low": low, "p50_ratio_high": low + wide,
        })  # fmt: skip
        made = Material(Path("nowhere"), (folder.records[0], bent))
        made.__dict__.update(rubrics=folder.rubrics, answers=folder.answers, latencies=folder.latencies)
        found = decisions(made, Limits(max_loss=bound))[0].considered
        states.append([(one.name, one.place) for one in found])
        (held,) = check(bent, Limits(max_loss=bound), Evidence(made, 0.95))
        expected = "satisfied" if low + wide <= bound else "beyond" if low > bound else "undecided"
        assert held.state == expected
    assert states[0] == states[1]


def test_a_loss_beyond_the_limit_is_rarely_taken_for_held() -> None:
    """600 candidates that truly lose a little more than the limit; at most 5 % may pass (2.5 % are expected)."""
    random, n, true, tries = np.random.default_rng(5), 400, 0.03, 600
    known = {QUESTION.digest(): QUESTION}
    passed = 0
    right = random.random(n) < 0.9
    views = {"view": ["clean"] * n}
    for _ in range(tries):
        # Gains and losses at random, the true difference of the shares being `true`.
        gains, losses = random.random(n) < 0.02, random.random(n) < 0.02 + true
        mine = np.where(losses, False, np.where(gains, True, right))
        base = np.where(losses, True, np.where(gains, False, right))
        answers = {"fp32": classified(base, strata=views), "int8-dynamic": classified(mine, strata=views)}
        truth = true * (1 - 0.02)  # a loss hides the gain that falls on the same sample
        record = scored(QUESTION, answers)[1]
        made = Material(Path("nowhere"), (record,))
        made.__dict__.update(rubrics=known)
        (held,) = check(record, Limits(max_loss=truth * 0.999), Evidence(made, 0.95))
        passed += held.state == "satisfied"
    assert passed / tries <= 0.05


def rounds(cell: str, ns: np.ndarray) -> pa.Table:
    """Latencies [rounds, queries] of one cell."""
    count, each = ns.shape
    return pa.table({
        "cell_id": pa.array([cell] * ns.size, pa.string()),
        "round": pa.array(np.repeat(np.arange(count), each), pa.int32()),
        "process": pa.array([0] * ns.size, pa.int32()),
        "excluded": pa.array([False] * ns.size), "latency_ns": pa.array(ns.ravel().astype(np.int64)),
    })  # fmt: skip


def test_a_percentile_beyond_the_limit_is_rarely_taken_for_held() -> None:
    """400 candidates whose true p99 lies just beyond the limit, at a confidence that has to be recomputed."""
    random, folder, passed, tries = np.random.default_rng(9), two(), 0, 400
    truth_ms = math.exp(0.3 * 2.3263478740408408)  # of a lognormal around 1 ms
    for _ in range(tries):
        table = rounds("cell-int8-dynamic", 1e6 * np.exp(0.3 * random.normal(size=(10, 80))))
        made = Material(Path("nowhere"), folder.records)
        made.__dict__.update(rubrics=folder.rubrics, answers=folder.answers, latencies=table)
        held = check(folder.records[1], Limits(max_loss=1, p99_ms=truth_ms * 0.999), Evidence(made, 0.9))[1]
        passed += held.state == "satisfied"
    assert passed / tries <= 0.1


@given(seed=st.integers(0, 10_000), faster=st.floats(0.9, 1.1))
@settings(max_examples=EXAMPLES, deadline=None)
def test_ties_are_symmetric(seed: int, faster: float) -> None:
    random = np.random.default_rng(seed)
    folder = two()
    reference, own = folder.records
    base = np.exp(0.1 * random.normal(size=(12, 9)))
    table = pa.concat_tables([
        rounds(own["cell_id"], 1e6 * base / faster * np.exp(0.05 * random.normal(size=(12, 9)))),
        rounds(reference["cell_id"], 1e6 * base),
    ])  # fmt: skip
    one = ratio_between(own, reference, table, "p50_ratio", 0.975)
    other = ratio_between(reference, own, table, "p50_ratio", 0.975)
    assert one is not None
    assert other is not None
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))  # type: ignore[operator]


def test_equal_candidates_tie_and_a_slower_one_falls_behind(results: Path) -> None:
    found = {}
    for made in decide(results, max_loss=0.9, only=["model=fashion-resnet8"]):
        found |= {one.record["scheme"]: one for one in made.considered}
    opened_ = material(results)
    best = next(one for one in found.values() if one.place == "best")
    for one in found.values():
        if one is best or one.place not in {"tied", "behind"}:
            continue
        assert one.comparison is not None
        ratio = ratio_between(best.record, one.record, opened_.latencies, "p50_ratio", one.comparison.confidence)
        assert ratio is not None
        assert (ratio.low, ratio.high) == (one.comparison.low, one.comparison.high)
        assert (one.place == "tied") == one.comparison.tied
    # int8-dynamic takes five times as long here: no noise of a busy machine makes that the best.
    assert found["int8-dynamic"].place == "behind"


def test_by_accuracy_candidates_are_paired_by_sample() -> None:
    n = 500
    views = {"view": ["clean"] * n}
    right = np.arange(n) % 10 > 0
    answers = {
        "fp32": classified(right, strata=views),
        "a": classified(right & (np.arange(n) > 20), strata=views),
        "b": classified(right & (np.arange(n) > 120), strata=views),
    }
    records = tuple(Record({**r.values, "scheme_kind": "int8-dynamic"}) for r in scored(QUESTION, answers))
    (made,) = decisions(opened(records, answers, of=QUESTION), Limits(max_loss=0.9), objective="accuracy")
    places = {one.record["scheme"]: one for one in made.considered}
    assert places["fp32"].place == "best"
    assert places["b"].place == places["a"].place == "behind"
    comparison = places["b"].comparison
    assert comparison is not None
    assert comparison.confidence == pytest.approx(0.975)
    assert comparison.test == "paired by sample, mcnemar-exact"
    assert comparison.value == pytest.approx(-records[2]["primary_loss"])


def test_what_cannot_be_asked_is_said(results: Path) -> None:
    for options, said in (
        ({"objective": "speed"}, "--objective speed"), ({"confidence": 1.0}, "--confidence"),
        ({"max_loss": -1.0}, "--max-loss -1"), ({"p99_ms": 0.0}, "positive"), ({"scenario": "ofline"}, "offline"),
        ({"only": ["modl=x"]}, "did you mean 'model'"), ({"only": ["model=fashion-resnet"]}, "fashion-resnet8"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            decide(results, **options)  # type: ignore[arg-type]


def test_the_command_chooses_and_exits_by_it(results: Path, tmp_path: Path) -> None:
    ran = run("decide", results, "--max-loss", "0.9", home=tmp_path)
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    assert said.count("Deploy ") == 2
    assert "never against an estimate" in said
    none = run("decide", results, "--max-size-mb", "0.000001", "--json", home=tmp_path)
    assert none.code == 1
    assert [one["choice"] for one in none.json()] == [None, None]
    assert all(one["nearest"]["max-size-mb"]["candidate"] for one in none.json())
    csv = run("decide", results, "--csv", "--objective", "throughput", home=tmp_path).out
    assert len(csv.splitlines()) == 1 + 8
    assert ",offline,throughput," in csv
    markdown = run("decide", results, "--markdown", "--only", "model=fashion-embedder", home=tmp_path).out
    assert markdown.startswith("**retrieve, fashion-embedder: best in latency")
    (made,) = lynxbench.decide(results, max_loss=0.9, only=["model=fashion-resnet8"])
    assert made.best is not None
    assert made.best.place == "best"
