"""From evidence to causes, the gravest first."""

from __future__ import annotations

from lynxbench.diagnosis.accuracy_causes import accuracy_findings
from lynxbench.diagnosis.causes import Cause, Evidence, Finding
from lynxbench.diagnosis.time_causes import time_findings


def find_causes(evidence: Evidence) -> tuple[Finding, ...]:
    """Every cause that the evidence holds up, the gravest first; one finding a cause, at its worst place."""
    by_cause: dict[Cause, list[Finding]] = {}
    for finding in (*accuracy_findings(evidence), *time_findings(evidence)):
        by_cause.setdefault(finding.cause, []).append(finding)
    return tuple(
        Finding(
            first.cause,
            first.where,
            first.said,
            first.numbers,
            tuple(dict.fromkeys(one.where for one in rest if one.where != first.where)),
        )
        for cause in Cause
        if cause in by_cause
        for first, *rest in [by_cause[cause]]
    )
