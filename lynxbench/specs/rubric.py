"""The declared accuracy criterion: what is asked, of which samples, relative to what, and how sure one must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from lynxbench.specs.base import Name, Spec
from lynxbench.specs.data import AudioFiles, ImageFiles, one_origin
from lynxbench.specs.tuned import Part

TaskName = Literal[
    "image-classification",
    "image-retrieval",
    "generation",
    "classification",
    "frame-classification",
    "regression",
    "text-classification",
    "text-retrieval",
    "token-classification",
    "question-answering",
    "detection",
    "segmentation",
    "transcription",
    "language-modelling",
    "multiple-choice",
]
Composition = Literal["clean", "out-of-distribution", "stratified", "domain-matched"]
CorruptionName = Literal[
    "none",
    # of images
    "gaussian-noise",
    "shot-noise",
    "contrast",
    "brightness",
    "blur",
    "shift",
    "rotation",
    "jpeg",
    # of texts
    "typos",
    "case",
    "truncation",
    "character-swaps",
    # of sounds
    "white-noise",
    "low-pass",
    "high-pass",
]


# What the scores of a metric are in where nothing is said, of those that may lie outside 0 to 1: they are no fractions.
UNITS: Mapping[str, str] = {
    "log-loss": "nats", "mae": "units", "rmse": "units", "r2": "R²", "perplexity": "tokens",
}  # fmt: skip


class View(Spec):
    """One way to look at every selected sample: as it is, or through a seeded corruption."""

    name: Name = Field(description="the stratum's name")
    corruption: CorruptionName = Field(default="none")
    severity: int | None = Field(default=None, ge=1, le=5, description="1 (mild) to 5 (heavy)")

    @model_validator(mode="after")
    def _severity_belongs(self) -> Self:
        if (self.corruption == "none") != (self.severity is None):
            raise ValueError("a corruption needs a severity from 1 to 5, and a clean view has none")
        return self


class TestSet(Spec):
    """Which labelled samples are asked, and what they are made of."""

    __test__ = False  # not a pytest class

    name: Name = Field(description="how results call this test set")
    source: str = Field(
        default="", description="data file or folder of pictures or sounds, relative to this file, or builtin:PATH"
    )
    target: str | None = Field(
        default=None, description="instead of source: module:function or file.py:function that returns the columns"
    )
    image: ImageFiles | None = Field(default=None, description="how pictures become arrays of one size")
    audio: AudioFiles | None = Field(default=None, description="how sounds become arrays of one length")
    corpus: str | None = Field(default=None, description="text-retrieval: data file with the documents (id, text)")
    composition: tuple[Composition, ...] = Field(
        min_length=1, description="clean, out-of-distribution, stratified, domain-matched"
    )
    composition_note: str = Field(min_length=1, description="how the set was composed, in words")
    selection: Literal["all", "first", "random", "stratified"] = Field(default="stratified")
    stratify_by: str = Field(default="label", description="field for a stratified selection")
    count: int = Field(ge=1, description="how many samples of the source; each is asked once per view")
    quick_count: int | None = Field(default=None, ge=1, description="count under --budget quick")
    thorough_count: int | None = Field(default=None, ge=1, description="count under --budget thorough")
    seed: int = Field(default=0, ge=0)
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='which column holds what, e.g. { input = "images", label = "labels", id = "ids" }',
    )
    class_names: tuple[str, ...] = Field(default=(), description="label 0, 1, … in words")
    views: tuple[View, ...] = Field(default=(View(name="clean"),), min_length=1)
    part: Part | None = Field(default=None, description="only a part of the samples, the rest of which is for tuning")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        one_origin(self.source, self.target)
        return self

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`part` is written only where given: a rubric without it keeps its digest."""
        whole: dict[str, Any] = serialize(self)
        return {name: value for name, value in whole.items() if name != "part" or value is not None}


class MetricUse(Spec):
    """One metric of a rubric, with what it is computed on and which way is better."""

    name: Name = Field(description="how results call it, e.g. top1-clean")
    metric: str = Field(description="a built-in metric, e.g. top-1, or your own as module:function")
    role: Literal["primary", "secondary"] = Field(default="secondary")
    direction: Literal["higher-is-better", "lower-is-better"]
    unit: str = Field(
        default="fraction",
        min_length=1,
        description="fraction, nats, minutes, …; left out, the metric's own: "
        + ", ".join(f"{metric} {unit}" for metric, unit in UNITS.items())
        + ", all others fraction",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="the metric's own options, e.g. bins, k")
    on: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='restrict to strata, e.g. { view = ["clean"] }; all samples when left out'
    )

    @model_validator(mode="before")
    @classmethod
    def _own_unit(cls, given: Any) -> Any:
        """Where no unit is given it is the metric's own."""
        if not isinstance(given, Mapping) or "unit" in given:
            return given
        metric = given.get("metric")
        return {**given, "unit": UNITS[metric]} if isinstance(metric, str) and metric in UNITS else given


class Reference(Spec):
    """The candidate that every delta is relative to."""

    scheme: Name = Field(description="scheme of the reference, usually fp32")
    executor: Name = Field(description="executor of the reference, usually cpu")


class Tolerance(Spec):
    """The largest loss of the primary metric that still counts as none."""

    kind: Literal["absolute", "relative", "error-ratio"] = Field(
        description="absolute: points of the metric; relative: share of the reference's score; "
        "error-ratio: factor on the reference's error (1 - score), e.g. 1.1"
    )
    value: float = Field(gt=0)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.kind == "error-ratio" and self.value <= 1:
            raise ValueError("an error-ratio tolerance is a factor above 1, e.g. 1.1 for 10 % more errors")
        if self.kind == "relative" and self.value >= 1:
            raise ValueError(f"a relative tolerance of {self.value} would accept any loss; 0.01 means one hundredth")
        return self


class CalibrationRule(Spec):
    """What a static scheme's calibration must satisfy for its scores to be comparable."""

    minimum_count: int = Field(ge=1, description="fewest calibration samples")
    domain: str = Field(min_length=1, description="what the calibration samples must be, in words")


class Rubric(Spec):
    """A declared accuracy criterion. `version` must change when a number can."""

    name: Name
    version: str = Field(min_length=1, description='e.g. "1.0"')
    title: str = Field(min_length=1, description="the question, in a few words")
    task: TaskName = Field(description="how samples become answers")
    test_set: TestSet
    metrics: tuple[MetricUse, ...] = Field(min_length=1)
    reference: Reference
    strata: tuple[str, ...] = Field(min_length=1, description="sample fields to report by, e.g. view, class")
    strata_minimum_n: int = Field(ge=2, description="smallest stratum that is reported")
    tolerance: Tolerance
    calibration: CalibrationRule
    confidence: float = Field(ge=0.5, lt=1, description="e.g. 0.95")
    resamples: int = Field(default=2000, ge=200)
    seed: int = Field(default=0, ge=0, description="of the bootstrap")

    @model_validator(mode="after")
    def _one_primary(self) -> Self:
        primaries = [metric.name for metric in self.metrics if metric.role == "primary"]
        if len(primaries) != 1:
            found = ", ".join(primaries) or "none"
            raise ValueError(f'exactly one metric must have role = "primary"; found {len(primaries)}: {found}')
        for label, names in (
            ("metric", [m.name for m in self.metrics]),
            ("view", [v.name for v in self.test_set.views]),
        ):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"duplicate {label} name: {', '.join(repeated)}")
        tolerance = self.tolerance
        if tolerance.kind == "absolute" and self.primary.unit == "fraction" and tolerance.value >= 1:
            raise ValueError(f"a tolerance of {tolerance.value} would accept any loss; 0.01 means one point")
        return self

    @property
    def primary(self) -> MetricUse:
        """The metric that decides the verdict."""
        return next(metric for metric in self.metrics if metric.role == "primary")
