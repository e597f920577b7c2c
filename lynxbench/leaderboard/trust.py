"""How far each row may be trusted: four tiers, each resting on the one below it.

self-reported  somebody says so
signed         a key that is known here vouches for every byte
rescored       its scores follow from its predictions, computed here anew
reproduced     another host, vouched for by another known key, measured the same and agrees within the intervals

The facts behind the first three are kept in each folder's `trust.json`; the last is found among the folders at hand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lynxbench.errors import StoreError
from lynxbench.records.record import MEASURED
from lynxbench.records.store import read_table

TIERS = ("self-reported", "signed", "rescored", "reproduced")
FILE = "trust.json"

# What makes two rows the same question on two hosts, whichever version of LynxBench asked it.
_SAME = (
    "rubric_digest", "test_set_digest", "model_sha256", "scheme_options", "calibration_digest", "executor_digest",
    "scenario", "batch_size", "protocol",
)  # fmt: skip
# Speeds are compared where these are the same, too.
_SAME_MACHINE = ("cpu", "isa_flags", "threads")
_ACCURACY = ("primary_value", "primary_delta")
_SPEED = ("throughput_ratio",)


@dataclass(frozen=True)
class Facts:
    """What was found out about a bundle when it was taken in.

    bundle     SHA-256 of its manifest
    run_id     which run it is (see `manifest.run_id`)
    key_id     of the key that signed it; None: unsigned
    signer     the name under which that key was known here; None: anybody's
    unscored   cell → why its scores were not recomputed; a measured row that is not in it was
    timed      cell → SHA-256 of its raw latencies: no second run has the same
    """

    bundle: str
    run_id: str
    key_id: str | None = None
    signer: str | None = None
    unscored: Mapping[str, str] = field(default_factory=dict)
    timed: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The bytes of `trust.json`."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True)
class Trust:
    """One row's tier, and why it is not the next one."""

    tier: str
    why: str


UNSIGNED = Trust(TIERS[0], "nobody signed it")


def facts_of(folder: Path) -> Facts | None:
    """What `trust.json` of a folder says; None for results that nobody handed in. Raises `StoreError`."""
    try:
        return Facts(**json.loads((folder / FILE).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{folder / FILE} is damaged: {error}") from None


def trust_of(folders: Iterable[Path]) -> Callable[[Path, Any], Sequence[Trust]]:
    """For a site of `folders`: given one of them and its table of records, the trust of each row."""
    # Results that nobody handed in vouch for nothing, not even for a rerun elsewhere: they need not be read for this.
    known = trust(folder for folder in folders if facts_of(folder) is not None)

    def mine(folder: Path, records: Any) -> list[Trust]:
        if folder not in known:
            return [UNSIGNED] * len(records)
        return [known[folder][cell] for cell in records["cell_id"].to_pylist()]

    return mine


def trust(folders: Iterable[Path]) -> dict[Path, dict[str, Trust]]:
    """Folder → cell → its trust, each folder judged beside the others. Raises `StoreError`."""
    held = [_Held.read(folder) for folder in dict.fromkeys(folders)]
    asked: dict[tuple[Any, ...], list[tuple[_Held, Mapping[str, Any]]]] = defaultdict(list)
    for folder in held:
        for row in folder.rows.values():
            if folder.below(row) is None:
                asked[_question(row)].append((folder, row))
    return {folder.folder: {cell: _trust(folder, row, asked) for cell, row in folder.rows.items()} for folder in held}


def disagreement(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """What two hosts' rows of one question contradict each other in; None when they agree within their intervals.

    Score and delta must agree on any two hosts; the speed-up only where processor, instruction sets and threads are
    the same, since it is no property of the candidate alone.
    """
    names: tuple[str, ...] = _ACCURACY
    if all(one[name] == other[name] for name in _SAME_MACHINE):
        names += _SPEED
    for name in names:
        mine, theirs = _interval(one, name), _interval(other, name)
        if (mine is None) != (theirs is None):
            return f"{name} is known of one of them alone"
        if mine is not None and theirs is not None and (mine[0] > theirs[1] or theirs[0] > mine[1]):
            return f"{name} {one[name]:.4g} and {other[name]:.4g} lie further apart than their intervals"
    return None


@dataclass(frozen=True)
class _Held:
    """One folder: its facts, and its rows by cell, as far as trust needs them."""

    folder: Path
    facts: Facts | None
    rows: Mapping[str, Mapping[str, Any]]

    @staticmethod
    def read(folder: Path) -> _Held:
        ends = [f"{name}{end}" for name in (*_ACCURACY, *_SPEED) for end in ("", "_low", "_high")]
        columns = ["cell_id", "status", "host_id", *_SAME, *_SAME_MACHINE, *ends]
        rows = read_table(folder, "records").select(columns).to_pylist()
        return _Held(folder, facts_of(folder), {row["cell_id"]: row for row in rows})

    def below(self, row: Mapping[str, Any]) -> Trust | None:
        """The trust of a row that is below ``rescored``; None for one that is not."""
        if self.facts is None or self.facts.key_id is None:
            return UNSIGNED
        if self.facts.signer is None:
            return Trust(TIERS[0], f"signed by a key that is not known here ({self.facts.key_id[:12]})")
        if row["status"] not in MEASURED:
            return Trust(TIERS[1], f"status {row['status']}: there is nothing to score")
        if row["cell_id"] in self.facts.unscored:
            return Trust(TIERS[1], self.facts.unscored[row["cell_id"]])
        return None


def _trust(
    mine: _Held, row: Mapping[str, Any], asked: Mapping[tuple[Any, ...], list[tuple[_Held, Mapping[str, Any]]]]
) -> Trust:
    below = mine.below(row)
    if below is not None:
        return below
    assert mine.facts is not None
    why = "no other host has measured it"
    for other, theirs in asked[_question(row)]:
        if theirs["host_id"] == row["host_id"] or other.facts is None or other.facts.key_id == mine.facts.key_id:
            continue
        found = disagreement(row, theirs)
        if found is None:
            return Trust(TIERS[3], f"host {theirs['host_id'][:8]}, signed by {other.facts.signer}, agrees")
        why = f"host {theirs['host_id'][:8]}, signed by {other.facts.signer}: {found}"
    return Trust(TIERS[2], why)


def _question(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _SAME)


def _interval(row: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return None
    return (value if low is None else low, value if high is None else high)
