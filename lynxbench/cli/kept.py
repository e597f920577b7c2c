"""Reading the records that a command is about: of several folders, as --only says, in numbers that a reader can use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from lynxbench.cli.text import counted, plain
from lynxbench.errors import UsageError
from lynxbench.records.location import Location, location
from lynxbench.records.places import find_places
from lynxbench.records.results import Kept, kept_records
from lynxbench.records.selection import expression, parsed, selected

MOST_RECORDS = 20_000
MOST_TRIES = 5


def chosen_records(results: Sequence[Location], only: Sequence[str]) -> list[Kept]:
    """The records of all `results` that `only` means, each checked, in the order of the folders and of their plans.

    Raises `UsageError` when there are none, or more than can be read at once.
    """
    selection = parsed(only)
    places = find_places(results)
    stream = (kept for place in places for kept in kept_records(place, expression(selection)))
    kept = list(islice(stream, MOST_RECORDS + 1))
    if len(kept) > MOST_RECORDS:
        raise UsageError(
            f"{', '.join(map(str, results))}: more than {MOST_RECORDS:,} records\n"
            "  try       --only AXIS=NAME for a part, or lynxbench query"
        )
    if not kept:
        raise UsageError(f"{', '.join(map(str, results))} holds no {'such ' if only else ''}records yet")
    return [one for one, meant in zip(kept, selected([k.record for k in kept], selection), strict=True) if meant]


def one_folder(results: str, command: str) -> Location:
    """The place `results`; raises `UsageError` with those below it where it is a folder of results folders."""
    place = location(results)
    if isinstance(place, Path) and place.is_dir() and not (place / "sweep.json").exists():
        below = sorted(file.parent for file in (*place.glob("*/sweep.json"), *place.glob("*/*/sweep.json")))
        if below:
            tries = "".join(f"\n  try       lynxbench {command} {plain(str(one))}" for one in below[:MOST_TRIES])
            raise UsageError(f"{place} holds {counted(len(below), 'results folder')}; name one{tries}")
    return place
