"""`lynxbench compact`: what many machines wrote cell by cell, merged into files that are quick to read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lynxbench.cli.output import write_json
from lynxbench.cli.progress import ProgressLine
from lynxbench.cli.text import counted, plain, size
from lynxbench.errors import UsageError
from lynxbench.records.compaction import Compacted, compact, gather
from lynxbench.records.location import Location
from lynxbench.records.places import Place, find_places
from lynxbench.records.snapshots import snapshot
from lynxbench.records.store import ResultStore, part_files
from lynxbench.sweep.progress import Progress


def compact_command(place: Location, *, out: Location | None, keep_hours: float, dry_run: bool, as_json: bool) -> int:
    """Merge every place at or below `place`; with `out`, into places there."""
    places = find_places([place])
    if out is not None and any(_inside(out, found.folder) for found in places):
        raise UsageError(f"--out {out}: lies where the results are; without --out they are merged in place")
    if dry_run:
        waiting = [(found, _waiting(found)) for found in places]
        if as_json:
            write_json({"places": [{"place": str(found.folder), "waiting": count} for found, count in waiting]})
        for found, count in waiting if not as_json else ():
            print(f"{found.folder}: {counted(count, 'cell')} beside the merged set")
        return 0
    done = []
    with ProgressLine() as progress:
        for found in places:
            tell = _tell(progress, found)
            if out is not None:
                target = out / _relative(found.folder, place) if found.folder != place else out
                done.append(gather(found, target, keep_s=3600 * keep_hours, tell=tell))
            else:
                done.append(_in_place(found, 3600 * keep_hours, tell))
    if as_json:
        write_json({"places": [{**asdict(one), "place": str(one.place)} for one in done]})
        return 0
    for one in done:
        print(_said(one, gathered=out is not None))
    if out is None and not any(one.cells for one in done) and all(found.kind == "sweep" for found in places):
        print("compact   merges what lies cell by cell, at a URL or after an interruption; a sweep does it at its end")
        print(f"  try       lynxbench compact {plain(str(place))} --out PLACE writes these results as one merged set")
    if len(done) == 1 and done[0].cells:
        print(f"again     lynxbench show {plain(str(done[0].place))}")
    return 0


def _in_place(place: Place, keep_s: float, tell: Callable[[str, int, int], None]) -> Compacted:
    if place.kind == "store":
        return compact(place.folder, keep_s=keep_s, tell=tell)
    if place.kind == "set" or not isinstance(place.folder, Path):
        raise UsageError(f"{place.folder} is not written cell by cell; --out PLACE writes it as a merged set elsewhere")
    store = ResultStore(place.folder)
    with store.held():
        count = len(part_files(place.folder, "records"))
        store.merge()
    files = place.files("records") + place.files("predictions") + place.files("latencies")
    bytes_ = sum(file.stat().st_size for file in files if isinstance(file, Path))
    return Compacted(place.folder, 0, count, len(files), bytes_, 0)


def _waiting(place: Place) -> int:
    if place.kind == "store":
        return len(snapshot(place.folder).cells)
    return len(part_files(place.folder, "records")) if place.kind == "sweep" else 0


def _relative(folder: Location, root: Location) -> str:
    return str(folder).removeprefix(f"{root}/")


def _inside(inner: Location, outer: Location) -> bool:
    one, other = (str(place.resolve() if isinstance(place, Path) else place) for place in (inner, outer))
    return one == other or one.startswith(f"{other}/")


def _said(done: Compacted, *, gathered: bool) -> str:
    """One line about one place."""
    if done.cells:
        verb = "written" if gathered else "merged"
        files = f"{counted(done.files, 'file')}, {size(done.size_bytes)}"
        text = f"{counted(done.cells, 'cell')} {verb}; the set is {files}"
    else:
        text = "nothing new since the last time"
    if done.deleted:
        text += f"; {counted(done.deleted, 'old object')} deleted"
    return f"{plain(str(done.place))}: {text}"


def _tell(progress: ProgressLine, place: Place) -> Callable[[str, int, int], None]:
    begun = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        left_s = (time.monotonic() - begun) / done * (total - done) if done else None
        progress(Progress(done, max(total, 1), "merging", f"{what}, {place.folder}", left_s))

    return tell
