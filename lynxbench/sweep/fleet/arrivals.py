"""A look at a cell that came from a node, before it is kept: the right tables, and about the cell that it claims."""

from __future__ import annotations

import re
from functools import cache

from lynxbench.errors import StoreError
from lynxbench.records.store import TABLES, table_schema
from lynxbench.sweep.fleet.messages import FinishedCell

_KEY = re.compile(r"[0-9a-f]{16}")


@cache
def _leaves() -> list[str]:
    """The names of a record's columns as Parquet stores them, nested ones by their parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table_schema("records").empty_table(), sink)
    names: list[str] = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema.names
    return names


def checked_status(cell: FinishedCell) -> str:
    """The cell's status. Raises `StoreError` for other columns than this version writes, other cells, unfit names.

    The node has validated the record; readers do so again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = [cell.cell_id, *([] if cell.predictions_id is None else [cell.predictions_id])]
    if not all(_KEY.fullmatch(key) for key in keys) or not set(cell.files) <= set(TABLES):
        raise StoreError(f"a node sent a cell that cannot be one: {cell.cell_id[:80]!r}")
    try:
        with pq.ParquetFile(pa.BufferReader(cell.files["records"]), page_checksum_verification=True) as file:
            names = file.schema.names
            rows = file.read(columns=["cell_id", "status", "predictions_id"], use_threads=False).to_pylist()
    except (KeyError, OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"the record of cell {cell.cell_id} came damaged: {error}") from None
    if names != _leaves():
        raise StoreError(f"the record of cell {cell.cell_id} has other columns than this version of LynxBench writes")
    told = [(row["cell_id"], row["predictions_id"]) for row in rows]
    if told != [(cell.cell_id, cell.predictions_id)]:
        raise StoreError(f"a record that came as cell {cell.cell_id} is about {told}")
    return str(rows[0]["status"])
