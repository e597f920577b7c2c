"""Fetching a suite: its archives first, then the parts that are made from them; what is there and sound is kept."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from lynxbench.errors import LynxBenchError, StoreError, UsageError
from lynxbench.fetching.download import download, is_kept, sha256_of, why_not
from lynxbench.specs.base import did_you_mean
from lynxbench.specs.fetched import Archive, Part, Sources, read_sources, sources_file, suites_with_sources
from lynxbench.specs.load import cache_folder

State = Literal["kept", "fetched", "made", "wanted", "failed", "lacking"]
MANIFEST = "made.json"
# Recipe → module:function, called with the archives by name and an empty folder to write into.
RECIPES = {
    "magika": "magika:make",
    "silero": "silero:make",
    "speech": "speech:make",
    "minilm": "minilm:make",
    "conversations": "conversations:make",
    "efficientnet": "efficientnet:make",
    "stamps": "stamps:make",
    "smollm2": "smollm2:make",
}


@dataclass(frozen=True)
class Item:
    """An archive or a part, and what became of it: `reason` where it failed, or what it lacks."""

    name: str
    what: Literal["archive", "part"]
    state: State
    size_bytes: int
    reason: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a fetch is: bytes of all archives that were wanted, or what is being made."""

    what: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Fetched:
    """What a fetch did, or would do."""

    sources: Sources
    items: tuple[Item, ...]

    @property
    def exit_code(self) -> int:
        """4 where a file was refused, else 3 where one could not be had, else 0."""
        return max((item.exit_code for item in self.items), default=0)


def planned(suite: str, only: Sequence[str] = ()) -> Fetched:
    """What `fetch_suite` would do: `wanted` is what it would download or make. Raises as it does."""
    sources = _sources(suite)
    archives, parts = _chosen(sources, only)
    items = []
    needed = _needed(sources, parts)
    for archive in archives:
        reason = None if (kept := archive.name not in needed or is_kept(archive)) else why_not(archive)
        state: State = "kept" if kept else "wanted" if reason is None else "failed"
        items.append(Item(archive.name, "archive", state, archive.size_bytes, reason))
    for part in parts:
        folder = sources.folder(part)
        items.append(Item(part.name, "part", "kept" if is_sound(folder) else "wanted", _size(folder)))
    return Fetched(sources, tuple(items))


def fetch_suite(
    suite: str, *, only: Sequence[str] = (), on_progress: Callable[[Progress], None] = lambda progress: None
) -> Fetched:
    """Download what is missing, and make what can be made of it. One that fails does not keep the others from it.

    `only`: names of archives or parts; a part brings its archives along. Raises `UsageError` for unknown names and
    for a suite that needs nothing.
    """
    sources = _sources(suite)
    archives, parts = _chosen(sources, only)
    root = cache_folder() / "fetched" / suite
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(str(root) + ".lock"):
        items = _archives(archives, _needed(sources, parts), on_progress)
        failed = {item.name for item in items if item.state == "failed"}
        for part in parts:
            on_progress(Progress(f"making {part.name}", 1, 1))
            items.append(_part(sources, part, failed))
    return Fetched(sources, tuple(items))


def is_sound(folder: Path) -> bool:
    """Whether a part's folder is whole: every file has the hash that it was written with."""
    try:
        written: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))
        return all(sha256_of(folder / name) == sha256 for name, sha256 in written.items())
    except (OSError, ValueError, AttributeError):
        return False


def _needed(sources: Sources, parts: Sequence[Part]) -> set[str]:
    """The archives of parts that have yet to be made: the others may have been deleted since."""
    return {name for part in parts if not is_sound(sources.folder(part)) for name in part.archives}


def _archives(archives: Sequence[Archive], needed: set[str], on_progress: Callable[[Progress], None]) -> list[Item]:
    items: list[Item] = []
    missing = []
    for archive in archives:
        on_progress(Progress(f"checking {archive.name}", 0, 1))
        if archive.name not in needed or is_kept(archive):
            items.append(Item(archive.name, "archive", "kept", archive.size_bytes))
        else:
            missing.append(archive)
    total, done = sum(archive.size_bytes for archive in missing), 0
    for archive in missing:

        def told(size: int, before: int = done, name: str = archive.name) -> None:
            on_progress(Progress(f"downloading {name}", before + size, total))

        told(0)
        try:
            download(archive, told)
            items.append(Item(archive.name, "archive", "fetched", archive.size_bytes))
        except LynxBenchError as error:
            items.append(_failed(archive.name, "archive", archive.size_bytes, error))
        done += archive.size_bytes
    order = [archive.name for archive in archives]
    return sorted(items, key=lambda item: order.index(item.name))


def _part(sources: Sources, part: Part, failed: set[str]) -> Item:
    folder = sources.folder(part)
    if is_sound(folder):
        return Item(part.name, "part", "kept", _size(folder))
    lacking = [name for name in part.archives if name in failed]
    if lacking:
        return Item(part.name, "part", "lacking", 0, f"needs {', '.join(lacking)}")
    try:
        make(sources, part)
    except LynxBenchError as error:
        return _failed(part.name, "part", 0, error)
    except OSError as error:
        return _failed(part.name, "part", 0, StoreError(f"could not write {folder}: {error.strerror or error}"))
    return Item(part.name, "part", "made", _size(folder))


def make(sources: Sources, part: Part) -> None:
    """Make a part from its archives: the whole folder or none."""
    module, _, function = RECIPES[part.recipe].partition(":")
    recipe = getattr(importlib.import_module(f"lynxbench.fetching.recipes.{module}"), function)
    folder = sources.folder(part)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{part.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / part.name
        fresh.mkdir()
        recipe({archive.name: archive.path for archive in sources.archives_of(part)}, fresh)
        written = {}
        for path in sorted(fresh.iterdir()):
            content = path.read_bytes()
            written[path.name] = hashlib.sha256(content).hexdigest()
            with path.open("rb") as file:
                os.fsync(file.fileno())
        manifest = fresh / MANIFEST
        with manifest.open("w", encoding="utf-8") as text:
            text.write(json.dumps(written, indent=2) + "\n")
            text.flush()
            os.fsync(text.fileno())
        if folder.exists():  # damaged, or it would have been kept
            shutil.rmtree(folder)
        fresh.replace(folder)


def _failed(name: str, what: Literal["archive", "part"], size: int, error: LynxBenchError) -> Item:
    return Item(name, what, "failed", size, str(error), error.exit_code)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def _sources(suite: str) -> Sources:
    file = sources_file(suite)
    if file is None:
        known = suites_with_sources()
        hint = did_you_mean(suite, known) or "one of: " + ", ".join(known)
        raise UsageError(f"suite fetch {suite}: there is nothing to fetch for a suite of that name; {hint}")
    return read_sources(file)


def _chosen(sources: Sources, only: Sequence[str]) -> tuple[list[Archive], list[Part]]:
    """The archives and parts that are meant; an archive means itself and the parts that need no other."""
    if not only:
        return list(sources.archives), list(sources.parts)
    names = {part.name: set(part.archives) for part in sources.parts}
    known = [*(archive.name for archive in sources.archives), *names]
    for name in only:
        if name not in known:
            hint = did_you_mean(name, known) or ", ".join(known)
            raise UsageError(f"--only {name}: suite {sources.suite} has no such archive or part; {hint}")
    wanted = set(only).union(*(names.get(name, set()) for name in only))
    archives = [archive for archive in sources.archives if archive.name in wanted]
    here = {archive.name for archive in archives}
    return archives, [part for part in sources.parts if part.name in only or set(part.archives) <= here]
