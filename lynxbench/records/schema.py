"""The field table in its forms: the Parquet schema, the JSON Schema, and the Markdown of `results/README.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lynxbench.records.field import Field, Section
from lynxbench.records.fields import (
    BY_NAME,
    FIELDS,
    FINAL_STATUSES,
    SCHEMA_VERSION,
    SECTIONS,
    STATUSES,
    STRUCTURES,
    VERDICTS,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BY_NAME",
    "FIELDS",
    "FINAL_STATUSES",
    "SCHEMA_VERSION",
    "SECTIONS",
    "STATUSES",
    "STRUCTURES",
    "VERDICTS",
    "Field",
    "Section",
    "arrow_schema",
    "json_schema",
    "markdown",
]


def arrow_schema() -> pa.Schema:
    """The Parquet schema of `records.parquet`, each field with its unit and meaning as metadata."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(
                field.name,
                _arrow_type(field.type),
                nullable=field.need != "always",
                metadata={"unit": field.unit, "meaning": field.meaning},
            )
            for field in FIELDS
        ],
        metadata={"lynxbench.schema_version": str(SCHEMA_VERSION)},
    )


def _arrow_type(type_: str) -> pa.DataType:
    import pyarrow as pa

    plain = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "strings": pa.list_(pa.string()),
    }
    if type_ in plain:
        return plain[type_]
    return pa.list_(pa.struct([pa.field(name, plain[member]) for name, member, _ in STRUCTURES[type_]]))


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one record as `--json` prints it."""
    plain: dict[str, dict[str, Any]] = {
        "string": {"type": "string"},
        "int64": {"type": "integer"},
        "float64": {"type": "number"},
        "bool": {"type": "boolean"},
        "timestamp": {"type": "string", "format": "date-time"},
        "strings": {"type": "array", "items": {"type": "string"}},
    }

    def described(type_: str) -> dict[str, Any]:
        if type_ in plain:
            return dict(plain[type_])
        members = {
            name: {**plain[member], "type": [plain[member]["type"], "null"]} for name, member, _ in STRUCTURES[type_]
        }
        return {"type": "array", "items": {"type": "object", "properties": members, "additionalProperties": False}}

    properties = {}
    for field in FIELDS:
        entry = described(field.type)
        if field.need != "always":
            entry["type"] = [entry["type"], "null"]
        entry["description"] = field.meaning + (f" [{field.unit}]" if field.unit else "")
        properties[field.name] = entry
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "LynxBench record",
        "type": "object",
        "properties": properties,
        "required": [field.name for field in FIELDS if field.need == "always"],
        "additionalProperties": False,
    }


def markdown() -> str:
    """The table as Markdown, for `results/README.md`."""
    lines = []
    for section in SECTIONS:
        lines += [
            f"### {section.title}",
            "",
            "| field | type | unit | in | meaning |",
            "| --- | --- | --- | --- | --- |",
        ]
        where = {"always": "every row", "measured": "measured rows", "optional": "where it applies"}
        lines += [f"| `{f.name}` | {f.type} | {f.unit} | {where[f.need]} | {f.meaning} |" for f in section.fields]
        lines.append("")
    for name, members in STRUCTURES.items():
        lines += [f"### A `{name}` entry", "", "| member | type | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{member}` | {type_} | {meaning} |" for member, type_, meaning in members]
        lines.append("")
    return "\n".join(lines)
