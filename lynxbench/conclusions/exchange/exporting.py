"""The formats by name, and a results folder written in one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lynxbench.conclusions.exchange import croissant, every_eval_ever, hf_eval_results
from lynxbench.conclusions.exchange.terms import Exported, Terms
from lynxbench.conclusions.material import Material
from lynxbench.errors import UsageError
from lynxbench.specs.base import did_you_mean

FORMATS: Mapping[str, Callable[[Material, Path, Terms, Sequence[str]], Exported]] = {
    "every-eval-ever": every_eval_ever.export,
    "hf-eval-results": hf_eval_results.export,
    "croissant": croissant.export,
}


def export(found: Material, format_: str, out: Path, terms: Terms, only: Sequence[str] = ()) -> Exported:
    """Write `found` to the new folder `out`. Raises `UsageError` for an unknown format or what it cannot say."""
    if format_ not in FORMATS:
        hint = did_you_mean(format_, FORMATS) or f"one of: {', '.join(FORMATS)}"
        raise UsageError(f"--format {format_}: unknown format; {hint}")
    return FORMATS[format_](found, out, terms, only)
