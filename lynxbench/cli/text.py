"""Plain words for numbers, and nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata


def plain(text: str, *, keep_lines: bool = False) -> str:
    """`text` without control, format and bidirectional characters: safe to print, whoever wrote it."""
    kept = {"\n"} if keep_lines else set()
    return "".join(c if c in kept or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text)


def duration(nanoseconds: float | None) -> str:
    """``1.23 ms``: three significant digits in the unit that fits; a dash for None."""
    if nanoseconds is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{_three(nanoseconds / size)} {unit}"
    return f"{nanoseconds:.0f} ns"


def size(count: float | None) -> str:
    """``312 kB``; a dash for None."""
    if count is None:
        return "–"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{_three(count / scale)} {unit}"
    return f"{count:.0f} B"


def load(p99_limit_ms: float | None, rate_per_s: float | None, batch: str, lanes: str | None) -> str:
    """A scenario's load: the limit of a searched rate, else the rate, else the batch and the queries in flight."""
    if p99_limit_ms is not None:
        return f"highest rate with p99 within {p99_limit_ms:g} ms"
    if rate_per_s is not None:
        return f"{rate_per_s:g} queries/s"
    return batch if lanes is None else f"{batch}, {lanes}"


def minutes(seconds: float) -> str:
    """``2 min 05 s`` or ``45 s``."""
    whole = max(0, round(seconds))
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def ratio(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """``2.31× ±0.04``, the wider half of the interval, or both ends where it is wide; a dash for None."""
    if value is None:
        return "–"
    if low is None or high is None or high <= low:
        return f"{value:.2f}×"
    half = max(value - low, high - value)
    # So wide an interval is lopsided too: its ends say more than half of it.
    return f"{value:.2f}× ±{half:.2f}" if half <= value / 2 else f"{value:.2f}× [{low:.2f}, {high:.2f}]"


def fraction(value: float | None, unit: str) -> str:
    """A score: fractions as per cent, others as they are."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if unit == "fraction" else f"{value:.3f}"


def change(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """``−0.40 [−0.90, +0.10]``: a delta with its interval, fractions in points."""
    if value is None:
        return "–"
    scale, digits = (100.0, 1) if unit == "fraction" else (1.0, 3)
    text = signed(value * scale, digits)
    if low is not None and high is not None:
        text += f" [{signed(low * scale, digits)}, {signed(high * scale, digits)}]"
    return text


def signed(value: float, digits: int) -> str:
    """With a sign, a true minus, and no negative zero."""
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")


def _three(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def counted(count: int, noun: str) -> str:
    """``1 cell``, ``2,400 cells``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
