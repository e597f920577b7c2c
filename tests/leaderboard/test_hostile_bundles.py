"""Bundles that lie, burst or break out: each refused with exit code 4 and a reason of one line, nothing left behind.

The numbers are those of the list in `docs/bundles.md`. All go through the command line in two runs, whose processes
are watched from outside: none may hold a gigabyte, and together they may take ten seconds each.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import struct
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lynxbench.leaderboard.archive import MANIFEST
from lynxbench.leaderboard.attestation import attest, make_key
from lynxbench.records.schema import arrow_schema
from lynxbench.records.store import table_schema, write_parquet
from tests.leaderboard.build import Crate, Watched, everything_in, results, watched

Make = Callable[[Crate, Path], Any]


@dataclass(frozen=True)
class Case:
    """What a stranger makes of a sound bundle, and why it must be refused."""

    name: str
    make: Make
    reason: str


CASES: list[Case] = []


def case(name: str, reason: str) -> Callable[[Make], Make]:
    def kept(make: Make) -> Make:
        CASES.append(Case(name, make, reason))
        return make

    return kept


# --- The archive -----------------------------------------------------------------------------------------------------


def _tar(crate: Crate, out: Path, *members: tarfile.TarInfo | tuple[str, bytes], **options: Any) -> None:
    """A tar of the sound members and then of others, by Python's own library."""
    with tarfile.open(out, "w", format=options.pop("format", tarfile.USTAR_FORMAT), **options) as archive:
        for name in ("manifest.json", "system.json", "sweep.json"):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(crate.read(name)), 0o644
            archive.addfile(info, io.BytesIO(crate.read(name)))
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            content = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _special(kind: bytes, name: str = "records.parquet", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


case("1 a path that leads out", r"'\.\./x' leads out of the archive")(lambda c, o: _tar(c, o, ("../x", b"x")))
case("1 hidden in a longer one", r"leads out")(lambda c, o: _tar(c, o, ("a/../../x", b"x")))
case("2 an absolute path", r"absolute path")(lambda c, o: _tar(c, o, ("/tmp/x", b"x")))
case("2 an absolute path of Windows", r"absolute path")(lambda c, o: _tar(c, o, ("C:\\x", b"x")))
case("3 a symbolic link", r"a symbolic link")(lambda c, o: _tar(c, o, _special(tarfile.SYMTYPE)))
case("4 a hard link", r"a hard link")(lambda c, o: _tar(c, o, _special(tarfile.LNKTYPE)))
case("5 a pipe", r"a pipe")(lambda c, o: _tar(c, o, _special(tarfile.FIFOTYPE)))
case("5 a device", r"a device")(lambda c, o: _tar(c, o, _special(tarfile.CHRTYPE)))
case("6 a member twice", r"'sweep.json' is there twice")(lambda c, o: _tar(c, o, ("sweep.json", b"{}")))
case("7 upper and lower case", r"upper and lower case")(lambda c, o: _tar(c, o, ("Sweep.json", b"{}")))
case("8 sparse", r"a sparse file")(lambda c, o: _tar(c, o, _special(tarfile.GNUTYPE_SPARSE)))
case("a name longer than memory", r"an extended header")(
    lambda c, o: _tar(c, o, _special(tarfile.GNUTYPE_LONGNAME, "././@LongLink"))
)
case("an extended header", r"an extended header")(lambda c, o: _tar(c, o, ("é" * 300, b""), format=tarfile.PAX_FORMAT))
case("a folder", r"a folder")(lambda c, o: _tar(c, o, _special(tarfile.DIRTYPE)))
case("an owner in the header", r"a header that no bundle has")(lambda c, o: _tar(c, o, _owned("records.parquet")))
case("members in another order", r"stands after")(lambda c, o: _tar(c, o, ("attestation.json", b"{}")))


@case("8 1 GiB packed to 1 MB", r"is packed by gzip")
def _(crate: Crate, out: Path) -> None:
    with gzip.open(out, "wb", compresslevel=1) as packed:
        for _ in range(64):
            packed.write(bytes(16 << 20))
    assert out.stat().st_size < 6 << 20


@case("9 100,000 members", r"is no part of a bundle")
def _(crate: Crate, out: Path) -> None:
    with out.open("wb") as file:
        for number in range(100_000):
            file.write(tarfile.TarInfo(f"m{number}").tobuf(tarfile.USTAR_FORMAT))


@case("10 cut short in a member", r"cut short in")
def _(crate: Crate, out: Path) -> None:
    content = crate.packed(out).read_bytes()
    out.write_bytes(content[: len(content) // 2])


@case("10 cut short between members", r"cut short")
def _(crate: Crate, out: Path) -> None:
    content = crate.packed(out).read_bytes()
    out.write_bytes(content[: 512 + -(-len(crate.read(MANIFEST)) // 512) * 512])


@case("10 cut short at the end", r"does not end where its members do")
def _(crate: Crate, out: Path) -> None:
    out.write_bytes(crate.packed(out).read_bytes()[:-512])


@case("something after the end", r"does not end where its members do")
def _(crate: Crate, out: Path) -> None:
    out.write_bytes(crate.packed(out).read_bytes() + b"more")


case("empty", r"is empty")(lambda c, o: o.touch())
case("something else", r"does not begin as a tar does")(lambda c, o: o.write_bytes(b"%PDF-1.7" * 200))
case("a header that says 8 GiB", r"at most [\d,]+ are read")(
    lambda c, o: o.write_bytes(_sized("records.parquet", (8 << 30) - 1).tobuf(tarfile.USTAR_FORMAT))
)
case("a size below zero", r"bytes, at most")(
    lambda c, o: o.write_bytes(_sized("records.parquet", -1).tobuf(tarfile.GNU_FORMAT))
)


def _owned(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.uname = "root"
    return info


def _sized(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


@case("11 a file that is not in the manifest", r"latencies.parquet is not in the manifest")
def _(crate: Crate, out: Path) -> None:
    manifest = crate.json(MANIFEST)
    manifest["files"] = [file for file in manifest["files"] if file["name"] != "latencies.parquet"]
    crate.write_json(MANIFEST, manifest)
    crate.packed(out)


@case("11 a file that is in the manifest alone", r"'predictions.parquet' is not in the archive")
def _(crate: Crate, out: Path) -> None:
    (crate.folder / "predictions.parquet").unlink()
    crate.packed(out)


@case("11 no manifest", r"no manifest.json")
def _(crate: Crate, out: Path) -> None:
    (crate.folder / MANIFEST).unlink()
    crate.packed(out)


@case("12 another hash", r"system.json does not have the size and SHA-256")
def _(crate: Crate, out: Path) -> None:
    crate.replace("system.json", "number_of_nodes", "number_of_noses")
    crate.packed(out)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json(old: str, new: str, name: str = "sweep.json") -> Make:
    def make(crate: Crate, out: Path) -> None:
        crate.replace(name, old, new)
        (crate.packed if name == MANIFEST else crate.sealed)(out)

    return make


_DEEP = "[" * 100_000 + "]" * 100_000
case("13 NaN", r"NaN is no number")(_json('"block_s":0.1', '"block_s":NaN'))
case("13 infinity", r"-Infinity is no number")(_json('"block_s":0.1', '"block_s":-Infinity'))
case("14 1e999", r"1e999 is no finite number")(_json('"block_s":0.1', '"block_s":1e999'))
case("15 5,000 digits", r"a whole number of 5,000 digits")(_json('"count":40', f'"count":{"9" * 5000}'))
case("16 100,000 deep", r"nested 100,001 deep")(_json('"planned":["a","b"]', f'"planned":{_DEEP}'))
case("16 100,000 deep in the manifest", r"nested 100,\d+ deep")(_json('"files":[', f'"files":{_DEEP},"f":[', MANIFEST))
case("17 a key twice", r"key 'version' twice")(_json('"version":', '"version":"1.0","version":'))
case("17 a key twice in the manifest", r"key 'run_id' twice")(_json('"run_id":', '"run_id":"x","run_id":', MANIFEST))
case("18 half a surrogate pair", r"holds U\+D800")(_json('"title":"', '"title":"\\ud800'))
case("19 a bidirectional mark in a name", r"holds U\+202E")(_json('"name":"net"', '"name":"net\u202e"'))
case("19 a zero-width space in a name", r"holds U\+200B")(_json('"name":"net"', '"name":"net\u200b"'))
case("20 a newline in a name", r"models\[0\].name: wrong value")(_json('"name":"net"', '"name":"net\\n"'))
case("21 an unknown field", r"suite\.colour: unknown key")(_json('"suite":{', '"suite":{"colour":"red",'))
case("21 an unknown field in the manifest", r"colour: unknown key")(_json("{", '{"colour":"red",', MANIFEST))
case("22 a newer manifest", r"schema_version 2 is newer than 1.*upgrade")(
    _json('"schema_version":1', '"schema_version":2,"what_it_brings":[]', MANIFEST)
)
case("22 newer records", r"record_schema_version 7 is newer.*upgrade")(
    _json('"record_schema_version":1', '"record_schema_version":7', MANIFEST)
)
case("no JSON", r"manifest.json: no JSON")(_json("{", "", MANIFEST))
case("no UTF-8", r"no UTF-8 at byte 0")(lambda c, o: (c.write("sweep.json", b"\xff{}"), c.sealed(o)))
case("an escape sequence in a title", r"holds U\+001B")(_json('"title":"', '"title":"\\u001b[2J'))
case("true for a number", r"wrong value")(_json('"count":40', '"count":true'))
case("code for a metric's parameters is only data, but a path is no name", r"suite_file: wrong value")(
    _json('"suite_file":"small.toml"', '"suite_file":"../small.toml"')
)


# --- Parquet ---------------------------------------------------------------------------------------------------------


def _parquet(name: str, table: pa.Table, **options: Any) -> Make:
    def make(crate: Crate, out: Path) -> None:
        pq.write_table(table, crate.folder / f"{name}.parquet", **options)
        crate.sealed(out)

    return make


@case("23 a row bomb", r"100,000,000 rows, at most")
def _(crate: Crate, out: Path) -> None:
    file = crate.folder / "latencies.parquet"
    table = pa.table({"cell_id": pa.nulls(10_000_000, pa.int32())})
    with pq.ParquetWriter(file, table.schema) as writer:
        for _ in range(10):
            writer.write_table(table, row_group_size=10_000_000)
    assert file.stat().st_size < 1 << 20
    crate.sealed(out)


@case("23 many rows of many columns", r"values are read")
def _(crate: Crate, out: Path) -> None:
    schema = pa.schema([*table_schema("latencies"), *(pa.field(f"c{number}", pa.null()) for number in range(200))])
    with pq.ParquetWriter(crate.folder / "latencies.parquet", schema) as writer:
        writer.write_table(pa.table([pa.nulls(1_000_000, field.type) for field in schema], schema=schema))
    crate.sealed(out)


@case("23 a text of 1 MB in each of 100,000 rows, packed to 1 MB", r"of memory|damaged")
def _(crate: Crate, out: Path) -> None:
    schema = table_schema("latencies")
    columns = [pa.nulls(100_000, field.type) for field in schema]
    bomb = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, dtype=np.int32)), pa.array(["x" * (1 << 20)]))
    table = pa.table([bomb, *columns[1:]], names=schema.names)
    pq.write_table(table, crate.folder / "latencies.parquet", compression="zstd", store_schema=False)
    assert (crate.folder / "latencies.parquet").stat().st_size < 2 << 20
    crate.sealed(out)


case("24 20,000 columns", r"damaged or no Parquet file.*|at most 4,194,304 are read")(
    _parquet("records", pa.table({f"c{number}": pa.array([1]) for number in range(20_000)}))
)


@case("24 a footer that says 2 GB", r"a footer of [\d,]+ bytes")
def _(crate: Crate, out: Path) -> None:
    content = crate.read("records.parquet")
    crate.write("records.parquet", content[:-8] + struct.pack("<I", (1 << 31) - 1) + b"PAR1")
    crate.sealed(out)


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Crate:
    home = tmp_path_factory.mktemp("sound")
    return Crate.of(results(home / "results"), home / "crate")


def _flipped(place: float) -> Make:
    """One bit of a data page, at a share of the way to the footer."""

    def make(crate: Crate, out: Path) -> None:
        content = bytearray(crate.read("records.parquet"))
        footer = int.from_bytes(content[-8:-4], "little")
        pages = pq.ParquetFile(crate.folder / "records.parquet").metadata.row_group(0)
        columns = [pages.column(number) for number in range(pages.num_columns)]
        chosen = columns[int(place * (len(columns) - 1))]
        # The last byte of a chunk belongs to the values of its last page.
        at = (chosen.dictionary_page_offset or chosen.data_page_offset) + chosen.total_compressed_size - 1
        assert at < len(content) - footer - 8
        content[at] ^= 0x10
        crate.write("records.parquet", bytes(content))
        crate.sealed(out)

    return make


for _place in (0.0, 0.5, 1.0):
    case(f"25 a flipped byte at {_place}", r"records.parquet is damaged")(_flipped(_place))
case("25 the footer's magic", r"is no Parquet file")(
    lambda c, o: (c.write("records.parquet", c.read("records.parquet")[:-1] + b"X"), c.sealed(o))
)


@case("26 an extension type that names code", r"column 'cell_id' names an extension type")
def _(crate: Crate, out: Path) -> None:
    payload = b"cos\nsystem\n(S'touch owned'\ntR."
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
    with crate.table("latencies") as held:
        table = held["table"]
        schema = table.schema.set(0, table.schema.field(0).with_metadata(metadata))
        held["table"] = table.cast(schema)
    crate.sealed(out)


@case("26 an extension type that is known", r"names an extension type")
def _(crate: Crate, out: Path) -> None:
    with crate.table("latencies") as held:
        column = pa.ExtensionArray.from_storage(pa.json_(), held["table"]["cell_id"].combine_chunks())
        held["table"] = held["table"].set_column(0, "cell_id", column)
    crate.sealed(out)


@case("27 wrong types", r"column round is string, not int32")
def _(crate: Crate, out: Path) -> None:
    with crate.table("latencies") as held:
        held["table"] = held["table"].set_column(1, "round", held["table"]["round"].cast(pa.string()))
    crate.sealed(out)


@case("27 columns in another order", r"its columns in another order")
def _(crate: Crate, out: Path) -> None:
    with crate.table("latencies") as held:
        held["table"] = held["table"].select([1, 0, *range(2, held["table"].num_columns)])
    crate.sealed(out)


@case("27 a column more", r"other columns than a bundle has: extra")
def _(crate: Crate, out: Path) -> None:
    with crate.table("predictions") as held:
        held["table"] = held["table"].append_column("extra", pa.nulls(len(held["table"]), pa.int64()))
    crate.sealed(out)


@case("20 a newline in a sample's name", r"sample_id: holds a character that is not seen")
def _(crate: Crate, out: Path) -> None:
    with crate.table("predictions") as held:
        names = held["table"]["sample_id"].to_pylist()
        held["table"] = held["table"].set_column(1, "sample_id", pa.array([f"{names[0]}\n", *names[1:]]))
    crate.sealed(out)


# --- Meaning ---------------------------------------------------------------------------------------------------------


def _row(reason_free: bool = False, **changes: Any) -> Make:
    """The last record with some fields changed."""

    def make(crate: Crate, out: Path) -> None:
        with crate.rows() as rows:
            rows[-1].update(changes)
        crate.sealed(out)

    return make


def _nested(field: str, **changes: Any) -> Make:
    def make(crate: Crate, out: Path) -> None:
        with crate.rows() as rows:
            rows[-1][field][0].update(changes)
        crate.sealed(out)

    return make


case("28 p99 below p50", r"p50_ns .* exceeds .*p90_ns|exceeds p99_ns")(
    _row(p99_ns=1.0, p99_low_ns=1.0, p99_high_ns=1.0)
)
case("29 an accuracy above 1", r"of a fraction lies outside \[0, 1\]")(_nested("scores", value=1.5, high=1.6))
case("29 an interval without its estimate", r"an interval without its estimate")(_row(p99_ns=None))
case("29 the same inside of a score", r"an interval of loss without its estimate")(_nested("scores", loss=None))
case("30 n that is not the sum of the strata", r"its strata by view have")(_nested("strata_scores", n=2))
case("31 a start in the future", r"lies in the future")(
    lambda c, o: _future(c, o, datetime.now(UTC) + timedelta(hours=2))
)
case("33 another test set", r"test_set_digest is 'cdcd.*sweep.json says 'abab")(_row(test_set_digest="cd" * 32))
case("33 another model", r"model_sha256 is")(_row(model_sha256="cd" * 32))
case("scores that its predictions do not give", r"its predictions give")(
    _row(primary_value=0.999, primary_value_high=1.0)
)
case("a verdict that its predictions do not give", r"verdict is .*, its predictions give")(_row(verdict="robust"))
case("a faster mean than its latencies", r"latency_mean_ns is")(_row(latency_mean_ns=1100.0))
case("a latency fewer", r"latency_n is 50, its latencies say 49")(lambda c, o: _sliced(c, o, "latencies", 1))
case("a prediction fewer", r"59 predictions for 60 scored samples")(lambda c, o: _sliced(c, o, "predictions", 1))
case("a row twice", r"cell_id cell-int8-static 2 times")(lambda c, o: _sliced(c, o, "records", 0, twice=True))
case("no rows", r"records.parquet: no rows")(
    lambda c, o: (write_parquet(arrow_schema().empty_table(), c.folder / "records.parquet"), c.sealed(o))
)
case("another machine in system.json", r"does not describe the hosts")(
    _json('"number_of_nodes":1', '"number_of_nodes":8', "system.json")
)
case("another run's name", r"run_id is not that of the records")(
    lambda c, o: (c.write_json(MANIFEST, {**c.json(MANIFEST), "run_id": "0" * 64}), c.packed(o))
)
case("22 a newer record", r"schema_version 2 is newer than 1.*upgrade")(_row(schema_version=2))
case("19 a bidirectional mark in a record", r"model_version: holds U\+202E")(_row(model_version="1.0\u202e"))
case("16 100,000 deep inside of a record", r"scheme_options: nested 100,000 deep")(_row(scheme_options=_DEEP))
case("13 NaN in a record", r"p50_ns: is float, not float64")(_row(p50_ns=float("nan")))


def _future(crate: Crate, out: Path, moment: datetime) -> None:
    with crate.rows() as rows:
        for row in rows:
            row["started_at"] = moment
    crate.name_the_run()
    crate.sealed(out)


def _sliced(crate: Crate, out: Path, name: str, count: int, *, twice: bool = False) -> None:
    with crate.table(name) as held:
        table = held["table"].slice(count)
        held["table"] = pa.concat_tables([table, table.slice(1)]) if twice else table
    crate.sealed(out)


# --- Signatures ------------------------------------------------------------------------------------------------------


def _signed(alter: Callable[[Any], None]) -> Make:
    """A bundle signed in earnest, then its envelope altered."""

    def make(crate: Crate, out: Path) -> None:
        key = out.with_suffix(".key")
        make_key(key)
        envelope = json.loads(attest(crate.read(MANIFEST), key))
        alter(envelope)
        crate.write_json("attestation.json", envelope)
        crate.packed(out)

    return make


def _payload(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def alter(envelope: Any) -> None:
        statement = json.loads(base64.b64decode(envelope["payload"]))
        content = change(statement)
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        envelope["payload"] = base64.b64encode(text).decode()

    return alter


case("a signature altered", r"the signature does not hold")(
    _signed(lambda envelope: envelope["signatures"][0].update(sig="A" * 86 + "=="))
)
case("a statement altered", r"the signature does not hold")(
    _signed(_payload(lambda statement: {**statement, "predicateType": "urn:other"}))
)
case("no signature", r"holds not one signature")(_signed(lambda envelope: envelope.update(signatures=[])))
case("17 a key twice in the statement", r"key '_type' twice")(
    _signed(_payload(lambda statement: json.dumps(statement).replace("{", '{"_type": "", ', 1).encode()))
)
case("a statement of another kind", r"no in-toto statement")(_signed(lambda envelope: envelope.update(payloadType="x")))
case("no envelope", r"is no DSSE envelope")(lambda c, o: (c.write("attestation.json", b"[]"), c.packed(o)))


@case("a signature of another bundle", r"what was signed is not this manifest")
def _(crate: Crate, out: Path) -> None:
    key = out.with_suffix(".key")
    make_key(key)
    crate.write("attestation.json", attest(crate.read(MANIFEST), key))
    with crate.rows() as rows:
        for row in rows:
            row["kernel"] = "another"
    crate.sealed(out)


# --- All of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class All:
    runs: tuple[Watched, ...]
    refused: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    left: list[Path]


@pytest.fixture(scope="module")
def everything(crate: Crate, tmp_path_factory: pytest.TempPathFactory) -> All:
    """Every hostile bundle, half of them given to one `lynxbench leaderboard verify` and half to another."""
    home = tmp_path_factory.mktemp("hostile")
    scratch = tmp_path_factory.mktemp("scratch")
    names = {}
    for number, one in enumerate(CASES):
        out = home / f"{number}.lynxbundle"
        mine = crate.copy(home / f"crate-{number}")
        one.make(mine, out)
        names[str(out)] = one.name
    before = everything_in(home)
    files = list(names)

    def look(chosen: list[str], place: Path) -> Watched:
        place.mkdir()
        return watched(
            "leaderboard", "verify", "--json", *chosen, home=place, scratch=scratch, timeout_s=10.0 * len(CASES)
        )

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(look, (files[::2], files[1::2]), (tmp_path_factory.mktemp("run") / n for n in "ab")))
    for ran in runs:
        assert ran.out, ran.err
    refused = {names[row["file"]]: row["refused"] for ran in runs for row in json.loads(ran.out)}
    return All(tuple(runs), refused, before, everything_in(home), list(scratch.iterdir()))


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_is_refused(one: Case, everything: All) -> None:
    reason = everything.refused[one.name]
    assert reason is not None
    assert re.search(one.reason, reason), reason
    assert "\n" not in reason
    assert len(reason) < 500


def test_all_end_with_exit_code_4_below_a_gigabyte_and_leave_nothing(everything: All) -> None:
    for ran in everything.runs:
        assert ran.code == 4
        assert ran.err == ""
        assert ran.peak_bytes < 1e9
    assert everything.before == everything.after
    assert everything.left == []


def test_every_number_of_the_list_has_a_case() -> None:
    numbers = {int(one.name.split()[0]) for one in CASES if one.name.split()[0].isdecimal()}
    assert numbers >= set(range(1, 32)) | {33}


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    ran = watched(
        "leaderboard", "verify", "--json", tmp_path / "pipe", "/dev/zero", tmp_path / "none",
        home=tmp_path, scratch=tmp_path, timeout_s=60,
    )  # fmt: skip
    assert ran.code == 4
    reasons = [row["refused"] for row in json.loads(ran.out)]
    assert reasons == ["is no regular file", "is no regular file", "cannot be opened: No such file or directory"]
