"""Running the real command line in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def environment(home: Path) -> dict[str, str]:
    """Caches and configuration below `home`, so that tests neither see nor leave anything outside."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LYNXBENCH_CACHE": str(home / "cache"),
        "LYNXBENCH_CONFIG": str(home / "config"),
    }


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "lynxbench", *map(str, arguments)]


def lynxbench(*arguments: str | Path, home: Path, cwd: Path | None = None, timeout_s: float = 300) -> Ran:
    """Run `lynxbench ARGUMENTS` in `cwd` (default: `home`) to its end."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd or home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


# A group that takes a few seconds: one small model, its reference and one scheme.
SMALL: Sequence[str] = ("--budget", "quick", "--only", "model=fashion-resnet8,scheme=fp32,int8-static")
