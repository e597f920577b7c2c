"""How files become arrays of one size: pictures and sounds, as a declaration says."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lynxbench.specs.base import Spec

Pixels = tuple[int, int]


class ImageFiles(Spec):
    """Pictures to uint8 [height, width] or [height, width, 3]: turned upright, resized, cut in the middle."""

    resize: int | Pixels | None = Field(
        default=None, description="length of the shorter side, or [height, width] regardless of proportions"
    )
    crop: Pixels | None = Field(default=None, description="[height, width] cut out of the middle")
    channels: Literal[1, 3] = Field(default=3, description="1: grey, 3: red, green, blue")
    interpolation: Literal["nearest", "bilinear", "bicubic"] = Field(default="bilinear")

    @model_validator(mode="after")
    def _positive(self) -> Self:
        sizes = (*(self.crop or ()), *(self.resize if isinstance(self.resize, tuple) else (self.resize or 1,)))
        if min(sizes) < 1:
            raise ValueError(f"resize and crop are in pixels, 1 at least; found {min(sizes)}")
        return self


class AudioFiles(Spec):
    """Sounds to float32 [samples] in [-1, 1], channels averaged."""

    sample_rate_hz: int | None = Field(default=None, ge=1, description="resampled to this; else all must have one rate")
    duration_s: float | None = Field(
        default=None, gt=0, description="cut or filled up with silence at the end; else all must have one length"
    )


def one_origin(source: str, target: str | None) -> None:
    """Raise `ValueError` unless samples come either from `source` or from `target`."""
    if bool(source) == (target is not None):
        raise ValueError("give either source, a data file or folder, or target, a module:function")
