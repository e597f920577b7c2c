"""What one candidate answered for each sample, in columns: written by `tasks`, kept by `records`, read by `scoring`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Predictions:
    """The answers of one candidate to one test set, n samples in test-set order.

    sample_ids   [n] str, unique; deltas are paired on them
    source_ids   [n] str: samples that share a source (views of one image) are not independent
    strata       name → [n] str: the sample fields that a rubric may report by
    labels       [n] int64, or None where the task has no class labels
    targets      [n] str (object), the text that was asked for, or None
    logits       [n, k] float32, one row of class scores a sample, or None
    texts        [n] str (object), what was generated, or None
    ranked_ids   [n, k] str: source ids of what was retrieved, best first, or None
    ranked_labels [n, k] int64, their labels, or None
    ranked_scores [n, k] float32, descending, or None
    values, true_values  [n] float64, predicted and true numbers, or None
    option_scores, option_lengths  [n, k] float32 log-likelihood of each option, and its length (0: no such option);
                 `labels` say which is right. Or None
    log_likelihoods, token_counts  [n] float64 log-likelihood of the target in nats, and [n] int64 its tokens, or None
    detections   [n, d, 6] float32: x, y, width, height, class, score; rows of NaN fill up. Or None
    objects      [n, g, 6] float32: x, y, width, height, class, 1 for a crowd; rows of NaN fill up. Or None
    region_pixels [n, k, 3] int64 pixels of each class: right, predicted, true. Or None
    failed       [n] bool: the model's output held a NaN; such a sample counts as a wrong answer, never dropped
    """

    sample_ids: Column
    source_ids: Column
    strata: Mapping[str, Column]
    failed: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64] | None = None
    targets: Column | None = None
    logits: npt.NDArray[np.float32] | None = None
    texts: Column | None = None
    ranked_ids: Column | None = None
    ranked_labels: npt.NDArray[np.int64] | None = None
    ranked_scores: npt.NDArray[np.float32] | None = None
    values: npt.NDArray[np.float64] | None = None
    true_values: npt.NDArray[np.float64] | None = None
    option_scores: npt.NDArray[np.float32] | None = None
    option_lengths: npt.NDArray[np.int64] | None = None
    log_likelihoods: npt.NDArray[np.float64] | None = None
    token_counts: npt.NDArray[np.int64] | None = None
    detections: npt.NDArray[np.float32] | None = None
    objects: npt.NDArray[np.float32] | None = None
    region_pixels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every column: other answers, to other samples or in another order, have another."""
        digest = hashlib.sha256()
        columns = {"sample_ids": self.sample_ids, "source_ids": self.source_ids, "failed": self.failed}
        columns |= {f"strata.{name}": column for name, column in self.strata.items()}
        columns |= {name: getattr(self, name) for name in ANSWERS if getattr(self, name) is not None}
        for name, column in sorted(columns.items()):
            if column.dtype.kind in "UO":
                # Texts as they are, however wide the array that holds them.
                content = json.dumps(column.tolist()).encode()
                digest.update(f"{name}\0text\0{column.shape}\0".encode())
            else:
                content = np.ascontiguousarray(column).tobytes()
                digest.update(f"{name}\0{column.dtype.str}\0{column.shape}\0".encode())
            digest.update(content)
        return digest.hexdigest()

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Predictions:
        """The samples at `index` ([m] positions, repeats allowed, or an [n] mask), all columns alike."""

        columns = {name: getattr(self, name) for name in ANSWERS}
        return Predictions(
            sample_ids=self.sample_ids[index],
            source_ids=self.source_ids[index],
            strata={name: column[index] for name, column in self.strata.items()},
            failed=self.failed[index],
            **{name: None if column is None else column[index] for name, column in columns.items()},
        )


# The columns that a task may leave out, [n, …] each.
ANSWERS = tuple(field.name for field in fields(Predictions) if field.default is None)
