"""The pages in Debian's Chromium, opened from a folder. What they may not do is watched by the fixture `opened`."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from markupsafe import escape
from playwright.sync_api import Page, expect

from benchmarks.synthetic import write_results
from lynxbench.leaderboard.site import POLICY, build_site
from tests.leaderboard.conftest import ENDING, HOSTILE

Open = Callable[..., Page]


def overview(opened: Open, site: Path, hash_: str = "", **context: Any) -> Page:
    page = opened((site / "index.html").as_uri() + hash_, **context)
    page.locator("#summary tbody tr").first.wait_for()
    return page


def rows(page: Page) -> list[dict[str, str]]:
    """The table's rows as a reader sees them, by column heading."""
    found: list[dict[str, str]] = page.evaluate(
        """[...document.querySelectorAll('#rows tbody tr')].map((row) =>
           Object.fromEntries([...row.cells].map((cell) => [cell.dataset.label, cell.innerText.trim()])))"""
    )
    return found


def all_rows(site: Path) -> list[dict[str, Any]]:
    """The first workload's rows as the site holds them."""
    found: list[dict[str, Any]] = []
    for file in sorted((site / "data").glob("rows-0-*.js")):
        text = file.read_text()
        found += json.loads(f"[{text[len('lynxbench.receive(') : -len(');') - 1]}]")[1]["json"]
    return found


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"[data-filter={name}]").select_option(value)


def order(page: Page, label: str) -> None:
    page.locator("#rows thead button", has_text=re.compile(rf"^{re.escape(label)}\b")).click()


def test_it_sorts_by_a_heading_in_both_ways_and_back(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    before = rows(page)
    speeds = sorted(
        row["speed"] for row in all_rows(site) if row["scenario"] == "single-stream, batch 1" and row["speed"]
    )
    order(page, "Speed")
    expect(page.locator("th[aria-sort=ascending]")).to_have_count(1)
    assert rows(page)[0]["Speed"].startswith(f"{speeds[0]:.2f}×")
    order(page, "Speed")
    expect(page.locator("th[aria-sort=descending]")).to_have_count(1)
    assert rows(page)[0]["Speed"].startswith(f"{speeds[-1]:.2f}×")
    order(page, "Speed")
    expect(page.locator("th[aria-sort=descending]")).to_have_count(0)
    assert rows(page) == before


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("model", "captions-net-00", "model"), ("scheme", "int8-static", "scheme"),
        ("executor", "openvino", "executor"), ("verdict", "fragile", "verdict"), ("verdict", "failed", "status"), 
        ("grade", "no", "grade"), ("trust", "rescored", "trust"),
    ],
)  # fmt: skip
def test_it_filters(opened: Open, site: Path, name: str, value: str, column: str) -> None:
    page = overview(opened, site)
    choose(page, name, value)
    wanted = [r for r in all_rows(site) if r["scenario"] == "single-stream, batch 1" and r[column] == value]
    assert wanted
    expect(page.locator("#count")).to_contain_text(f"of {len(wanted)}.")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#count")).not_to_contain_text(f"of {len(wanted)}.")


def test_a_link_brings_back_what_one_saw(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    assert page.evaluate("location.hash") == ""
    page.locator("#scenario").select_option("offline, batch 32")
    page.get_by_label("median latency").check()
    choose(page, "scheme", "int8-static")
    choose(page, "host", "Another CPU, 8 cores, bbbb")
    order(page, "Speed")
    address, seen = page.url, rows(page)
    assert len(seen) > 2
    again = overview(opened, site, "#" + address.partition("#")[2])
    assert rows(again) == seen
    assert again.url == address
    assert again.locator("[data-filter=scheme]").input_value() == "int8-static"
    assert again.locator("input[name=axis]:checked").get_attribute("value") == "latency"
    assert len(address.partition("#")[2]) < 120
    # And by hand, within the page.
    again.evaluate("location.hash = 'q=fp16'")
    expect(again.locator("[data-filter=scheme]")).to_have_value("fp16")
    expect(again.locator("#scenario")).to_have_value("single-stream, batch 1")


def test_a_link_to_what_is_not_there_shows_what_is(opened: Open, site: Path) -> None:
    page = overview(opened, site, "#w=gone&s=none&x=odd&q=no-such&p=99&o=nothing")
    expect(page.locator("#count")).to_contain_text("No row matches")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#count")).to_contain_text("Rows 1 to")


def test_another_workload_is_another_page_of_rows(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    page.locator("#workload").select_option(label="intents 1.0")
    expect(page.locator("#workload-about")).to_contain_text("intents 1.0")
    assert {row["Model"].rpartition("-")[0] for row in rows(page)} == {"intents-net"}


def test_ranks_are_those_that_python_gave(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    by_id = {row["id"]: row for row in all_rows(site)}
    links = page.locator("#rows tbody a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    ranks = [row["Rank"] for row in rows(page)]
    assert len(ranks) > 20
    wanted = [by_id[link.partition("#")[2]]["latency_rank"] for link in links]
    assert ranks == ["–" if rank is None else str(rank) for rank in wanted]
    assert {"–", "1", "2"} <= set(ranks)
    for row, rank in zip(rows(page), ranks, strict=True):
        assert rank == "–" or row["Grade"] in {"yes", "–"}


def test_the_table_can_be_worked_by_keyboard(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.key") == "speed":
            break
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort=ascending]")).to_have_text(re.compile("Speed"))
    # The focus stays on what was pressed, though the table was drawn anew.
    assert page.evaluate("document.activeElement.dataset.key") == "speed"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "A":
            break
    page.keyboard.press("Enter")
    page.locator(".tiles").wait_for()
    page.locator("#back").focus()
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort=ascending]")).to_have_text(re.compile("Speed"))


def test_text_from_records_is_text(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    assert page.locator("main img, body > img").count() == 0
    choose(page, "model", HOSTILE)
    assert {row["Model"] for row in rows(page)} == {HOSTILE}
    expect(page.locator("figcaption").first).to_contain_text(HOSTILE)
    expect(page.locator(".brand")).to_have_text(f"Tests {HOSTILE}")
    page.locator("#rows tbody a").first.click()
    page.locator(".tiles").wait_for()
    assert page.locator("img").count() == 0
    expect(page.locator("h1")).to_contain_text(HOSTILE)
    expect(page.locator(".warnings")).to_contain_text(ENDING)
    assert page.title().startswith(HOSTILE)


def test_a_candidate_page_says_everything(opened: Open, site: Path, results: Path) -> None:
    mine = {"scheme": "int8-static", "executor": "cpu", "model": "captions-net-00"}
    row = next(r for r in all_rows(site) if mine.items() <= r.items())
    page = opened((site / "candidate.html").as_uri() + f"#{row['id']}")
    page.locator(".tiles").wait_for()
    for heading in (
        "Strata", "Latency", "Disclosure", "Warnings", "Scheme and executor", "Host", "Placement",
        "Versions and digests", "Measure it again", "Every field",
    ):  # fmt: skip
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.locator("pre code")).to_have_text(
        "lynxbench sweep synthetic.toml --only workload=captions,model=captions-net-00,scheme=int8-static,"
        f"calibration=captions-train,executor=cpu,scenario={row['scenario'].partition(',')[0]}"
    )
    assert page.locator(".checklist .held").count() == 6
    assert page.locator("svg[role=img]").count() == 2
    # Every field of the Parquet file.
    page.get_by_text("fields, as in the Parquet file").click()
    fields = page.locator("#all + details tbody tr td:first-child").all_inner_texts()
    assert fields == pq.read_schema(results / "one" / "records.parquet").names
    expect(page.locator("#candidate")).to_contain_text("few_samples Too few runs")


def test_a_failed_row_has_a_page_with_its_reason(opened: Open, site: Path) -> None:
    row = next(r for r in all_rows(site) if r["status"] == "failed")
    page = opened((site / "candidate.html").as_uri() + f"#{row['id']}")
    expect(page.locator(".note")).to_have_text(f"failed: the kernel is missing {HOSTILE}")
    expect(page.locator("#candidate")).to_contain_text("No raw latencies came with this record")


@pytest.mark.parametrize("hash_", ["", "#0123456789abcdef", "#<img src=x>"])
def test_an_unknown_candidate_is_said_so(opened: Open, site: Path, hash_: str) -> None:
    page = opened((site / "candidate.html").as_uri() + hash_)
    expect(page.locator("h1")).to_have_text("No such candidate")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(opened: Open, site: Path, scheme: str, width: int) -> None:
    context = {"color_scheme": scheme, "viewport": {"width": width, "height": 844}}
    page = overview(opened, site, **context)
    checked(page)
    page.locator("#rows tbody a").first.click()
    page.locator(".tiles").wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    checked(page)
    page.goto((site / "method.html").as_uri())
    checked(page)


def checked(page: Page) -> None:
    """Axe's findings, and whether anything sticks out sideways."""
    # Without preloading: it would ask for the style sheet by a request that the policy refuses.
    found = Axe().run(page, options={"preload": False})
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_switch_overrides_the_system(opened: Open, site: Path, scheme: str) -> None:
    page = overview(opened, site, color_scheme=scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    system = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme")
    button.click()
    light = page.evaluate(ground)
    button.click()
    dark = page.evaluate(ground)
    assert light != dark
    assert system == (light if scheme == "light" else dark)
    page.reload()
    assert page.evaluate(ground) == dark
    assert button.inner_text() == "Theme: dark"


def test_the_phone_shows_cards_and_no_labels(opened: Open, site: Path) -> None:
    page = overview(opened, site, viewport={"width": 390, "height": 844})
    assert page.locator(".point-label").count() == 0
    box = page.locator("#rows tbody tr").first.bounding_box()
    assert box is not None
    assert box["width"] <= 390
    assert len(page.locator("figure svg").all()) > 1
    assert overview(opened, site).locator(".point-label").count() > 0


def test_nothing_is_allowed_that_the_pages_do_not_need(opened: Open, site: Path) -> None:
    for page in site.glob("*.html"):
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.read_text())
        assert policy is not None
        assert html.unescape(policy[1]) == POLICY
        assert not re.search(r"<script(?! src=\"(assets|data)/)", page.read_text())
        assert not re.search(r"\bon\w+=", page.read_text().replace(str(escape(HOSTILE)), ""))
    assert {part.split()[0]: part.split()[1:] for part in POLICY.split("; ")} == {
        "default-src": ["'none'"], "script-src": ["'self'"], "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"], "base-uri": ["'none'"], "form-action": ["'none'"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Above the rows that are JSON: in Parquet, in several chunks a workload."""
    folder = tmp_path_factory.mktemp("large")
    write_results(folder / "results", 10_000)
    build_site([folder / "results"], folder / "site")
    return folder / "site"


def test_a_large_site_reads_its_parquet(opened: Open, large: Path) -> None:
    assert '"parquet"' in (large / "data" / "rows-0-0.js").read_text()[:60]
    page = overview(opened, large)
    expect(page.locator("#count")).to_have_text("Rows 1 to 50 of 1,250.")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#count")).to_have_text("Rows 51 to 100 of 1,250.")
    assert "p=2" in page.url
    page.get_by_role("button", name="Last").click()
    expect(page.locator("#pager")).to_contain_text("Page 25 of 25")
    order(page, "Speed")
    order(page, "Speed")
    table = pq.read_table(large / "data" / "records.parquet", filters=[("scenario", "=", "single-stream")])
    mine = table.filter([rubric == "captions" for rubric in table["rubric"].to_pylist()])
    fastest = max(ratio for ratio in mine["throughput_ratio"].to_pylist())
    assert rows(page)[0]["Speed"].startswith(f"{fastest:.2f}×")
    page.locator("#rows tbody a").first.click()
    page.locator(".tiles").wait_for()
    expect(page.locator(".tiles")).to_contain_text(f"{fastest:.2f}×")
    expect(page.locator("#candidate")).to_contain_text("2026-11-20 12:00:00 UTC")
    expect(page.get_by_text("fields, as in the Parquet file")).to_be_visible()
    checked(page)


def test_no_column_is_cut_off_at_a_laptop_s_width(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    # Two hosts, two executors and a long name: the widest the table gets.
    assert {"Executor", "Host", "Trust"} <= set(rows(page)[0])
    for scenario in page.locator("#scenario option").all_inner_texts():
        page.locator("#scenario").select_option(scenario)
        table = page.locator("#rows")
        assert table.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert {row["Trust"] for row in rows(page)} == {"self-reported", "signed", "rescored"}


def test_the_rank_of_a_fragile_row_does_not_look_like_advice(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    fragile = page.locator("#rows tbody tr", has=page.locator(".verdict.fragile")).locator(".rank")
    assert fragile.count() > 0
    for badge in fragile.all():
        assert "fragile: loses more than tolerated" in str(badge.get_attribute("title"))
        assert badge.evaluate("one => getComputedStyle(one).backgroundColor") == "rgba(0, 0, 0, 0)"
    sound = page.locator("#rows tbody tr", has=page.locator(".verdict.robust")).locator(".rank.frontier").first
    assert sound.evaluate("one => getComputedStyle(one).backgroundColor") != "rgba(0, 0, 0, 0)"
    assert page.locator("#legend", has_text="fragile: loses more than tolerated").count() == 1


def test_it_says_why_rows_have_no_rank(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    mine = [row for row in all_rows(site) if row["scenario"] == "single-stream, batch 1"]
    reasons = Counter(row["unranked"] for row in mine if row["unranked"])
    expect(page.locator("#unranked")).to_contain_text(f"{reasons.total()} of them are shown without a rank")
    for reason, count in reasons.items():
        expect(page.locator("#unranked")).to_contain_text(f"{reason} ({count})")
    choose(page, "grade", "reference")
    expect(page.locator("#unranked")).to_have_text("")


def test_what_all_rows_share_stands_above_them(opened: Open, results: Path, tmp_path: Path) -> None:
    build_site([results / "two"], tmp_path / "site")
    page = overview(opened, tmp_path / "site")
    assert "Host" not in rows(page)[0]
    expect(page.locator("#rows caption")).to_have_text(re.compile(r"on Another CPU, 8 cores, bbbb$"))
    assert page.locator("[data-filter=host], [data-filter=trust]").count() == 0
    assert page.locator("[data-filter=scheme]").count() == 1
    choose(page, "model", "captions-net-00")
    box = page.locator("figure svg").bounding_box()
    assert box is not None
    assert box["width"] > 1100


def test_names_in_a_chart_cover_no_point_and_no_other_name(opened: Open, site: Path) -> None:
    page = overview(opened, site)
    overlaps = page.evaluate(
        """[...document.querySelectorAll('figure svg')].flatMap((svg) => {
             const boxes = [...svg.querySelectorAll('.point-label')].map((one) => one.getBoundingClientRect());
             return boxes.flatMap((a, first) => boxes.slice(first + 1).filter((b) =>
               a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
           }).length"""
    )
    assert page.locator(".point-label").count() > 6
    assert overlaps == 0
