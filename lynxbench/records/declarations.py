"""What a results folder was asked: its suite and rubrics, kept whole, so that answers can be scored again elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lynxbench.errors import StoreError
from lynxbench.records.store import ResultStore
from lynxbench.specs.base import as_frozen
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite


def declarations(suite: Suite, rubrics: Iterable[Rubric]) -> dict[str, Any]:
    """What `sweep.json` keeps of them."""
    return {
        "suite": suite.model_dump(mode="json"),
        "rubrics": [rubric.model_dump(mode="json") for rubric in rubrics],
    }


def kept_rubrics(folder: Path) -> dict[str, Rubric]:
    """The rubrics that a results folder was measured by, by digest (a record's `rubric_digest`).

    Raises `StoreError` when they are not there or not sound.
    """
    rubrics = [_sound(folder, Rubric.model_validate, rubric) for rubric in _kept(folder).get("rubrics", [])]
    return {rubric.digest(): rubric for rubric in rubrics}


def kept_suite(folder: Path) -> Suite:
    """The suite that a results folder was measured by, with what the command changed. Raises `StoreError`."""
    suite: Suite = _sound(folder, Suite.model_validate, _kept(folder).get("suite"))
    return suite


def _kept(folder: Path) -> dict[str, Any]:
    kept = (ResultStore(folder).description() or {}).get("declarations")
    if not isinstance(kept, dict):
        raise StoreError(f"{folder / 'sweep.json'} does not hold the suite and the rubrics that were asked")
    return kept


def _sound(folder: Path, validate: Any, data: Any) -> Any:
    try:
        return validate(as_frozen(data))
    except (ValidationError, ValueError) as error:
        raise StoreError(f"{folder / 'sweep.json'} holds no sound declaration: {error}") from None
