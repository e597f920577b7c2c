"""Hugging Face's `.eval_results/*.yaml`: one score a candidate and benchmark, for the repository of that candidate.

    OUT/MODEL/CANDIDATE/.eval_results/RUBRIC.yaml

The format is one number with a note. The number is the primary metric under one scenario; the note carries the change
from the reference with its interval, the sample size, the speed and the host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lynxbench.conclusions.exchange.terms import (
    Exported,
    Place,
    Terms,
    candidate_folder,
    confidence_of,
    known_names,
    measured,
    new_folder,
    place_of,
    rows_of,
    safe,
)
from lynxbench.conclusions.material import Material
from lynxbench.conclusions.naming import main_scenario
from lynxbench.conclusions.words import moved, times, unit_of
from lynxbench.errors import UsageError
from lynxbench.records.record import Record


def export(material: Material, out: Path, terms: Terms, only: Sequence[str] = ()) -> Exported:
    """Write one file a candidate and rubric to the new folder `out`.

    Raises `UsageError` when no test set lies on the Hub as far as is known: scores there belong to a benchmark.
    """
    known_names(material, terms)
    rows, skipped = measured(rows_of(material, only))
    scenario = main_scenario(rows) if rows else ""
    found: list[tuple[Record, Place]] = []
    for record in rows:
        rubric = material.rubrics.get(record["rubric_digest"])
        place = place_of(record, terms, "" if rubric is None else rubric.test_set.source)
        if record["scenario"] != scenario:
            skipped.append((record, f"a score is given once, with the speed of {scenario}"))
        elif place is None:
            skipped.append((record, f"{record['rubric']}: where its test set lies on the Hub is not known (--dataset)"))
        else:
            found.append((record, place))
    if not found:
        name = next((record["rubric"] for record in rows), "RUBRIC")
        raise UsageError(
            "no score here belongs to a benchmark on the Hub, and each must name the one that it is of\n"
            f"  try       --dataset {name}=ORG/DATASET[:TASK]"
        )
    new_folder(out)
    files: list[str] = []
    for record, place in found:
        where = Path(safe(record["model"]), candidate_folder(record), ".eval_results", f"{safe(record['rubric'])}.yaml")
        if where.as_posix() in files:
            skipped.append((record, "the same candidate was measured more than once (hosts?): narrow by --only"))
            continue
        (out / where).parent.mkdir(parents=True, exist_ok=True)
        (out / where).write_text(_yaml(entry(record, place, terms)), encoding="utf-8")
        files.append(where.as_posix())
    return Exported(out, tuple(files), len(files), tuple(skipped))


def entry(record: Record, place: Place, terms: Terms) -> dict[str, Any]:
    """One score, in the format's keys."""
    dataset = {"id": place.repository, "task_id": place.task}
    if place.revision:
        dataset["revision"] = place.revision
    found: dict[str, Any] = {
        "dataset": dataset,
        "value": record["primary_value"],
        "date": record["started_at"].date().isoformat(),
    }
    if terms.url:
        found["source"] = {"url": terms.url, "name": f"LynxBench {record['sweep']}"}
    return {**found, "notes": _notes(record)}


def _notes(record: Record) -> str:
    unit = unit_of(record)
    said = [f"{record['primary_metric']} by {record['rubric']} {record['rubric_version']}, n = {record['primary_n']:,}"]
    said.append(f"{record['scheme']} of {record['model']} {record['model_version']} by {record['executor']}")
    if record["is_reference"]:
        said.append("the reference of the sweep")
    elif None not in (record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"]):
        change = moved(record["primary_delta"], record["primary_delta_low"], record["primary_delta_high"], unit)
        against = f"{record['reference_scheme']} on {record['reference_executor']}"
        said.append(f"{change} against {against}, paired by sample: {record['verdict']}")
        said.append("decision-grade" if record["decision_grade"] else f"not decision-grade: {_grade(record)}")
    if record["calibration"]:
        said.append(f"calibrated on {record['calibration_n']:,} samples of {record['calibration']}")
    if record["simulated"]:
        said.append("by a simulator, whose times say nothing")
    else:
        said += _speed(record)
    said.append(f"LynxBench {record['lynxbench_version']}, cell {record['cell_id']}")
    return "; ".join(said)


def _grade(record: Record) -> str:
    return str(record["decision_grade_why"] or "not known")


def _speed(record: Record) -> list[str]:
    said = []
    ratio = [record[f"throughput_ratio{end}"] for end in ("", "_low", "_high")]
    if None not in ratio and not record["is_reference"]:
        level = confidence_of(record)
        sure = "" if level is None else f" ({100 * level:g} %)"
        said.append(f"throughput {times(ratio[0], ratio[1], ratio[2])} the reference's{sure}")
    latencies = [f"{name} {record[f'{name}_ns'] / 1e6:.3g} ms" for name in ("p50", "p99") if record[f"{name}_ns"]]
    threads = "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"
    load = f"{record['scenario']} at batch {record['batch_size']}, {threads}"
    said.append(f"{', '.join(latencies)} in {load} on {record['cpu']} ({record['cores_usable']:g} cores)")
    return said


def _yaml(found: Mapping[str, Any]) -> str:
    """A list of one entry; strings and numbers as JSON has them, which YAML reads the same way."""
    lines: list[str] = []
    for name, value in found.items():
        start = "  " if lines else "- "
        if isinstance(value, Mapping):
            lines.append(f"{start}{name}:")
            lines += [f"    {key}: {_scalar(item)}" for key, item in value.items()]
        else:
            lines.append(f"{start}{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        # Characters that are not seen are no YAML, not even between quotes.
        value = "".join(character for character in value if character.isprintable())
    elif isinstance(value, float):
        # YAML 1.1 takes 1e-05 for a text.
        return f"{value:.10f}".rstrip("0") + ("0" if value == int(value) else "")
    return json.dumps(value, ensure_ascii=False)
