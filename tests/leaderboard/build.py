"""A small sound results folder, its bundle, and the bundle taken apart: for strangers to put together again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lynxbench.datasets.predictions import Predictions
from lynxbench.leaderboard.archive import MANIFEST, pack, unpack
from lynxbench.leaderboard.bundle import make_bundle
from lynxbench.leaderboard.manifest import manifest_of, run_id
from lynxbench.leaderboard.system import system_description
from lynxbench.records.declarations import declarations
from lynxbench.records.record import Record
from lynxbench.records.schema import arrow_schema
from lynxbench.records.scored import score_fields
from lynxbench.records.store import ResultStore, write_parquet
from lynxbench.scoring import disclosure_fields, score
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite
from tests.records.rows import whole
from tests.running import command, environment
from tests.scoring.build import predictions
from tests.specs.declare import RUBRIC, SUITE, built

N = 60
DIGEST = "ab" * 32
STARTED = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SCHEMES = ("fp32", "int8-static")


def results(path: Path, *, seed: int = 0, host: str = "host-a", started: datetime = STARTED, **changes: Any) -> Path:
    """A results folder: one model, two schemes, scored as a sweep scores them. `changes` go into every row."""
    suite, rubric = built(Suite, SUITE), built(Rubric, RUBRIC)
    answers = {f"answers-{scheme}": _answers(place) for place, scheme in enumerate(SCHEMES)}
    store = ResultStore(path)
    with store.held():
        digests = {"test set of classify": DIGEST, "model file net": DIGEST, "executor cpu": DIGEST}
        about = {"suite_file": "small.toml", "digests": digests, "planned": ["a", "b"]}
        store.describe({**about, "declarations": declarations(suite, [rubric])})
        for place, (name, mine) in enumerate(answers.items()):
            store.write_predictions(name, mine)
            times = np.random.default_rng((seed, place)).integers(1_000, 2_000, size=50)
            values = _row(suite, rubric, place, times, host, started) | changes
            values |= score_fields(score(rubric, mine, answers["answers-fp32"]), is_reference=place == 0)
            store.write_cell(Record({**values, **disclosure_fields(values)}), _latencies(values["cell_id"], times))
        store.merge()
    return path


def _answers(seed: int) -> Predictions:
    labels = np.arange(N) % 3
    noise = np.random.default_rng(seed).normal(size=(N, 3))
    strata = {"view": np.array(["clean", "blur"])[np.arange(N) % 2], "class": np.char.add("c", labels.astype(str))}
    return predictions(N, strata=strata, labels=labels, logits=(2 * np.eye(3)[labels] + noise).astype(np.float32))


def _row(suite: Suite, rubric: Rubric, place: int, times: Any, host: str, started: datetime) -> dict[str, Any]:
    scheme = SCHEMES[place]
    values = whole(
        cell_id=f"cell-{scheme}", candidate_id=f"candidate-{scheme}", predictions_id=f"answers-{scheme}",
        position=place, sweep="small", suite="small", suite_version="1.0", suite_digest=suite.digest(),
        host_id=host, started_at=started, workload="classify", warnings=[],
        task=rubric.task, rubric=rubric.name, rubric_version=rubric.version, rubric_digest=rubric.digest(),
        test_set=rubric.test_set.name, test_set_digest=DIGEST, test_set_n=N,
        test_set_composition=list(rubric.test_set.composition), strata=list(rubric.strata),
        reference_scheme="fp32", reference_executor="cpu", is_reference=place == 0,
        tolerance_kind=rubric.tolerance.kind, tolerance=rubric.tolerance.value,
        model="net", model_version="1.0", model_sha256=DIGEST, scheme=scheme, scheme_kind=scheme,
        scheme_options="{}", provider_options="{}", searched="{}", calibration_options="{}",
        protocol=json.dumps(suite.protocol.model_dump(mode="json"), sort_keys=True),
        calibration=None if place == 0 else "train", calibration_minimum_n=None if place == 0 else 5,
        executor="cpu", executor_digest=DIGEST, simulated=False, scenario="single-stream",
        scenario_kind="single-stream", batch_size=1, in_flight=1,
        worst_stratum=None, worst_stratum_loss=None, worst_stratum_loss_low=None, worst_stratum_loss_high=None,
        latency_n=len(times), latency_mean_ns=float(times.mean()),
        latency_min_ns=float(times.min()), latency_max_ns=float(times.max()),
    )  # fmt: skip
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)):
        at = float(np.quantile(times, q))
        values |= {f"{name}_ns": at, f"{name}_low_ns": at, f"{name}_high_ns": at}
    if "rescored_from" in values:
        values["rescored_from"] = None
    return values


def _latencies(cell: str, times: Any) -> pa.Table:
    n = len(times)
    return pa.table(
        {
            "cell_id": pa.array([cell] * n),
            "round": pa.array(np.arange(n, dtype=np.int32) // 10),
            "process": pa.array(np.zeros(n, np.int32)),
            "excluded": pa.array([False] * n),
            "latency_ns": pa.array(times),
            "scheduled_ns": pa.nulls(n, pa.int64()),
            "issued_ns": pa.nulls(n, pa.int64()),
        }
    )


@dataclass(frozen=True)
class Crate:
    """A bundle taken apart into a folder, to be altered and put together again with a manifest that fits."""

    folder: Path

    @staticmethod
    def of(results_folder: Path, into: Path) -> Crate:
        into.mkdir(parents=True)
        whole_file = into.with_suffix(".whole")
        make_bundle(results_folder, whole_file, None)
        unpack(whole_file, into)
        whole_file.unlink()
        return Crate(into)

    def copy(self, into: Path) -> Crate:
        shutil.copytree(self.folder, into)
        return Crate(into)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(value).encode())

    def replace(self, name: str, old: str, new: str) -> None:
        """A piece of text for another one."""
        text = self.read(name).decode()
        assert old in text
        self.write(name, text.replace(old, new, 1).encode())

    @contextmanager
    def rows(self) -> Iterator[list[dict[str, Any]]]:
        """The records, to be changed at will; the system's description follows where they are records still."""
        rows = pq.read_table(self.folder / "records.parquet").to_pylist()
        yield rows
        write_parquet(pa.Table.from_pylist(rows, schema=arrow_schema()), self.folder / "records.parquet")
        try:
            records = [Record(row) for row in rows]
        except ValueError:
            return
        self.write_json("system.json", system_description(records))

    @contextmanager
    def table(self, name: str) -> Iterator[dict[str, pa.Table]]:
        """``{"table": …}`` of a Parquet file, to be put back changed."""
        held = {"table": pq.read_table(self.folder / f"{name}.parquet")}
        yield held
        write_parquet(held["table"], self.folder / f"{name}.parquet")

    def seal(self) -> None:
        """A manifest of what lies here now."""
        manifest = self.json(MANIFEST)
        manifest["files"] = json.loads(manifest_of(self.folder, manifest["run_id"]).encoded())["files"]
        self.write_json(MANIFEST, manifest)

    def name_the_run(self) -> None:
        """The run's id, made of the records that lie here now."""
        rows = pq.read_table(self.folder / "records.parquet").to_pylist()
        manifest = self.json(MANIFEST)
        self.write_json(MANIFEST, {**manifest, "run_id": run_id([Record(row) for row in rows])})

    def packed(self, out: Path) -> Path:
        pack(self.folder, out)
        return out

    def sealed(self, out: Path) -> Path:
        self.seal()
        return self.packed(out)


@dataclass(frozen=True)
class Watched:
    """How a command ended, and the most that it or a process of its held."""

    code: int
    out: str
    err: str
    peak_bytes: int


# Measured by a process of its own: what the tests' own process holds would count otherwise.
_LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open("/dev/fd/3", "w").write(str(peak))
sys.exit(code)
"""


def watched(*arguments: str | Path, home: Path, scratch: Path, timeout_s: float) -> Watched:
    """Run `lynxbench ARGUMENTS`, temporary files in `scratch`, and look at its memory."""
    peak = home / "peak"
    peak.touch()
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER.replace("/dev/fd/3", str(peak)), *command(*arguments)],
        cwd=home,
        env={**environment(home), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    held = int(peak.read_text()) * (1 if sys.platform == "darwin" else 1024)
    return Watched(done.returncode, done.stdout, done.stderr, held)


def everything_in(folder: Path) -> dict[str, str]:
    """Path → hash or kind of all that a folder holds, links not followed."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            plain = path.is_file() and not path.is_symlink()
            found[str(path.relative_to(folder))] = (
                hashlib.sha256(path.read_bytes()).hexdigest() if plain else "folder or link"
            )
    return found


Alter = Callable[[Crate], None]
