"""`lynxbench diagnose`: why a candidate lost accuracy, and why it is not faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench import __version__
from lynxbench.cli.diagnose_tables import sensitivity_table, tensor_table, time_table, weight_table
from lynxbench.cli.output import Form, Table, console, draw, write_json
from lynxbench.cli.progress import ProgressLine
from lynxbench.cli.sentences import say
from lynxbench.cli.text import change, duration, fraction, minutes
from lynxbench.diagnosis.causes import Finding
from lynxbench.diagnosis.facts import TimeFacts
from lynxbench.diagnosis.run import Diagnosis, diagnose
from lynxbench.diagnosis.sensitivity import Sensitivity
from lynxbench.diagnosis.subject import subject, suite_of
from lynxbench.specs.load import cache_folder

if TYPE_CHECKING:
    from rich.console import Console

MOST_PLACES = 3
FORMAT = 1  # of the JSON; more when an older reader would take it wrongly


def diagnose_command(
    suite: str,
    candidate: str,
    *,
    workload: str | None,
    samples: int,
    time_limit_s: float,
    rubrics: Path | None,
    executors: Path | None,
    form: Form,
) -> int:
    """Diagnose one candidate and print what was found; returns the exit code."""
    asked = subject(
        suite_of(suite, rubrics=rubrics, executors=executors), candidate, workload=workload, samples=samples
    )
    with ProgressLine() as progress:
        found = diagnose(asked, cache=cache_folder(), time_limit_s=time_limit_s, on_progress=progress)
    if form == "json":
        write_json(document(found))
    else:
        _print(found)
    return 0


def document(found: Diagnosis) -> dict[str, Any]:
    """All that was found, for programs and for `leaderboard build --diagnosis`: causes first."""
    plain_values = asdict(found)
    causes = [
        {
            **asdict(finding),
            "cause": finding.cause.value,
            "is_about_time": finding.cause.is_about_time,
            "advice": finding.cause.advice,
        }
        for finding in found.findings
    ]
    about = {"format": FORMAT, "lynxbench_version": __version__}
    return {**about, "causes": causes, **{key: value for key, value in plain_values.items() if key != "findings"}}


def _print(found: Diagnosis) -> None:
    to = console()
    _head(to, found)
    _causes(to, found.findings, found.loss)
    for title, table in (
        ("where the loss comes from, what costs most first", sensitivity_table(found.sensitivity)),
        ("tensors, those furthest from fp32 first", tensor_table(found.tensors)),
        ("weights, those with the largest outlier first", weight_table(found.weights)),
        ("time of a run", time_table(found.time, found.reference_time)),
    ):
        if table is not None:
            to.print()
            draw(to, Table(table.columns, table.rows, title))
    to.print()
    if found.sensitivity is not None:
        say(to, [_tried(found.sensitivity)], mark="")
    elif found.sensitivity_reason is not None:
        say(to, [f"No part was tried by itself: {found.sensitivity_reason}."], mark="")
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


def _causes(to: Console, findings: Sequence[Finding], loss: float | None) -> None:
    to.print()
    if not findings:
        say(to, ["No cause found: nothing that was looked at is beyond its threshold."], mark="")
        return
    if loss is not None and loss <= 0 and not all(finding.cause.is_about_time for finding in findings):
        say(to, ["On these samples it lost nothing: what is found about accuracy is a risk, no cause."], mark="")
    for number, finding in enumerate(findings, 1):
        kind = "time" if finding.cause.is_about_time else "accuracy"
        say(to, [f"{finding.cause.value} ({kind}): {finding.where}"], mark=f"{number}. ")
        say(to, [finding.said], mark="   evidence  ")
        if finding.others:
            more = len(finding.others) - MOST_PLACES
            places = ", ".join(finding.others[:MOST_PLACES]) + (f" and {more} more" if more > 0 else "")
            say(to, [places], mark="   also      ")
        say(to, [finding.cause.advice], mark="   try       ")


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


def _tried(found: Sensitivity) -> str:
    """What was tried and what was not, and what the intervals do not say."""
    said = (
        f"Parts: {len(found.trials)} attempts in {minutes(found.spent_s)} of {minutes(found.time_limit_s)}, each "
        f"scored on the same {found.n} samples; intervals are each part's own, at {100 * found.confidence:g} %, so "
        f"that of many some miss zero by chance."
    )
    if found.not_tried:
        names = list(dict.fromkeys(one.part.name for one in found.not_tried))
        more = f" and {len(names) - MOST_PLACES} more" if names[MOST_PLACES:] else ""
        said += (
            f" Not tried, as the time was over: {len(found.not_tried)} attempts on {', '.join(names[:MOST_PLACES])}"
            f"{more}; --time-limit gives more."
        )
    return said
