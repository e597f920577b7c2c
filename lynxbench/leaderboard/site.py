"""A static site made of records: opens from a folder, asks nobody for anything, and only draws what Python computed.

    index.html candidate.html method.html
    assets/    style, scripts, the bundled libraries and their licences
    data/      site.js (what there is), rows-*.js (the overview), c-*.js (whole records), d-*.js (diagnoses),
               records.parquet and .json

One page shows every candidate, by the id behind `#`: a file for each would be a hundred thousand files. The rows lie in
chunks, so that a page draws from the first of them while the others load.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lynxbench import __version__
from lynxbench.errors import StoreError, UsageError
from lynxbench.leaderboard.chunks import INLINE_ROWS, plain_rows, script, write_chunk
from lynxbench.leaderboard.collect import collect, results_folders
from lynxbench.leaderboard.contests import Summary, places, summaries
from lynxbench.leaderboard.details import details
from lynxbench.leaderboard.diagnoses import diagnoses_by_id
from lynxbench.leaderboard.rows import Workload, host_labels, scenarios_of, workloads
from lynxbench.records.schema import SECTIONS
from lynxbench.records.store import write_parquet

HERE = Path(__file__).parent
ROWS_A_CHUNK = 2_000
RECORDS_A_CHUNK = 250
# Above this many records the JSON to download would be gigabytes: it has the overview's columns, Parquet has all.
WHOLE_JSON_ROWS = 5_000
PAGES = ("index", "candidate", "method")
# No script, style or picture from elsewhere, no connection, no form; Plot sets styles on the elements it draws.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Site:
    """What was built."""

    folder: Path
    records: int
    workloads: int
    contests: int
    ranked: int
    hosts: int
    replaced: int
    size_bytes: int
    diagnosed: int


def build_site(
    paths: Sequence[Path],
    out: Path,
    *,
    title: str = "LynxBench leaderboard",
    force: bool = False,
    diagnoses: Sequence[Path] = (),
    on_step: Callable[[str, float], None] = lambda what, share: None,
) -> Site:
    """Write a site of the records below `paths` to `out`, at one stroke; `on_step` hears what is done, and the share.

    diagnoses  files that `lynxbench diagnose --json` wrote: each is shown on the pages of its candidate
    Raises `UsageError` when there is nothing to show, `out` is in the way or Jinja2 is missing, `StoreError` when
    records are damaged or the site cannot be written, `UntrustedInput` for a diagnosis that is none.
    """
    if find_spec("jinja2") is None:
        raise UsageError("the pages need Jinja2\n  try       pip install 'lynxbench[leaderboard]'")
    _may_write(out, force)
    folders = results_folders(paths)
    done = iter(range(len(folders)))
    collected = collect(
        folders, on_folder=lambda folder: on_step(f"reading {folder}", 0.35 * next(done) / len(folders))
    )
    diagnosed = diagnoses_by_id(diagnoses, collected.records)
    on_step("ranking", 0.35)
    placed = places(collected.records)
    found = workloads(collected, placed)
    over_all = summaries(collected.records, placed)
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(6)}.tmp")
    try:
        (temporary / "data").mkdir(parents=True)
        shutil.copytree(HERE / "assets", temporary / "assets")
        on_step("writing rows", 0.5)
        about = _write_overview(temporary / "data", collected.records, found, over_all, title)
        on_step("writing candidates", 0.6)
        whole = details(collected, placed)
        _write_candidates(temporary / "data", whole, about["chunks"])
        on_step("writing downloads", 0.85)
        _write_downloads(temporary / "data", collected.records, found)
        about["diagnosed"] = sorted(diagnosed)
        for row, one in diagnosed.items():
            text = script("lynxbench.receive", f"d-{row}", {"json": one})
            (temporary / "data" / f"d-{row}.js").write_text(text, encoding="ascii")
        (temporary / "data" / "site.js").write_text(script("lynxbench.begin", about), encoding="ascii")
        (temporary / "data" / "fields.js").write_text(script("lynxbench.receive", "fields", _fields()), "ascii")
        _write_pages(temporary, title, about)
        size = sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file())
        _put(temporary, out)
    except OSError as error:
        raise StoreError(f"the site could not be written to {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    on_step("done", 1.0)
    ranked = sum(any(place.standing.values()) for place in placed)
    contests = len({place.contest for place in placed})
    hosts = len(about["hosts"])
    return Site(out, len(placed), len(found), contests, ranked, hosts, collected.replaced, size, len(diagnosed))


def _may_write(out: Path, force: bool) -> None:
    """A folder of anything else is never written over, not even with force."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "data" / "site.js").is_file():
        raise UsageError(f"{out} is there and no site that LynxBench built\n  try       another folder with --out")
    if not force:
        raise UsageError(f"{out} holds an older site\n  try       --force, which replaces it")


def _put(temporary: Path, out: Path) -> None:
    if out.exists():
        older = out.with_name(f".{out.name}.{secrets.token_hex(6)}.old")
        out.replace(older)
        temporary.replace(out)
        shutil.rmtree(older)
    else:
        temporary.replace(out)


def _write_overview(
    data: Path, records: Any, found: Sequence[Workload], over_all: Sequence[Summary], title: str
) -> dict[str, Any]:
    """The chunks of rows and summaries; returns what `site.js` says about them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inline = len(records) <= INLINE_ROWS
    hosts = host_labels(records)
    listed = []
    for number, workload in enumerate(found):
        chunks: list[str] = []
        for start in range(0, len(workload.rows), ROWS_A_CHUNK):
            chunks.append(f"rows-{number}-{len(chunks)}")
            part = workload.rows.slice(start, ROWS_A_CHUNK)
            write_chunk(data / f"{chunks[-1]}.js", chunks[-1], part, inline=inline)
        scenarios = scenarios_of(workload.rows, records)
        listed.append({**workload.about, "rows": len(workload.rows), "scenarios": scenarios, "chunks": chunks})
    table = pa.Table.from_pylist([_flat(one, hosts) for one in over_all], schema=_summary_schema())
    write_chunk(data / "summary.js", "summary", table, inline=len(table) <= INLINE_ROWS)
    return {
        "title": title,
        "version": __version__,
        "workloads": listed,
        "hosts": sorted(hosts.values()),
        "records": len(records),
        "chunks": max(1, -(-len(records) // RECORDS_A_CHUNK)),
        "latest": pc.max(records["started_at"]).as_py().date().isoformat(),
        "whole_json": len(records) <= WHOLE_JSON_ROWS,
    }


def _flat(summary: Summary, hosts: Mapping[str, str]) -> dict[str, Any]:
    plain = asdict(summary)
    mean = plain.pop("mean")
    return {**plain, **mean.pop("ratio"), **mean, "host": hosts[plain.pop("host_id")]}


def _summary_schema() -> Any:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("scheme", "executor", "host", "scenario")]
    numbers = [(name, pa.float64()) for name in ("value", "low", "high")]
    return pa.schema([*texts, *numbers, *((name, pa.int32()) for name in ("covered", "of", "robust", "fragile"))])


def _write_candidates(data: Path, whole: Any, chunks: int) -> None:
    """Whole records, each in the chunk that the page works out from its id."""
    import pyarrow as pa

    whole = whole.combine_chunks()  # rows are picked from one piece ten times as fast as from many
    mine = np.array([int(one[:8], 16) % chunks for one in whole["id"].to_pylist()])
    order = np.argsort(mine, kind="stable")
    ends = np.searchsorted(mine[order], np.arange(chunks + 1))
    inline = len(whole) <= INLINE_ROWS
    for chunk in range(chunks):
        part = whole.take(pa.array(order[ends[chunk] : ends[chunk + 1]]))
        write_chunk(data / f"c-{chunk}.js", f"c-{chunk}", part, inline=inline)


def _write_downloads(data: Path, records: Any, found: Sequence[Workload]) -> None:
    import pyarrow as pa

    records = records.drop_columns(["key"])
    write_parquet(records, data / "records.parquet")
    table = records if len(records) <= WHOLE_JSON_ROWS else pa.concat_tables([workload.rows for workload in found])
    with (data / "records.json").open("w", encoding="utf-8") as file:
        for start in range(0, len(table), 1_000):
            for place, row in enumerate(plain_rows(table.slice(start, 1_000)), start):
                file.write(("[\n" if place == 0 else ",\n") + json.dumps(row, ensure_ascii=False, allow_nan=False))
        file.write("\n]\n")


def _fields() -> dict[str, Any]:
    """The field table, for the pages' labels."""
    sections = [
        {"title": section.title, "fields": [[field.name, field.unit, field.meaning] for field in section.fields]}
        for section in SECTIONS
    ]
    return {"json": sections}


def _write_pages(folder: Path, title: str, about: Mapping[str, Any]) -> None:
    import jinja2

    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for page in PAGES:
        text = pages.get_template(f"{page}.html.j2").render(
            title=title, page=page, policy=POLICY, about=about, version=__version__
        )
        (folder / f"{page}.html").write_text(text, encoding="utf-8")
