"""Tables as classic scripts that a page can load from a folder, where modules and `fetch` are blocked.

Up to `INLINE_ROWS` rows are JSON, which anybody can read and no library has to decode. Above that a table is Parquet
in base64: a fifth of the size, written by columns without making Python objects, and read by hyparquet in the page.
Whole numbers become floats and times text, since JavaScript has no other numbers and JSON no times.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

INLINE_ROWS = 2_000


def script(call: str, *values: Any) -> str:
    """A call of `call` with `values` as a script: no text in them can end the script or begin another."""
    return f"{call}({','.join(map(_literal, values))});\n"


def write_chunk(file: Path, name: str, table: Any, *, inline: bool) -> int:
    """Write `table` as the chunk `name`; returns its size in bytes."""
    if inline:
        data: dict[str, Any] = {"json": plain_rows(table)}
    else:
        data = {"parquet": base64.b64encode(_parquet(table.cast(_plain_schema(table.schema)))).decode("ascii")}
    return file.write_text(script("lynxbench.receive", name, data), encoding="ascii")


def _literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain_rows(table: Any) -> list[dict[str, Any]]:
    """Rows as JSON holds them, times as text."""
    import pyarrow as pa

    times = [name for name in table.schema.names if pa.types.is_timestamp(table.schema.field(name).type)]
    for name in times:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, _as_text(table[name]))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="snappy", write_statistics=False, store_schema=False)
    return sink.getvalue()


def _as_text(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.strftime(column.cast(pa.timestamp("s", tz="UTC"), safe=False), format="%Y-%m-%dT%H:%M:%SZ")


def _plain_schema(schema: Any) -> Any:
    import pyarrow as pa

    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(member.name, _plain_type(member.type)) for member in kind])
    return kind
