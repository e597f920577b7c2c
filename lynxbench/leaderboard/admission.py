"""Taking bundles in: what `lynxbench leaderboard verify` and `add` do.

    DIR/<first 16 digits of the bundle's SHA-256>/   a results folder with manifest, attestation and trust.json
    DIR/.quarantine/                                 while something is looked into

A bundle is taken in by one rename, or not at all. The index of what was taken in is the folders themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lynxbench.errors import StoreError, UntrustedInput
from lynxbench.leaderboard.quarantine import Quarantine, inspected, quarantine
from lynxbench.leaderboard.trust import FILE, Facts, Trust, facts_of, trust

# Honest predictions may take longer to score than a stranger's bytes may take to be read.
RESCORE_S = 900.0
RESCORE_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True)
class Looked:
    """A bundle that was found sound."""

    facts: Facts
    sweep: str
    trust: Mapping[str, Trust]  # by cell


def verify(bundle: Path, known: Mapping[str, str]) -> Looked:
    """Look into `bundle` and leave nothing behind. Raises `UntrustedInput` with a reason of one line."""
    with quarantine() as places:
        return _looked(bundle, places, known, {})


def add(bundle: Path, folder: Path, known: Mapping[str, str]) -> tuple[Path, Looked]:
    """Look into `bundle` and take it into `folder`; returns where it lies now.

    Raises `UntrustedInput` as `verify` does, and for what was taken in before: the same bundle, the same run with other
    content, a copy of somebody's latencies, or a test set that is not the one its rubric was asked with before.
    """
    with quarantine(folder) as places:
        looked = _looked(bundle, places, known, index(folder))
        target = folder / looked.facts.bundle[:16]
        try:
            _flushed(places.clean)
            places.clean.rename(target)
        except OSError as error:
            raise StoreError(f"{target} could not be made: {error.strerror or error}") from None
    return target, replace(looked, trust=trust(index(folder))[target])


def index(folder: Path) -> dict[Path, Facts]:
    """The bundles that were taken into `folder`, by where they lie. Raises `StoreError`."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        facts = facts_of(path) if path.is_dir() and not path.name.startswith(".") else None
        if facts is not None:
            found[path] = facts
    return found


def _looked(bundle: Path, places: Quarantine, known: Mapping[str, str], held: Mapping[Path, Facts]) -> Looked:
    now = datetime.now(UTC).isoformat()
    clean = str(places.clean)
    request = {"bundle": str(bundle.absolute()), "raw": str(places.raw), "clean": clean, "known": known, "now": now}
    found = inspected({"do": "check", **request})
    names = ("bundle", "run_id", "key_id", "signer", "timed")
    facts = Facts(**{name: found[name] for name in names})
    # Before the long part: what was taken in before needs no scoring.
    _check_against(held, facts, found["questions"])
    answer = inspected(
        {"do": "rescore", "clean": clean},
        memory_bytes=RESCORE_MEMORY_BYTES,
        resident_bytes=RESCORE_MEMORY_BYTES,
        time_s=RESCORE_S,
    )
    facts = replace(facts, unscored=answer["unscored"])
    (places.clean / FILE).write_bytes(facts.encoded())
    return Looked(facts, found["sweep"], trust([places.clean])[places.clean])


def _check_against(held: Mapping[Path, Facts], facts: Facts, questions: Sequence[tuple[str, int, str]]) -> None:
    """Raise `UntrustedInput` for what contradicts, or repeats, something that was taken in."""
    copied = {digest: path for path, other in held.items() for digest in other.timed.values()}
    for path, other in held.items():
        if other.bundle == facts.bundle:
            raise UntrustedInput(f"was taken in before, as {path.name}")
        if other.run_id == facts.run_id:
            raise UntrustedInput(f"is the run of {path.name} with other content; to replace that, remove it first")
    for cell, digest in facts.timed.items():
        if digest in copied:
            raise UntrustedInput(f"the latencies of {cell} are those of {copied[digest].name}: a copy, not a run")
    asked = _asked(held)
    for rubric, n, test_set in questions:
        other_set = asked.get((rubric, n), test_set)
        if other_set != test_set:
            raise UntrustedInput(
                f"rubric {rubric[:12]} was asked with test set {other_set[:12]} before, here with {test_set[:12]}"
            )


def _asked(held: Mapping[Path, Facts]) -> dict[tuple[str, int], str]:
    from lynxbench.records.store import read_table

    asked: dict[tuple[str, int], str] = {}
    for path in held:
        rows: Any = read_table(path, "records").select(["rubric_digest", "test_set_n", "test_set_digest"])
        for row in rows.to_pylist():
            asked.setdefault((row["rubric_digest"], row["test_set_n"]), row["test_set_digest"])
    return asked


def _flushed(folder: Path) -> None:
    """On disk before it is renamed: a power cut leaves all of it, or nothing."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
