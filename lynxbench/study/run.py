"""One study: candidates of results folders with what is known of them, and every correlate held against every loss."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.errors import UsageError
from lynxbench.records.record import MEASURED, Record
from lynxbench.study.correlates import CORRELATES, Correlate
from lynxbench.study.correlation import Correlation, correlate
from lynxbench.study.weighing import files_in, weigh

ALL = "all tasks"
# Losses of several tasks are comparable as multiples of what each task tolerates.
OF_ALL = "loss ∕ tolerance"


@dataclass(frozen=True)
class Row:
    """One correlate against one loss. `correlation` None: too few candidates have it, or it does not vary."""

    correlate: Correlate
    correlation: Correlation | None
    n: int


@dataclass(frozen=True)
class Question:
    """What is predicted: the loss by one metric on one task, or of all tasks together.

    correlates_n  how many correlations were computed: each interval is at 1 − (1 − confidence) ∕ correlates_n
                  (Bonferroni), so that all of them hold together
    points        by correlate, [(value, loss, model)]
    """

    task: str
    metric: str
    n: int
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    correlates_n: int
    points: Mapping[str, tuple[tuple[float, float, str], ...]]

    @property
    def tendencies(self) -> tuple[Row, ...]:
        """Those whose interval leaves out zero, the strongest first."""
        found = [row for row in self.rows if row.correlation is not None and row.correlation.is_tendency]
        return tuple(sorted(found, key=lambda row: -abs(row.correlation.rho if row.correlation else 0.0)))


@dataclass(frozen=True)
class Study:
    """What was found. `without_file`, `without_diagnosis`: candidates that lack those."""

    questions: tuple[Question, ...]
    candidates: int
    without_file: int
    without_diagnosis: int
    confidence: float


@dataclass(frozen=True)
class _Candidate:
    known: Mapping[str, Any]

    @property
    def record(self) -> Record:
        record: Record = self.known["record"]
        return record


def study(
    records: Sequence[Record],
    *,
    cache: Path,
    diagnoses: Sequence[Path] = (),
    all_metrics: bool = False,
    confidence: float = 0.95,
    on_file: Callable[[int, int], None] = lambda done, of: None,
) -> Study:
    """Correlate over the candidates of `records`: measured ones that are not the reference's scheme, each once.

    `diagnoses`: files that `lynxbench diagnose --json` printed. Raises `UsageError` where there are no candidates, and
    for files that are no diagnoses.
    """
    rows = _once(records)
    if not rows:
        raise UsageError("these results hold no measured candidate beside the reference")
    files = files_in(cache)
    mine = {row["artifact_sha256"]: files[row["artifact_sha256"]] for row in rows if row["artifact_sha256"] in files}
    weights = weigh(mine.values(), cache, lambda done: on_file(done, len(mine)))
    looked = _diagnoses(diagnoses)
    sizes = {_beside(row): row["artifact_bytes"] for row in records if row["is_reference"] and row["artifact_bytes"]}
    candidates = []
    for row in rows:
        sha256, whole = row["artifact_sha256"], sizes.get(_beside(row))
        known = {
            "record": row,
            "size_ratio": None if whole is None else row["artifact_bytes"] / whole,
            "manifest": mine[sha256].manifest if sha256 in mine else None,
            "weights": weights.get(sha256),
            "diagnosis": looked.get(row["candidate_id"], looked.get(_name(row))),
        }
        candidates.append(_Candidate(known))
    return Study(
        questions=tuple(_questions(candidates, all_metrics, confidence)),
        candidates=len(candidates),
        without_file=sum(one.known["manifest"] is None for one in candidates),
        without_diagnosis=sum(one.known["diagnosis"] is None for one in candidates),
        confidence=confidence,
    )


def _once(records: Sequence[Record]) -> list[Record]:
    """Each candidate's answers to a question once, whatever scenarios and sweeps they were timed in."""
    found: dict[tuple[Any, ...], Record] = {}
    for record in records:
        if record["status"] not in MEASURED or record["is_reference"] or record["primary_loss"] is None:
            continue
        if (record["scheme"], record["executor"]) == (record["reference_scheme"], record["reference_executor"]):
            continue
        key = tuple(record[name] for name in ("rubric_digest", "test_set_digest", "artifact_sha256", "executor"))
        found.setdefault((*key, record["batch_size"], record["host_id"]), record)
    # The same file at two batch sizes is one candidate to a study, unless its answers differ.
    distinct: dict[tuple[Any, ...], Record] = {}
    for key, record in found.items():
        distinct.setdefault((*key[:4], record["primary_loss"]), record)
    return list(distinct.values())


def _beside(record: Record) -> tuple[Any, ...]:
    return record["sweep"], record["host_id"], record["workload"], record["model"], record["scenario"]


def _questions(candidates: Sequence[_Candidate], all_metrics: bool, confidence: float) -> list[Question]:
    losses: dict[tuple[str, str], list[tuple[_Candidate, float]]] = defaultdict(list)
    for one in candidates:
        for score in one.record["scores"]:
            if score["loss"] is not None and (all_metrics or score["role"] == "primary"):
                losses[one.record["task"], score["metric"]].append((one, score["loss"]))
        tolerance = one.record["tolerance_loss"]
        if tolerance:
            losses[ALL, OF_ALL].append((one, one.record["primary_loss"] / tolerance))
    if len({task for task, _ in losses} - {ALL}) < 2:
        losses.pop((ALL, OF_ALL), None)
    return [_question(task, metric, pairs, confidence) for (task, metric), pairs in losses.items()]


def _question(task: str, metric: str, pairs: Sequence[tuple[_Candidate, float]], confidence: float) -> Question:
    points: dict[str, tuple[tuple[float, float, str], ...]] = {}
    for one in CORRELATES:
        values = [(one.of(candidate.known), loss, str(candidate.record["model"])) for candidate, loss in pairs]
        points[one.name] = tuple((float(x), y, model) for x, y, model in values if x is not None)

    def held_against(name: str, level: float) -> Correlation | None:
        mine = points[name]
        x, y = (np.array([point[axis] for point in mine], dtype=np.float64) for axis in (0, 1))
        return correlate(x, y, np.array([point[2] for point in mine]), confidence=level)

    able = [one.name for one in CORRELATES if held_against(one.name, confidence) is not None]
    each = 1 - (1 - confidence) / max(1, len(able))
    rows = [
        Row(one, held_against(one.name, each) if one.name in able else None, len(points[one.name]))
        for one in CORRELATES
    ]
    models = tuple(sorted({str(candidate.record["model"]) for candidate, _ in pairs}))
    return Question(task, metric, len(pairs), models, tuple(rows), len(able), points)


def _name(record: Record) -> tuple[str, str, str]:
    """As a diagnosis calls a candidate: its name, its workload, its executor."""
    label = record["scheme"] if record["calibration"] is None else f"{record['scheme']}@{record['calibration']}"
    return f"{label} on {record['model']}", str(record["workload"]), str(record["executor"])


def _diagnoses(paths: Sequence[Path]) -> dict[Any, Mapping[str, Any]]:
    """By `candidate_id`, and by name: the same candidate at another batch size has other ids, and the same tensors."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    found: dict[Any, Mapping[str, Any]] = {}
    for file in files:
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            named = data["candidate"], data["workload"], data["executor"]
            found[named] = found[data["candidate_id"]] = {"tensors": data["tensors"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = error.strerror if isinstance(error, OSError) else "is nothing that lynxbench diagnose --json printed"
            raise UsageError(f"--diagnoses {file}: {what}") from None
    return found
