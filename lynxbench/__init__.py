"""LynxBench: what quantization does to the speed and the accuracy of your own model, on your own hardware.

import lynxbench

results = lynxbench.sweep("starter", budget="quick")   # or a suite.toml; the same call resumes
results = lynxbench.load("results/starter-quick")
results.records                                        # a pyarrow.Table, as are .predictions and .latencies
results.to_pandas(); results.to_polars("predictions")  # where they are installed
lynxbench.load("results").dataset("latencies")         # of all folders below, to be scanned piece by piece
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lynxbench.records.results import Results

__version__ = "0.1.0"
__all__ = ["__version__", "load", "sweep"]


def load(*paths: str | Path) -> Results:
    """The results in one or more folders: a sweep's, a folder of such folders, or a hive-partitioned Parquet set.

    Every record is checked (of a set, every file's columns). Raises `StoreError` when a file is damaged, `UsageError`
    when a folder holds no results.
    """
    from lynxbench.records.results import load as load_results

    return load_results(paths)


def __getattr__(name: str) -> object:
    # The room `lynxbench.sweep` is also the verb; it is not imported before somebody wants it.
    if name == "sweep":
        import importlib

        return importlib.import_module("lynxbench.sweep")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
