"""What a field of a record is, and what the ends of a value's interval are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Need = Literal["always", "measured", "optional"]
Check = Literal["any", "non-negative", "positive", "share", "status", "verdict", "sha256"]


@dataclass(frozen=True)
class Field:
    """One field. `need`: in every row, in every measured (``ok`` or ``partial``) row, or where it applies.

    `type` is one of string, int64, float64, bool, timestamp, strings, and the lists of structures in `STRUCTURES`.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    need: Need = "optional"
    check: Check = "any"


@dataclass(frozen=True)
class Section:
    """Fields that belong together, under a heading."""

    title: str
    fields: tuple[Field, ...]


def interval(
    name: str, meaning: str, unit: str, *, need: Need = "optional", check: Check = "any"
) -> tuple[Field, Field, Field]:
    """A value with its interval: three fields."""
    low, high = interval_names(name)
    return (
        Field(name, "float64", meaning, unit, need, check),
        Field(low, "float64", "lower end of its interval", unit, "optional", check),
        Field(high, "float64", "upper end of its interval", unit, "optional", check),
    )


def interval_names(name: str) -> tuple[str, str]:
    """What the ends of a value's interval are called: a unit stays at the end (``p50_ns`` → ``p50_low_ns``)."""
    stem, suffix = (name.removesuffix("_ns"), "_ns") if name.endswith("_ns") else (name, "")
    return f"{stem}_low{suffix}", f"{stem}_high{suffix}"
