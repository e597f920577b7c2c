"""The process that looks into a stranger's bundle: `python -m lynxbench.leaderboard.inspector`.

check    size, archive, manifest, documents, tables, meaning, signature, in this order; the first trouble ends it
rescore  scores of what `check` left, computed anew

It may hold so much memory, take so much processor time and write files so large, and no more: the kernel sees to that,
and the parent to how long it lasts. A reason for refusal goes back as plain text; nothing of a stranger's is ever run.
"""

from __future__ import annotations

import hashlib
import resource
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from lynxbench.errors import UntrustedInput
from lynxbench.leaderboard.archive import ATTESTATION, MANIFEST, SWEEP, SYSTEM, unpack
from lynxbench.sweep.child import Handler, serve

LARGEST_FILE_BYTES = 1 << 30
MOST_FILES = 64


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Look into `bundle`; leave a results folder in `clean`. `known` are key ids with names, or None: look at none."""
    _limit(request["memory_bytes"], request["cpu_s"])
    raw, clean = Path(request["raw"]), Path(request["clean"])
    members = unpack(Path(request["bundle"]), raw)

    from lynxbench.leaderboard.documents import parse
    from lynxbench.leaderboard.manifest import checked_manifest, run_id, sha256

    manifest = checked_manifest(raw, members)

    from lynxbench.leaderboard.meaning import check_meaning, checked_records, checked_sweep

    sweep = checked_sweep((raw / SWEEP).read_bytes())
    system = parse((raw / SYSTEM).read_bytes(), SYSTEM)

    from lynxbench.leaderboard.tables import checked_batches, rewritten

    rows = [row for batch in checked_batches(raw / "records.parquet", "records") for row in batch.to_pylist()]
    records = checked_records(rows)
    rewritten(raw / "records.parquet", "records", clean / "records.parquet", lambda batch: None)
    counting = _Counting()
    rewritten(raw / "predictions.parquet", "predictions", clean / "predictions.parquet", counting.predictions)
    rewritten(raw / "latencies.parquet", "latencies", clean / "latencies.parquet", counting.latencies)
    check_meaning(records, sweep, system, counting.contents, datetime.fromisoformat(request["now"]))
    if manifest.run_id != run_id(records):
        raise UntrustedInput(f"{MANIFEST}: run_id is not that of the records")
    attested = None
    if ATTESTATION in members:
        from lynxbench.leaderboard.attestation import checked

        attested = checked((raw / ATTESTATION).read_bytes(), (raw / MANIFEST).read_bytes(), request["known"])
    (clean / SWEEP).write_text(sweep.model_dump_json(indent=2), encoding="utf-8")
    for name in (MANIFEST, ATTESTATION, SYSTEM):
        if name in members:
            (raw / name).replace(clean / name)
    return {
        "bundle": sha256(clean / MANIFEST),
        "run_id": manifest.run_id,
        "key_id": None if attested is None else attested.key_id,
        "signer": None if attested is None else attested.signer,
        "timed": counting.digests(),
        "rows": len(records),
        "sweep": records[0]["sweep"],
        "questions": sorted({(r["rubric_digest"], r["test_set_n"], r["test_set_digest"]) for r in records}),
    }


def rescore(request: dict[str, Any]) -> dict[str, Any]:
    """Recompute every score of the results folder `clean`; says for which cells that could not be done, and why."""
    _limit(request["memory_bytes"], request["cpu_s"])
    from lynxbench.conclusions.material import material
    from lynxbench.conclusions.recomputing import recomputed

    found = material(Path(request["clean"]))
    unscored = {}
    for result in recomputed(found.records, found.answers, found.rubrics):
        if result.reason is not None:
            unscored[result.cell_id] = result.reason[:400]
        elif result.differences:
            first = result.differences[0]
            raise UntrustedInput(
                f"record {result.cell_id}: {first.field} is {first.recorded!r:.60}, its predictions give "
                f"{first.recomputed!r:.60}"
            )
    return {"unscored": unscored}


class _Counting:
    """What is counted while tables go by, so that none is ever held whole."""

    def __init__(self) -> None:
        from lynxbench.leaderboard.meaning import Contents

        self.contents = Contents()
        self._hashes: dict[str, Any] = defaultdict(hashlib.sha256)

    def predictions(self, batch: Any) -> None:
        for entry in batch["predictions_id"].value_counts().to_pylist():
            self.contents.answers[_whole(entry["values"], "predictions_id")] += entry["counts"]

    def latencies(self, batch: Any) -> None:
        import numpy as np
        import pyarrow.compute as pc

        for name in ("cell_id", "round", "excluded", "latency_ns"):
            if batch[name].null_count:
                raise UntrustedInput(f"latencies.parquet: {name} is missing in a row")
        for cell in batch["cell_id"].unique().to_pylist():
            mine = batch.filter(pc.equal(batch["cell_id"], cell))
            times = mine["latency_ns"].to_numpy()
            if times.min() <= 0:
                raise UntrustedInput(f"latencies.parquet: a latency of {times.min()} ns")
            self._hashes[cell].update(times.astype("<i8").tobytes())
            used = times[~mine["excluded"].to_numpy(zero_copy_only=False)]
            if not len(used):
                continue
            count, total, least, most = self.contents.timed.get(cell, [0, 0, int(used[0]), int(used[0])])
            self.contents.timed[cell] = [
                count + len(used),
                total + int(used.sum(dtype=np.int64)),
                min(least, int(used.min())),
                max(most, int(used.max())),
            ]

    def digests(self) -> dict[str, str]:
        """Cell → SHA-256 of its raw latencies."""
        return {cell: hashed.hexdigest() for cell, hashed in sorted(self._hashes.items())}


def _whole(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise UntrustedInput(f"predictions.parquet: {name} is missing in a row")
    return value


def _limit(memory_bytes: int, cpu_s: int) -> None:
    """From here on the kernel refuses memory, time and files beyond these."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _guarded(handler: Handler) -> Handler:
    """A refusal is an answer; everything else is the parent's to judge."""

    def guarded(request: dict[str, Any]) -> dict[str, Any]:
        try:
            return handler(request)
        except UntrustedInput as error:
            return {"refused": str(error)}

    return guarded


def main() -> None:
    """Serve until the parent closes the pipe."""
    serve({"check": _guarded(check), "rescore": _guarded(rescore)})


if __name__ == "__main__":
    main()
