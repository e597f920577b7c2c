"""Results in a real S3 server: what is written is read, what is there is left, and what is wrong is said."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lynxbench
from lynxbench.errors import StoreError, Unreachable, UsageError
from lynxbench.records import objects as objects_module
from lynxbench.records.compaction import compact
from lynxbench.records.files import Entry, files_at
from lynxbench.records.location import Url, is_of_objects, location
from lynxbench.records.objects import ObjectStore, patiently
from lynxbench.records.places import dataset, find_places, scanned
from lynxbench.records.remote import RemoteFiles
from lynxbench.records.store import TABLES, read_table
from tests.object_server import ObjectServer
from tests.records.test_objects import all_rows, filled, record
from tests.records.test_places import merged, partitioned
from tests.records.test_store import latencies, predictions
from tests.running import ROOT


def python(code: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("results/one", Path("results/one")),
        ("s3://bucket/a/b/", Url("s3://bucket/a/b")),
        (Path("s3://bucket/a"), Url("s3://bucket/a")),
        ("S3://Bucket", Url("s3://Bucket")),
        ("file:///a/b%20c", Path("/a/b c")),
        (Path("file:///a/b"), Path("/a/b")),
        ("c:/windows", Path("c:/windows")),
        ("odd:/name", Path("odd:/name")),
    ],
)
def test_what_was_typed(given: str | Path, meant: Path | Url) -> None:
    assert location(given) == meant
    assert is_of_objects(given) == (isinstance(meant, Url) or str(given).startswith("file:"))
    if isinstance(meant, Url):
        assert str(meant / "x").startswith(f"{meant}/x")
        assert (meant / "x/y").parent == meant / "x"


def test_objects_are_created_once_and_listed_below_their_folder_alone(s3: ObjectServer) -> None:
    bucket = s3.bucket()
    files = files_at(location(f"s3://{bucket}/results"))
    assert files.entries() == []
    assert files.create("a/one", b"1")
    assert files.create("a/one", b"1")  # our own, whose answer was lost
    assert not files.create("a/one", b"2")
    assert files.create("ab/two", b"22")
    assert files.create("three", b"333")
    assert files.entries() == [Entry("a", True), Entry("ab", True), Entry("three", False)]
    assert files.names("a") == ["a/one"]
    assert files.names("") == ["a/one", "ab/two", "three"]
    assert files.read_all(["a/one", "ab/two"]) == {"a/one": b"1", "ab/two": b"22"}
    assert files.size_bytes("three") == 3
    files.delete(["a/one", "a/one"])
    assert files.names("a") == []
    assert files.entries("a") == []
    with pytest.raises(FileNotFoundError):
        files.read("a/one")
    with pytest.raises(FileNotFoundError):
        files.read_all(["ab/two", "a/one"])


def test_a_store_there_holds_the_same_rows_as_one_here(s3: ObjectServer, tmp_path: Path) -> None:
    url = f"s3://{s3.bucket()}/fleet/one"
    filled(tmp_path / "here", range(4), workloads=2)
    there: Any = location(url)
    filled(there, range(4), workloads=2)
    expected = all_rows(tmp_path / "here")
    assert all_rows(there) == expected
    filled(there, [2, 3], workloads=2)  # a second writer of two of them
    assert all_rows(there) == expected
    assert compact(there).cells == 4
    assert all_rows(there) == expected
    assert compact(there, keep_s=0).deleted > 8
    assert all_rows(there) == expected
    filled(there, [4], workloads=2)
    (place,) = find_places([url.rpartition("/")[0]])
    assert (str(place.folder), place.kind) == (url, "store")
    results = lynxbench.load(url)
    assert [getattr(results, table).num_rows for table in TABLES] == [5, 6, 20]
    one = scanned(dataset([place], "latencies", encoded=True), ["latency_ns"])
    assert sum(one["latency_ns"].to_pylist()) == 5 * (10 + 11 + 900 + 12)
    assert results.records["folder"].unique().to_pylist() == [url]
    assert place.size_bytes("predictions") > 0


def test_folders_and_sets_that_were_copied_there_are_read(s3: ObjectServer, tmp_path: Path) -> None:
    bucket = s3.bucket()
    merged(tmp_path / "sweeps" / "one")
    partitioned(tmp_path / "sweeps" / "set")
    s3.filesystem.put(str(tmp_path / "sweeps"), f"{bucket}/sweeps", recursive=True)
    there, here = lynxbench.load(f"s3://{bucket}/sweeps"), lynxbench.load(tmp_path / "sweeps")
    assert [place.kind for place in there.places] == [place.kind for place in here.places] == ["sweep", "set"]
    for table in TABLES:
        assert getattr(there, table).drop_columns(["folder"]).equals(getattr(here, table).drop_columns(["folder"]))
        assert there.dataset(table).count_rows() == getattr(here, table).num_rows


KILLED = """
import os, signal, sys
from lynxbench.records import compaction
from lynxbench.records.location import location
from lynxbench.records.remote import RemoteFiles
left = int(sys.argv[2])
def counted(do):
    def change(self, *arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return do(self, *arguments)
    return change
RemoteFiles.create, RemoteFiles.delete = counted(RemoteFiles.create), counted(RemoteFiles.delete)
compaction.compact(location(sys.argv[1]), keep_s=0)
"""


@pytest.mark.parametrize("changes", [0, 2, 3, 4])
def test_a_merge_that_is_killed_is_done_by_the_next(s3: ObjectServer, changes: int) -> None:
    """Before it put anything, its last file, the generation, and before it deleted anything."""
    there: Any = location(f"s3://{s3.bucket()}/store")
    filled(there, range(2))
    before = all_rows(there)
    ran = python(KILLED, str(there), str(changes), environment=s3.environment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert all_rows(there) == before
    assert compact(there, keep_s=0).cells == (0 if changes == 4 else 2)
    assert all_rows(there) == before


def test_of_two_merges_there_one_wins(s3: ObjectServer) -> None:
    there: Any = location(f"s3://{s3.bucket()}/store")
    filled(there, range(3))
    before = all_rows(there)
    code = KILLED.replace("int(sys.argv[2])", "10**6")
    command = [sys.executable, "-c", code, str(there), "0"]
    env = {**os.environ, **s3.environment, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for one in both:
        _, err = one.communicate(timeout=300)
        assert one.returncode == 0, err
    assert all_rows(there) == before
    assert [name for name in files_at(there).names("sets") if name.endswith(".json")] == ["sets/000001.json"]


def test_what_is_wrong_is_said_with_what_to_try(s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.bucket()
    with pytest.raises(UsageError, match=r"no bucket nowhere-at-all\n  try .*AWS_ENDPOINT_URL"):
        find_places(["s3://nowhere-at-all/x"])
    with pytest.raises(UsageError, match="no bucket nowhere-at-all"), ObjectStore(Url("s3://nowhere-at-all/x")).held():
        pass
    with pytest.raises(UsageError, match=f"s3://{bucket}/x: no results there"):
        find_places([f"s3://{bucket}/x"])
    files_at(Url(f"s3://{bucket}/x")).create("y/z", b"1")
    with pytest.raises(UsageError, match="is no results folder"):
        find_places([f"s3://{bucket}/x"])
    with pytest.raises(UsageError, match="unknown protocol gcss; did you mean 'gcs'"):
        find_places(["gcss://bucket/x"])
    with pytest.raises(UsageError, match=r"s3:// names no place\n  try       s3://BUCKET/PREFIX"):
        location("s3://")


LISTED = """
import sys
from lynxbench.errors import LynxBenchError
from lynxbench.records.location import location
from lynxbench.records.places import find_places
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[2:]:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
try:
    find_places([sys.argv[1]])
except LynxBenchError as error:
    print(type(error).__name__, error.exit_code, error)
"""


NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
NO_EXTRA = r"UsageError 2 .*pip install 'lynxbench\[s3\]'"


@pytest.mark.parametrize(
    ("url", "blocked", "changed", "said"),
    [
        ("s3://b/x", (), NO_KEYS, "UsageError 2.*try       AWS_ACCESS_KEY_ID and"),
        ("s3://ready/x", (), {"AWS_SECRET_ACCESS_KEY": "wrong"}, "UsageError 2.*refused: .*signature.*other cred"),
        ("s3://b/x", (), {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Unreachable 3.*Could not connect"),
        ("s3://b/x", ("s3fs",), {}, NO_EXTRA),
        ("s3://b/x", ("fsspec",), {}, NO_EXTRA),
        ("gs://b/x", ("gcsfs",), {}, "UsageError 2 .*gcsfs"),
    ],
)
def test_what_a_clean_process_says(
    s3: ObjectServer, url: str, blocked: tuple[str, ...], changed: dict[str, str], said: str
) -> None:
    ran = python(LISTED, url, *blocked, environment={**s3.environment, **changed})
    assert re.match(said, ran.stdout, re.DOTALL), ran.stdout + ran.stderr


def test_a_finished_cell_waits_for_a_store_that_does_not_answer(
    s3: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: Any = location(f"s3://{s3.bucket()}/store")
    store = ObjectStore(there)
    store.describe({})
    plain, waits, down = RemoteFiles.create, [], [3]

    def create(self: RemoteFiles, name: str, content: bytes) -> bool:
        if down[0]:
            down[0] -= 1
            raise Unreachable("nobody answers")
        return plain(self, name, content)

    monkeypatch.setattr(RemoteFiles, "create", create)
    monkeypatch.setattr(objects_module.time, "sleep", waits.append)
    store.write_predictions("p0", predictions())
    store.write_cell(record("c0"), latencies("c0"))
    assert waits == [1.0, 2.0, 4.0]
    assert read_table(there, "records").num_rows == 1
    down[0] = 1000
    with pytest.raises(StoreError, match="nobody answers"):
        patiently(lambda: store._files.create("x", b""), 0.5)


def test_another_filesystem_of_fsspec(tmp_path: Path) -> None:
    """Not of our own making: fsspec's memory."""
    import fsspec

    there: Any = location(f"memory://{tmp_path.name}/store")
    filled(there, range(2))
    filled(tmp_path / "here", range(2))
    assert all_rows(there) == all_rows(tmp_path / "here")
    compact(there, keep_s=0)
    assert all_rows(there) == all_rows(tmp_path / "here")
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    shutil.rmtree(tmp_path / "here")
