"""Numbers in sentences that are meant to be quoted: with their unit, their sign and their interval."""

from __future__ import annotations

from collections.abc import Sequence

from lynxbench.measurement import BUSY
from lynxbench.records.record import MEASURED, Record


def unit_of(record: Record) -> str:
    """The unit of the primary metric."""
    return str(next((score["unit"] for score in record["scores"] or () if score["role"] == "primary"), "fraction"))


def level(value: float, unit: str) -> str:
    """A score: ``87.5 %``, or ``0.471 nats``."""
    return f"{100 * value:.1f} %" if unit == "fraction" else f"{value:.3f} {unit}"


def moved(value: float, low: float, high: float, unit: str) -> str:
    """``−0.4 points [−1.0, +0.1]``."""
    scale, digits, name = (100.0, 1, "points") if unit == "fraction" else (1.0, 3, unit)
    return f"{_signed(value * scale, digits)} {name} [{_signed(low * scale, digits)}, {_signed(high * scale, digits)}]"


def loss(value: float, unit: str) -> str:
    """A loss or a limit of it: ``1 point``, ``0.05 nats``."""
    if unit != "fraction":
        return f"{value:.4g} {unit}"
    points = f"{100 * value:.3g}"
    return f"{points} point" if points == "1" else f"{points} points"


def times(value: float, low: float, high: float) -> str:
    """``1.27 times [1.13, 1.44]``."""
    return f"{value:.2f} times [{low:.2f}, {high:.2f}]"


def busy_host(records: Sequence[Record]) -> str | None:
    """What to say where the machine had other work while some of these rows were timed; None where it had none."""
    timed = [record for record in records if record["status"] in MEASURED and not record["simulated"]]
    told = [{warning["code"] for warning in record["warnings"] or ()} & BUSY for record in timed]
    busy = sum(map(bool, told))
    if not busy:
        return None
    rows = "" if len(timed) == 1 else f"{busy} of {len(timed)} rows "
    codes = ", ".join(sorted(set().union(*told)))
    return f"{rows}measured while the machine was busy ({codes}): repeat on a quiet one before you rely on times"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")
