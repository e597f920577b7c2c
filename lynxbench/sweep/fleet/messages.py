"""What nodes tell the coordinator while a group runs, as msgpack-friendly dicts through one queue on the scheduler.

need       files that the node's cache lacks; the coordinator sends them while the group waits
progress   how far the group is
cell       a piece of a finished cell: its Parquet files, the last piece with `last`
mark       put there by the coordinator itself: when it comes out, everything before it has been seen
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lynxbench.sweep.fleet.blobs import CHUNK_BYTES

Message = dict[str, Any]


@dataclass(frozen=True)
class FinishedCell:
    """A cell as it travels: the Parquet files that a results folder keeps of it, by table."""

    cell_id: str
    predictions_id: str | None
    files: Mapping[str, bytes]


def pieces(cell: FinishedCell) -> Iterator[Message]:
    """A finished cell as messages of at most a few megabytes."""
    head = {
        "cell_id": cell.cell_id,
        "predictions_id": cell.predictions_id,
        "files": [[table, len(content)] for table, content in cell.files.items()],
    }
    text = json.dumps(head).encode()
    whole = b"".join([struct.pack("<I", len(text)), text, *cell.files.values()])
    for offset in range(0, len(whole), CHUNK_BYTES):
        yield {
            "is": "cell",
            "cell": cell.cell_id,
            "data": whole[offset : offset + CHUNK_BYTES],
            "last": offset + CHUNK_BYTES >= len(whole),
        }


def joined(data: bytes) -> FinishedCell:
    """The inverse of `pieces`; raises ValueError when lengths do not add up."""
    (length,) = struct.unpack_from("<I", data)
    head = json.loads(data[4 : 4 + length])
    at, files = 4 + length, {}
    for table, size in head["files"]:
        files[table] = data[at : at + size]
        at += size
    if at != len(data):
        raise ValueError(f"a finished cell of {at} bytes came as {len(data)}")
    return FinishedCell(head["cell_id"], head["predictions_id"], files)
