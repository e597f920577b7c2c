"""Raw latencies as histograms, one a cell: from the fastest query to nearly the slowest, the rest counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_BINS = 40
# The slowest queries may take many times the median: they are counted, not drawn.
SHOWN_SHARE = 0.995


@dataclass(frozen=True)
class Histogram:
    """Counts of queries in bins from `from_ns` on, each ending at `step_ratio` times its beginning; the rest beyond.

    Bins of equal ratio show both a spread of a few per cent and a tail of many times the median.
    """

    from_ns: float
    step_ratio: float
    counts: tuple[int, ...]
    beyond_n: int


def histograms(latencies: Any) -> dict[str, Histogram]:
    """A histogram for each `cell_id` of a latencies table (Arrow), over the queries that were not excluded."""
    import pyarrow.compute as pc

    kept = latencies.filter(pc.invert(latencies["excluded"]))
    if not len(kept):
        return {}
    coded = kept["cell_id"].combine_chunks().dictionary_encode()
    cells = coded.indices.to_numpy()
    order = np.argsort(cells, kind="stable")
    values = kept["latency_ns"].to_numpy()[order]
    ends = np.cumsum(np.bincount(cells, minlength=len(coded.dictionary)))
    parts = np.split(values, ends[:-1])
    return {name: _histogram(part) for name, part in zip(coded.dictionary.to_pylist(), parts, strict=True)}


def _histogram(values_ns: Any) -> Histogram:
    n = len(values_ns)
    values_ns = np.sort(values_ns)
    low, high = float(values_ns[0]), float(values_ns[int(np.ceil(SHOWN_SHARE * n)) - 1])
    # Rice's rule.
    bins = max(1, min(MOST_BINS, int(np.ceil(2 * n ** (1 / 3)))))
    step = np.log(high / low) / bins if high > low > 0 else 0.01
    places = np.minimum((np.log(np.maximum(values_ns, 1) / max(low, 1.0)) / step).astype(np.int64), bins)
    # The upper edge belongs to the last bin.
    places[(places == bins) & (values_ns <= high)] = bins - 1
    counts = np.bincount(places, minlength=bins + 1)
    return Histogram(low, float(np.exp(step)), tuple(counts[:bins].tolist()), int(counts[bins]))
