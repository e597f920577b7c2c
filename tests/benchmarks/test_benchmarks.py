"""The benchmarks in their smallest form: they run to their end and print what the page shows. No figure is judged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.performance import PAGE, SECTIONS
from tests.running import ROOT

CAN_BUILD = shutil.which("g++") or shutil.which("c++")


@pytest.mark.parametrize(
    ("script", "arguments", "printed"),
    [
        (
            "overhead.py",
            ["--seconds", "0.2"],
            r"tiny +\d+ .*\nmlp +\d+ .*\ncnn +\d+ " if shutil.which("g++") else "not run",
        ),
        ("lateness.py", ["--seconds", "0.2", "--rates", "300"], r"300  lynxbench +\d+"),
        ("coverage.py", ["--runs", "20"], r"(?s)independent  p50 .*3 sittings +ratio"),
        ("scoring.py", ["--runs", "2", "--samples", "4000"], r"(?s)top-1 .*ece-hard .*4,000 predictions, 4 metrics"),
        (
            "querying.py",
            ["--records", "2000"],
            r"(?s)2,000 records of .*question.*: \d+ rows in .*percentiles.*: \d+ rows",
        ),
        ("interleaving.py", ["--seconds", "1"], r"interleaved .*\nA, then B"),
    ],
)
def test_a_benchmark_runs_to_its_end(script: str, arguments: list[str], printed: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(printed, ran.stdout), ran.stdout


def test_the_page_is_what_the_script_writes() -> None:
    page = PAGE.read_text()
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == [s.title for s in SECTIONS]
    for section in SECTIONS:
        assert section.about in page
        assert f"$ {' '.join(['python', f'benchmarks/{section.script}', *section.full])}\n" in page
        assert (ROOT / "benchmarks" / section.script).is_file()
    assert "exit code" not in page
