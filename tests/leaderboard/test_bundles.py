"""Bundles that are sound: handed in, looked into, taken in once, and trusted as far as the evidence goes."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lynxbench import load as lynxbench_load
from lynxbench.errors import UntrustedInput, UsageError
from lynxbench.leaderboard.admission import add, index, verify
from lynxbench.leaderboard.attestation import attest, known_keys, make_key
from lynxbench.leaderboard.bundle import make_bundle
from lynxbench.leaderboard.trust import Facts, disagreement, trust, trust_of
from lynxbench.records.record import Record
from lynxbench.records.store import read_records, read_table
from lynxbench.specs.base import as_frozen
from lynxbench.specs.rubric import Rubric
from tests.leaderboard.build import Crate, everything_in, results
from tests.running import lynxbench


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Private keys of alice and bob, whose public ones are known, and of mallory, whose is not."""
    folder = tmp_path / "keys"
    (folder / "known").mkdir(parents=True)
    for name in ("alice", "bob", "mallory"):
        make_key(folder / name)
        if name != "mallory":
            (folder / f"{name}.pub").rename(folder / "known" / f"{name}.pub")
    return folder


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``in``, into which the bundle of ``results-a`` was taken."""
    home = tmp_path_factory.mktemp("taken")
    add(bundled(home, "a", None), home / "in", {})
    return home


def bundled(tmp_path: Path, name: str, key: Path | None, **how: Any) -> Path:
    out = tmp_path / f"{name}.lynxbundle"
    make_bundle(results(tmp_path / f"results-{name}", **how), out, key)
    return out


def test_equal_results_give_equal_bundles(tmp_path: Path, keys: Path) -> None:
    one, two = (bundled(tmp_path, name, keys / "alice") for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_bundle_is_a_tar_that_others_can_read(tmp_path: Path, keys: Path) -> None:
    with tarfile.open(bundled(tmp_path, "one", keys / "alice")) as archive:
        content = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    manifest = json.loads(content["manifest.json"])
    assert {file["name"]: file["sha256"] for file in manifest["files"]} == {
        name: hashlib.sha256(held).hexdigest()
        for name, held in content.items()
        if name not in ("manifest.json", "attestation.json")
    }
    system = json.loads(content["system.json"])
    assert system["systems"][0]["host_processor_core_count"] == 3
    assert "no MLPerf result" in system["note"]


def test_the_signature_is_that_of_dsse_and_in_toto(tmp_path: Path, keys: Path) -> None:
    """Checked by hand: PAE as DSSE's text defines it, and cryptography's own Ed25519."""
    with tarfile.open(bundled(tmp_path, "one", keys / "alice")) as archive:
        envelope = json.load(archive.extractfile("attestation.json"))  # type: ignore[arg-type]
        manifest = archive.extractfile("manifest.json").read()  # type: ignore[union-attr]
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    signed = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload])
    key = load_pem_public_key((keys / "known" / "alice.pub").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert subjects["manifest.json"] == hashlib.sha256(manifest).hexdigest()
    assert subjects.keys() >= {"records.parquet", "predictions.parquet", "latencies.parquet", "sweep.json"}


def test_private_keys_are_private_and_never_written_over(keys: Path) -> None:
    assert (keys / "alice").stat().st_mode & 0o077 == 0
    before = (keys / "alice").read_bytes()
    with pytest.raises(UsageError, match="never written over"):
        make_key(keys / "alice")
    assert (keys / "alice").read_bytes() == before


def test_what_is_taken_in_is_a_results_folder_with_the_same_rows(tmp_path: Path, keys: Path) -> None:
    source = bundled(tmp_path, "one", keys / "alice")
    folder, looked = add(source, tmp_path / "in", known_keys(keys / "known"))
    assert looked.facts.signer == "alice"
    assert {one.tier for one in looked.trust.values()} == {"rescored"}
    for table in ("records", "predictions", "latencies"):
        assert read_table(folder, table).equals(read_table(tmp_path / "results-one", table))
    assert len(lynxbench_load(folder).records) == 2
    assert sorted(everything_in(tmp_path / "in").values()).count("folder or link") == 1
    assert index(tmp_path / "in").keys() == {folder}


TIERS: list[tuple[str | None, str]] = [
    (None, "self-reported"),
    ("mallory", "self-reported"),  # 34: a valid signature by an unknown key
    ("alice", "rescored"),
]


@pytest.mark.parametrize(("key", "tier"), TIERS)
def test_the_tier_rests_on_who_signed(tmp_path: Path, keys: Path, key: str | None, tier: str) -> None:
    source = bundled(tmp_path, "one", keys / key if key else None)
    looked = verify(source, known_keys(keys / "known"))
    assert {one.tier for one in looked.trust.values()} == {tier}


def test_what_cannot_be_scored_again_is_signed_and_no_more(tmp_path: Path, keys: Path) -> None:
    """A metric that is code of a stranger's is not run."""
    crate = Crate.of(results(tmp_path / "results"), tmp_path / "crate")
    crate.replace("sweep.json", '"metric":"top-1"', '"metric":"os:system"')
    about = crate.json("sweep.json")
    digest = Rubric.model_validate(as_frozen(about["declarations"]["rubrics"][0])).digest()
    with crate.rows() as rows:
        for row in rows:
            row["rubric_digest"] = digest
    crate.seal()
    crate.write("attestation.json", attest(crate.read("manifest.json"), keys / "alice"))
    looked = verify(crate.packed(tmp_path / "b"), known_keys(keys / "known"))
    assert {one.tier for one in looked.trust.values()} == {"signed"}
    assert {one.why for one in looked.trust.values()} == {"metric os:system is code that does not come with LynxBench"}


def taken_in(folder: Path, signer: str, name: str, **how: Any) -> Path:
    """A results folder with the facts that `add` would have left in it, had `signer` (mallory: unknown) signed it."""
    results(folder / name, **how)
    known = None if signer == "mallory" else signer
    (folder / name / "trust.json").write_bytes(Facts(name, name, key_id=f"key of {signer}", signer=known).encoded())
    return folder / name


def test_reproduced_takes_another_host_and_another_known_key(tmp_path: Path) -> None:
    first = taken_in(tmp_path, "alice", "a")
    same_key = taken_in(tmp_path, "alice", "b", host="host-b")
    same_host = taken_in(tmp_path, "bob", "c", host="host-a")
    unknown = taken_in(tmp_path, "mallory", "d", host="host-d")
    nobodys = results(tmp_path / "e", host="host-e")

    def tiers(*folders: Path) -> list[set[str]]:
        return [{one.tier for one in cells.values()} for cells in trust(folders).values()]

    assert tiers(first, same_key, unknown, nobodys) == [
        {"rescored"},
        {"rescored"},
        {"self-reported"},
        {"self-reported"},
    ]
    assert tiers(first, same_host) == [{"rescored"}, {"rescored"}]
    # Bob's run on alice's first host agrees with alice's other host, and the other way round.
    assert tiers(first, same_key, same_host) == [{"rescored"}, {"reproduced"}, {"reproduced"}]
    found = trust_of([same_key, same_host, nobodys])
    assert [one.tier for one in found(same_host, read_table(same_host, "records"))] == ["reproduced"] * 2
    assert {one.why for one in found(nobodys, read_table(nobodys, "records"))} == {"nobody signed it"}


ROW = {
    "cpu": "a", "isa_flags": ["x"], "threads": 1, "primary_value": 0.8, "primary_value_low": 0.75,
    "primary_value_high": 0.85, "primary_delta": -0.01, "primary_delta_low": -0.02, "primary_delta_high": 0.0,
    "throughput_ratio": 2.0, "throughput_ratio_low": 1.9, "throughput_ratio_high": 2.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({}, None),
        ({"primary_delta": -0.03, "primary_delta_low": -0.04, "primary_delta_high": -0.02}, None),  # they touch
        ({"primary_delta": -0.05, "primary_delta_low": -0.06, "primary_delta_high": -0.04}, "primary_delta -0.01 and"),
        ({"throughput_ratio": 1.0, "throughput_ratio_low": 0.9, "throughput_ratio_high": 1.1}, "throughput_ratio 2"),
        ({"cpu": "b", "throughput_ratio": 1.0, "throughput_ratio_low": 0.9, "throughput_ratio_high": 1.1}, None),
        ({"primary_delta": None}, "of one of them alone"),
    ],
)
def test_two_hosts_agree_within_their_intervals(other: dict[str, Any], words: str | None) -> None:
    found = disagreement(ROW, {**ROW, **other})
    assert (found is None) == (words is None)
    assert words is None or words in (found or "")


def _replayed(crate: Crate) -> None:
    pass


def _other_content(crate: Crate) -> None:
    with crate.rows() as rows:
        for row in rows:
            row["kernel"] = "another"
    crate.seal()


def _as_anothers(crate: Crate) -> None:
    """Somebody's latencies under another host's name and another start."""
    with crate.rows() as rows:
        for row in rows:
            row["host_id"], row["started_at"] = "mine", row["started_at"] + timedelta(hours=1)
    crate.name_the_run()
    crate.seal()


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (_replayed, "was taken in before, as"),
        (_other_content, "is the run of .* with other content"),
        (_as_anothers, "the latencies of cell-.* are those of .*: a copy, not a run"),
    ],
)
def test_32_what_was_taken_in_before_is_refused(
    taken: Path, tmp_path: Path, alter: Callable[[Crate], None], reason: str
) -> None:
    home = taken / "in"
    before = everything_in(home)
    crate = Crate.of(taken / "results-a", tmp_path / "crate")
    alter(crate)
    with pytest.raises(UntrustedInput, match=reason):
        add(crate.packed(tmp_path / "again"), home, {})
    assert everything_in(home) == before


def test_33_another_test_set_for_the_same_rubric_is_refused(taken: Path, tmp_path: Path) -> None:
    crate = Crate.of(results(tmp_path / "other", seed=5, host="host-b"), tmp_path / "crate")
    with crate.rows() as rows:
        for row in rows:
            row["test_set_digest"] = "cd" * 32
    about = crate.json("sweep.json")
    about["digests"]["test set of classify"] = "cd" * 32
    crate.write_json("sweep.json", about)
    with pytest.raises(UntrustedInput, match="was asked with test set abababababab before, here with cdcdcdcdcdcd"):
        add(crate.sealed(tmp_path / "again"), taken / "in", {})


def test_refused_bundles_do_not_even_make_the_folder(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"x" * 2000)
    ran = lynxbench("leaderboard", "add", "bad", "--to", "in", home=tmp_path)
    assert ran.code == 4
    assert "refused: is no bundle" in ran.out
    assert not (tmp_path / "in").exists()


def test_hostile_texts_are_shown_as_texts(tmp_path: Path) -> None:
    """35, 36, 37: sound bundles whose texts a page, a spreadsheet or a terminal would obey."""
    markup, formula, escape = "<img src=x onerror=alert(1)></script>", '=HYPERLINK("//evil")', "\x1b[2J\x1b]0;owned\x07"
    warning = {"code": "quantizer_note", "advice": formula}
    folder = results(tmp_path / "r", warnings=[warning, {"code": "drift", "advice": f"{escape}!"}], kernel=markup)
    make_bundle(folder, tmp_path / "b.lynxbundle", None)
    taken = lynxbench("leaderboard", "add", "b.lynxbundle", "--to", "in", home=tmp_path)
    assert taken.code == 0, taken.out + taken.err
    inside = next(iter(index(tmp_path / "in")))
    record = read_records(inside)[0]
    assert record["kernel"] == markup
    for command in (["show", inside], ["leaderboard", "verify", "b.lynxbundle"]):
        ran = lynxbench(*command, home=tmp_path)
        assert ran.code == 0, ran.err
        assert "\x1b" not in ran.out + ran.err
    sql = "SELECT kernel, warnings[2].advice AS escape, warnings[1].advice AS advice FROM records"
    csv = lynxbench("query", sql, inside, "--csv", home=tmp_path)
    assert csv.code == 0, csv.err
    assert f',"\'{formula.replace(chr(34), chr(34) * 2)}"' in csv.out
    assert "\x1b" not in csv.out
    pretty = lynxbench("query", sql, inside, "--markdown", home=tmp_path)
    assert "<img" not in pretty.out
    assert "&lt;img" in pretty.out


def test_the_command_line_from_key_to_index(tmp_path: Path) -> None:
    results(tmp_path / "results" / "small")
    made = lynxbench("leaderboard", "keygen", "me", home=tmp_path)
    assert made.code == 0, made.err
    (tmp_path / "known").mkdir()
    (tmp_path / "me.pub").rename(tmp_path / "known" / "me.pub")
    done = lynxbench("leaderboard", "bundle", "results/small", "--sign", "me", home=tmp_path)
    assert done.code == 0, done.err
    assert "small.lynxbundle" in done.out
    looked = lynxbench("leaderboard", "verify", "small.lynxbundle", "--trusted-keys", "known", home=tmp_path)
    assert looked.code == 0, looked.out
    assert "2 rescored" in looked.out
    added = ("leaderboard", "add", "small.lynxbundle", "--to", "in", "--trusted-keys", "known", "--json")
    first, second = (lynxbench(*added, home=tmp_path) for _ in range(2))
    assert (first.code, second.code) == (0, 4)
    assert first.json()[0]["tiers"] == {"rescored": 2}
    assert "was taken in before" in second.json()[0]["refused"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bundle", "nowhere"], "holds no results"),
        (["bundle", "results", "--sign", "nokey"], "nokey: no such key"),
        (["bundle", "results", "--sign", "results/sweep.json"], "no private key in PEM"),
        (["verify", "b", "--trusted-keys", "nowhere"], "nowhere: no such folder of public keys"),
        (["verify", "b", "--trusted-keys", "wrong"], "is no public Ed25519 key"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(tmp_path: Path, arguments: list[str], words: str) -> None:
    results(tmp_path / "results")
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "x.pub").write_text("no key")
    ran = lynxbench("leaderboard", *arguments, home=tmp_path)
    assert ran.code == 2
    assert words in ran.err


def test_every_row_of_the_sample_obeys_the_field_table(tmp_path: Path) -> None:
    rows = pq.read_table(results(tmp_path / "r") / "records.parquet").to_pylist()
    assert [Record(row)["scheme"] for row in rows] == ["fp32", "int8-static"]
