"""A site of many made-up records: how long it takes to build, how much memory, and when its first page is drawn.

    python benchmarks/leaderboard.py [--records 100000]

The first draw is when the first charts and the first table page stand in the document, counted from the start of the
navigation, in Debian's Chromium with an empty cache; then when all of the first workload's rows are loaded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.synthetic import write_results

ROOT = Path(__file__).resolve().parent.parent
OPENINGS = 5


def build(results: Path, site: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak memory in bytes of `lynxbench leaderboard build`."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "lynxbench", "leaderboard", "build", str(results), "--out", str(site)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the build ended with exit code {process.returncode}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def open_pages(site: Path, chromium: str) -> list[dict[str, Any]]:
    """Milliseconds to what a reader sees, of each opening in a fresh browser context."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(OPENINGS):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto((site / "index.html").as_uri())
            # The means across workloads come last.
            page.locator("#summary tbody tr").first.wait_for(timeout=60_000)
            drawn = page.evaluate("performance.getEntriesByName('lynxbench-first-draw')[0].startTime")
            loaded = page.evaluate("performance.now()")
            link = page.locator("#rows tbody a").first.get_attribute("href")
            page.goto((site / "candidate.html").as_uri() + str(link).removeprefix("candidate.html"))
            page.wait_for_selector(".tiles")
            found.append({"drawn": drawn, "loaded": loaded, "candidate": page.evaluate("performance.now()")})
            page.context.close()
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    n = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder:
        results, site = Path(folder) / "results", Path(folder) / "site"
        write_results(results, n)
        seconds, processor, memory = build(results, site)
        files = [file for file in site.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        print(f"{n:,} records: built in {seconds:.1f} s, {processor:.1f} s of them on the processor")
        print(f"peak memory {memory / 1e9:.2f} GB")
        print(f"{len(files):,} files, {size / 1e6:,.0f} MB")
        print(f"the machine's load meanwhile: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
        chromium = shutil.which("chromium")
        if chromium is None:
            print("first draw: not run, no chromium here")
            return
        openings = open_pages(site, chromium)
        for name, text in (
            ("drawn", "first draw"), ("loaded", "all rows of the workload"), ("candidate", "a candidate's page"),
        ):  # fmt: skip
            times = [one[name] for one in openings]
            print(f"{text}: {statistics.median(times):.0f} ms (of {OPENINGS}: {min(times):.0f} to {max(times):.0f})")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
