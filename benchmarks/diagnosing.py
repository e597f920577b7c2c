"""Does `diagnose` find what is known to be wrong with the models of suite `standard`, and what does that take?

    lynxbench suite fetch standard
    python benchmarks/diagnosing.py [--samples 128] [--time-limit 240] [--only minilm]

Each truth is a pair: a candidate that breaks, and one of the same model that does not. Peak memory is what the process
and all that it started held together, looked at four times a second. Beside the time stands that of processors, which
others on the machine hardly move.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from lynxbench.diagnosis.run import Diagnosis, diagnose
from lynxbench.diagnosis.subject import subject, suite_of
from lynxbench.specs.load import cache_folder

SHOWN_PARTS = 4

# Candidate of suite `standard`, and what is known of it.
TRUTHS = (
    ("int8-static on all-minilm-l6-v2", "every operator: broken"),
    ("int8-static-mm on all-minilm-l6-v2", "products alone: holds"),
    ("int8-static-pt on magika", "every operator: broken"),
    ("int8-static-mm-pt on magika", "products alone: holds"),
    ("int8-static-pt on silero-vad", "one scale a tensor: broken"),
    ("int8-static on silero-vad", "one scale a channel: nearly holds"),
)


@dataclass
class Peak:
    """The most that this process and what it started have held; use it as a context manager."""

    held_bytes: int = 0

    def __enter__(self) -> Peak:
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        me = psutil.Process(os.getpid())
        while not self._over.wait(0.25):
            held = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    held += int(process.memory_info().rss)
                except psutil.Error:
                    continue
            self.held_bytes = max(self.held_bytes, held)


def main() -> None:
    """Diagnose each and print what was found, at what price."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--time-limit", type=float, default=240.0, help="seconds for trying parts one at a time")
    parser.add_argument("--only", default="", help="candidates whose name holds this")
    asked = parser.parse_args()
    suite = suite_of("standard")
    for candidate, known in TRUTHS:
        if asked.only in candidate:
            begun, used_before = time.monotonic(), _used_s()
            with Peak() as peak:
                found = diagnose(
                    subject(suite, candidate, samples=asked.samples),
                    cache=cache_folder(),
                    time_limit_s=asked.time_limit,
                )
            _print(found, known, time.monotonic() - begun, _used_s() - used_before, peak.held_bytes)


def _used_s() -> float:
    """Seconds of processors that this process and those that it has waited for took."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _print(found: Diagnosis, known: str, seconds: float, used_s: float, held_bytes: int) -> None:
    primary = found.scores.primary
    print(f"{found.candidate} ({known})")
    print(
        f"  {primary.name} {primary.reference_value:.3f} → {primary.value:.3f} on {found.samples} samples; "
        f"{seconds:.0f} s, {used_s:.0f} s of "
        f"processors, {held_bytes / 1e9:.2f} GB",
    )
    for finding in found.findings:
        print(f"  {finding.cause.value}: {finding.where}: {finding.said}")
    if not found.findings:
        print("  no cause found", flush=True)
    parts = found.sensitivity
    for trial in () if parts is None else parts.trials[:SHOWN_PARTS]:
        if trial.loss is not None:
            print(
                f"  {trial.part.name} {trial.how.replace('-', ' ')}: "
                f"{trial.loss:+.3f} [{trial.loss_low:+.3f}, {trial.loss_high:+.3f}]"
            )
    if parts is not None:
        print(f"  {len(parts.trials)} attempts in {parts.spent_s:.0f} s, {len(parts.not_tried)} not made")


if __name__ == "__main__":
    main()
