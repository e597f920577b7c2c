"""One number of several metrics, by declared weights: what `metric = "composite"` means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lynxbench.scoring.statistic import Floats, Statistic

COMPOSITE = "composite"


def combined(parts: Sequence[Statistic], weights: Sequence[float]) -> Statistic:
    """Σ weight · part over the same samples; resampled as one, so that what the parts share is not counted twice."""
    starts = np.cumsum([0, *(part.width for part in parts)])
    entries = tuple(
        (column + start, amount)
        for part, start in zip(parts, starts[:-1], strict=True)
        for column, amount in part.entries
    )

    def finish(sums: Floats) -> Floats:
        pieces = zip(parts, weights, starts[:-1], starts[1:], strict=True)
        return np.asarray(sum(weight * part.finish(sums[..., start:end]) for part, weight, start, end in pieces))

    ends = [sorted(weight * bound for bound in part.bounds) for part, weight in zip(parts, weights, strict=True)]
    return Statistic(
        width=int(starts[-1]),
        entries=entries,
        finish=finish,
        bounds=(sum(low for low, _ in ends), sum(high for _, high in ends)),
        weakest_n=min(part.weakest_n for part in parts),
        interval="bias-aware" if any(part.interval == "bias-aware" for part in parts) else "bca",
    )
