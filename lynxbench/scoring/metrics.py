"""The metrics that a rubric can name: what each needs, which way is better, which options it takes.

A failed sample counts as the worst answer there is: top-1, top-k, multiple choice, exact match, token accuracy,
ROUGE-L, recall, nDCG and MRR 0; balanced accuracy and F1 a miss of its class and of no other; log loss −ln(clip);
Brier 2; calibration error a wrong answer of confidence 1; AUROC a score below all others for its own class and above
all others for the rest; BLEU, chrF, character and word error rate an empty text; perplexity ln(clip) for each token;
errors of numbers the farther end of the range of true values; mean average precision no detections; mean IoU no
labelled pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Predictions
from lynxbench.errors import UsageError
from lynxbench.scoring import classification, detection, numeric, overlap, ranking, text
from lynxbench.scoring.statistic import Statistic, UndefinedError, mean_of
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.rubric import UNITS

Ingredients = tuple[npt.NDArray[np.generic], ...]
CLASSIFICATION = frozenset(
    {"image-classification", "classification", "frame-classification", "text-classification", "token-classification"}
)
RETRIEVAL = frozenset({"image-retrieval", "text-retrieval"})
GENERATION = frozenset({"generation", "question-answering", "transcription"})
REGRESSION = frozenset({"regression"})
MULTIPLE_CHOICE = frozenset({"multiple-choice"})
LANGUAGE = frozenset({"language-modelling"})
DETECTION = frozenset({"detection"})
SEGMENTATION = frozenset({"segmentation"})


@dataclass(frozen=True)
class Parameter:
    """One option of a metric. A `default` of None means that it must be given, unless `optional`."""

    kind: Literal["int", "number", "text", "bool"]
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    below: float | None = None
    optional: bool = False


@dataclass(frozen=True)
class Metric:
    """A built-in metric: per-sample ingredients once for all samples, then a statistic of any subset of them.

    measure    predictions → arrays [n, …], computed once
    statistic  the same arrays, some rows of them → `Statistic`; raises `UndefinedError`
    unit       what a rubric must call its unit; None: whatever it likes, though `fraction` only where `bounded`
    library    what must be installed for it, and the extra that brings it
    """

    name: str
    direction: Literal["higher-is-better", "lower-is-better"]
    tasks: frozenset[str]
    measure: Callable[[Predictions, Mapping[str, Any]], Ingredients]
    statistic: Callable[[Ingredients, Mapping[str, Any]], Statistic]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    unit: str | None = None
    library: tuple[str, str] | None = None

    @property
    def bounded(self) -> bool:
        """Its scores are shares, which may be called fractions; a unit of their own is in `specs.rubric.UNITS`."""
        return self.name not in UNITS

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every option in effect: the declared ones, and defaults for the rest."""
        return {name: given.get(name, parameter.default) for name, parameter in self.parameters.items()}


def _mean(values: Ingredients, _: Mapping[str, Any]) -> Statistic:
    return mean_of(values[0])


def share(values: Ingredients, _: Mapping[str, Any]) -> Statistic:
    """The share of right answers."""
    return mean_of(values[0], binary=True)


_CLIP = {"clip": Parameter("number", default=float(np.finfo(np.float64).eps), minimum=1e-300, below=0.5)}
_K = {"k": Parameter("int", minimum=1)}
_RELEVANT = {"relevant": Parameter("text", default="source", choices=("source", "label"))}
_SAME_TEXT = {"strip": Parameter("bool", default=False), "ignore_case": Parameter("bool", default=False)}
_STEPS = {
    "separator": Parameter("text", default=";"),
    "steps": Parameter("int", minimum=1, optional=True),
}
_UP: Literal["higher-is-better"] = "higher-is-better"
_DOWN: Literal["lower-is-better"] = "lower-is-better"

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("top-1", _UP, CLASSIFICATION, lambda p, o: classification.within_top(p, 1), share),
        Metric("top-k", _UP, CLASSIFICATION, lambda p, o: classification.within_top(p, o["k"]), share, _K),
        Metric("balanced-accuracy", _UP, CLASSIFICATION, classification.decided, classification.balanced_accuracy),
        Metric(
            "f1",
            _UP,
            CLASSIFICATION,
            classification.decided,
            classification.f1,
            {"average": Parameter("text", default="macro", choices=("macro", "micro", "weighted"))},
        ),
        Metric(
            "log-loss",
            _DOWN,
            CLASSIFICATION,
            classification.log_loss,
            lambda values, o: mean_of(values[0], bounds=(0.0, float(-np.log(o["clip"])))),
            _CLIP,
            unit="nats",
        ),
        Metric(
            "brier",
            _DOWN,
            CLASSIFICATION,
            classification.brier,
            lambda values, o: mean_of(values[0], bounds=(0.0, 2.0)),
        ),
        Metric(
            "ece",
            _DOWN,
            CLASSIFICATION,
            classification.confidence,
            classification.calibration_error,
            {
                "bins": Parameter("int", default=15, minimum=1),
                "binning": Parameter("text", default="equal-width", choices=("equal-width", "equal-mass")),
            },
        ),
        Metric("auroc", _UP, CLASSIFICATION, classification.class_scores, classification.auroc),
        Metric("recall", _UP, RETRIEVAL, ranking.found, share, {**_K, **_RELEVANT}),
        Metric("ndcg", _UP, RETRIEVAL, ranking.ndcg, _mean, {**_K, **_RELEVANT}),
        Metric(
            "mrr",
            _UP,
            RETRIEVAL,
            ranking.reciprocal_rank,
            _mean,
            {"k": Parameter("int", minimum=1, optional=True), **_RELEVANT},
        ),
        Metric("exact-match", _UP, GENERATION, text.exact_match, share, {**_SAME_TEXT, **_STEPS}),
        Metric("token-accuracy", _UP, GENERATION, text.positions, text.position_accuracy),
        Metric("character-error-rate", _DOWN, GENERATION, text.character_edits, text.error_rate),
        Metric("word-error-rate", _DOWN, GENERATION, text.word_edits, text.error_rate),
        Metric(
            "bleu",
            _UP,
            GENERATION,
            overlap.ngram_matches,
            overlap.bleu,
            {
                "tokenize": Parameter("text", default="13a", choices=("13a", "intl", "char", "none")),
                "ignore_case": Parameter("bool", default=False),
            },
            library=("sacrebleu", "text"),
        ),
        Metric(
            "chrf",
            _UP,
            GENERATION,
            overlap.character_ngrams,
            overlap.chrf,
            {"beta": Parameter("number", default=2, minimum=0.01)},
        ),
        Metric("rouge-l", _UP, GENERATION, overlap.rouge_l, overlap.mean_overlap),
        Metric(
            "multiple-choice",
            _UP,
            MULTIPLE_CHOICE,
            numeric.right_option,
            share,
            {"normalise": Parameter("text", default="none", choices=("none", "length"))},
        ),
        Metric("perplexity", _DOWN, LANGUAGE, numeric.likelihoods, numeric.perplexity, _CLIP),
        Metric("mae", _DOWN, REGRESSION, numeric.deviations, numeric.mean_absolute_error),
        Metric("rmse", _DOWN, REGRESSION, numeric.deviations, numeric.root_mean_squared_error),
        Metric("r2", _UP, REGRESSION, numeric.deviations, numeric.r_squared),
        Metric(
            "mean-average-precision",
            _UP,
            DETECTION,
            detection.hits,
            detection.average_precision,
            {"overlap": Parameter("text", default="0.50:0.95", choices=tuple(detection.OVERLAPS))},
        ),
        Metric("mean-iou", _UP, SEGMENTATION, numeric.pixels, numeric.mean_iou),
    )
}


def known_metric(name: str) -> Metric:
    """The built-in metric of that name; raises `UsageError` with the nearest name."""
    try:
        return METRICS[name]
    except KeyError:
        hint = did_you_mean(name, METRICS) or "see `METRICS`, or name your own as module:function"
        raise UsageError(f"unknown metric {name!r}; {hint}") from None


def load_function(target: str) -> Callable[..., Any]:
    """A third party's ``module:function``, called as ``function(predictions, **parameters)``.

    It returns one value a sample, [n] (bool for right or wrong: then McNemar's test applies), or one float for the
    whole set, which costs a call for each resample. Raises `UsageError` when there is no such function.
    """
    module_name, _, name = target.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"metric {target!r} cannot be loaded: {error}") from error
    if not callable(function):
        raise UsageError(f"metric {target!r} is not a function")
    return function  # type: ignore[no-any-return]


def custom_values(target: str, predictions: Predictions, parameters: Mapping[str, Any]) -> npt.NDArray[np.generic]:
    """What a third party's function returns: [n] per-sample values, or a 0-dimensional array for the whole set."""
    returned = np.asarray(load_function(target)(predictions, **parameters))
    if returned.ndim > 1 or (returned.ndim == 1 and len(returned) != len(predictions)):
        raise UsageError(
            f"metric {target!r} returned shape {returned.shape}; expected one float or [{len(predictions)}]"
        )
    if returned.dtype.kind not in "biuf":
        raise UsageError(f"metric {target!r} returned {returned.dtype}; expected numbers")
    return returned


def custom_mean(values: npt.NDArray[np.generic]) -> Statistic:
    """The mean of a third party's per-sample values; undefined when any is not finite."""
    wrong = int(np.count_nonzero(~np.isfinite(values.astype(np.float64))))
    if wrong:
        raise UndefinedError(f"the metric's own function returned no finite value for {wrong} of {len(values)} samples")
    binary = values.dtype.kind == "b"
    return mean_of(values, bounds=(0.0, 1.0) if binary else (-np.inf, np.inf), binary=binary)
