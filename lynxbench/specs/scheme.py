"""How a candidate's numbers are represented, and what a static scheme is calibrated on."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lynxbench.specs.base import Name, Spec
from lynxbench.specs.data import AudioFiles, ImageFiles, one_origin
from lynxbench.specs.rubric import CorruptionName

SchemeKind = Literal["fp32", "fp16", "int8-dynamic", "int8-static"]
CalibrationMethod = Literal["minmax", "percentile", "entropy"]
OpTypes = Literal["all"] | tuple[str, ...]

# Which options mean something for which kind. An option given where it has no effect is an error:
# a record must never show an option that changed nothing.
_OPTIONS: dict[str, frozenset[str]] = {
    "fp32": frozenset(),
    "fp16": frozenset({"keep_io_types", "op_types_kept_float"}),
    "int8-dynamic": frozenset({"weight_type", "per_channel", "reduce_range", "op_types"}),
    "int8-static": frozenset(
        {"weight_type", "activation_type", "per_channel", "reduce_range", "op_types", "format", "method", "percentile"}
    ),
}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    # Graph inputs and outputs stay fp32: the latency then includes the casts that a user would pay for.
    "fp16": {"keep_io_types": True, "op_types_kept_float": ()},
    "int8-dynamic": {"weight_type": "int8", "per_channel": True, "reduce_range": False, "op_types": "all"},
    # u8 activations with s8 weights is the pair that x86 kernels run fast; ONNX Runtime's own default is not.
    "int8-static": {
        "weight_type": "int8",
        "activation_type": "uint8",
        "per_channel": True,
        "reduce_range": False,
        "op_types": "all",
        "format": "qdq",
        "method": "minmax",
    },
}


class Scheme(Spec):
    """One way to represent a model's numbers. Options left out take the kind's defaults, and are recorded."""

    name: Name = Field(description="how results call this scheme")
    kind: SchemeKind = Field(description="fp32, fp16, int8-dynamic or int8-static")
    keep_io_types: bool | None = Field(default=None, description="fp16: keep float32 at the graph's inputs and outputs")
    op_types_kept_float: tuple[str, ...] | None = Field(default=None, description="fp16: op types left in float32")
    weight_type: Literal["int8", "uint8"] | None = Field(default=None, description="type of quantized weights")
    activation_type: Literal["int8", "uint8"] | None = Field(default=None, description="type of quantized activations")
    per_channel: bool | None = Field(default=None, description="one weight scale per output channel")
    reduce_range: bool | None = Field(default=None, description="7-bit weights, for x86 without VNNI")
    op_types: OpTypes | None = Field(default=None, description='op types to quantize: "all" or a list')
    format: Literal["qdq", "qoperator"] | None = Field(default=None, description="int8-static: how it is written")
    method: CalibrationMethod | None = Field(default=None, description="int8-static: how ranges are chosen")
    percentile: float | None = Field(default=None, gt=50, le=100, description="int8-static, method percentile")

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        kind = data.get("kind") if isinstance(data, dict) else None
        if isinstance(kind, str) and kind in _DEFAULTS:
            filled = {**_DEFAULTS[kind], **data}
            if filled.get("method") == "percentile":
                filled.setdefault("percentile", 99.99)
            return filled
        return data

    @model_validator(mode="after")
    def _only_options_that_matter(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None} - {"name", "kind"}
        useless = sorted(given - _OPTIONS[self.kind])
        if useless:
            allowed = ", ".join(sorted(_OPTIONS[self.kind])) or "none"
            raise ValueError(f"{', '.join(useless)} has no effect for kind {self.kind!r} (its options: {allowed})")
        if self.op_types == ():
            raise ValueError("an empty list of op_types quantizes nothing; leave it out for all")
        if self.percentile is not None and self.method != "percentile":
            raise ValueError(f"percentile has no effect with method {self.method!r}")
        return self

    @property
    def needs_calibration(self) -> bool:
        """True when ranges have to be observed on data before the model can be built."""
        return self.kind == "int8-static"

    def options(self) -> dict[str, Any]:
        """Every option in effect, without the name: what the artifact depends on."""
        return {
            key: value for key, value in self.model_dump(mode="json").items() if key != "name" and value is not None
        }


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
