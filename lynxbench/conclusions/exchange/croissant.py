"""Croissant 1.1: the results themselves as a data set, described column by column, with the Parquet files beside it.

    OUT/croissant.json  records.parquet  predictions.parquet  latencies.parquet

Nothing is lost, since the files are whole. Columns that hold lists of structures are in the files and named in the
description, but not among the fields: Croissant's readers do not take them apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lynxbench.conclusions.exchange.terms import Exported, Terms, known_names, new_folder, rows_of
from lynxbench.conclusions.material import Material
from lynxbench.errors import UsageError
from lynxbench.records.schema import BY_NAME
from lynxbench.records.store import TABLES, read_table, write_parquet

_MEANING = {
    "records": "one row a candidate and scenario: what was asked, on what, how fast, how good",
    "predictions": "one row a candidate and sample: what was answered, and what was right",
    "latencies": "one row a timed query, in nanoseconds",
}
_LATENCY = {
    "cell_id": "key into records",
    "round": "interleaved round, from 0",
    "process": "which of the candidate's processes timed it, from 0; null in older files",
    "excluded": "left out of the summaries, since the scheduler starved its block",
    "latency_ns": "from the query's issue to readable outputs [ns]",
    "scheduled_ns": "server: when it was to be issued, from the start of its block [ns]",
    "issued_ns": "server: when it was issued [ns]",
}
_KEYS = {"predictions": "predictions_id", "latencies": "cell_id"}


def export(material: Material, out: Path, terms: Terms, only: Sequence[str] = ()) -> Exported:
    """Write tables and description to the new folder `out`. Raises `UsageError` for `only`: results travel whole."""
    if only:
        raise UsageError("croissant: results travel whole, --only would leave answers without their records")
    known_names(material, terms)
    rows = rows_of(material, ())
    new_folder(out)
    tables = {name: read_table(material.folder, name) for name in TABLES}
    for name in TABLES:
        write_parquet(tables[name], out / f"{name}.parquet")
    document = description(material, terms, {name: tables[name].schema for name in TABLES}, out)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "croissant.json").write_text(text + "\n", encoding="utf-8")
    return Exported(out, ("croissant.json", *(f"{name}.parquet" for name in TABLES)), len(rows))


def description(material: Material, terms: Terms, schemas: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The JSON-LD; the files lie in `folder` already, their SHA-256 is in it."""
    first = material.records[0]
    sweep = str(first["sweep"])
    latest = max(record["started_at"] for record in material.records)
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"lynxbench-{sweep}",
        "description": _about(material),
        "version": f"{first['suite_version']}.0" if str(first["suite_version"]).count(".") == 1 else "1.0.0",
        "datePublished": latest.date().isoformat(),
        "isLiveDataset": False,
        "citeAs": f"LynxBench {first['lynxbench_version']} results of sweep {sweep}, suite {first['suite']} "
        f"{first['suite_version']}, {latest.date().isoformat()}",
        "keywords": ["quantization", "benchmark", "ONNX", "accuracy", "latency"],
    }
    if terms.license:
        found["license"] = terms.license
    if terms.url:
        found["url"] = terms.url
    if terms.organization:
        found["creator"] = {"@type": "sc:Organization", "name": terms.organization}
    found["distribution"] = [_file(folder / f"{name}.parquet", name) for name in TABLES]
    found["recordSet"] = [_record_set(name, schemas[name]) for name in TABLES]
    return found


def _about(material: Material) -> str:
    records = material.records
    models = ", ".join(dict.fromkeys(f"{r['model']} {r['model_version']}" for r in records))
    questions = "; ".join(
        dict.fromkeys(
            f"{r['rubric']} {r['rubric_version']} on {r['test_set']} ({', '.join(r['test_set_composition'])}; "
            f"n = {r['test_set_n']:,}; digest {r['test_set_digest'][:16]})"
            for r in records
        )
    )
    sets = "; ".join(
        dict.fromkeys(
            f"{r['calibration']} ({r['calibration_split']}, {r['calibration_selection']}, n = {r['calibration_n']:,}; "
            f"digest {str(r['calibration_digest'])[:16]})"
            for r in records
            if r["calibration"] is not None
        )
    )
    hosts = "; ".join(dict.fromkeys(f"{r['cpu']}, {r['cores_usable']:g} cores, {r['os']}" for r in records))
    return (
        f"What quantization costs and gains: {len(records)} candidates and scenarios of {models}. Test sets: "
        f"{questions}. Calibration sets: {sets or 'none'}. Hosts: {hosts}. Every delta is paired by sample with the "
        "reference named in its row; latencies are raw. The samples themselves are not included. Columns warnings, "
        "nodes, disclosure, scores, strata_scores and, of predictions, strata, detections, objects and region_pixels "
        "hold nested lists: read them from the Parquet files."
    )


def _file(file: Path, name: str) -> dict[str, Any]:
    content = file.read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "description": _MEANING[name],
        "contentUrl": file.name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _record_set(table: str, schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": table,
        "name": table,
        "description": _MEANING[table],
        "field": list(_fields(table, schema)),
    }
    if table == "records":
        found["key"] = {"@id": "records/cell_id"}
    return found


def _fields(table: str, schema: Any) -> Iterator[dict[str, Any]]:
    for column in schema:
        kind = _kind(column.type)
        if kind is None:
            continue
        name, array = kind
        field: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"{table}/{column.name}",
            "name": column.name,
            "description": _meaning(table, column.name),
            "dataType": name,
            "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}},
        }
        if array:
            field |= {"isArray": True, "arrayShape": "-1"}
        if _KEYS.get(table) == column.name:
            field["references"] = {"field": {"@id": f"records/{column.name}"}}
        yield field


def _kind(kind: Any) -> tuple[str, bool] | None:
    """Croissant's type of a column, and whether it is a list of such; None for what is nested deeper."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        inner = _kind(kind.value_type)
        return None if inner is None or inner[1] else (inner[0], True)
    for test, name in (
        (pa.types.is_string, "sc:Text"), (pa.types.is_boolean, "sc:Boolean"), (pa.types.is_integer, "sc:Integer"),
        (pa.types.is_floating, "sc:Float"), (pa.types.is_timestamp, "sc:DateTime"),
    ):  # fmt: skip
        if test(kind):
            return name, False
    return None


def _meaning(table: str, name: str) -> str:
    if table == "records":
        field = BY_NAME[name]
        return field.meaning + (f" [{field.unit}]" if field.unit else "")
    return _LATENCY.get(name, name.replace("_", " ")) if table == "latencies" else name.replace("_", " ")


# The context that Croissant 1.1 defines, so that a reader needs no network.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject",
            "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
            "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate",
            "separator", "source", "subField", "transform",
        )
    },
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
}  # fmt: skip
