"""What a results folder was asked: its suite and rubrics, kept whole, so that answers can be scored again elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from lynxbench.errors import StoreError
from lynxbench.records.files import files_at
from lynxbench.records.generations import described
from lynxbench.records.location import Location
from lynxbench.specs.base import as_frozen
from lynxbench.specs.rubric import Rubric
from lynxbench.specs.suite import Suite


def declarations(suite: Suite, rubrics: Iterable[Rubric]) -> dict[str, Any]:
    """What `sweep.json` keeps of them."""
    return {
        "suite": suite.model_dump(mode="json"),
        "rubrics": [rubric.model_dump(mode="json") for rubric in rubrics],
    }


def description(folder: Location) -> dict[str, Any] | None:
    """What is measured there, as its sweep said; None where nothing is said. Raises `StoreError` when damaged."""
    found = described(files_at(folder))
    return None if found is None else found[1]


def kept_rubrics(folder: Location) -> dict[str, Rubric]:
    """The rubrics that a results folder was measured by, by digest (a record's `rubric_digest`).

    Raises `StoreError` when they are not there or not sound.
    """
    rubrics = [_sound(folder, Rubric.model_validate, rubric) for rubric in _kept(folder).get("rubrics", [])]
    return {rubric.digest(): rubric for rubric in rubrics}


def kept_suite(folder: Location) -> Suite:
    """The suite that a results folder was measured by, with what the command changed. Raises `StoreError`."""
    suite: Suite = _sound(folder, Suite.model_validate, _kept(folder).get("suite"))
    return suite


def _kept(folder: Location) -> dict[str, Any]:
    kept = (description(folder) or {}).get("declarations")
    if not isinstance(kept, dict):
        raise StoreError(f"{folder / 'sweep.json'} does not hold the suite and the rubrics that were asked")
    return kept


def _sound(folder: Location, validate: Any, data: Any) -> Any:
    try:
        return validate(as_frozen(data))
    except (ValidationError, ValueError) as error:
        raise StoreError(f"{folder / 'sweep.json'} holds no sound declaration: {error}") from None
