"""One labelled data file as two: what is scored, and what schemes are calibrated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lynxbench.datasets.lazy import gathered
from lynxbench.datasets.selection import select
from lynxbench.datasets.sources import read_table
from lynxbench.errors import DeclarationError, Problem

CALIBRATION_SHARE = 0.2
MOST_CALIBRATION = 512
SEED = 0


def split(data: Path, folder: Path) -> tuple[Path, Path]:
    """Write `test` and `calibration` into `folder`, in the format of `data`: a fifth for calibration, 512 at most, by
    a seeded draw, stratified by label where there is one.

    Raises `DeclarationError` for a folder of files, which is for the user to split.
    """
    if data.is_dir():
        hint = "give a second folder for calibration: --calibration FOLDER"
        raise DeclarationError([Problem(str(data), "", "a folder is not split", hint=hint)])
    table = read_table(data)
    n = len(table)
    count = min(MOST_CALIBRATION, round(CALIBRATION_SHARE * n))
    if count < 1 or count == n:
        raise DeclarationError([Problem(str(data), "", f"{n} samples are too few to split", expected="10 at least")])
    labels = table.columns.get("labels", table.columns.get("label"))
    strata = None if labels is None else gathered(labels, np.arange(n))
    way = "random" if strata is None or strata.ndim != 1 else "stratified"
    kept = select(way, n, count, SEED, strata)
    rest = np.setdiff1d(np.arange(n), kept)
    test, calibration = folder / f"test{data.suffix}", folder / f"calibration{data.suffix}"
    for path, positions in ((test, rest), (calibration, np.sort(kept))):
        _write(data, path, positions)
    return test, calibration


def _write(data: Path, path: Path, positions: npt.NDArray[np.int64]) -> None:
    if data.suffix == ".jsonl":
        lines = [line for line in data.read_bytes().splitlines(keepends=True) if line.strip()]
        path.write_bytes(b"".join(lines[position].rstrip(b"\n") + b"\n" for position in positions))
    elif data.suffix == ".npz":
        with np.load(data, allow_pickle=False) as archive:
            columns: dict[str, Any] = {name: archive[name][positions] for name in archive.files}
        np.savez_compressed(path, **columns)
    else:
        _write_arrow(data, path, positions)


def _write_arrow(data: Path, path: Path, positions: npt.NDArray[np.int64]) -> None:
    import pyarrow.feather
    import pyarrow.parquet

    if data.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(data).take(positions), path)
    else:
        pyarrow.feather.write_feather(pyarrow.feather.read_table(data).take(positions), path)
