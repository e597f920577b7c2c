"""What `make check` looks at in the wheel: everything that must travel does, nothing that must not, and it is small."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST_WHEEL_BYTES = 12 << 20
LARGEST_SUITES_BYTES = 9 << 20  # of package data


def main() -> int:
    """Build the wheel and complain; returns the number of complaints."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        complaints = list(check(sizes, wheel.stat().st_size))
    for complaint in complaints:
        print(f"packaging: {complaint}", file=sys.stderr)
    print(f"packaging: {len(sizes)} files, {len(complaints)} complaints")
    return len(complaints)


def check(sizes: dict[str, int], wheel_bytes: int) -> list[str]:
    """Complaints about a wheel's files."""
    wanted = {f"lynxbench/{path.relative_to(ROOT / 'lynxbench')}" for path in (ROOT / "lynxbench").rglob("*.py")}
    wanted |= {
        f"lynxbench/builtin/{kind}/{path.name}" for kind in ("executors", "rubrics") for path in (ROOT / kind).iterdir()
    }
    wanted |= {
        f"lynxbench/suites/{path.relative_to(ROOT / 'lynxbench' / 'suites')}"
        for path in (ROOT / "lynxbench" / "suites").rglob("*")
        if path.is_file() and path.suffix in {".toml", ".onnx", ".npz", ".jsonl", ""}
    }
    wanted |= {
        f"lynxbench/leaderboard/{folder}/{path.name}"
        for folder in ("assets", "templates")
        for path in (ROOT / "lynxbench" / "leaderboard" / folder).iterdir()
    }
    wanted.add("lynxbench/py.typed")
    complaints = [f"missing: {name}" for name in sorted(wanted - sizes.keys())]
    stray = [
        name
        for name in sizes
        if name.startswith(("tests/", "training/", "benchmarks/")) or name.endswith((".pyc", ".rejected"))
    ]
    complaints += [f"must not travel: {name}" for name in stray]
    if wheel_bytes > LARGEST_WHEEL_BYTES:
        complaints.append(f"the wheel has {wheel_bytes:,} bytes, more than {LARGEST_WHEEL_BYTES:,}")
    suites = sum(size for name, size in sizes.items() if name.startswith("lynxbench/suites/"))
    if suites > LARGEST_SUITES_BYTES:
        complaints.append(f"the suites have {suites:,} bytes, more than {LARGEST_SUITES_BYTES:,}")
    return complaints


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
