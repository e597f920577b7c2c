"""Documents that change by getting a successor: the highest number counts, and each number is given once.

    sweep.json  sweep-000001.json  …       what is being measured
    sets/000001.json  sets/000002.json  …  what is merged

Creating the next one is the only switch there is: a reader finds the old one or the new one, whole; of two writers at
the same number one is told that it lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lynxbench.errors import StoreError
from lynxbench.records.files import Files
from lynxbench.records.location import Location

SETS = "sets"
_ABOUT = re.compile(r"sweep(?:-(\d{6,}))?\.json")
_SET = re.compile(r"(\d{6,})\.json")
_TRIES = 10


@dataclass(frozen=True)
class SetFile:
    """One Parquet file of a merged set."""

    name: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Replaced:
    """An object that is not read any more: by readers that began after `since`, in seconds since 1970."""

    name: str
    since: float


@dataclass(frozen=True)
class Generation:
    """What is merged: the files of each table, and which cells' objects are in them.

    `replaced` names what earlier generations and their cells consisted of, as long as it has not been deleted.
    """

    number: int = 0
    files: Mapping[str, tuple[SetFile, ...]] = field(default_factory=dict)
    merged: frozenset[str] = frozenset()  # record objects below cells/ that are not read any more, nor written again
    replaced: tuple[Replaced, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)  # of a set made from other places: place → its state

    def of(self, table: str) -> tuple[SetFile, ...]:
        """The files of one table."""
        return self.files.get(table, ())

    def document(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "files": {t: [[f.name, f.rows, f.size_bytes] for f in files] for t, files in sorted(self.files.items())},
            "merged": sorted(self.merged),
            "replaced": [[one.name, one.since] for one in self.replaced],
            "sources": dict(self.sources),
        }


def latest_generation(files: Files) -> Generation:
    """The one that counts; number 0, and empty, where nothing was merged yet."""
    for _ in range(_TRIES):
        number = max(_numbers(_SET, (e.name for e in files.entries(SETS) if not e.is_folder)), default=0)
        if number == 0:
            return Generation()
        try:
            return _generation(number, _document(files, generation_name(number)))
        except FileNotFoundError:
            continue  # a compaction cleaned up between the two looks; there is a later one
    raise StoreError(f"{files.location / SETS} changes faster than it can be read")


def put_generation(files: Files, generation: Generation) -> bool:
    """Make it the one that counts; False where another got its number first."""
    return files.create(generation_name(generation.number), _encoded(generation.document()))


def generation_name(number: int) -> str:
    """Where a generation is written down."""
    return f"{SETS}/{number:06d}.json"


def generation_numbers(files: Files) -> list[int]:
    """All that are still there, in order."""
    return sorted(_numbers(_SET, (e.name for e in files.entries(SETS) if not e.is_folder)))


def described(files: Files) -> tuple[int, dict[str, Any]] | None:
    """What is being measured, and the number of that description; None where nothing is said.

    Raises `StoreError` for a description that is damaged.
    """
    number = max(_numbers(_ABOUT, (e.name for e in files.entries() if not e.is_folder)), default=None)
    return None if number is None else (number, _document(files, about_name(number)))


def put_description(files: Files, number: int, about: Mapping[str, Any]) -> bool:
    """Write what is being measured under a number; False where another took it first."""
    return files.create(about_name(number), _encoded(about))


def about_name(number: int) -> str:
    """Where a description is written down."""
    return f"sweep-{number:06d}.json" if number else "sweep.json"


def _numbers(pattern: re.Pattern[str], names: Iterable[str]) -> list[int]:
    return [int(found[1] or 0) for name in names if (found := pattern.fullmatch(name))]


def _encoded(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _document(files: Files, name: str) -> dict[str, Any]:
    try:
        document = json.loads(files.read(name))
    except ValueError as error:
        raise _damaged(files.location, name, error) from None
    if not isinstance(document, dict):
        raise _damaged(files.location, name, "no object")
    return document


def _generation(number: int, document: Mapping[str, Any]) -> Generation:
    return Generation(
        number,
        {table: tuple(SetFile(*file) for file in files) for table, files in document["files"].items()},
        frozenset(document["merged"]),
        tuple(Replaced(*one) for one in document["replaced"]),
        document["sources"],
    )


def _damaged(place: Location, name: str, error: object) -> StoreError:
    return StoreError(f"{place / name} cannot be read: {error}")
