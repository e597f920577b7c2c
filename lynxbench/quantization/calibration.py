"""The samples that a static scheme observes its ranges on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Feed = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class CalibrationData:
    """Batches of model inputs that can be read again and again, never all at once.

    feeds    each call starts again and yields the same batches in the same order: input name → array. Shapes may
             differ from batch to batch
    count    how many samples there are in all
    digest   SHA-256 (hex) of the items, their order and their batches: equal digests must mean equal feeds
    """

    feeds: Callable[[], Iterator[Feed]]
    count: int
    digest: str
