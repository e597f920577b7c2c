"""What travels between coordinator and nodes: files by digest, groups, finished cells; no name is believed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.synthetic import one_host
from lynxbench.errors import StoreError, UntrustedInput, UsageError
from lynxbench.records.record import Record
from lynxbench.records.store import ResultStore, read_records
from lynxbench.specs.resolve import resolve_suite
from lynxbench.sweep.fleet import blobs
from lynxbench.sweep.fleet.arrivals import checked_status
from lynxbench.sweep.fleet.blobs import BlobCache, chunks
from lynxbench.sweep.fleet.messages import FinishedCell, joined, pieces
from lynxbench.sweep.fleet.parcel import Packer, Parcel, unpack
from lynxbench.sweep.fleet.run import prepare_fleet
from lynxbench.sweep.setting import Setting


def put(cache: BlobCache, content: bytes, folder: Path, digest: str | None = None) -> str:
    file = folder / "sent"
    file.write_bytes(content)
    name = digest or hashlib.sha256(content).hexdigest()
    for offset, piece, last in chunks(file):
        cache.add(name, offset, piece, last=last)
    return name


def test_a_file_arrives_in_pieces_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "CHUNK_BYTES", 7)
    cache = BlobCache(tmp_path / "cache")
    digest = put(cache, b"weights " * 9, tmp_path)
    empty = put(cache, b"", tmp_path)
    assert cache.missing([digest, empty, "0" * 64]) == ["0" * 64]
    (file,) = cache.materialise([("data/model.onnx", digest)], tmp_path / "group")
    assert file == tmp_path / "group" / "data" / "model.onnx"
    assert file.read_bytes() == b"weights " * 9


def test_what_is_not_what_it_is_called_is_thrown_away(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    with pytest.raises(UntrustedInput, match="was thrown away"):
        put(cache, b"something else", tmp_path, digest="a" * 64)
    assert cache.missing(["a" * 64]) == ["a" * 64]
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == []


def test_a_damaged_file_in_the_cache_counts_as_missing(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    digest = put(cache, b"weights", tmp_path)
    (file,) = (path for path in (tmp_path / "cache").rglob(digest) if path.is_file())
    file.write_bytes(b"Weights")
    with pytest.raises(UntrustedInput, match="has the SHA-256"):
        cache.materialise([("model.onnx", digest)], tmp_path / "group")
    assert cache.missing([digest]) == [digest]
    put(cache, b"weights", tmp_path)
    assert cache.missing([digest]) == []


def test_pieces_out_of_order_are_refused_and_a_new_beginning_is_not(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    digest = hashlib.sha256(b"abcdef").hexdigest()
    cache.add(digest, 0, b"abc", last=False)
    with pytest.raises(UntrustedInput, match="out of order"):
        cache.add(digest, 4, b"ef", last=True)
    cache.add(digest, 0, b"ab", last=False)
    cache.add(digest, 0, b"abc", last=False)
    cache.add(digest, 3, b"def", last=True)
    assert cache.missing([digest]) == []


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "", "a\\b", "nul\0"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    cache = BlobCache(tmp_path / "cache")
    digest = put(cache, b"x", tmp_path)
    with pytest.raises(UntrustedInput, match="no file name inside a folder"):
        cache.materialise([(name, digest)], tmp_path / "group")


def test_digests_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UntrustedInput, match="is no SHA-256"):
        BlobCache(tmp_path).add("../../evil", 0, b"x", last=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parcel, Packer]:
    """The starter suite's first group, ready to travel."""
    prepared = prepare_fleet(resolve_suite("starter", budget="quick", only=["model=fashion-resnet8"]))
    work = tmp_path_factory.mktemp("work")
    setting = Setting(prepared.resolved, prepared.material, {}, work, work)
    packer = Packer(setting, "trial")
    return packer.pack(prepared.plan.groups[0], {"cpu"}, ["0" * 16], 100), packer


def test_a_group_comes_out_as_it_was_planned(packed: tuple[Parcel, Packer], tmp_path: Path) -> None:
    parcel, packer = packed
    cache = BlobCache(tmp_path / "cache")
    assert cache.missing(parcel.digests) == parcel.digests
    for digest in parcel.digests:
        assert put(cache, packer.files[digest].read_bytes(), tmp_path) == digest
    unpacked = unpack(Parcel.from_json(parcel.to_json()), cache, tmp_path / "group")
    here = resolve_suite("starter", budget="quick", only=["model=fashion-resnet8"])
    assert unpacked.resolved.suite.digest() == here.suite.digest()
    assert unpacked.resolved.suite == here.suite
    group = unpacked.group({})
    assert group.group_id == parcel.group_id
    assert [cell.position for cell in group.cells] == list(range(10))


def test_a_group_that_comes_out_otherwise_is_refused(packed: tuple[Parcel, Packer], tmp_path: Path) -> None:
    parcel, packer = packed
    cache = BlobCache(tmp_path / "cache")
    for digest in parcel.digests:
        put(cache, packer.files[digest].read_bytes(), tmp_path)
    with pytest.raises(UntrustedInput, match="came out as"):
        unpack(replace(parcel, group_id="f" * 16), cache, tmp_path / "one").group({})
    with pytest.raises(UntrustedInput, match="another fingerprint"):
        unpack(replace(parcel, fingerprint="f" * 64), cache, tmp_path / "two")
    with pytest.raises(UsageError, match="install the same on both"):
        Parcel.from_json(replace(parcel, version="0.0.1").to_json())


def finished(tmp_path: Path) -> tuple[Record, FinishedCell]:
    """A cell's files, as a node's results folder holds them."""
    record = next(one_host(0, models=1))
    record = Record({**record.values, "cell_id": "c" * 16, "predictions_id": "d" * 16})
    store = ResultStore(tmp_path / "node")
    with store.held():
        store.write_cell(record)
    content = (tmp_path / "node" / "parts" / f"records-{'c' * 16}.parquet").read_bytes()
    return record, FinishedCell("c" * 16, "d" * 16, {"records": content, "predictions": b"answers"})


def test_a_finished_cell_travels_in_pieces_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lynxbench.sweep.fleet.messages.CHUNK_BYTES", 10_000)
    record, cell = finished(tmp_path)
    sent = list(pieces(cell))
    assert len(sent) > 3
    assert [piece["last"] for piece in sent] == [False] * (len(sent) - 1) + [True]
    assert joined(b"".join(piece["data"] for piece in sent)) == cell
    assert checked_status(cell) == record["status"]
    store = ResultStore(tmp_path / "results")
    with store.held():
        store.place(cell.cell_id, cell.predictions_id, {"records": cell.files["records"]})
    assert read_records(tmp_path / "results") == read_records(tmp_path / "node")


def test_answers_that_are_there_stay(tmp_path: Path) -> None:
    _, cell = finished(tmp_path)
    store = ResultStore(tmp_path / "results")
    with store.held():
        store.place(cell.cell_id, cell.predictions_id, cell.files)
        store.place("e" * 16, cell.predictions_id, {**cell.files, "predictions": b"other answers"})
    assert (tmp_path / "results" / "parts" / f"predictions-{'d' * 16}.parquet").read_bytes() == b"answers"


def test_cells_that_are_not_what_they_claim_are_refused(tmp_path: Path) -> None:
    _, cell = finished(tmp_path)
    with pytest.raises(StoreError, match="is about"):
        checked_status(replace(cell, cell_id="e" * 16))
    with pytest.raises(StoreError, match="is about"):
        checked_status(replace(cell, predictions_id=None))
    with pytest.raises(StoreError, match="cannot be one"):
        checked_status(replace(cell, cell_id="../../records"))
    with pytest.raises(StoreError, match="cannot be one"):
        checked_status(replace(cell, files={"../evil": b""}))
    with pytest.raises(StoreError, match="came damaged"):
        checked_status(replace(cell, files={"records": cell.files["records"][:-100]}))
    with pytest.raises(ValueError, match="bytes came as"):
        joined(b"".join(piece["data"] for piece in pieces(cell)) + b"x")
