"""What a bundle says of itself: every file with its size and hash, and which run it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from lynxbench import __version__
from lynxbench.errors import UntrustedInput
from lynxbench.leaderboard.archive import ATTESTATION, MANIFEST, MEMBERS
from lynxbench.leaderboard.documents import check_name, newer, parse, parse_as
from lynxbench.records.record import Record
from lynxbench.records.schema import SCHEMA_VERSION
from lynxbench.specs.base import Sha256, Spec

BUNDLE_VERSION = 1
# Without these there is nothing to check; predictions and latencies may be missing where nothing was measured.
NEEDED = ("system.json", "sweep.json", "records.parquet", "predictions.parquet", "latencies.parquet")


class BundledFile(Spec):
    """One file."""

    name: str
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class Manifest(Spec):
    """`manifest.json`. The attestation is not in it, since it signs the manifest."""

    format: Literal["lynxbench-bundle"] = "lynxbench-bundle"
    schema_version: int = Field(default=BUNDLE_VERSION, ge=1)
    record_schema_version: int = Field(default=SCHEMA_VERSION, ge=1)
    lynxbench_version: str = Field(default=__version__, max_length=64)
    run_id: Sha256 = Field(description="which run this is: suite, hosts and start")
    files: tuple[BundledFile, ...]

    def encoded(self) -> bytes:
        """The bytes of `manifest.json`."""
        return self.canonical().encode() + b"\n"


def run_id(records: Iterable[Record]) -> str:
    """SHA-256 of what one run is known by: its suite, its hosts and its first start. Two runs never share it."""
    rows = list(records)
    parts = [
        *sorted({str(row["suite_digest"]) for row in rows}),
        *sorted({str(row["host_id"]) for row in rows}),
        min(row["started_at"] for row in rows).isoformat(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def manifest_of(folder: Path, run: str) -> Manifest:
    """The manifest of the members that lie in `folder`."""
    files = [
        BundledFile(name=name, sha256=sha256(folder / name), size_bytes=(folder / name).stat().st_size)
        for name in MEMBERS
        if name not in (MANIFEST, ATTESTATION) and (folder / name).exists()
    ]
    return Manifest(run_id=run, files=tuple(files))


def checked_manifest(folder: Path, members: Sequence[str]) -> Manifest:
    """The manifest of an unpacked bundle, every member found to be what it says. Raises `UntrustedInput`."""
    if MANIFEST not in members:
        raise UntrustedInput(f"no {MANIFEST} in it")
    value = parse((folder / MANIFEST).read_bytes(), MANIFEST)
    newer(value, "schema_version", BUNDLE_VERSION, MANIFEST)
    newer(value, "record_schema_version", SCHEMA_VERSION, MANIFEST)
    manifest = parse_as(Manifest, value, MANIFEST)
    check_name(manifest.lynxbench_version, f"{MANIFEST}: lynxbench_version")
    listed = [file.name for file in manifest.files]
    held = [name for name in members if name not in (MANIFEST, ATTESTATION)]
    for name in held:
        if name not in listed:
            raise UntrustedInput(f"{name} is not in the manifest")
    for name in (*listed, *NEEDED):
        if name not in held or listed.count(name) != 1:
            raise UntrustedInput(f"{name!r} is not in the archive, or not listed once")
    for file in manifest.files:
        if (folder / file.name).stat().st_size != file.size_bytes or sha256(folder / file.name) != file.sha256:
            raise UntrustedInput(f"{file.name} does not have the size and SHA-256 that the manifest says")
    return manifest


def sha256(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
