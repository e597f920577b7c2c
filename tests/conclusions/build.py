"""Small folders' worth of records and predictions, scored as a sweep scores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lynxbench.datasets.predictions import Predictions
from lynxbench.records.answers import predictions_of, predictions_table
from lynxbench.records.record import Record
from lynxbench.records.schema import SECTIONS
from lynxbench.records.scored import score_fields
from lynxbench.scoring import disclosure_fields, score
from lynxbench.scoring.metrics import METRICS
from lynxbench.specs.rubric import Rubric
from tests.records.rows import whole
from tests.scoring.build import predictions

NOT_TUNED = dict.fromkeys(field.name for section in SECTIONS if section.title == "Tuning" for field in section.fields)
PROTOCOL = '{"confidence": 0.95, "minimum_rounds": 4, "test_set": "standard", "time_limit_s": 1.0, "block_s": 0.05}'


def row(scheme: str, rubric: Rubric, position: int = 0, **changes: Any) -> dict[str, Any]:
    """A measured candidate's fields, as far as a rubric and a plan say them."""
    is_reference = scheme == rubric.reference.scheme
    return whole(
        cell_id=f"cell-{scheme}",
        candidate_id=f"candidate-{scheme}",
        predictions_id=f"answers-{scheme}",
        position=position,
        sweep="sweep",
        workload="ask",
        model="net",
        scheme=scheme,
        scheme_kind=scheme,
        scheme_options="{}",
        calibration=None,
        calibration_minimum_n=None,
        executor="cpu",
        simulated=False,
        scenario="single-stream",
        scenario_kind="single-stream",
        batch_size=1,
        in_flight=1,
        processes=1,
        part=0,
        protocol=PROTOCOL,
        warnings=[],
        task=rubric.task,
        rubric=rubric.name,
        rubric_version=rubric.version,
        rubric_digest=rubric.digest(),
        test_set=rubric.test_set.name,
        test_set_composition=list(rubric.test_set.composition),
        strata=list(rubric.strata),
        reference_scheme=rubric.reference.scheme,
        reference_executor=rubric.reference.executor,
        is_reference=is_reference,
        tolerance_kind=rubric.tolerance.kind,
        tolerance=rubric.tolerance.value,
        worst_stratum=None,
        worst_stratum_loss=None,
        worst_stratum_loss_low=None,
        worst_stratum_loss_high=None,
        rescored_from=None,
        **{**NOT_TUNED, **changes},
    )


def scored(rubric: Rubric, answers: Mapping[str, Predictions], **changes: Any) -> tuple[Record, ...]:
    """One record a scheme, scored against the rubric's reference, in the order given."""
    reference = answers[rubric.reference.scheme]
    records = []
    for position, (scheme, mine) in enumerate(answers.items()):
        values = row(scheme, rubric, position, **changes)
        values |= score_fields(score(rubric, mine, reference), is_reference=values["is_reference"])
        records.append(Record({**values, **disclosure_fields(values)}))
    return tuple(records)


def stored(answers: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """The answers by `predictions_id`, as they come back from `predictions.parquet`."""
    return {
        f"answers-{scheme}": predictions_of(predictions_table(f"answers-{scheme}", mine))
        for scheme, mine in answers.items()
    }


def answers_for(task: str, n: int, seed: int) -> Predictions:
    """n random answers of a task; what is right depends on n alone, what is answered on the seed too."""
    truth, random = np.random.default_rng(n), np.random.default_rng((n, seed))
    strata = {"view": truth.choice(["clean", "blur"], size=n)}
    return predictions(n, strata=strata, sources=[f"i{i // 2}" for i in range(n)], **_COLUMNS[task](n, truth, random))


def _classes(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    labels = truth.integers(4, size=n)
    return {"labels": labels, "logits": (2 * np.eye(4)[labels] + random.normal(size=(n, 4))).astype(np.float32)}


def _ranked(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    sources = np.arange(n) // 2
    ranked = np.stack([random.permutation(6) + s for s in sources])
    return {
        "labels": sources % 3,
        "ranked_ids": np.char.add("i", ranked.astype(str)),
        "ranked_labels": ranked % 3,
        "ranked_scores": np.tile(np.linspace(1, 0, 6, dtype=np.float32), (n, 1)),
    }


def _texts(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    words = np.array(["a", "red", "fox", "ran", "home"])
    right = truth.choice(words, size=(n, 4))
    given = np.where(random.random((n, 4)) < 0.2, random.choice(words, size=(n, 4)), right)
    joined = [np.array([" ".join(line) for line in lines], dtype=object) for lines in (right, given)]
    return {"targets": joined[0], "texts": joined[1]}


def _numbers(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    right = truth.normal(size=n)
    return {"true_values": right, "values": right + 0.3 * random.normal(size=n)}


def _options(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    labels = truth.integers(3, size=n)
    scores = (np.eye(3)[labels] + random.normal(size=(n, 3))).astype(np.float32)
    return {"labels": labels, "option_scores": scores, "option_lengths": truth.integers(1, 9, size=(n, 3))}


def _likelihoods(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    return {"token_counts": truth.integers(3, 20, size=n), "log_likelihoods": -random.gamma(9.0, 2.0, size=n)}


def _boxes(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    places = truth.uniform(0, 50, size=(n, 2, 2))
    sizes = truth.uniform(10, 30, size=(n, 2, 2))
    classes = truth.integers(2, size=(n, 2, 1))
    objects = np.concatenate([places, sizes, classes, np.zeros((n, 2, 1))], axis=2)
    moved = places + random.normal(scale=2, size=places.shape)
    found = np.concatenate([moved, sizes, classes, random.random((n, 2, 1))], axis=2)
    return {"objects": objects.astype(np.float32), "detections": found.astype(np.float32)}


def _regions(n: int, truth: np.random.Generator, random: np.random.Generator) -> dict[str, Any]:
    true = truth.integers(50, 100, size=(n, 3))
    right = (true * random.uniform(0.5, 1, size=(n, 3))).astype(np.int64)
    return {"region_pixels": np.stack([right, right + random.integers(0, 20, size=(n, 3)), true], axis=2)}


_COLUMNS: Mapping[str, Any] = {
    "image-classification": _classes,
    "image-retrieval": _ranked,
    "generation": _texts,
    "regression": _numbers,
    "multiple-choice": _options,
    "language-modelling": _likelihoods,
    "detection": _boxes,
    "segmentation": _regions,
}


def task_of(metric: str) -> str:
    """A task that the metric fits, among those that `answers_for` knows."""
    return next(task for task in _COLUMNS if task in METRICS[metric].tasks)
