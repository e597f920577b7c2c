"""How a candidate's numbers are represented, and what a static scheme is calibrated on."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from lynxbench.specs.base import Name, Spec
from lynxbench.specs.data import AudioFiles, ImageFiles, one_origin
from lynxbench.specs.rubric import CorruptionName
from lynxbench.specs.scheme_options import (
    DEFAULTS,
    DEPENDENT,
    FIRST_OPTIONS,
    OPTIONS,
    VALUES,
    ActivationType,
    Algorithm,
    BlockSize,
    CalibrationMethod,
    OpTypes,
    SchemeKind,
    WeightType,
    filled,
)
from lynxbench.specs.tuned import Tuned

__all__ = ["Calibration", "CalibrationMethod", "OpTypes", "Scheme", "SchemeKind"]


class Scheme(Spec):
    """One way to represent a model's numbers. Options left out take the kind's defaults, and are recorded."""

    name: Name = Field(description="how results call this scheme")
    kind: SchemeKind = Field(description=", ".join(OPTIONS))
    keep_io_types: bool | None = Field(default=None, description="fp16: keep float32 at the graph's inputs and outputs")
    op_types_kept_float: tuple[str, ...] | None = Field(default=None, description="op types left in float32")
    nodes_kept_float: tuple[str, ...] | None = Field(
        default=None, description="nodes left in float32, by name or by a pattern such as /encoder/layer.0/*"
    )
    weight_type: WeightType | None = Field(default=None, description="type of quantized weights")
    activation_type: ActivationType | None = Field(default=None, description="type of quantized activations")
    symmetric_weights: bool | None = Field(
        default=None, description="zero is represented by zero; left out, so for signed types of int8 schemes"
    )
    symmetric_activations: bool | None = Field(
        default=None, description="int8-static: ranges are widened to be symmetric around zero"
    )
    per_channel: bool | None = Field(default=None, description="one weight scale per output channel")
    reduce_range: bool | None = Field(default=None, description="7-bit weights, for x86 without VNNI")
    op_types: OpTypes | None = Field(default=None, description='op types to quantize: "all" or a list')
    format: Literal["qdq", "qoperator"] | None = Field(default=None, description="int8-static: how it is written")
    method: CalibrationMethod | None = Field(
        default=None,
        description="int8-static: how ranges are chosen; distribution: the largest magnitude, both ways from zero",
    )
    percentile: float | None = Field(default=None, gt=50, le=100, description="int8-static, method percentile")
    averaging_constant: float | None = Field(
        default=None, gt=0, le=1, description="int8-static, method moving-average: how much each batch counts"
    )

    smooth_alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="int8-static: SmoothQuant's share of outliers that moves from activations into weights; none when "
        "left out, often 0.5",
    )
    bits: Literal[4, 8] | None = Field(default=None, description="weights-only: of a weight")
    block_size: BlockSize | None = Field(default=None, description="weights-only: weights that share a scale")
    algorithm: Algorithm | None = Field(default=None, description="weights-only: how weights are rounded")
    accuracy_level: int | None = Field(
        default=None,
        ge=0,
        le=4,
        description="weights-only, rtn and gptq: least precision of the products: 1 float32, 2 float16, 3 bfloat16, "
        "4 int8; the provider's choice when left out",
    )
    tuned: Tuned | None = Field(default=None, description="how it was picked, where `lynxbench tune` did; no option")

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        kind = data.get("kind") if isinstance(data, dict) else None
        return filled(data) if isinstance(kind, str) and kind in DEFAULTS else data

    @model_validator(mode="after")
    def _only_options_that_matter(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        given -= {"name", "kind", "tuned"}
        useless = sorted(given - OPTIONS[self.kind])
        if useless:
            allowed = ", ".join(sorted(OPTIONS[self.kind])) or "none"
            raise ValueError(f"{', '.join(useless)} has no effect for kind {self.kind!r} (its options: {allowed})")
        if self.op_types == ():
            raise ValueError("an empty list of op_types quantizes nothing; leave it out for all")
        for option, other, value, _ in DEPENDENT:
            if option in given and getattr(self, other) != value:
                raise ValueError(f"{option} has no effect with {other} {getattr(self, other)!r}")
        if self.algorithm == "hqq":
            for option in ("accuracy_level", "symmetric_weights"):
                if option in given:
                    raise ValueError(f"{option} has no effect with algorithm 'hqq'")
        for (kind, option), values in VALUES.items():
            if self.kind == kind and getattr(self, option) not in values:
                raise ValueError(f"{option} {getattr(self, option)!r} is none of {kind}'s ({', '.join(values)})")
        return self

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options added since version 0.1 are written only where given: a suite without them keeps its digest."""
        whole: dict[str, Any] = serialize(self)
        return {name: value for name, value in whole.items() if value is not None or name in FIRST_OPTIONS}

    @property
    def needs_calibration(self) -> bool:
        """True when ranges have to be observed on data before the model can be built."""
        return self.kind in ("int8-static", "fp8") or self.algorithm == "gptq"

    def options(self) -> dict[str, Any]:
        """Every option in effect, without the name: what the artifact depends on."""
        return {
            key: value
            for key, value in self.model_dump(mode="json").items()
            if key not in ("name", "tuned") and value is not None
        }

    @property
    def multiplies_u8_by_s8(self) -> bool:
        """Unsigned activations by signed weights of full range: what some x86 processors cut off at 16 bits."""
        activations = "uint8" if self.kind == "int8-dynamic" else self.activation_type
        integer = self.kind in {"int8-dynamic", "int8-static"}
        return integer and (activations, self.weight_type, self.reduce_range) == ("uint8", "int8", False)


class Calibration(Spec):
    """A declared calibration reader: which samples, picked how, in which order and batches.

    A suite may declare several (in-domain, corrupted, one class, tiny, noise) and build the same scheme on each.
    """

    name: Name = Field(description="how results call this calibration set")
    source: str = Field(
        default="", description="data file or folder of pictures or sounds, relative to this file, or builtin:PATH"
    )
    target: str | None = Field(
        default=None, description="instead of source: module:function or file.py:function that returns the columns"
    )
    image: ImageFiles | None = Field(default=None, description="how pictures become arrays of one size")
    audio: AudioFiles | None = Field(default=None, description="how sounds become arrays of one length")
    split: str = Field(description="which part of the data this is, in words: train, validation, …")
    selection: Literal["first", "random", "stratified"] = Field(default="stratified")
    stratify_by: str = Field(default="label", description="field for a stratified selection")
    count: int = Field(ge=1, description="how many samples")
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    fields: dict[str, str] = Field(
        default_factory=dict, description="which column holds what, as in a rubric's test set"
    )
    where: dict[str, tuple[str | int, ...]] = Field(
        default_factory=dict, description="only samples whose field has one of these values, such as { label = [0] }"
    )
    kind: Literal["samples", "noise"] = Field(
        default="samples", description="noise: seeded random inputs of the size of the samples instead of them"
    )
    corruption: CorruptionName = Field(default="none", description="the samples as a rubric's view would show them")
    severity: int | None = Field(default=None, ge=1, le=5, description="1 (mild) to 5 (heavy)")
    allow_overlap: bool = Field(
        default=False, description="samples that are also scored are no error; no result is decision-grade then"
    )
    allow_fewer: bool = Field(
        default=False, description="fewer samples than the rubric asks for; no result is decision-grade then"
    )

    @model_validator(mode="after")
    def _only_what_has_an_effect(self) -> Self:
        one_origin(self.source, self.target)
        if (self.corruption == "none") != (self.severity is None):
            raise ValueError("a corruption needs a severity from 1 to 5, and without one there is no severity")
        if self.kind == "noise" and self.corruption != "none":
            raise ValueError(f"corruption {self.corruption!r} has no effect on noise")
        empty = sorted(field for field, values in self.where.items() if not values)
        if empty:
            raise ValueError(f"where.{empty[0]} is an empty list: no sample has one of no values")
        return self

    def options(self) -> dict[str, Any]:
        """What was done to the samples beyond picking them; empty for plain samples."""
        given = self.model_dump(mode="json", include={"where", "kind", "corruption", "severity"}, exclude_defaults=True)
        return dict(given)
