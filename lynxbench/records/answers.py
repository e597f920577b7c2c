"""Predictions as rows of `predictions.parquet`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lynxbench.datasets.predictions import ANSWERS, Predictions
from lynxbench.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

# What `Predictions` calls a column → what its column in the file is called, where they differ.
_COLUMNS = {
    "labels": "label", "targets": "target", "texts": "text", "values": "value", "true_values": "true_value",
    "log_likelihoods": "log_likelihood", "token_counts": "token_count",
}  # fmt: skip

_BOX_NUMBERS = 6  # x, y, width, height, class, score or crowd


def predictions_schema() -> pa.Schema:
    """The columns of `predictions.parquet`."""
    import pyarrow as pa

    return pa.schema(
        [
            ("predictions_id", pa.string()),
            ("sample_id", pa.string()),
            ("source_id", pa.string()),
            ("strata", pa.list_(pa.struct([("field", pa.string()), ("value", pa.string())]))),
            ("failed", pa.bool_()),
            ("label", pa.int64()),
            ("target", pa.string()),
            ("logits", pa.list_(pa.float32())),
            ("text", pa.string()),
            ("ranked_ids", pa.list_(pa.string())),
            ("ranked_labels", pa.list_(pa.int64())),
            ("ranked_scores", pa.list_(pa.float32())),
            ("value", pa.float64()),
            ("true_value", pa.float64()),
            ("option_scores", pa.list_(pa.float32())),
            ("option_lengths", pa.list_(pa.int64())),
            ("log_likelihood", pa.float64()),
            ("token_count", pa.int64()),
            ("detections", pa.list_(pa.list_(pa.float32()))),
            ("objects", pa.list_(pa.list_(pa.float32()))),
            ("region_pixels", pa.list_(pa.list_(pa.int64()))),
        ]
    )


def predictions_table(predictions_id: str, predictions: Predictions) -> pa.Table:
    """Predictions as rows of `predictions.parquet`."""
    import pyarrow as pa

    n = len(predictions)
    schema = predictions_schema()

    def column(values: Any, name: str) -> Any:
        if values is None:
            return pa.nulls(n, schema.field(name).type)
        values = np.asarray(values)
        if values.ndim == 1:
            return pa.array(values.tolist(), schema.field(name).type)
        if values.ndim == 3:
            # Rows of NaN only fill up the array: a list needs none.
            rows = [item[~np.isnan(item).all(axis=-1)].tolist() for item in values]
            return pa.array(rows, schema.field(name).type)
        flat = pa.array(values.ravel().tolist() if values.dtype.kind in "UO" else values.ravel())
        offsets = np.arange(n + 1, dtype=np.int32) * values.shape[1]
        return pa.ListArray.from_arrays(pa.array(offsets), flat).cast(schema.field(name).type)

    names = list(predictions.strata)
    values = np.stack([predictions.strata[name] for name in names], axis=1) if names else np.empty((n, 0), dtype="U1")
    pairs = pa.StructArray.from_arrays(
        [pa.array(names * n, pa.string()), pa.array(values.ravel().tolist(), pa.string())], names=["field", "value"]
    )
    strata = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * len(names)), pairs)
    return pa.Table.from_arrays(
        [
            pa.array([predictions_id] * n, pa.string()),
            column(predictions.sample_ids, "sample_id"),
            column(predictions.source_ids, "source_id"),
            strata,
            column(predictions.failed, "failed"),
            column(predictions.labels, "label"),
            column(predictions.targets, "target"),
            column(predictions.logits, "logits"),
            column(predictions.texts, "text"),
            column(predictions.ranked_ids, "ranked_ids"),
            column(predictions.ranked_labels, "ranked_labels"),
            column(predictions.ranked_scores, "ranked_scores"),
            column(predictions.values, "value"),
            column(predictions.true_values, "true_value"),
            column(predictions.option_scores, "option_scores"),
            column(predictions.option_lengths, "option_lengths"),
            column(predictions.log_likelihoods, "log_likelihood"),
            column(predictions.token_counts, "token_count"),
            column(predictions.detections, "detections"),
            column(predictions.objects, "objects"),
            column(predictions.region_pixels, "region_pixels"),
        ],
        schema=schema,
    )


def predictions_of(rows: pa.Table) -> Predictions:
    """What one candidate answered, from its rows of `predictions.parquet`; the inverse of `predictions_table`.

    Raises `StoreError` when the rows are of several candidates, of none, or no answers to one test set.
    """
    ids = rows["predictions_id"].unique().to_pylist()
    if len(ids) != 1:
        raise StoreError(f"expected the predictions of one candidate, found those of {len(ids)}")
    try:
        names, values = _strata(rows["strata"].combine_chunks())
        return Predictions(
            sample_ids=_texts(rows["sample_id"]),
            source_ids=_texts(rows["source_id"]),
            strata={name: values[:, place] for place, name in enumerate(names)},
            failed=rows["failed"].to_numpy().astype(np.bool_),
            **{name: _answers(rows[_COLUMNS.get(name, name)]) for name in ANSWERS},
        )
    except (ValueError, TypeError) as error:
        raise StoreError(f"predictions {ids[0]} are no answers to one test set: {error}") from None


def _texts(column: pa.ChunkedArray) -> Any:
    return np.asarray(column.to_pylist(), dtype=str)


def _strata(column: pa.ListArray) -> tuple[list[str], Any]:
    """Field names, and [n, fields] values; every sample has the same fields in the same order."""
    n = len(column)
    fields = column.flatten().field("field").to_pylist()
    names = fields[: len(fields) // n] if n else []
    if fields != names * n:
        raise ValueError("samples have different strata fields")
    values = np.asarray(column.flatten().field("value").to_pylist(), dtype=str)
    return names, values.reshape(n, len(names))


def _answers(column: pa.ChunkedArray) -> Any:
    """A column as the array it was written from; None where it holds nothing."""
    import pyarrow as pa

    if column.null_count == len(column):
        return None
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} rows hold nothing")
    array = column.combine_chunks()
    if not pa.types.is_list(array.type):
        return np.asarray(array.to_pylist(), dtype=object) if pa.types.is_string(array.type) else array.to_numpy()
    if pa.types.is_list(array.type.value_type):
        return _ragged(array)
    flat = array.flatten()
    widths = np.unique(np.diff(array.offsets.to_numpy()))
    if len(widths) > 1:
        raise ValueError(f"rows hold between {widths[0]} and {widths[-1]} entries")
    values = np.asarray(flat.to_pylist(), dtype=str) if pa.types.is_string(flat.type) else flat.to_numpy()
    return values.reshape(len(array), -1)


def _ragged(array: pa.ListArray) -> Any:
    """Lists of lists as [n, most, k]: the float ones (boxes) are filled up by rows of NaN."""
    import pyarrow as pa

    rows = array.to_pylist()
    if not pa.types.is_floating(array.type.value_type.value_type):
        return np.asarray(rows, dtype=np.int64)
    most = max(1, *(len(row) for row in rows))
    filled = np.full((len(rows), most, _BOX_NUMBERS), np.nan, dtype=np.float32)
    for row, items in zip(filled, rows, strict=True):
        if items:
            row[: len(items)] = items
    return filled
