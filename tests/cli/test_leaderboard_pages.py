"""docs/bundles.md and docs/leaderboard.md, command by command, as a reader would type them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq

from lynxbench.leaderboard.chunks import INLINE_ROWS
from lynxbench.leaderboard.trust import TIERS
from tests.cli.conftest import Starter
from tests.leaderboard.test_hostile_bundles import CASES
from tests.running import ROOT, Ran, environment, lynxbench

BUNDLES = (ROOT / "docs" / "bundles.md").read_text()
LEADERBOARD = (ROOT / "docs" / "leaderboard.md").read_text()


def commands(page: str) -> list[str]:
    return "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).splitlines()


def run(line: str, home: Path) -> Ran:
    words = shlex.split(line, comments=True)
    if words[0] == "lynxbench":
        return lynxbench(*words[1:], home=home)
    done = subprocess.run(
        line, shell=True, cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_bundles_from_top_to_bottom(starter: Starter, tmp_path: Path) -> None:
    shutil.copytree(starter.folder, tmp_path / "results" / "starter")
    said = []
    for line in commands(BUNDLES):
        ran = run(line, tmp_path)
        assert ran.code == (4 if "# exit code 4" in line else 0), ran.err
        said.append(ran.out)
    _, bundled, _, known, unknown, added, again, _ = said
    assert "signed" in bundled
    assert re.search(r"alice +52 rescored", known)
    assert re.search(r"unknown key [0-9a-f]{12} +52 self-reported", unknown)
    assert re.search(r"52 rescored → accepted/[0-9a-f]{16}", added)
    assert "refused: was taken in before" in again
    # And every row of the site bears what was found out.
    table = pq.read_table(tmp_path / "site" / "data" / "records.parquet")
    assert set(table["trust"].to_pylist()) == {"rescored"}
    shown = [block for block in re.findall(r"```text\n(.*?)```", BUNDLES, re.DOTALL) if block.startswith("file")]
    for block, out in zip(shown, (known, unknown, again), strict=True):
        assert block.split()[:5] == out.split()[:5]


def test_every_number_and_every_tier_is_on_the_page() -> None:
    part = BUNDLES.partition("## What is refused")[2]
    numbers = {int(number) for number in re.findall(r"(?<=[·|] )(\d+)(?= )", part)}
    assert numbers == set(range(1, 39))
    assert {int(one.name.split()[0]) for one in CASES if one.name.split()[0].isdecimal()} <= numbers
    assert re.findall(r"\n\| `([a-z-]+)` \|", BUNDLES) == list(TIERS)


def test_leaderboard_from_top_to_bottom(starter: Starter, tmp_path: Path) -> None:
    shutil.copytree(starter.folder, tmp_path / "results" / "starter")
    first, second = [run(line, tmp_path) for line in commands(LEADERBOARD)]
    assert first.code == 0, first.err
    assert re.match(r"52 records of 1 host, 3 workloads; \d+ rows ranked in 10 contests\n", first.out)
    assert second.json()["records"] == 52
    assert "<title>" in (tmp_path / "site" / "index.html").read_text()
    # The permalink of the page is as this site's are, but for the digests: a smaller test set was asked here.
    link = re.search(r"index\.html#w=([\w.-]+-)[0-9a-f]{6}&", LEADERBOARD)
    assert link is not None
    assert f'"slug":"{link[1]}' in (tmp_path / "site" / "data" / "site.js").read_text()


def test_the_picture_is_small_and_what_the_page_says_holds() -> None:
    picture = ROOT / "docs" / "leaderboard.png"
    assert 20_000 < picture.stat().st_size < 300_000
    assert f"Up to {INLINE_ROWS:,} rows" in LEADERBOARD
