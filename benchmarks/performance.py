"""All benchmarks of LynxBench itself one after the other; with `--write` into docs/performance.md.

    python benchmarks/performance.py [--full] [--write] [--only SCRIPT …]

Short by default (about four minutes); `--full` takes about a quarter of an hour and is what the page shows.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lynxbench.execution import host_facts

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "performance.md"


@dataclass(frozen=True)
class Section:
    """One script, what it shows, and its arguments when short and in full."""

    title: str
    script: str
    about: str
    short: Sequence[str] = ()
    full: Sequence[str] = ()


SECTIONS = (
    Section(
        "What the harness adds to a run",
        "overhead.py",
        "The timed loop beside a C++ loop over ONNX Runtime's C API, interleaved. The bar is 1.5 µs at the median.",
        ("--seconds", "2"),
        ("--seconds", "10"),
    ),
    Section(
        "Queries that arrive on time",
        "lateness.py",
        "The server scenario beside MLPerf's LoadGen, in turns on the same session. Lateness is the issue less the "
        "schedule. Its median is the harness's, its 99th percentile the machine's and whatever else runs there; a run "
        "where that is more than a tenth of the service time is found invalid, so on a machine like this one rows of "
        "models under about half a millisecond mostly are.",
        ("--seconds", "2"),
        ("--seconds", "8"),
    ),
    Section(
        "The same candidate against itself",
        "interleaving.py",
        "One session under two names, beside a process that loads the machine in bursts, so that the true ratio is "
        "1. Told apart at most 5 times in 100 is meant to be; the error of interleaved rounds should be eight times "
        "smaller than that of A-then-B: it is about that where the load's spells outlast a side, as here; with "
        "spells of 0.7 s, which average out within a side, it was 4.7 to 17 times smaller from run to run. What two "
        "processes of one candidate differ by is not in these figures.",
        ("--seconds", "20", "--block-ms", "20", "--spell-s", "3"),
        ("--seconds", "330", "--block-ms", "20", "--spell-s", "3"),
    ),
    Section(
        "Intervals that hold the truth",
        "coverage.py",
        "Synthetic runs whose truth is known; 95 % is meant, 94 to 96 % would be exact. Percentiles take the wider of "
        "the order-statistic and the block-based interval, so where runs are independent they hold it more often.",
        ("--runs", "1000"),
        ("--runs", "10000"),
    ),
    Section(
        "Scores that hold the truth",
        "scoring.py",
        "Simulated candidates whose true loss is known: 94 to 96 % of the paired intervals should hold it. The "
        "tolerance is that loss itself, so that each verdict is wrong: at most 5 % may be given. A million predictions "
        "should take under a minute and 2 GB.",
        ("--runs", "200", "--samples", "100000"),
        ("--runs", "2000"),
    ),
    Section(
        "Where a sweep's time goes",
        "phases.py",
        "A whole sweep with an empty cache. The parent should use under 1 % of a core while blocks run, accuracy "
        "passes and timed blocks should take 80 % of the wall time, and `lynxbench --help` less than 300 ms.",
        ("--budget", "quick"),
        (),
    ),
    Section(
        "Sweeps that are killed",
        "survival.py",
        "SIGKILL at random moments to the sweep or to a process that it started; then the same command again.",
        ("--kills", "5"),
        ("--kills", "40"),
    ),
    Section(
        "A fleet whose nodes are killed",
        "fleet_survival.py",
        "Three nodes of one machine; one that measures gets SIGKILL with all that it started, and its group is tried "
        "again. No finished record may be lost or doubled, and no two groups may overlap on a node.",
        ("--kills", "2"),
        ("--kills", "20"),
    ),
    Section(
        "A fleet's coordinator",
        "fleet.py",
        "The real coordinator, scheduler and results folder, and nodes that sleep where they would measure. The bars "
        "are 10 ms of its processor time for each cell and 1 GB; memory should not grow with the records.",
        ("--nodes", "50", "--cells", "500", "--sleep-s", "0.5"),
        ("--nodes", "1000", "--cells", "10000", "--no-merge"),
    ),
    Section(
        "Millions of records",
        "querying.py",
        "A leaderboard's queries over a fleet's records in hive-partitioned Parquet, by `lynxbench query`: they should "
        "answer in seconds and hold no more than a few hundred megabytes beyond its limit of 2 GB. Every page that is "
        "read has its checksum verified.",
        ("--records", "200000"),
        ("--records", "5000000"),
    ),
    Section(
        "A leaderboard of 100,000 records",
        "leaderboard.py",
        "A site of made-up records with their latencies: it should build in under a minute, and draw its first page, "
        "in Chromium with an empty cache, in under a second. Other work on the machine counts in the wall times.",
        ("--records", "10000"),
    ),
    Section(
        "Calibration",
        "calibration.py",
        "Streaming calibration beside ONNX Runtime's own; `wall` and `cpu` are ratios to plain inference.",
    ),
)


def measured_when() -> str:
    """The day and the load, for a section that was not measured with the rest of the page."""
    load = host_facts().load_1min
    return f"{datetime.now(UTC):%d %B %Y}{'' if load is None else f', load {load:.1f}'}"


def heading(full: bool) -> str:
    host = host_facts()
    return (
        "# How well LynxBench measures\n\n"
        f"Figures of LynxBench itself from one machine: {host.cpu_model} ({', '.join(host.isa_flags)}), "
        f"{host.usable_cores:g} cores, {platform.system()}, Python {host.python}, ONNX Runtime {host.onnxruntime}, "
        f"{datetime.now(UTC):%d %B %Y}{', load ' + format(host.load_1min, '.1f') if host.load_1min is not None else ''}"
        ". They are no promise for yours: `make bench` prints them again, and `python benchmarks/performance.py "
        f"{'--full ' if full else ''}--write` wrote this page.\n"
    )


def sections_of_page() -> dict[str, str]:
    """The page's heading (under "") and sections as they stand, by title."""
    first, *parts = PAGE.read_text().split("\n## ") if PAGE.exists() else [""]
    return {"": first, **{part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="as long as the figures of the page took")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--only", nargs="+", metavar="SCRIPT", help="these alone; the page keeps its other sections")
    arguments = parser.parse_args()
    page = sections_of_page() if arguments.only else {}
    failed = 0
    for section in SECTIONS:
        if arguments.only and section.script not in arguments.only:
            continue
        given = section.full if arguments.full else section.short
        command = " ".join(["python", f"benchmarks/{section.script}", *given])
        print(f"== {command}", flush=True)
        lines = []
        with subprocess.Popen(
            [sys.executable, str(FOLDER / section.script), *given], stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                print(line, end="", flush=True)
                lines.append(line.rstrip())
        if running.returncode:
            failed += 1
            lines.append(f"(ended with exit code {running.returncode})")
        text = "\n".join(lines).strip("\n")
        # What is measured on another day than the rest says so.
        about = f"{section.about} Measured {measured_when()}." if page.get("") else section.about
        page[section.title] = f"## {section.title}\n\n{about}\n\n```text\n$ {command}\n{text}\n```\n"
    if arguments.write:
        ordered = [page[section.title] for section in SECTIONS if section.title in page]
        PAGE.write_text("\n".join([page.get("") or heading(arguments.full), *ordered]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
