"""Handing results in: a results folder as one file."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from lynxbench.errors import UsageError
from lynxbench.leaderboard.archive import ATTESTATION, MANIFEST, SWEEP, SYSTEM, pack
from lynxbench.leaderboard.attestation import attest
from lynxbench.leaderboard.manifest import Manifest, manifest_of, run_id
from lynxbench.leaderboard.system import system_description
from lynxbench.records.declarations import kept_rubrics, kept_suite
from lynxbench.records.store import TABLES, ResultStore, durable, read_records, read_table, write_parquet

SUFFIX = ".lynxbundle"


def make_bundle(folder: Path, out: Path, key: Path | None) -> Manifest:
    """Write the results in `folder` to the one file `out`, signed by the private key in file `key`, where given.

    Equal results give equal bundles. Raises `UsageError` for a folder without results or a key that is none,
    `StoreError` when something is damaged or cannot be written.
    """
    records = read_records(folder) if (folder / "sweep.json").is_file() else []
    if not records:
        raise UsageError(f"{folder} holds no results\n  try       lynxbench sweep")
    kept_suite(folder)
    kept_rubrics(folder)
    with tempfile.TemporaryDirectory(prefix="lynxbench-bundle-") as scratch:
        inside = Path(scratch)
        for table in TABLES:
            write_parquet(read_table(folder, table), inside / f"{table}.parquet")
        _write(inside / SYSTEM, system_description(records))
        _write(inside / SWEEP, _sweep(folder))
        manifest = manifest_of(inside, run_id(records))
        (inside / MANIFEST).write_bytes(manifest.encoded())
        if key is not None:
            (inside / ATTESTATION).write_bytes(attest(manifest.encoded(), key))
        out.parent.mkdir(parents=True, exist_ok=True)
        durable(out, partial(pack, inside))
    return manifest


def _sweep(folder: Path) -> dict[str, Any]:
    about = ResultStore(folder).description() or {}
    return {name: about[name] for name in ("suite_file", "digests", "planned", "declarations")}


def _write(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")), encoding="utf-8")
