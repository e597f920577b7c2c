"""`lynxbench diagnose`: why a candidate lost accuracy, and why it is not faster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.cli.output import Column, Form, Row, Table, console, draw, write_json
from lynxbench.cli.sentences import say
from lynxbench.cli.text import change, duration, fraction, plain
from lynxbench.diagnosis.causes import Finding
from lynxbench.diagnosis.facts import TensorFacts, TimeFacts, WeightFacts
from lynxbench.diagnosis.run import Diagnosis, diagnose
from lynxbench.diagnosis.subject import subject, suite_of
from lynxbench.specs.load import cache_folder

if TYPE_CHECKING:
    from rich.console import Console

# Of hundreds of tensors those that say most; all of them with --json.
MOST_ROWS = 12
MOST_PLACES = 3
SHOWN_SHARE = 5e-5  # what rounds to 0.00 % has no stratum to name


def diagnose_command(
    suite: str,
    candidate: str,
    *,
    workload: str | None,
    samples: int,
    rubrics: Path | None,
    executors: Path | None,
    form: Form,
) -> int:
    """Diagnose one candidate and print what was found; returns the exit code."""
    asked = subject(
        suite_of(suite, rubrics=rubrics, executors=executors), candidate, workload=workload, samples=samples
    )
    found = diagnose(asked, cache=cache_folder(), on_step=lambda step: print(f"{plain(step)} …", file=sys.stderr))
    if form == "json":
        write_json(document(found))
    else:
        _print(found)
    return 0


def document(found: Diagnosis) -> dict[str, Any]:
    """All that was found, for programs: causes first."""
    plain_values = asdict(found)
    causes = [
        {**asdict(finding), "cause": finding.cause.value, "advice": finding.cause.advice} for finding in found.findings
    ]
    return {"causes": causes, **{key: value for key, value in plain_values.items() if key != "findings"}}


def _print(found: Diagnosis) -> None:
    to = console()
    _head(to, found)
    _causes(to, found.findings)
    for title, table in (
        ("tensors, those furthest from fp32 first", _tensors(found.tensors)),
        ("weights, those with the largest outlier first", _weights(found.weights)),
        ("time of a run", _times(found.time, found.reference_time)),
    ):
        if table is not None:
            to.print()
            draw(to, Table(table.columns, table.rows, title))
    to.print()
    if found.time is not None and found.reference_time is not None:
        say(to, [_sums(found.time, found.reference_time)], mark="")
    elif found.time_reason is not None:
        say(to, [f"No profile: {found.time_reason}."], mark="")
    say(to, [_legend()], mark="")


def _head(to: Console, found: Diagnosis) -> None:
    primary, verdict = found.scores.primary, found.scores.verdict
    of = "" if found.samples == found.test_set_n else f" of {found.test_set_n}"
    say(
        to,
        [
            f"{found.candidate}, {found.workload}: {primary.name} {fraction(primary.reference_value, primary.unit)} → "
            f"{fraction(primary.value, primary.unit)}, "
            f"Δ {change(primary.delta, primary.delta_low, primary.delta_high, primary.unit)}, {verdict.verdict} on "
            f"{found.samples}{of} samples"
        ],
        mark="",
    )


def _causes(to: Console, findings: Sequence[Finding]) -> None:
    to.print()
    if not findings:
        say(to, ["No cause found: nothing that was looked at is beyond its threshold."], mark="")
        return
    for number, finding in enumerate(findings, 1):
        kind = "time" if finding.cause.is_about_time else "accuracy"
        say(to, [f"{finding.cause.value} ({kind}): {finding.where}"], mark=f"{number}. ")
        say(to, [finding.said], mark="   evidence  ")
        if finding.others:
            more = len(finding.others) - MOST_PLACES
            places = ", ".join(finding.others[:MOST_PLACES]) + (f" and {more} more" if more > 0 else "")
            say(to, [places], mark="   also      ")
        say(to, [finding.cause.advice], mark="   try       ")


def _tensors(tensors: Sequence[TensorFacts]) -> Table | None:
    compared = [one for one in tensors if one.sqnr_db is not None]
    if not compared:
        return None
    columns = [
        Column("name", "tensor"),
        Column("producer", "by"),
        Column("sqnr_db", "SQNR dB", right=True),
        Column("cosine", right=True, expendable=4),
        Column("met", "met", right=True),
        Column("represented", "expressed", right=True),
        Column("outside", "outside", right=True),
        Column("stratum", "worst stratum", expendable=3),
        Column("outlier", "max/p99.9", right=True, expendable=2),
        Column("kurtosis", right=True, expendable=1),
        Column("distance", "KS", right=True),
    ]
    worst = sorted(compared, key=lambda one: one.sqnr_db or 0.0)[:MOST_ROWS]
    rows = [
        Row(
            {},
            {
                "name": one.name,
                "producer": one.producer,
                "sqnr_db": _number(one.sqnr_db, ".1f"),
                "cosine": _number(one.cosine, ".4f"),
                "met": _span(one.low, one.high),
                "represented": _span(one.represented_low, one.represented_high),
                "outside": "–" if one.outside_share is None else f"{100 * one.outside_share:.2f} %",
                "stratum": "–"
                if one.worst_outside_share is None or one.worst_outside_share < SHOWN_SHARE
                else f"{one.worst_field}={one.worst_stratum} {100 * one.worst_outside_share:.2f} %",
                "outlier": _number(one.outlier_ratio, ".1f"),
                "kurtosis": _number(one.kurtosis, ".0f"),
                "distance": _number(one.distance, ".2f"),
            },
        )
        for one in worst
    ]
    return Table(columns, rows)


def _weights(weights: Sequence[WeightFacts]) -> Table | None:
    if not weights:
        return None
    columns = [
        Column("name", "weight"),
        Column("node"),
        Column("shape", expendable=1),
        Column("scales", right=True),
        Column("sqnr_db", "SQNR dB", right=True),
        Column("outlier", "max/p99", right=True),
        Column("channels", "widest/median channel", right=True),
        Column("top", "norm² in top 1 %", right=True),
        Column("rank", "effective rank", right=True, expendable=2),
    ]
    worst = sorted(weights, key=lambda one: -(one.outlier_ratio or 0.0))[:MOST_ROWS]
    rows = [
        Row(
            {},
            {
                "name": one.name,
                "node": one.node,
                "shape": "×".join(map(str, one.shape)),
                "scales": "float" if one.scales is None else str(one.scales),
                "sqnr_db": _number(one.sqnr_db, ".1f"),
                "outlier": _number(one.outlier_ratio, ".1f"),
                "channels": _number(one.channel_range_ratio, ".1f"),
                "top": "–" if one.top_share is None else f"{100 * one.top_share:.0f} %",
                "rank": _number(one.effective_rank, ".0f"),
            },
        )
        for one in worst
    ]
    return Table(columns, rows)


def _times(time: TimeFacts | None, reference: TimeFacts | None) -> Table | None:
    if time is None or reference is None:
        return None
    columns = [
        Column("op", "op type after fusion"),
        Column("kernels", "kernels", right=True),
        Column("time", "time", right=True),
        Column("share", "share", right=True),
        Column("fp32", "fp32 kernels", right=True),
        Column("fp32_time", "fp32 time", right=True),
        Column("reads", "reads"),
    ]
    mine, before = ({op.op_type: op for op in facts.ops} for facts in (time, reference))
    names = sorted({*mine, *before}, key=lambda name: -max(o[name].ns for o in (mine, before) if name in o))
    rows = [
        Row(
            {},
            {
                "op": name,
                "kernels": str(mine[name].kernels) if name in mine else "–",
                "time": duration(mine[name].ns) if name in mine else "–",
                "share": f"{100 * mine[name].ns / time.kernels_ns:.0f} %" if name in mine and time.kernels_ns else "–",
                "fp32": str(before[name].kernels) if name in before else "–",
                "fp32_time": duration(before[name].ns) if name in before else "–",
                "reads": mine[name].reads[0] if name in mine else before[name].reads[0],
            },
        )
        for name in names[:MOST_ROWS]
    ]
    return Table(columns, rows)


def _sums(time: TimeFacts, reference: TimeFacts) -> str:
    def one(facts: TimeFacts) -> str:
        share = 100 * facts.kernels_ns / facts.profiled_ns
        return (
            f"kernels add up to {duration(facts.kernels_ns)}, {share:.0f} % of a profiled run of "
            f"{duration(facts.profiled_ns)}; {duration(facts.run_ns)} without the profiler"
        )

    return f"Candidate: {one(time)}. fp32: {one(reference)}. Batch {time.batch_size}, medians of {time.runs} runs."


def _legend() -> str:
    return (
        "SQNR: signal over error, in dB, errors of earlier layers included, graphs computed op by op · outside: share "
        "of values beyond what the scale can express · KS: distance of the values met on calibration and on test "
        "samples, 0 to 1 · – : not quantized, or not computed"
    )


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "–"
    # "z": no negative zero.
    return "∞" if value == float("inf") else format(value, f"z{form}").replace("-", "−")


def _span(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.3g} … {high:.3g}".replace("-", "−")
