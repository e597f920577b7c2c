"""Where a sweep's wall time goes, what the parent uses beside, and how long `lynxbench --help` takes.

    python benchmarks/phases.py [--suite starter] [--budget standard]

Model files are built anew (an empty cache), as in a first sweep.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from lynxbench.specs.resolve import resolve_suite
from lynxbench.specs.suite import BudgetName
from lynxbench.sweep.child import Child
from lynxbench.sweep.run import Outcome, prepare_sweep, run_sweep

# What a user came for; all else is overhead.
WANTED = ("accuracy", "rounds", "search")
HELP_RUNS = 10


def measure(suite: str, budget: BudgetName) -> tuple[Outcome, float]:
    """One sweep's outcome, and its wall time with planning included."""
    begun = time.monotonic()
    prepared = prepare_sweep(resolve_suite(suite, budget=budget))
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_sweep(prepared, Path(folder) / "results", cache=Path(folder) / "cache")
    return outcome, time.monotonic() - begun


def help_ms() -> Any:
    """[HELP_RUNS] ms from start to end of `lynxbench --help`."""
    times = []
    for _ in range(HELP_RUNS):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "lynxbench", "--help"], check=True, capture_output=True)
        times.append(1e3 * (time.monotonic() - begun))
    return np.array(times)


def waiting_share(seconds: float = 5.0) -> float:
    """Processor time over wall time of the parent while a child is at work, memory looked at as in a sweep."""
    script = "import time\nfrom lynxbench.sweep.child import serve\nserve({'rest': lambda r: time.sleep(r['s']) or {}})"
    child = Child([sys.executable, "-c", script], memory_limit_bytes=1 << 40)
    try:
        child.ask({"do": "rest", "s": 0.0}, 60)
        begun, cpu = time.monotonic(), time.process_time()
        child.ask({"do": "rest", "s": seconds}, 60 + seconds)
        return (time.process_time() - cpu) / (time.monotonic() - begun)
    finally:
        child.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="starter")
    parser.add_argument("--budget", choices=get_args(BudgetName), default="standard")
    arguments = parser.parse_args()
    outcome, wall_s = measure(arguments.suite, arguments.budget)
    spent = {**outcome.spent_s, "else": wall_s - sum(outcome.spent_s.values())}
    print(f"{arguments.suite}, {arguments.budget}: {len(outcome.plan.cells)} cells in {wall_s:.0f} s")
    print(f"{'phase':<10}{'seconds':>9}{'share':>8}{'parent, % of a core':>21}")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        own = f"{outcome.own_cpu_s[name] / seconds:.1%}" if name in outcome.own_cpu_s and seconds else ""
        print(f"{name:<10}{seconds:>9.1f}{seconds / wall_s:>8.1%}{own:>21}")
    wanted = sum(spent.get(name, 0.0) for name in WANTED)
    print(f"accuracy passes and timed blocks: {wanted / wall_s:.1%} of the wall time")
    print(f"the parent while a block runs: {waiting_share():.2%} of a core")
    times = help_ms()
    print(f"lynxbench --help: median {np.median(times):.0f} ms, {times.min():.0f} to {times.max():.0f} ms")


if __name__ == "__main__":
    main()
