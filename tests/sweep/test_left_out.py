"""A workload whose files are fetched later joins the results folder; one whose files changed does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lynxbench.errors import UsageError
from lynxbench.records.store import ResultStore
from lynxbench.specs.resolve import resolve_suite
from lynxbench.sweep.plan import make_plan
from lynxbench.sweep.prepare import prepare
from lynxbench.sweep.run import Prepared, prepare_sweep, same_declaration


@pytest.fixture(scope="module")
def whole() -> Prepared:
    return prepare_sweep(resolve_suite("starter", budget="quick"))


@pytest.fixture(scope="module")
def part(whole: Prepared) -> Prepared:
    """The same suite before the files of one workload were there."""
    resolved = replace(whole.resolved, left_out={"reason": "starter/arithmetic"})
    material = prepare(resolved)
    return Prepared(resolved, material, whole.executors, make_plan(resolved, material, {}))


def test_what_is_left_out_is_not_read_and_not_planned(whole: Prepared, part: Prepared) -> None:
    assert part.resolved.absent_models == {"arithmetic-transformer"}
    assert part.material.models.keys() == whole.material.models.keys() - {"arithmetic-transformer"}
    assert part.material.test_sets.keys() == {"classify", "retrieve"}
    kept = [cell.cell_id for group in whole.plan.groups if group.workload.name != "reason" for cell in group.cells]
    assert [cell.cell_id for cell in part.plan.cells] == kept


def test_it_joins_the_folder_later(whole: Prepared, part: Prepared, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    with store.held():
        same_declaration(store, part)
        same_declaration(store, whole)
        described = store.description()
        assert described is not None
        assert {"test set of reason", "test set of classify"} <= described["digests"].keys()
        assert len(described["planned"]) == len(whole.plan.cells)
        same_declaration(store, part)  # and what was known of it is kept
        assert store.description() == described


def test_other_files_are_refused(whole: Prepared, part: Prepared, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    sets = dict(whole.material.test_sets)
    sets["reason"] = replace(sets["reason"], fingerprint="0" * 64)
    changed = replace(whole, material=replace(whole.material, test_sets=sets))
    with store.held():
        same_declaration(store, whole)
        same_declaration(store, part)
        with pytest.raises(UsageError, match="what changed: test set of reason"):
            same_declaration(store, changed)
