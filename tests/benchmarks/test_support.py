"""docs/support.md says of each scheme on each built-in model whether it runs, and what it says is so."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from benchmarks.support import LEFT_OUT, PAGE, SCHEMES, SUITES, measured, name_of, suite
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


def _shown(built_in: str) -> tuple[list[str], dict[str, list[str]], str]:
    """The page's models of a suite, its rows by scheme, and the reasons below them."""
    part = next(part for part in PAGE.read_text().split("\n## ") if part.startswith(f"`{built_in}`"))
    table = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return table[0][1:], {row[0]: row[1:] for row in table[2:]}, part.rpartition("| ")[2]


@pytest.mark.parametrize("built_in", SUITES)
def test_the_page_shows_every_scheme_on_every_model_and_why_one_does_not_run(built_in: str) -> None:
    titles, rows, reasons = _shown(built_in)
    data = suite(built_in=built_in)
    models = [model for workload in data["workloads"] for model in workload["models"]]
    assert [title.split(": ")[1] for title in titles] == models
    assert {model["name"] for model in data["models"]} - set(models) == set(LEFT_OUT if built_in == "standard" else ())
    assert rows.keys() == SCHEMES.keys()
    for scheme, row in rows.items():
        assert len(row) == len(models)
        for model, shown in zip(models, row, strict=True):
            if shown.startswith("*"):
                said = [line for line in reasons.splitlines() if f"**{scheme}**" in line]
                assert any(model in line or "(all)" in line for line in said), (scheme, model)


def test_the_page_is_what_a_sweep_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYNXBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    titles, rows, _ = _shown("starter")
    column = [title.split(": ")[1] for title in titles].index("fashion-embedder")
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
