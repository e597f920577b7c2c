"""Taking bundles in: what `lynxbench leaderboard verify` and `add` do.

    DIR/<first 16 digits of the bundle's SHA-256>/   a results folder with manifest, attestation and trust.json
    DIR/.quarantine/                                 while something is looked into

A bundle is taken in by one rename, or not at all. The index of what was taken in is the folders themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
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
    questions: tuple[tuple[str, int, str], ...]  # rubric digest, samples, test set digest


def verify(bundle: Path, known: Mapping[str, str]) -> Looked:
    """Look into `bundle` and leave nothing behind. Raises `UntrustedInput` with a reason of one line."""
    with quarantine() as places:
        return _looked(bundle, places, known)


def add(bundle: Path, folder: Path, known: Mapping[str, str]) -> tuple[Path, Looked]:
    """Look into `bundle` and take it into `folder`; returns where it lies now.

    Raises `UntrustedInput` as `verify` does, and for what was taken in before: the same bundle, the same run with other
    content, a copy of somebody's latencies, or a test set that is not the one its rubric was asked with before.
    """
    with quarantine(folder) as places:
        looked = _looked(bundle, places, known)
        _check_against(index(folder), looked)
        target = folder / looked.facts.bundle[:16]
        try:
            _flushed(places.clean)
            places.clean.rename(target)
        except OSError as error:
            raise StoreError(f"{target} could not be made: {error.strerror or error}") from None
    return target, Looked(looked.facts, looked.sweep, trust(index(folder))[target], looked.questions)


def index(folder: Path) -> dict[Path, Facts]:
    """The bundles that were taken into `folder`, by where they lie. Raises `StoreError`."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        facts = facts_of(path) if path.is_dir() and not path.name.startswith(".") else None
        if facts is not None:
            found[path] = facts
    return found


def _looked(bundle: Path, places: Quarantine, known: Mapping[str, str]) -> Looked:
    clean = str(places.clean)
    now = datetime.now(UTC).isoformat()
    request = {"bundle": str(bundle.absolute()), "raw": str(places.raw), "clean": clean, "known": known, "now": now}
    found = inspected({"do": "check", **request})
    unscored = _rescored(clean, places.clean)
    facts = Facts(
        bundle=found["bundle"],
        run_id=found["run_id"],
        key_id=found["key_id"],
        signer=found["signer"],
        unscored=unscored,
        timed=found["timed"],
    )
    (places.clean / FILE).write_bytes(facts.encoded())
    questions = tuple((rubric, n, test_set) for rubric, n, test_set in found["questions"])
    return Looked(facts, found["sweep"], trust([places.clean])[places.clean], questions)


def _rescored(clean: str, folder: Path) -> dict[str, str]:
    """Why scores were not recomputed, by cell. Scores that contradict their predictions are refused."""
    request = {"do": "rescore", "clean": clean}
    answer = inspected(
        request, memory_bytes=RESCORE_MEMORY_BYTES, resident_bytes=RESCORE_MEMORY_BYTES, time_s=RESCORE_S
    )
    unscored: dict[str, str] = answer["unscored"]
    return unscored


def _check_against(held: Mapping[Path, Facts], looked: Looked) -> None:
    """Raise `UntrustedInput` for what contradicts, or repeats, something that was taken in."""
    facts = looked.facts
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
    for rubric, n, test_set in looked.questions:
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
