"""LynxBench: what quantization does to the speed and the accuracy of your own model, on your own hardware.

import lynxbench

results = lynxbench.sweep("starter", budget="quick")   # or a suite.toml; the same call resumes
results = lynxbench.load("results/starter-quick")
results.records                                        # a pyarrow.Table, as are .predictions and .latencies
results.to_pandas(); results.to_polars("predictions")  # where they are installed
lynxbench.load("results").dataset("latencies")         # of all folders below, to be scanned piece by piece

lynxbench.claim("results/starter", "int8-static on fashion-mobilenetv3").sentence
lynxbench.decide("results/starter", max_loss=0.01, p99_ms=5)[0].best
lynxbench.rescore("results/starter", "other.toml")     # the same answers, another question
lynxbench.export_results("results/starter", "croissant", "dataset")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lynxbench.conclusions.claiming import Claim
    from lynxbench.conclusions.deciding import Decision
    from lynxbench.conclusions.exchange.terms import Exported
    from lynxbench.conclusions.rescoring import Rescored
    from lynxbench.records.results import Results

__version__ = "0.1.0"
__all__ = ["__version__", "claim", "decide", "export_results", "load", "rescore", "sweep"]


def claim(results: str | Path, candidate: str, **only: str | None) -> Claim:
    """What may be said in public of one candidate of a results folder: `sentence`, or what is `wanting`.

    `candidate` is e.g. ``"int8-static on fashion-resnet8 by cpu"`` or an id; `only` narrows by workload, model, scheme,
    executor or scenario. Raises `UsageError` where they mean no row or several.
    """
    from lynxbench.conclusions.claiming import claim as claim_one

    return claim_one(results, candidate, **only)


def decide(results: str | Path, **asked: Any) -> tuple[Decision, ...]:
    """What to deploy, for each workload and model: the best candidate that holds every limit beyond doubt, if any.

    `asked` holds the limits and options of `lynxbench decide` (``max_loss=0.01, p99_ms=5, objective="size"``), which
    `lynxbench.conclusions.deciding.decide` documents. Raises `UsageError` for what cannot be.
    """
    from lynxbench.conclusions.deciding import decide as decide_all

    return decide_all(results, **asked)


def export_results(
    results: str | Path, format: str, out: str | Path, *, only: Sequence[str] = (), **terms: Any
) -> Exported:
    """Write a results folder in a format of others: ``every-eval-ever``, ``hf-eval-results`` or ``croissant``.

    `terms` are what no record knows (``organization="…", license="CC-BY-4.0"``), as `exchange.terms.Terms` has them.
    Raises `UsageError` for an unknown format, what the format needs to be told, and where `out` is not empty.
    """
    from lynxbench.conclusions.exchange.exporting import export
    from lynxbench.conclusions.exchange.terms import Terms
    from lynxbench.conclusions.material import material

    return export(material(Path(results)), format, Path(out), Terms(**terms), only)


def load(*paths: str | Path) -> Results:
    """The results in one or more places: a sweep's folder or URL, a folder of those, or a hive-partitioned Parquet set.

    Every record is checked (of a set, every file's columns). Raises `StoreError` when a file is damaged, `UsageError`
    when a folder holds no results.
    """
    from lynxbench.records.results import load as load_results

    return load_results(paths)


def rescore(results: str | Path, rubric: str | Path, *, out: str | Path | None = None) -> Rescored:
    """Score the stored predictions of a results folder by another rubric, without running a model.

    `rubric` is a .toml file or a built-in name; with `out` the rows are written as a results folder of their own.
    Raises `DeclarationError` for a rubric that is wrong, `UsageError` where it cannot be asked of any of the answers.
    """
    from lynxbench.conclusions.asking import rescore as rescore_results

    return rescore_results(results, rubric, out=out)


def __getattr__(name: str) -> object:
    # The room `lynxbench.sweep` is also the verb; it is not imported before somebody wants it.
    if name == "sweep":
        import importlib

        return importlib.import_module("lynxbench.sweep")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
