"""Candidates that are known to break, and what `lynxbench tune` makes of them.

    python benchmarks/tuning.py               # the transformer of suite starter
    python benchmarks/tuning.py --standard    # and MiniLM, magika and Silero, after `lynxbench suite fetch standard`

One line each: the loss of the candidate as it was, and of the scheme that was picked on the tuning part, both on the
untouched part, with the pick's speed over fp32's. Half an hour for all on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BROKEN = {
    "arithmetic-transformer": ("starter", "int8-static"),
    "silero-vad": ("standard", "int8-static-pt"),
    "magika": ("standard", "int8-static-pt"),
    "all-minilm-l6-v2": ("standard", "int8-static"),
}


def tuned(model: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What `lynxbench tune --json` says of the model's broken scheme."""
    suite, scheme = BROKEN[model]
    command = [
        sys.executable, "-m", "lynxbench", "tune", suite, "--model", model, "--scheme", scheme, "--json",
        "--budget", arguments.budget, "--candidates", str(arguments.candidates),
        "--time-limit", str(arguments.time_limit), "--out", str(arguments.out / model),
    ]  # fmt: skip
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if ran.returncode not in (0, 1):
        raise SystemExit(ran.returncode)
    found: dict[str, Any] = json.loads(ran.stdout)[0]
    return found


def line(found: dict[str, Any]) -> str:
    """Before and after, in points, with intervals."""
    rows = {row["candidate"]: row for row in found["untouched"]}
    broken = BROKEN[found["model"]][1]
    before = next(row for name, row in rows.items() if name.split("@")[0] == broken)
    after = rows.get(found["picked"])
    cause = next((one["causes"][:2] for one in found["looked"] if one["causes"]), ["no cause"])
    said = f"{found['model']:24} {broken:16} loses {points(before)}   {', '.join(cause)}\n{'':24} "
    if after is None:
        return said + f"nothing that holds and is faster, of {found['tried']}"
    speed = after["speed"]
    ends = "" if speed["low"] is None else f" [{speed['low']:.2f}, {speed['high']:.2f}]"
    return said + f"{found['picked']} loses {points(after)}, {speed['value']:.2f}×{ends}, of {found['tried']}"


def points(row: dict[str, Any]) -> str:
    loss = row["loss"]
    return f"{100 * loss['value']:+.1f} [{100 * loss['low']:+.1f}, {100 * loss['high']:+.1f}]"


def main() -> None:
    """Tune and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--standard", action="store_true", help="also the suite standard, which has to be fetched")
    parser.add_argument("--budget", default="standard")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--time-limit", type=float, default=400.0, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=Path("results") / "tuning")
    arguments = parser.parse_args()
    for model, (suite, _) in BROKEN.items():
        if suite == "starter" or arguments.standard:
            print(line(tuned(model, arguments)), flush=True)


if __name__ == "__main__":
    main()
