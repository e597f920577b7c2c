"""Results folders as a sweep leaves them, with answers and rubrics, whose truth the tests decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench.datasets.predictions import Predictions
from lynxbench.records.declarations import declarations
from lynxbench.records.record import Record
from lynxbench.records.scored import score_fields
from lynxbench.records.store import ResultStore
from lynxbench.scoring import score
from lynxbench.specs.base import build
from lynxbench.specs.load import read_toml
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite
from tests.records.rows import whole
from tests.running import ROOT

SAMPLES = 1200
PROTOCOL = json.dumps({"confidence": 0.95})
BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def rubric() -> Rubric:
    """Top-1 on a thousand samples, tolerance one point."""
    text = {
        "name": "made",
        "version": "1",
        "title": "Made for tests",
        "task": "image-classification",
        "strata": ["class"],
        "strata_minimum_n": 20,
        "confidence": 0.95,
        "resamples": 1000,
        "test_set": {
            "name": "held-out",
            "source": "test.npz",
            "composition": ["clean"],
            "composition_note": "made",
            "count": SAMPLES,
        },
        "metrics": [
            {"name": "top-1", "metric": "top-1", "role": "primary", "direction": "higher-is-better"},
            {"name": "log-loss", "metric": "log-loss", "role": "secondary", "direction": "lower-is-better"},
        ],
        "reference": {"scheme": "fp32", "executor": "cpu"},
        "tolerance": {"kind": "absolute", "value": 0.01},
        "calibration": {"minimum_count": 100, "domain": "made"},
    }
    return build(Rubric, text, "made.toml")


def suite() -> Suite:
    file = ROOT / "lynxbench" / "suites" / "starter.toml"
    return build(Suite, read_toml(file), str(file))


def answers(wrong: Sequence[int] | np.ndarray, n: int = SAMPLES) -> Predictions:
    """Answers to n samples of which those at `wrong` are wrong."""
    labels = np.arange(n) % 4
    chosen = labels.copy()
    chosen[np.asarray(wrong, dtype=int)] = (labels[np.asarray(wrong, dtype=int)] + 1) % 4
    logits = np.full((n, 4), -1.0, dtype=np.float32)
    logits[np.arange(n), chosen] = 2.0
    ids = np.asarray([f"s{number:05d}" for number in range(n)])
    return Predictions(
        ids, ids, {"class": labels.astype(str)}, np.zeros(n, dtype=np.bool_), labels=labels, logits=logits
    )


def folder(
    path: Path,
    candidates: Sequence[tuple[dict[str, Any], Predictions]],
    *,
    reference: Predictions | None = None,
    keep_answers: bool = True,
    keep_rubric: bool = True,
    asked: Rubric | None = None,
    **common: Any,
) -> Path:
    """A results folder with the reference fp32 and `candidates`: changes to a row, and what it answered."""
    asked = asked or rubric()
    base = reference or answers(range(100))
    store = ResultStore(path)
    with store.held():
        kept = {"declarations": declarations(suite(), [asked])} if keep_rubric else {}
        store.describe({"suite": "made", **kept})
        for place, (changes, given) in enumerate([({"scheme": "fp32"}, base), *candidates]):
            is_reference = changes["scheme"] == "fp32"
            fields = score_fields(score(asked, given, base, is_reference=is_reference), is_reference=is_reference)
            values = whole(
                rubric_digest=asked.digest(),
                cell_id=f"cell-{place}",
                position=place,
                predictions_id=f"answers-{place}",
                protocol=PROTOCOL,
                executor="cpu",
                reference_executor="cpu",
                is_reference=is_reference,
                scenario_kind="single-stream",
                scenario="single-stream",
                started_at=BEGIN + timedelta(minutes=place),
                rounds=20,
                processes=1,
                rate_per_s=None,
                p99_limit_ms=None,
                searched=None,
                tolerance_kind="absolute",
                tolerance=0.01,
                **dict.fromkeys(f"worst_stratum{end}" for end in ("", "_loss", "_loss_low", "_loss_high")),
            )
            values |= fields
            values |= {"throughput_ratio": 1.5, "throughput_ratio_low": 1.49, "throughput_ratio_high": 1.51}
            if keep_answers:
                store.write_predictions(f"answers-{place}", given)
            store.write_cell(Record({**values, **common, **changes}))
        store.merge()
    return path
