"""Results folders as one checked table: what a site is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lynxbench.errors import StoreError, UsageError
from lynxbench.leaderboard.checks import complaints
from lynxbench.leaderboard.histograms import Histogram, histograms
from lynxbench.leaderboard.trust import Trust, trust_of
from lynxbench.records.declarations import kept_rubrics
from lynxbench.records.store import read_table

# Given a results folder and its records: how far each row may be trusted.
TrustOf = Callable[[Path, Any], Sequence[Trust]]


@dataclass(frozen=True)
class Collected:
    """`records` has the columns of `records.parquet`, and for each row `id`, `trust`, `trust_why` and `key` (into
    `histograms`).

    `replaced` counts rows that a later run of the same cell on the same host took the place of.
    """

    records: Any
    histograms: dict[str, Histogram]
    titles: dict[str, str]  # of rubrics, by digest
    folders: tuple[Path, ...]
    replaced: int


def results_folders(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The results folders that `paths` are, or hold one level below. Raises `UsageError` for a path without any."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path}: no such folder{_hint()}")
        mine = [path] if _is_results(path) else sorted(child for child in path.iterdir() if _is_results(child))
        if not mine:
            raise UsageError(f"{path} holds no records, and no folder in it does{_hint()}")
        found |= dict.fromkeys(mine)
    return tuple(found)


def collect(
    folders: Sequence[Path],
    trust: TrustOf | None = None,
    on_folder: Callable[[Path], None] = lambda folder: None,
) -> Collected:
    """Read, check and join the records of `folders`, `on_folder` being told of each; `trust` is for tests.

    Raises `StoreError` when a file is damaged or a record breaks the table's rules, `UsageError` when there are none.
    """
    import pyarrow as pa

    trusted = trust or trust_of(folders)
    tables: list[Any] = []
    found: dict[str, Histogram] = {}
    titles: dict[str, str] = {}
    for number, folder in enumerate(folders):
        on_folder(folder)
        records = read_table(folder, "records")
        for complaint in complaints(records):
            raise StoreError(f"{folder}: not a record: {complaint}")
        mine = trusted(folder, records)
        keys = [f"{number} {cell}" for cell in records["cell_id"].to_pylist()]
        columns = {"trust": [one.tier for one in mine], "trust_why": [one.why for one in mine], "key": keys}
        for name, column in columns.items():
            records = records.append_column(name, pa.array(column, pa.string()))
        tables.append(records)
        found |= {f"{number} {cell}": one for cell, one in histograms(read_table(folder, "latencies")).items()}
        titles |= _titles(folder)
    records = pa.concat_tables(tables)
    if not len(records):
        raise UsageError(f"no records yet in {', '.join(map(str, folders))}")
    kept = _latest(records)
    replaced = len(records) - len(kept)
    if replaced:
        records = records.take(pa.array(kept))
    return Collected(records.append_column("id", pa.array(_ids(records))), found, titles, tuple(folders), replaced)


def _is_results(folder: Path) -> bool:
    return (folder / "records.parquet").is_file() or any((folder / "parts").glob("records-*.parquet"))


def _hint() -> str:
    known = sorted(path.parent for path in Path("results").glob("*/records.parquet"))
    return f"\n  try       lynxbench leaderboard build {known[0]}" if known else "\n  try       lynxbench sweep"


def _latest(records: Any) -> list[int]:
    """Row numbers, of each cell on each host the latest run alone: nobody may choose the best of several."""
    cells, hosts = records["cell_id"].to_pylist(), records["host_id"].to_pylist()
    latest: dict[tuple[str, str], int] = {}
    started = records["started_at"].cast("int64").to_pylist()
    for row, name in enumerate(zip(cells, hosts, strict=True)):
        if name not in latest or started[row] > started[latest[name]]:
            latest[name] = row
    return sorted(latest.values())


def _ids(records: Any) -> list[str]:
    """A short name for each row that stays the same from site to site."""
    pairs = zip(records["cell_id"].to_pylist(), records["host_id"].to_pylist(), strict=True)
    return [hashlib.sha256("\0".join(pair).encode()).hexdigest()[:16] for pair in pairs]


def _titles(folder: Path) -> dict[str, str]:
    try:
        return {digest: rubric.title for digest, rubric in kept_rubrics(folder).items()}
    except StoreError:
        return {}
