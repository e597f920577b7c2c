"""Results folders of made-up records, bent where a test needs it, and a site of them in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from benchmarks.synthetic import one_host
from lynxbench.leaderboard.site import build_site
from lynxbench.leaderboard.trust import FILE, Facts
from lynxbench.records.record import Record
from lynxbench.records.schema import FIELDS, arrow_schema
from lynxbench.records.store import write_parquet

HOSTILE = '<img src=x onerror="document.title=1">'
ENDING = "</script><script>document.title='taken'</script>"


def write_folder(folder: Path, records: list[Record], latencies_a_cell: int = 50) -> Path:
    """A results folder as a sweep leaves it."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist([dict(record.values) for record in records], schema=arrow_schema())
    write_parquet(table, folder / "records.parquet")
    random = np.random.default_rng(0)
    rows = [
        {"cell_id": r["cell_id"], "round": 0, "excluded": False, "latency_ns": int(ns)}
        for r in records
        if r["p50_ns"] is not None
        for ns in r["p50_ns"] * np.exp(random.normal(0, 0.1, latencies_a_cell))
    ]
    schema = pa.schema(
        [("cell_id", pa.string()), ("round", pa.int32()), ("excluded", pa.bool_()),
         ("latency_ns", pa.int64()), ("scheduled_ns", pa.int64()), ("issued_ns", pa.int64())]
    )  # fmt: skip
    write_parquet(pa.Table.from_pylist(rows, schema=schema), folder / "latencies.parquet")
    (folder / "sweep.json").write_text("{}")
    return folder


def changed(record: Record, **values: Any) -> Record:
    return Record({**record.values, **values})


def varied(models: int = 3) -> list[Record]:
    """Records with what a leaderboard must cope with: simulated, failed and undisclosed rows, hostile names."""
    found = []
    for made in one_host(0, models=models):
        hostile = made["model"] == "captions-net-02"
        record = changed(made, model=HOSTILE) if hostile else made
        if record["scheme"] == "w4" and record["executor"] == "openvino":
            found.append(changed(record, simulated=True))
        elif record["scheme"] == "fp16" and record["model"].endswith("01"):
            found.append(changed(record, decision_grade=False))
        elif record["scheme"] == "int8-dynamic" and record["executor"] == "openvino":
            keep = {n: v for n, v in record.values.items() if n in _DECLARED}
            found.append(Record({**keep, "status": "failed", "reason": f"the kernel is missing {HOSTILE}"}))
        elif hostile:
            found.append(changed(record, reason=ENDING, warnings=[{"code": ENDING, "advice": HOSTILE}]))
        else:
            found.append(record)
    return found


# What is known of a cell before it runs.
_DECLARED = {field.name for field in FIELDS if field.need == "always"} | {"batch_size"}


def other_host(records: list[Record], host_id: str, cpu: str) -> list[Record]:
    return [changed(record, host_id=host_id, cpu=cpu) for record in records]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hosts; the first one's records as they are after a bundle was taken in, one of them not to be rescored."""
    folder = tmp_path_factory.mktemp("leaderboard") / "results"
    records = varied()
    write_folder(folder / "one", records)
    unscored = {str(records[0]["cell_id"]): "its metric is a function"}
    facts = Facts("b" * 64, "run", key_id="k" * 64, signer="alice", unscored=unscored)
    (folder / "one" / FILE).write_bytes(facts.encoded())
    write_folder(folder / "two", other_host(varied(), "b" * 16, "Another CPU"))
    return folder


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small enough for JSON."""
    out = tmp_path_factory.mktemp("site") / "site"
    build_site([results], out, title=f"Tests {HOSTILE}")
    return out


# Not for the session: Playwright keeps an event loop running in this thread, and other rooms' tests run their own.
@pytest.fixture(scope="module")
def playwright_run() -> Iterator[Playwright]:
    with sync_playwright() as run:
        yield run


@pytest.fixture(scope="module")
def browser(playwright_run: Playwright) -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "these tests drive Debian's chromium: apt-get install chromium"
    browser = playwright_run.chromium.launch(executable_path=path, args=["--no-sandbox"])
    yield browser
    browser.close()


@dataclass
class Watched:
    """A page, and whatever it did that it must not do."""

    page: Page
    trouble: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end, none may have written to the console, thrown, or asked another origin for anything."""
    watched: list[Watched] = []

    def start(address: str, **context: Any) -> Page:
        options: Mapping[str, Any] = {"viewport": {"width": 1280, "height": 900}, **context}
        one = Watched(browser.new_context(**options).new_page())
        one.page.on("console", lambda message: one.trouble.append(f"console {message.type}: {message.text}"))
        one.page.on("pageerror", lambda error: one.trouble.append(f"thrown: {error}"))
        one.page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file://", "data:")) else one.trouble.append(f"asked {request.url}")
            ),
        )
        one.page.on("requestfailed", lambda request: one.trouble.append(f"not there: {request.url}"))
        watched.append(one)
        one.page.goto(address)
        return one.page

    yield start
    for one in watched:
        one.page.context.close()
    assert [trouble for one in watched for trouble in one.trouble] == []
