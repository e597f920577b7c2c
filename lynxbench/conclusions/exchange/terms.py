"""What the formats share: what only the person who exports can say, which rows travel, and names of files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lynxbench.conclusions.material import Material
from lynxbench.conclusions.naming import filters, narrow
from lynxbench.errors import UsageError
from lynxbench.records.record import MEASURED, Record
from lynxbench.specs.base import did_you_mean

Relationship = Literal["first_party", "third_party", "collaborative", "other"]
# As the Hub allows them, and a namespace that other places have too.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_HUB_DATA = re.compile(r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})/.+")
_UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class Place:
    """Where a test set lies on the Hub, and what its task is called there."""

    repository: str
    task: str = "default"
    revision: str | None = None


@dataclass(frozen=True)
class Terms:
    """What no record knows.

    organization  who measured; relationship: of them to those who made the model
    models        the models' names elsewhere (``org/name``), by name here
    datasets      where test sets lie, by the name of the rubric or the test set
    url           where these results can be read
    license       of the results, an SPDX name or a URL
    """

    organization: str | None = None
    relationship: Relationship = "other"
    models: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, Place] = field(default_factory=dict)
    url: str | None = None
    license: str | None = None

    def model_id(self, record: Record) -> str:
        """``org/name``, the name as here where nobody said another."""
        return self.models.get(record["model"], f"unknown/{safe(record['model'])}")


@dataclass(frozen=True)
class Exported:
    """What was written, relative to `folder`, and which rows stayed at home, and why."""

    folder: Path
    files: tuple[str, ...]
    rows: int
    skipped: tuple[tuple[Record, str], ...] = ()


def rows_of(material: Material, only: Sequence[str]) -> list[Record]:
    """The rows that ``AXIS=NAME`` options leave, in the plan's order. Raises `UsageError` for unknown names."""
    if not only:
        return list(material.records)
    kept = {id(record) for one in filters(only) for record in narrow(material.records, one)}
    found = [record for record in material.records if id(record) in kept]
    if not found:
        raise UsageError(f"no row fits --only {' '.join(only)}")
    return found


def measured(records: Sequence[Record]) -> tuple[list[Record], list[tuple[Record, str]]]:
    """Rows that have a score, and the others with their reason."""
    skipped = [(r, f"{r['status']}: {r['reason']}") for r in records if r["status"] not in MEASURED]
    return [record for record in records if record["status"] in MEASURED], skipped


def place_of(record: Record, terms: Terms, source: str) -> Place | None:
    """Where the test set of a row lies on the Hub: as was said, else as its rubric's source says."""
    for name in (record["rubric"], record["test_set"]):
        if name in terms.datasets:
            return terms.datasets[name]
    found = _HUB_DATA.fullmatch(source)
    return None if found is None else Place(found["repo"], revision=found["revision"])


def known_names(material: Material, terms: Terms) -> None:
    """Raise `UsageError` where `terms` name a model or rubric that there is none of."""
    models = {record["model"] for record in material.records}
    asked = {record[name] for record in material.records for name in ("rubric", "test_set")}
    for option, given, there in (("--model-id", terms.models, models), ("--dataset", terms.datasets, asked)):
        for name in given:
            if name not in there:
                hint = did_you_mean(name, there) or f"one of: {', '.join(sorted(there))}"
                raise UsageError(f"{option} {name}=…: there is none of that name here; {hint}")


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """``NAME=ORG/REPO`` options. Raises `UsageError` for another form."""
    found = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not _REPOSITORY.fullmatch(value.partition(":")[0]):
            raise UsageError(f"{option} {one}: expected NAME=ORG/NAME, e.g. resnet=my-org/resnet-int8")
        found[name.strip()] = value
    return found


def places(given: Sequence[str]) -> dict[str, Place]:
    """``RUBRIC=ORG/NAME[:TASK]`` options. Raises `UsageError` for another form."""
    found = {}
    for name, value in pairs("--dataset", given).items():
        repository, _, task = value.partition(":")
        found[name] = Place(repository, task or "default")
    return found


def confidence_of(record: Record) -> float | None:
    """The confidence of a row's intervals of time."""
    try:
        return float(json.loads(record["protocol"])["confidence"])
    except (ValueError, KeyError, TypeError):
        return None


def safe(name: str) -> str:
    """`name` as part of a path: no separator, no leading dot, never empty."""
    return _UNSAFE.sub("-", name).strip(".-") or "unnamed"


def candidate_folder(record: Record) -> str:
    """A readable folder name for a candidate."""
    parts = [record["scheme"], *([record["calibration"]] if record["calibration"] else []), record["executor"]]
    return "-".join(safe(part) for part in parts)


def new_folder(out: Path) -> None:
    """Make `out`; raises `UsageError` when something is in it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and not empty\n  try       another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
