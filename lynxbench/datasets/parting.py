"""One part of the samples: to choose on, or to score on, never both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.predictions import Column
from lynxbench.datasets.samples import Samples
from lynxbench.specs.tuned import Part


def taken(samples: Samples, index: npt.NDArray[np.int64]) -> Samples:
    """The samples at `index`; what a retrieval searches stays whole."""
    columns: dict[str, Any] = {
        field.name: None if (column := getattr(samples, field.name)) is None else column[index]
        for field in fields(samples)
        if field.name not in ("strata", "corpus")
    }
    return Samples(
        **columns,
        strata={name: column[index] for name, column in samples.strata.items()},
        corpus=samples.corpus,
    )


def part_of(samples: Samples, part: Part, strata: Sequence[str]) -> Samples:
    """The samples of one part, in their order. Raises `ValueError` where one of the two would be empty.

    Originals (`source_ids`) are drawn, not samples, so that no two views of one are on both sides; proportionally over
    the first field of `strata` that differs between originals, and not between the samples of one.
    """
    sources, codes = np.unique(samples.source_ids, return_inverse=True)
    tuning = _drawn(len(sources), _stratum(samples, codes, len(sources), strata), part)
    if not 0 < tuning.sum() < len(sources):
        raise ValueError(f"a share of {part.share:g} of {len(sources)} originals leaves one of the two parts empty")
    mine = tuning if part.which == "tuning" else ~tuning
    return taken(samples, np.flatnonzero(mine[codes]))


def _stratum(samples: Samples, codes: npt.NDArray[np.intp], n: int, strata: Sequence[str]) -> Column | None:
    """[n originals] the value of the first field that all samples of an original share, and not all originals do."""
    first = np.full(n, -1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    for name in strata:
        column = samples.strata[name]
        if (column == column[first][codes]).all() and (column != column[0]).any():
            return column[first]
    return None


def _drawn(n: int, stratum: Column | None, part: Part) -> npt.NDArray[np.bool_]:
    """[n] which originals are in the tuning part: of a random order within strata, every 1 ∕ share-th."""
    order = np.random.default_rng(part.seed).permutation(n)
    if stratum is not None:
        order = order[np.argsort(stratum[order], kind="stable")]
    counted = np.floor(np.arange(n + 1) * part.share + 1e-9)
    drawn = np.zeros(n, dtype=np.bool_)
    drawn[order] = np.diff(counted) > 0
    return drawn
