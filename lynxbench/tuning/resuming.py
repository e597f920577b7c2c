"""What a search thought of, kept beside its results: the same command goes on where an interrupted one stopped.

What was measured lies in the results folders. Here is what would come out otherwise a second time, as it depends on
how fast the machine was: what the diagnosis proposed, how many were tried in each sweep, and what time that took.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lynxbench.errors import UsageError
from lynxbench.tuning.proposals import Change

FILE = "search.json"


@dataclass(frozen=True)
class Looked:
    """A candidate to start from: its causes, what was said of them, and what is worth trying instead.

    diagnosed false: the suite's own best, which is only to be made faster
    together  the changes that answer its causes, all at once
    op_types  those of the model that compute floating-point numbers
    """

    name: str
    scheme: str
    diagnosed: bool
    causes: tuple[str, ...]
    said: tuple[str, ...]
    singles: tuple[Change, ...]
    together: tuple[Change, ...]
    op_types: tuple[str, ...]


@dataclass
class Notes:
    """Notes of one search in its folder; every change is written at once."""

    folder: Path
    options: dict[str, Any]
    looked: list[Looked] | None = None
    looked_s: float = 0.0
    sizes: list[int] = field(default_factory=list)
    stage_s: list[float] = field(default_factory=list)

    def save(self) -> None:
        data = {key: value for key, value in asdict(self).items() if key != "folder"}
        part = self.folder / f".{FILE}.part"
        part.write_text(json.dumps(data, indent=1), encoding="utf-8")
        part.replace(self.folder / FILE)


def notes(folder: Path, options: Mapping[str, Any]) -> Notes:
    """The notes in `folder`, or new ones. Raises `UsageError` for those of a search with other options."""
    try:
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        asked = kept["options"]
        looked = None if kept["looked"] is None else [_looked(one) for one in kept["looked"]]
        found = Notes(folder, asked, looked, kept["looked_s"], kept["sizes"], kept["stage_s"])
    except FileNotFoundError:
        return Notes(folder, dict(options))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / FILE} is no search of this version: {error}\n  try       --fresh") from None
    different = sorted(name for name in {*asked, *options} if asked.get(name) != options.get(name))
    if different:
        raise UsageError(
            f"{folder} holds a search with another {', '.join(different)}\n"
            "  try       --out FOLDER, or --fresh to start over (the old folder is kept)"
        )
    return found


def _looked(data: dict[str, Any]) -> Looked:
    singles, together = (tuple(Change(**one) for one in data[name]) for name in ("singles", "together"))
    causes, said, op_types = (tuple(data[name]) for name in ("causes", "said", "op_types"))
    return Looked(data["name"], data["scheme"], data["diagnosed"], causes, said, singles, together, op_types)
