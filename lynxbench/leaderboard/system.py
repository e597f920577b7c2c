"""The machines that a bundle's rows were measured on, in the field names of MLPerf's system descriptions.

The names alone: nothing here was submitted to MLPerf, checked by MLCommons, or measured by their rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lynxbench.records.record import Record

NOTE = "Field names follow MLPerf's system_desc where they fit. This is no MLPerf result and implies no compliance."


def system_description(records: Iterable[Record]) -> dict[str, Any]:
    """`system.json`: one entry a host, made of its rows alone."""
    hosts: dict[str, list[Record]] = {}
    for record in records:
        hosts.setdefault(str(record["host_id"]), []).append(record)
    return {"note": NOTE, "systems": [_system(name, rows) for name, rows in sorted(hosts.items())]}


def _system(host_id: str, rows: list[Record]) -> dict[str, Any]:
    first = rows[0]
    devices = _said(rows, "device")
    return {
        "host_id": host_id,
        "number_of_nodes": 1,
        "host_processor_model_name": first["cpu"],
        "host_processor_core_count": first["cores_logical"],
        "host_memory_capacity": f"{first['memory_bytes'] / 2**30:.1f} GiB",
        "accelerator_model_name": ", ".join(devices),
        "framework": ", ".join(f"ONNX Runtime {version}" for version in _said(rows, "onnxruntime_version")),
        "operating_system": first["os"],
        "other_software_stack": {
            "kernel": first["kernel"],
            "python": first["python"],
            "lynxbench": ", ".join(_said(rows, "lynxbench_version")),
            "wheels": _said(rows, "wheel"),
        },
        "hw_notes": f"{first['cores_usable']:g} cores usable; {', '.join(first['isa_flags'])}",
        "sw_notes": "; ".join(_said(rows, "executor")),
    }


def _said(rows: list[Record], name: str) -> list[str]:
    return sorted({str(row[name]) for row in rows if row[name] is not None})
