"""docs/support.md says of each scheme on each built-in model whether it runs, and what it says is so."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from benchmarks.support import PAGE, SCHEMES, measured, name_of, suite
from lynxbench.specs.scheme import Scheme
from lynxbench.specs.scheme_options import CalibrationMethod, SchemeKind
from tests.running import ROOT


def test_every_kind_and_method_is_there() -> None:
    schemes = [
        Scheme.model_validate({"name": name_of(title), **_frozen(options)}) for title, options in SCHEMES.items()
    ]
    assert {scheme.kind for scheme in schemes} == set(get_args(SchemeKind))
    assert {scheme.method for scheme in schemes if scheme.method} == set(get_args(CalibrationMethod))
    assert len({name_of(title) for title in SCHEMES}) == len(SCHEMES)


def test_the_page_is_what_a_sweep_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYNXBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    table = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    header, rows = table[0], {row[0]: row[1:] for row in table[2:]}
    assert set(rows) == set(SCHEMES)
    models = [model for workload in suite()["workloads"] for model in workload["models"]]
    assert [title.split(": ")[1] for title in header[1:]] == models
    column = models.index("fashion-embedder")
    for record in measured(tmp_path, ["fashion-embedder"]):
        title = next(title for title in SCHEMES if name_of(title) == record["scheme"])
        shown = rows[title][column]
        # Verdicts may move with the processor's kernels; whether it runs may not.
        assert (record["status"] == "ok") == (not shown.startswith("*")), (title, record["reason"])
        if record["status"] != "ok":
            assert shown == f"*{record['status']}*"


def _frozen(options: object) -> dict[str, object]:
    assert isinstance(options, dict)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
