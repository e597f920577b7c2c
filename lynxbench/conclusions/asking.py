"""Another rubric, found and checked; and a results folder made of what it says of another folder's answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.conclusions.material import Material, material
from lynxbench.conclusions.rescoring import Rescored, rescored
from lynxbench.errors import DeclarationError, Problem, UsageError
from lynxbench.records.declarations import description
from lynxbench.records.location import Url, location
from lynxbench.records.record import MEASURED
from lynxbench.records.schema import arrow_schema
from lynxbench.records.store import ResultStore, durable, write_parquet
from lynxbench.scoring import check_rubric
from lynxbench.specs.base import build, did_you_mean
from lynxbench.specs.load import Declared, load_folder, read_toml
from lynxbench.specs.rubric import Rubric

if TYPE_CHECKING:
    import pyarrow as pa


def asked_rubric(name: str, folder: Path | None = None) -> Declared[Rubric]:
    """A rubric by its file (``….toml``) or, built in or in `folder`, by its name.

    Raises `DeclarationError` where it is not there, not sound, or its metrics make no sense.
    """
    if name.endswith(".toml"):
        file = Path(name).expanduser()
        declared = Declared(build(Rubric, read_toml(file), str(file)), file)
    else:
        known = load_folder("rubrics", Rubric, folder)
        if name not in known:
            message, expected = "is neither a known rubric nor a .toml file", ", ".join(known)
            raise DeclarationError([Problem(name, "", message, expected=expected, hint=did_you_mean(name, known))])
        declared = known[name]
    problems = [Problem(str(declared.file), *finding) for finding in check_rubric(declared.spec)]
    if problems:
        raise DeclarationError(problems)
    return declared


def rescore(results: str | Path | Url, rubric: str | Path, *, out: str | Path | None = None) -> Rescored:
    """Score the stored predictions of a results folder by another rubric, as `lynxbench rescore` does.

    Runs no model. With `out` the rows are written as a results folder of their own.
    Raises `DeclarationError` for a rubric that is wrong, `UsageError` where `results` holds no results, none that the
    rubric can be asked of, or where `out` exists, and `StoreError`.
    """
    opened = material(location(results))
    found = rescored_material(opened, asked_rubric(str(rubric)).spec)
    if out is not None:
        write_rescored(opened, found, Path(out))
    return found


def rescored_material(opened: Material, rubric: Rubric) -> Rescored:
    """All rows of a folder; raises `UsageError` where `rubric` can be asked of none of them, with the reasons."""
    has_latencies = any(record["status"] in MEASURED for record in opened.records)
    found = rescored(
        opened.records,
        opened.answers,
        rubric,
        measured_by=opened.rubrics,
        latencies=opened.latencies if has_latencies else None,
    )
    if not found.changes:
        reasons = list(dict.fromkeys(f"{row.record['workload']}: {row.reason}" for row in found.unanswered))
        raise UsageError(
            f"{opened.folder}: rubric {rubric.name} cannot be asked of any of these answers\n  " + "\n  ".join(reasons)
        )
    return found


def write_rescored(opened: Material, found: Rescored, out: Path) -> None:
    """Write the rows that were scored anew as a results folder, with their predictions and latencies.

    Its `sweep.json` says what they were made of. Raises `UsageError` where `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already; choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    import pyarrow as pa

    store = ResultStore(out)
    rows = [{**change.after.values, "sweep": out.resolve().name} for change in found.changes]
    with store.held():
        store.describe(_description(opened, found))
        for table, content in (
            ("predictions", _predictions(opened, found)),
            ("latencies", _latencies(opened, found)),
            ("records", pa.Table.from_pylist(rows, schema=arrow_schema())),
        ):
            durable(out / f"{table}.parquet", partial(write_parquet, content))


def _predictions(opened: Material, found: Rescored) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = sorted({str(change.after["predictions_id"]) for change in found.changes})
    rows = opened.predictions
    return rows.filter(pc.is_in(rows["predictions_id"], value_set=pa.array(ids, pa.string())))


def _latencies(opened: Material, found: Rescored) -> pa.Table:
    """The latencies under the cell ids of the new rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    before = pa.array([change.before["cell_id"] for change in found.changes], pa.string())
    after = pa.array([change.after["cell_id"] for change in found.changes], pa.string())
    rows = opened.latencies
    rows = rows.filter(pc.is_in(rows["cell_id"], value_set=before))
    renamed = after.take(pc.index_in(rows["cell_id"].combine_chunks(), value_set=before))
    return rows.set_column(rows.schema.get_field_index("cell_id"), "cell_id", renamed)


def _description(opened: Material, found: Rescored) -> dict[str, Any]:
    before = description(opened.folder) or {}
    cells = [str(change.after["cell_id"]) for change in found.changes]
    return {
        # A sweep into this folder finds other digests than its own, and is refused.
        "digests": {"rescored": found.rubric.digest()},
        "planned": sorted(cells),
        "declarations": {
            "suite": (before.get("declarations") or {}).get("suite"),
            "rubrics": [found.rubric.model_dump(mode="json")],
        },
        "rescored": {
            "sweep": found.changes[0].before["sweep"],
            "rubric": found.rubric.name,
            "rubric_digest": found.rubric.digest(),
            "measured_by": sorted({str(change.before["rubric_digest"]) for change in found.changes}),
            "cells": {str(change.after["cell_id"]): str(change.before["cell_id"]) for change in found.changes},
            "left_out": [
                {"cell_id": row.record["cell_id"], "why": row.why, "reason": row.reason} for row in found.unanswered
            ],
        },
    }
